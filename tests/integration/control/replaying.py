"""Calls of replays, as the tests of the control API make them."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from grpc import aio
from tests.integration.control.client import Caller, Refused, refused
from tests.integration.egress.bridge import Bridge
from tests.integration.replay.planned import read

from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.commands import REPLAY_START, CommandCodec
from linkspan.kernel.topics import control_topic


def start(name: str, **more: Any) -> pb.StartReplayRequest:
    return pb.StartReplayRequest(**({"plan": name, "reason": "they lost them"} | more))


def watch(name: str) -> pb.WatchReplayRequest:
    return pb.WatchReplayRequest(plan=name)


async def started(caller: Caller, name: str, **more: Any) -> pb.StartReplayResponse:
    """The first answer; the call is left then, and the replay is not."""
    call = caller.stream("StartReplay", start(name, **more), 60)
    async for answer in call:
        call.cancel()
        found: pb.StartReplayResponse = answer
        return found
    raise AssertionError("no answer")


async def refusal(caller: Caller, method: str, request: Any) -> Refused:
    streams = method in ("StartReplay", "WatchReplay")
    with pytest.raises(aio.AioRpcError) as raised:
        await (through(caller, method, request) if streams else caller(method, request))
    return refused(raised.value)


async def through(caller: Caller, method: str, request: Any, seconds: float = 60) -> list[Any]:
    return [one async for one in caller.stream(method, request, seconds)]


async def got(caller: Caller, name: str, **more: Any) -> pb.GetReplayResponse:
    found: pb.GetReplayResponse = await caller("GetReplay", pb.GetReplayRequest(plan=name, **more))
    return found


async def control_end(made: Bridge) -> int:
    topic = TopicPartition(control_topic(made.integration.integration), 0)
    async with AIOKafkaConsumer(bootstrap_servers=made.bootstrap) as consumer:
        return int((await consumer.end_offsets([topic]))[topic])


async def started_commands(made: Bridge) -> list[Any]:
    codec = CommandCodec(made.catalog)
    records = await read(made, control_topic(made.integration.integration), 0)
    return [one for one in (codec.decode(record.value) for record in records) if one.kind == REPLAY_START]
