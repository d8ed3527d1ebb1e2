"""Replicas that serve the control API and deliver nothing, and what an owner would write of a replay."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer
from tests.integration.control.client import TOKENS, Caller, calling, write_tokens
from tests.integration.egress.bridge import FLOW, Bridge

from linkspan.control.host import Host
from linkspan.control.plane import ControlPlane
from linkspan.control.settings import ControlSettings
from linkspan.control.tail import ControlTail
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import OutcomeCodec, RecordCodec
from linkspan.kernel.commands import REPLAY_PART_DONE, Command, CommandCodec
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.plan import PartDone
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import Headers, control_topic, status_topic
from linkspan.readmodel.asked import Ledger


@asynccontextmanager
async def replica(made: Bridge, role: str = "operator") -> AsyncIterator[Caller]:
    """As an egress process has it; all it knows it has from Kafka."""
    folder = made.path.parent / secrets.token_hex(4)
    folder.mkdir()
    clients, integration = KafkaClients(made.bootstrap), made.integration
    settings = ControlSettings(linkspan_data=folder, linkspan_tokens=write_tokens(folder / "tokens.yaml"))
    ledger, blobs = Ledger(f"sqlite:///{folder / 'ledger.db'}"), BlobStore(str(folder / "blobs"))
    host = Host("egress", integration, made.catalog, clients, blobs, ledger, {}, Tracing(None, 0.0))
    tail = ControlTail(clients, integration.integration, CommandCodec(made.catalog))
    plane = ControlPlane(host, settings, tail, lambda: {"flows": []})
    async with plane.running("127.0.0.1", 0) as address, calling(address, TOKENS[role]) as caller:
        await asyncio.wait_for(tail.caught_up.wait(), 30)
        yield caller


@asynccontextmanager
async def control_tail(made: Bridge) -> AsyncIterator[ControlTail]:
    """One that has read all that there is."""
    tail = ControlTail(KafkaClients(made.bootstrap), made.integration.integration, CommandCodec(made.catalog))
    running = asyncio.create_task(tail.run())
    try:
        await asyncio.wait_for(tail.caught_up.wait(), 30)
        yield tail
    finally:
        running.cancel()
        await asyncio.wait({running})


class Owner:
    """Writes what the owner of partitions would."""

    def __init__(self, made: Bridge, producer: AIOKafkaProducer) -> None:
        self._made, self._producer = made, producer
        self._outcomes, self._commands = OutcomeCodec(made.catalog), CommandCodec(made.catalog)
        self._status = RecordCodec(made.catalog, "Status")

    async def outcome(
        self, kind: str, partition: int, offset: int, plan: str = "", epoch: int = 1, until: int = -1, **more: Any
    ) -> int:
        """The offset after it."""
        said = {"kind": kind, "offset": offset, "at": now_micros(), "epoch": epoch, "plan": plan or None} | more
        headers = [
            (Headers.KIND, kind.encode()),
            (Headers.OFFSET, b"%d" % offset),
            (Headers.EPOCH, b"%d" % epoch),
            *([(Headers.PLAN, plan.encode())] if plan else []),
            *([(Headers.UNTIL, b"%d" % until)] if until >= 0 else []),
        ]
        value = self._outcomes.encode(said)
        sent = await self._producer.send_and_wait(
            self._made.topics.outcomes, value, partition=partition, headers=headers
        )
        return int(sent.offset) + 1

    async def part_done(self, plan: str, partition: int, outcomes: int, **dispositions: int) -> None:
        await self.give(Command(REPLAY_PART_DONE, FLOW, partition, plan=plan, body=PartDone(dispositions, outcomes)))

    async def give(self, command: Command) -> None:
        topic = control_topic(self._made.integration.integration)
        await self._producer.send_and_wait(topic, self._commands.encode(command), FLOW.encode(), 0)

    async def status(self, plan: str, partitions: list[int], waits: str = "", **dispositions: int) -> None:
        one = {"plan": plan, "flow": FLOW, "partitions": partitions, "dispositions": dispositions, "waits": waits}
        value = self._status.encode({"replica": "an owner", "at": now_micros(), "replays": [one]})
        topic = status_topic(self._made.integration.integration)
        await self._producer.send_and_wait(topic, value, b"an owner", 0)


@asynccontextmanager
async def owner(made: Bridge) -> AsyncIterator[Owner]:
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap, acks="all") as producer:
        yield Owner(made, producer)
