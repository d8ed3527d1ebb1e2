"""Structured logs: one JSON object a line on stderr, a human form on a terminal.

Keys: ``level``, ``timestamp`` (ISO 8601, UTC), ``message``, ``service``, ``error {message, stack}`` where one was
raised, and the context at top level: ``correlationId``, ``messageId``, ``traceId``, ``flow``, ….
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure_logs(service: str, level: str = "info") -> None:
    """Sets up structlog and routes the standard library's loggers (uvicorn, aiokafka, …) into it."""
    number = LEVELS[level.lower()]
    human = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_service(service),
        _error_object,
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if human
        else [structlog.processors.EventRenamer("message"), structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _route_standard_logging(shared, render, number)


def trace_id(traceparent: str | None) -> str | None:
    """The trace id inside a W3C ``traceparent``, for the ``traceId`` key of a line."""
    return traceparent[3:35] if traceparent else None


def _with_service(service: str) -> structlog.typing.Processor:
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


def _route_standard_logging(
    shared: list[structlog.typing.Processor], render: list[structlog.typing.Processor], number: int
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)
