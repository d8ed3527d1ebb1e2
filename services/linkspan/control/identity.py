"""Whoever calls, for as long as the call lasts."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    role: str


_caller: ContextVar[Identity] = ContextVar("caller")


def caller() -> Identity:
    """Of the call that is being answered; raises LookupError outside of one."""
    return _caller.get()


def called_by(identity: Identity) -> None:
    _caller.set(identity)
