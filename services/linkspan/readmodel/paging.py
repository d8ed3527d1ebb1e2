"""Page tokens: where the last page ended. Opaque to whoever asks."""

from __future__ import annotations

import base64
import binascii

import msgspec

from linkspan.kernel.errors import UserMistake

#: Answers of a page at most.
LONGEST = 1_000


class BadToken(UserMistake):
    """A page token that no answer gave."""


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """The last row: its time, and what tells it from others of that time."""

    at: int
    flow: str
    partition: int
    last: int | str


def token_of(mark: Mark) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(mark)).rstrip(b"=").decode()


def mark_of(token: str) -> Mark | None:
    """None for "", the beginning. Raises BadToken."""
    if not token:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=Mark)
    except (UnicodeEncodeError, binascii.Error, msgspec.MsgspecError) as error:
        raise BadToken("it is none that an earlier answer gave; leave it empty for the first page") from error


def page_size(limit: int) -> int:
    """Raises UserMistake."""
    if limit < 1:
        raise UserMistake(f"limit: {limit} is below 1")
    return min(limit, LONGEST)
