"""Reasons that quote confidential values are not told."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import TypeVar

from linkspan.kernel.errors import DeliveryError, Poison, Unavailable

#: So many characters in a row, in either case, are a quotation; of a shorter value the whole of it.
_QUOTED = 6
#: Of a text that is looked at; what is longer is withheld.
_LONGEST = 20_000
_NOT_TOLD = "the transform failed; what it said is withheld, as it may quote a confidential value"
WITHHELD = "what was said of it is withheld: it quotes a confidential value"

E = TypeVar("E", bound=DeliveryError | None)


class Secrets:
    """The confidential values of one message."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[str | bytes]) -> None:
        self.values = values

    def quoted(self, text: str) -> bool:
        """Whether ``text`` has a piece of one of them."""
        said = text.casefold()
        if len(said) > _LONGEST:
            return True
        pieces = {said[at : at + _QUOTED] for at in range(max(1, len(said) - _QUOTED + 1))}
        return any(_is_in(value, said, pieces) for value in self._texts())

    def _texts(self) -> list[str]:
        found: list[str] = []
        for value in self.values:
            if isinstance(value, str):
                found.append(value.casefold())
            else:
                found += [value.decode("latin-1").casefold(), base64.b64encode(value).decode().casefold()]
        return [text for text in found if text.strip()]

    @classmethod
    def together(cls, several: Iterable[Secrets | None]) -> Secrets | None:
        """Of messages that share an answer."""
        values = [value for one in several if one is not None for value in one.values]
        return cls(values) if values else None


def told(error: E, secrets: Secrets | None) -> E:
    """``error`` itself, or one of its class that says less where it quotes one of them."""
    if error is None or secrets is None or not secrets.quoted(error.reason):
        return error
    return type(error)(WITHHELD, retry_after=error.retry_after)


def unquoting(error: Exception, secrets: Secrets, hidden: str) -> DeliveryError:
    """What is raised instead of ``error``, which a transform made of a message with confidential values.

    ``hidden``: the reason that it gives of the message with these hidden, or empty. Pieces of them may be too short to
    be found, so no other reason is told, but that somebody cannot be asked."""
    if isinstance(error, Unavailable):
        return told(error, secrets)
    kind, after = (type(error), error.retry_after) if isinstance(error, DeliveryError) else (Poison, None)
    if not hidden:
        return kind(_NOT_TOLD, retry_after=after)
    same = isinstance(error, DeliveryError) and error.reason == hidden
    return kind(hidden if same else f"with its confidential values hidden: {hidden}", retry_after=after)


def _is_in(value: str, said: str, pieces: set[str]) -> bool:
    if len(value) < _QUOTED:
        return value in said
    return any(piece in value for piece in pieces if len(piece) == _QUOTED)
