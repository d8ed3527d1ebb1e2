"""Keeps aiokafka's logs readable while Kafka is away: it repeats the same few lines a hundred times a second."""

from __future__ import annotations

import logging
import time

#: Each line of a client comes at most once in so many seconds.
_EVERY = 10.0


class OnceInAWhile(logging.Filter):
    """Lets each message template of ``aiokafka`` pass once in ``every`` seconds, and everything of others."""

    def __init__(self, every: float = _EVERY) -> None:
        super().__init__()
        self._every = every
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        now = time.monotonic()
        passes = now - self._passed.get(str(record.msg), float("-inf")) >= self._every
        if passes:
            self._passed[str(record.msg)] = now
        return passes


def quieten_kafka_clients() -> None:
    """After ``configure_logs``."""
    once = OnceInAWhile()
    for handler in logging.getLogger().handlers:
        handler.addFilter(once)
