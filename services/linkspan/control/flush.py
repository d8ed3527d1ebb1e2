"""``FlushQueue``: how much is unfinished, and the commands that give it up."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import TopicPartition

from linkspan.control.actions import flow_of, reason_of
from linkspan.control.commands import Commands
from linkspan.control.errors import more_than_expected, wrong
from linkspan.control.host import Host
from linkspan.control.identity import caller
from linkspan.control.shown import command as shown
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.commands import FLUSH, Command
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.fact import FINISHING
from linkspan.kernel.records.outcome import fact_of
from linkspan.kernel.records.position import Position
from linkspan.kernel.topics import FlowTopics
from linkspan.readmodel.standing import standing

_AT_ONCE = 8


class Flush:
    def __init__(self, host: Host, commands: Commands) -> None:
        self._host, self._commands = host, commands

    async def flush_queue(self, request: pb.FlushQueueRequest) -> pb.FlushQueueResponse:
        """Raises BadRequest, NotFound, Precondition, Away, KafkaError."""
        flow, reason = flow_of(self._host.integration, request.flow), reason_of(request.reason)
        if request.expected < 0:
            raise wrong("expected", "a number of messages; 0: no limit")
        turns = asyncio.Semaphore(_AT_ONCE)

        async def counted(partition: int) -> tuple[int, int]:
            async with turns:
                return await self._unfinished(flow, partition)

        found = await asyncio.gather(*(counted(number) for number in range(self._partitions(flow))))
        messages = sum(count for count, _ in found)
        if request.expected and messages > request.expected:
            raise more_than_expected(messages, request.expected)
        if request.dry_run or not messages:
            return pb.FlushQueueResponse(messages=messages)
        by = caller()
        commands = [
            Command(FLUSH, flow, partition, end, by.name, reason, role=by.role)
            for partition, (count, end) in enumerate(found)
            if count
        ]
        given = await self._commands.give(commands)
        return pb.FlushQueueResponse(messages=messages, commands=[shown(one) for one in given])

    def _partitions(self, flow: str) -> int:
        return self._host.integration.flows[flow].partitions

    async def _unfinished(self, flow: str, partition: int) -> tuple[int, int]:
        """How many events have no outcome that finishes them, and the log's end."""
        integration = self._host.integration.integration
        topics = FlowTopics.of(integration, flow)
        events, outcomes = TopicPartition(topics.events, partition), TopicPartition(topics.outcomes, partition)
        position = await standing(self._host.clients, integration, flow, partition) or Position()
        reader = self._host.clients.reader()
        try:
            await reader.start()
            first = (await reader.beginning_offsets([events]))[events]
            end = (await reader.end_offsets([events]))[events]
            start = max(position.events, first)
            finished = {offset for low, high in position.finished for offset in range(max(low, start), high)}
            epoch = Epoch(position.outcomes_epoch)

            def fold(record: Any) -> None:
                fact = fact_of(record)
                if epoch.valid(fact.kind, fact.epoch) and not fact.plan and fact.kind in FINISHING:
                    finished.add(fact.offset)

            await read_all(reader, outcomes, position.outcomes, None, fold)
        finally:
            await stop_consumer(reader)
        return end - start - sum(start <= offset < end for offset in finished), end
