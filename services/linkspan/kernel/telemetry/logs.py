"""Structured logs: one JSON object a line on stderr, a human form on a terminal.

Keys: ``level``, ``timestamp`` (ISO 8601, UTC), ``message``, ``service``, ``error {message, stack}`` where one was
raised, and the context at top level: ``correlationId``, ``messageId``, ``traceId``, ``flow``, …. Warnings that repeat
are told a few times and then counted (``repeats``).
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from linkspan.kernel.secret import redacted
from linkspan.kernel.telemetry.logfile import DailyFile, log_file
from linkspan.kernel.telemetry.repeats import Repeats

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _Level:
    """In force now: loggers are made once and keep looking here."""

    number = logging.INFO


def set_level(level: str) -> None:
    """``level``: one of ``LEVELS``; every logger obeys from now on."""
    _Level.number = LEVELS[level.lower()]
    logging.getLogger().setLevel(max(_Level.number, logging.WARNING))


def debugging() -> bool:
    """Whether debug lines are wanted: to be asked before one is made for every message."""
    return _Level.number <= logging.DEBUG


class _Levelled(structlog.make_filtering_bound_logger(logging.DEBUG)):  # type: ignore[misc]
    """Its level may change while the process runs."""

    def debug(self, event: str, *args: Any, **kw: Any) -> Any:
        return super().debug(event, *args, **kw) if _Level.number <= logging.DEBUG else None

    def info(self, event: str, *args: Any, **kw: Any) -> Any:
        return super().info(event, *args, **kw) if _Level.number <= logging.INFO else None

    def warning(self, event: str, *args: Any, **kw: Any) -> Any:
        return super().warning(event, *args, **kw) if _Level.number <= logging.WARNING else None

    def log(self, level: int, event: str, *args: Any, **kw: Any) -> Any:
        return super().log(level, event, *args, **kw) if _Level.number <= level else None

    def is_enabled_for(self, level: int) -> bool:
        return _Level.number <= level

    def get_effective_level(self) -> int:
        return _Level.number


def configure_logs(service: str, level: str = "info") -> None:
    """Sets up structlog and routes the standard library's loggers (uvicorn, aiokafka, …) into it.

    ``LINKSPAN_LOG_FILE``: JSON lines go there too. Raises UserMistake where it cannot be written.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        _error_object,
    ]
    render = _rendering(log_file(service, os.environ))
    repeats = Repeats(lambda event: _print(_rendered([*shared, *render], event)))
    shared.append(repeats)
    _Now.repeats = repeats
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=_Levelled,
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _route_standard_logging(shared, render)
    set_level(level)


class _Now:
    """Of this process."""

    repeats: Repeats | None = None


def tell_left_out() -> None:
    """To be called now and then: nothing may be logged for long after a flood."""
    if _Now.repeats is not None:
        _Now.repeats.overdue()


def _print(line: object) -> None:
    sys.stderr.write(f"{line}\n")


def _rendered(processors: Sequence[Processor], event: EventDict) -> object:
    found: Any = event
    for one in processors:
        found = one(None, str(event.get("level", "")), found)
    return found


def _rendering(file: DailyFile | None) -> list[Processor]:
    """For people on a terminal, else JSON; the file always has JSON."""
    as_json: list[Processor] = [
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(default=str),
        _without_secrets,
    ]
    people: list[Processor] = [structlog.dev.ConsoleRenderer(), _without_secrets]
    last = people if sys.stderr.isatty() else as_json
    if file is None:
        return last

    def into_file(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        file.write(str(_rendered(as_json, {**event})))
        return event

    return [into_file, *last]


def _without_secrets(_logger: WrappedLogger, _name: str, line: Any) -> Any:
    """The last to look: whoever logs what others said has hidden them already."""
    return redacted(line) if isinstance(line, str) else line


def trace_id(traceparent: str | None) -> str | None:
    """The trace id inside a W3C ``traceparent``, for the ``traceId`` key of a line."""
    return traceparent[3:35] if traceparent else None


def _with_service(service: str) -> Processor:
    def add(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def _error_object(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    raised: Any = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()[1]
    elif isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        stack = "".join(traceback.format_exception(raised))
        event["error"] = {"message": str(raised) or type(raised).__name__, "stack": stack}
    return event


class _Stderr(logging.StreamHandler[Any]):
    """A line that is left out is dropped while it is formatted."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(structlog.DropEvent):
            super().emit(record)


def _route_standard_logging(shared: list[Processor], render: list[Processor]) -> None:
    handler = _Stderr(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)
