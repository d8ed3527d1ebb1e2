"""Answers that come in pages, made one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from linkspan.cli.control.options import PAGE

A = TypeVar("A", bound=Message)


def up_to(limit: int, request: Any, ask: Callable[[Any], A], field: str, *others: str) -> A:
    """The first answer with what the later ones have in ``field``, ``limit`` in all, and in ``others``; its token says
    how to go on."""
    request.page_size = min(PAGE, limit)
    answer: Any = ask(request)
    found = getattr(answer, field)
    while answer.next_page_token and len(found) < limit:
        request.page_token, request.page_size = answer.next_page_token, min(PAGE, limit - len(found))
        more: Any = ask(request)
        for one in (field, *others):
            getattr(answer, one).extend(getattr(more, one))
        answer.next_page_token = more.next_page_token
    made: A = answer
    return made
