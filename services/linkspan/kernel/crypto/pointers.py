"""Where the confidential values of a payload stand: JSON Pointers (RFC 6901) into it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

#: What every view shows instead of a confidential value.
HIDDEN = "<confidential>"


def below(pointer: str, name: str | int) -> str:
    return f"{pointer}/{name}" if isinstance(name, int) else f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


@lru_cache(maxsize=4096)
def _parts(pointer: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def put_back(payload: Any, pointers: Sequence[str], values: Sequence[Any]) -> None:
    """Raises LookupError, TypeError or ValueError where the payload has no such place."""
    for pointer, value in zip(pointers, values, strict=True):
        parent, name = _place(payload, pointer)
        parent[name] = value


def hide(payload: Any, pointers: Sequence[str]) -> None:
    """Raises as ``put_back`` does."""
    for pointer in pointers:
        parent, name = _place(payload, pointer)
        parent[name] = HIDDEN.encode() if isinstance(parent[name], bytes) else HIDDEN


def _place(payload: Any, pointer: str) -> tuple[Any, Any]:
    *parents, last = _parts(pointer)
    for part in parents:
        payload = payload[int(part) if isinstance(payload, list) else part]
    name: Any = int(last) if isinstance(payload, list) else last
    payload[name]  # what is not there cannot be put back
    return payload, name
