"""When the pipeline wakes by itself, on the event loop that egress runs on."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from linkspan.egress.deliver.breaker import Breaker
from linkspan.egress.deliver.throttle import Throttle
from linkspan.egress.deliver.websocket import WebSocketAdapter
from linkspan.egress.partition.retry import RetryPolicy
from linkspan.egress.pipeline import Pipeline
from linkspan.kernel.errors import Unavailable
from linkspan.kernel.spec import Deliver, System

uvloop = pytest.importorskip("uvloop")


def test_a_pause_of_less_than_a_millisecond_does_not_break_the_next_look() -> None:
    """uvloop's handle of something so near does not say when it is."""
    uvloop.run(_two_looks())


async def _two_looks() -> None:
    loop = asyncio.get_running_loop()
    nothing = cast("Any", None)
    breaker = Breaker(RetryPolicy(first=0.0004, cap=0.0004))
    adapter = WebSocketAdapter(System(kind="websocket", url="ws://127.0.0.1:9"), Deliver())
    pipeline = Pipeline(nothing, adapter, breaker, Throttle(None), nothing)
    now = loop.time()
    breaker.answered(Unavailable("away"), now, now)
    broken: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, what: broken.append(what))
    pipeline._set_timer(now)
    pipeline._set_timer(now)
    await asyncio.sleep(0.01)
    assert not broken
    await pipeline.close()
