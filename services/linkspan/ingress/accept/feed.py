"""The change feed of a rest system, a page at a time."""

from __future__ import annotations

from typing import Any

import msgspec

from linkspan.kernel.errors import Unavailable
from linkspan.kernel.http.client import AnswerTooLong, Got, RestReader
from linkspan.kernel.message import new_id
from linkspan.kernel.resilience.limits import Limits
from linkspan.kernel.spec import Poll, System


class Page(msgspec.Struct):
    """``items`` as they came; ``next`` is the cursor behind them."""

    items: list[msgspec.Raw]
    next: str


class _Answer(msgspec.Struct):
    items: list[msgspec.Raw]
    next: str | int | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_decode_any = msgspec.json.Decoder().decode


class Feed:
    """``largest``: bytes of a page; a longer one is asked for again with fewer items."""

    def __init__(self, system: System, poll: Poll, largest: int, limits: Limits) -> None:
        self._reader = RestReader(system)
        self._limits = limits
        self._poll, self._largest, self._limit = poll, largest, poll.limit

    async def page(self, cursor: str) -> Page:
        """Raises Unavailable, also for an answer that is no page: the feed must be put right before it goes on."""
        while True:
            query = {**self._poll.query, "after": cursor, "limit": str(self._limit)}
            try:
                got = await self._get(query)
            except AnswerTooLong as error:
                if self._limit == 1:
                    raise Unavailable(
                        f"the item after {cursor} cannot be read: {error}; raise LINKSPAN_MAX_BODY_BYTES"
                    ) from error
                self._limit //= 2
                continue
            self._limit = min(self._limit * 2, self._poll.limit)
            if got.status != 200:
                raise Unavailable(f"the feed answers {got.reason or got.status}")
            return self._read(got.body, cursor)

    async def _get(self, query: dict[str, str]) -> Got:
        async with self._limits.turn():
            try:
                return await self._reader.get(self._poll.path, self._largest, query, {"X-Request-ID": new_id()})
            except Unavailable as error:
                self._limits.answered(error)
                raise

    def _read(self, body: bytes, cursor: str) -> Page:
        try:
            answer = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unavailable(f"the feed's answer is no page {{items, next}}: {error}") from error
        following = cursor_text(answer.next)
        if following is None and answer.items:
            following = cursor_text(member(answer.items[-1], self._poll.cursor))
        if following is None and answer.items:
            raise Unavailable(f"the feed's page has no next, and its last item no {self._poll.cursor}")
        if answer.items and following == cursor:
            raise Unavailable(f"the feed's page after {cursor} leads to itself: its next must lie behind its items")
        return Page(answer.items, following or cursor)

    async def close(self) -> None:
        await self._reader.close()


def cursor_text(value: Any) -> str | None:
    """A number or a text that can be asked ``after`` with; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def member(item: msgspec.Raw, name: str) -> Any:
    """A field of an item; None where it has none."""
    try:
        value = _decode_any(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return value.get(name) if isinstance(value, dict) else None
