"""Plans as a caller gets them, and what was frozen of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.timestamp_pb2 import Timestamp
from tests.integration.control.client import Caller
from tests.integration.egress.bridge import FLOW, Bridge

from linkspan.control.v1 import replays_pb2 as pb
from linkspan.kernel.commands import PLAN_FROZEN, Command, CommandCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.plan import PlanCodec, PlanHead, Planned, Stood
from linkspan.kernel.topics import control_topic
from linkspan.replay.freeze import listed

Place = tuple[int, int]


def stamp(micros: int | None = None) -> Timestamp:
    """By default now."""
    made = Timestamp()
    made.FromMicroseconds(now_micros() if micros is None else micros)
    return made


def request(**more: Any) -> pb.PlanReplayRequest:
    return pb.PlanReplayRequest(**({"flow": FLOW, "reason": "to see"} | more))


async def plan(caller: Caller, **more: Any) -> pb.PlanReplayResponse:
    """The last answer, which has the plan."""
    answers = [one async for one in caller.stream("PlanReplay", request(**more), 60)]
    assert [one.scanned for one in answers] == sorted(one.scanned for one in answers)
    assert answers[-1].plan == answers[-1].frozen.plan != ""
    found: pb.PlanReplayResponse = answers[-1]
    return found


@dataclass
class Frozen:
    """``entries``: by partition and offset, in their order."""

    command: Command
    head: PlanHead
    entries: dict[Place, Planned]

    def stood(self, place: Place) -> Stood:
        return Stood.of(self.entries[place].code)


async def read(bridge: Bridge, topic: str, partition: int) -> list[Any]:
    tp = TopicPartition(topic, partition)
    async with AIOKafkaConsumer(bootstrap_servers=bridge.bootstrap, auto_offset_reset="earliest") as consumer:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        await consumer.seek_to_beginning(tp)
        found: list[Any] = []
        while await consumer.position(tp) < end:
            found += (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])
        return found


async def frozen_plans(bridge: Bridge) -> dict[str, Command]:
    codec = CommandCodec(bridge.catalog)
    said = [codec.decode(one.value) for one in await read(bridge, control_topic(bridge.integration.integration), 0)]
    return {one.plan: one for one in said if one.kind == PLAN_FROZEN}


async def frozen(bridge: Bridge, plan: str) -> Frozen:
    command = (await frozen_plans(bridge))[plan]
    head = command.body
    assert isinstance(head, PlanHead)
    found: dict[Place, Planned] = {}
    async with AIOKafkaConsumer(bootstrap_servers=bridge.bootstrap, auto_offset_reset="earliest") as reader:
        for part in head.partitions:
            entries = await listed(reader, bridge.topics, PlanCodec(bridge.catalog), plan, part)
            assert len(entries) == part.records
            found |= {(part.partition, one.offset): one for one in entries}
    return Frozen(command, head, found)
