"""Frozen plans as a planner writes them, made from what the logs of a test's integration say; and their commands."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import uuid_utils
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from tests.integration.egress.bridge import FLOW, Bridge

from linkspan.control.fold import ControlState
from linkspan.control.replays import Replay
from linkspan.kernel.commands import PLAN_FROZEN, REPLAY_START, Command, CommandCodec
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.fact import FINISHING
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.outcome import fact_of, plan_of
from linkspan.kernel.records.plan import (
    DELIVERED,
    HELD,
    NEWER_INSIDE,
    NEWER_OUTSIDE,
    OPEN,
    PlanCodec,
    PlanHead,
    Planned,
    PlanPart,
    ReplayOptions,
    Stood,
    check_of,
    chunk_key,
    packed,
    unpacked,
)
from linkspan.kernel.topics import Headers, control_topic

Choose = Callable[[Any], bool]
_CHUNK = 1_000


async def read(made: Bridge, topic: str, partitions: int) -> dict[int, list[Any]]:
    """All records of each partition."""
    found: dict[int, list[Any]] = {}
    async with AIOKafkaConsumer(
        bootstrap_servers=made.bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as reader:
        for number in range(partitions):
            one = TopicPartition(topic, number)
            reader.assign([one])
            end = (await reader.end_offsets([one]))[one]
            first = (await reader.beginning_offsets([one]))[one]
            reader.seek(one, first)
            found[number] = []
            while await reader.position(one) < end:
                found[number] += (await reader.getmany(one, timeout_ms=500)).get(one, [])
    return found


async def give(made: Bridge, *commands: Command) -> None:
    codec = CommandCodec(made.catalog)
    topic = control_topic(made.integration.integration)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap, acks="all", max_request_size=2**21) as producer:
        for one in commands:
            await producer.send_and_wait(topic, codec.encode(one), one.key, 0)


def about(kind: str, plan: str, value: str = "") -> Command:
    return Command(kind, FLOW, by="a test", reason="to see", plan=plan, value=value)


async def freeze(made: Bridge, choose: Choose = lambda _record: True) -> str:
    """A plan of all events of which ``choose`` is true; its id."""
    plan, codec = str(uuid_utils.uuid7()), PlanCodec(made.catalog)
    events = await read(made, made.topics.events, made.partitions)
    outcomes = await read(made, made.topics.outcomes, made.partitions)
    hashes = sorted({one for records in outcomes.values() for record in records if (one := transform(made, record))})
    parts = []
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap, acks="all") as producer:
        for number, records in events.items():
            entries, epoch = _entries(made, records, outcomes[number], choose, hashes)
            if not entries:
                continue
            pieces = [entries[at : at + _CHUNK] for at in range(0, len(entries), _CHUNK)]
            digest, before = hashlib.sha256(), 0
            for chunk, piece in enumerate(pieces):
                said = packed(piece, before)
                before = piece[-1].offset
                digest.update(said)
                value = codec.encode_chunk(plan, chunk, len(piece), said)
                await producer.send_and_wait(made.topics.replays, value, chunk_key(plan, chunk), number)
            end, outcomes_end = records[-1].offset + 1, _end(outcomes[number])
            stood = Counter(entry.code for entry in entries)
            parts.append(PlanPart(number, len(pieces), digest.digest(), end, outcomes_end, dict(stood), epoch))
    whole = hashlib.sha256(b"".join(part.sha256 for part in parts)).digest()
    head = PlanHead(tuple(parts), whole, tuple(hashes))
    await give(made, Command(PLAN_FROZEN, FLOW, by="a test", reason="to see", plan=plan, body=head))
    return plan


def transform(made: Bridge, record: Any) -> str | None:
    found: str | None = made.outcomes_codec.decode(record.value)["transform"]
    return found


def _end(records: list[Any]) -> int:
    return int(records[-1].offset) + 1 if records else 0


def _entries(
    made: Bridge, records: list[Any], outcomes: list[Any], choose: Choose, hashes: list[str]
) -> tuple[list[Planned], int]:
    epoch, own, made_by = Epoch(), dict[int, Any](), dict[int, str]()
    for record in outcomes:
        fact = fact_of(record)
        if epoch.valid(fact.kind, fact.epoch) and fact.kind in FINISHING and not fact.plan:
            own[fact.offset] = fact
            made_by[fact.offset] = transform(made, record) or ""
    newest: dict[bytes, int] = {}
    held = {fact.key for fact in own.values() if fact.kind == "dead_lettered" and fact.hold}
    for fact in own.values():
        if fact.kind == "delivered" and fact.key is not None:
            newest[fact.key] = max(fact.offset, newest.get(fact.key, -1))
    chosen = {record.offset for record in records if choose(record)}
    entries = []
    for record in records:
        if record.offset not in chosen:
            continue
        fact, last = own.get(record.offset), newest.get(record.key, -1)
        standing = DELIVERED if fact is not None and fact.kind in ("delivered", "duplicate") else OPEN
        if record.key in held or (fact is not None and fact.kind == "held"):
            standing = HELD
        newer = 0 if last <= record.offset else NEWER_INSIDE if last in chosen else NEWER_OUTSIDE
        place = hashes.index(made_by[record.offset]) if made_by.get(record.offset) in hashes else -1
        check = check_of(dict(record.headers).get(Headers.MESSAGE_ID))
        entries.append(Planned(record.offset, Stood(standing, newer, under_way=fact is None).code, place, check))
    return entries, epoch.in_force


async def start(made: Bridge, plan: str, **options: Any) -> None:
    body = ReplayOptions(**({"min_sent": 1_000_000} | options))
    await give(made, Command(REPLAY_START, FLOW, by="a test", reason="to see", plan=plan, body=body))


async def replay(made: Bridge, choose: Choose = lambda _record: True, **options: Any) -> str:
    """Frozen and started; its plan."""
    plan = await freeze(made, choose)
    await start(made, plan, **options)
    return plan


@dataclass
class Account:
    """``replay``: as the control topic has it; ``ended``: (partition, offset) -> its valid dispositions, of which there
    should be one; ``records``: valid outcomes of the plan."""

    replay: Replay
    counts: Counter[str]
    ended: dict[tuple[int, int], list[str]]
    records: list[dict[str, Any]]

    @property
    def phase(self) -> str:
        return str(self.replay.phase)


async def state(made: Bridge) -> ControlState:
    codec, found = CommandCodec(made.catalog), ControlState()
    for record in (await read(made, control_topic(made.integration.integration), 1))[0]:
        found.fold(codec.decode(record.value))
    return found


async def until_ended(made: Bridge, plan: str, seconds: float = 60) -> Account:
    end = time.monotonic() + seconds
    while True:
        found = (await state(made)).replays.get(plan)
        assert found is not None
        if found.started is not None and not found.active:
            return await account(made, found)
        assert time.monotonic() < end, f"it is {found.phase}: {found.done}; {(await account(made, found)).counts}"


async def account(made: Bridge, of: Replay) -> Account:
    """From the logs alone."""
    codec, events = PlanCodec(made.catalog), await read(made, made.topics.replays, made.partitions)
    outcomes = await read(made, made.topics.outcomes, made.partitions)
    counts: Counter[str] = Counter()
    ended: dict[tuple[int, int], list[str]] = defaultdict(list)
    valid: list[dict[str, Any]] = []
    for part in of.head.partitions:
        listed = Listed(of.options)
        for entry in _list(codec, events[part.partition], of.plan, part):
            listed.add(entry)
            ended[part.partition, entry.offset] = []
        epoch = Epoch(part.epoch)
        for record in outcomes[part.partition]:
            fact = fact_of(record)
            if record.offset < part.outcomes or not epoch.valid(fact.kind, fact.epoch):
                continue
            plan, until = plan_of(record)
            if plan != of.plan:
                continue
            valid.append(made.outcomes_codec.decode(record.value) | {"partition": part.partition})
            before = [listed.is_open(at) for at in range(len(listed))]
            listed.fold(fact.kind, fact.offset, until)
            at = listed.at(fact.offset)
            if until < 0 and at is not None and fact.kind != "attempt_failed":
                ended[part.partition, fact.offset].append(fact.kind)
            elif until >= 0:
                for at, was_open in enumerate(before):
                    if was_open and not listed.is_open(at):
                        ended[part.partition, listed[at].offset].append(fact.kind)
        counts += listed.counts
    return Account(of, counts, dict(ended), valid)


def _list(codec: PlanCodec, records: list[Any], plan: str, part: PlanPart) -> Iterable[Planned]:
    chunks = {record.key: codec.decode_chunk(record.value)[3] for record in records if record.value is not None}
    before = 0
    for chunk in range(part.chunks):
        for entry in unpacked(chunks[chunk_key(plan, chunk)], before):
            yield entry
            before = entry.offset
