"""When the pipeline wakes by itself, on the event loop that egress runs on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from linkspan.egress.pipeline import Pipeline

uvloop = pytest.importorskip("uvloop")


def test_a_pause_of_less_than_a_millisecond_does_not_break_the_next_look() -> None:
    """uvloop's handle of something so near does not say when it is."""
    assert uvloop.run(_two_looks())


async def _two_looks() -> bool:
    now = asyncio.get_running_loop().time()
    woken = asyncio.Event()
    pipeline = cast("Any", Pipeline.__new__(Pipeline))
    pipeline._owned = [SimpleNamespace(state=SimpleNamespace(wake_at=lambda: now + 0.0003))]
    pipeline.breaker, pipeline.resend = SimpleNamespace(wake_at=lambda: None), None
    pipeline._timer, pipeline._wakes_at, pipeline._timed = None, 0.0, woken.set
    pipeline._set_timer(now)
    pipeline._set_timer(now)
    async with asyncio.timeout(10):
        return await woken.wait()
