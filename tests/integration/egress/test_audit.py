"""``linkspan audit`` says from the log what became of every event, and finds what nothing is known of."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

from linkspan.egress.account.watch import AccountWatch
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.position import Position
from linkspan.kernel.records.state import POSITION, StateCodec
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.kernel.telemetry import metrics
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
SYSTEM = {"kind": "rest", "url": "http://127.0.0.1:9"}


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def orders(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)["flows"]["orders"]
        return {name: value for name, value in found.items() if value and name != "balanced"}


async def audit(bridge: Bridge, *arguments: str, bootstrap: str | None = None, output: str = "json") -> Done:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "linkspan", "audit", str(bridge.path), "--output", output, *arguments),
        env=os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{bootstrap or bridge.bootstrap}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


class Log:
    """Writes a history by hand into the one partition of a bridge."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge

    async def events(self, count: int, *, gaps: bool = False, at: int | None = None) -> list[int]:
        """Their offsets; with ``gaps`` each is a transaction of its own, whose marker takes an offset."""
        options = {"transactional_id": self.bridge.path.as_posix()} if gaps else {}
        offsets = []
        async with AIOKafkaProducer(bootstrap_servers=self.bridge.bootstrap, **options) as producer:
            for number in range(count):
                value, headers = self.bridge.event(order_id(1), number)
                if gaps:
                    await producer.begin_transaction()
                sending = await producer.send(
                    self.bridge.topics.events, value, partition=0, headers=headers, timestamp_ms=at
                )
                if gaps:
                    await producer.commit_transaction()
                offsets.append((await sending).offset)
        return offsets

    async def outcomes(self, *said: tuple[str, int, int], plan: str | None = None) -> None:
        """(kind, event offset, epoch)."""
        async with AIOKafkaProducer(bootstrap_servers=self.bridge.bootstrap) as producer:
            for kind, offset, epoch in said:
                value = self.bridge.outcomes_codec.encode({"kind": kind, "offset": offset, "at": now_micros()})
                headers = [(Headers.KIND, kind.encode()), (Headers.OFFSET, b"%d" % offset)]
                headers += [(Headers.EPOCH, b"%d" % epoch)] + ([(Headers.PLAN, plan.encode())] if plan else [])
                await producer.send_and_wait(self.bridge.topics.outcomes, value, partition=0, headers=headers)

    async def position(self, offset: int) -> None:
        codec = StateCodec(SchemaCatalog(packaged_schemas()))
        async with AIOKafkaProducer(bootstrap_servers=self.bridge.bootstrap) as producer:
            value = codec.encode(Position(events=offset))
            await producer.send_and_wait(self.bridge.topics.state, value, key=POSITION, partition=0)


async def test_delivered_and_dead_lettered_messages_balance(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*((order_id(number % 7), number) for number in range(60)))
    await made.append_raw(b"no event", order_id(3))
    async with made.egress():
        await made.wait_outcomes(61)
    done = await audit(made)
    assert (done.code, done.err) == (0, "")
    assert done.orders == {"accepted": 61, "delivered": 60, "dead_lettered": 1}
    said = await audit(made, output="text")
    assert said.out.startswith("orders: accepted 61, delivered 60, in flight 0, held 0, dead-lettered 1,")
    assert "balanced; " in said.out


async def test_an_event_below_the_position_without_an_outcome_is_listed(bridge: MakeBridge) -> None:
    made = await bridge(SYSTEM, partitions=1)
    log = Log(made)
    ids = await made.append(*((order_id(1), number) for number in range(5)))
    await log.outcomes(("delivered", 0, 0), ("delivered", 1, 0), ("attempt_failed", 2, 0), ("delivered", 3, 0))
    await log.position(4)
    done = await audit(made)
    assert done.code == 1
    assert done.orders == {"accepted": 5, "delivered": 3, "in_flight": 1, "unaccounted": 1}
    (missing,) = json.loads(done.out)["unaccounted"]
    assert (missing["flow"], missing["partition"], missing["offset"]) == ("orders", 0, 2)
    assert missing["message_id"] == ids[2]
    said = await audit(made, output="text")
    assert f"unaccounted: flow orders, partition 0, offset 2, message {ids[2]}, accepted " in said.out
    assert "NOT balanced" in said.out


async def test_a_former_owners_late_outcomes_are_repeats_and_the_last_valid_one_wins(bridge: MakeBridge) -> None:
    made = await bridge(SYSTEM, partitions=1)
    log = Log(made)
    await log.events(4)
    await log.outcomes(("owner", -1, 1), ("delivered", 0, 1), ("dead_lettered", 1, 1), ("held", 2, 1), ("owner", -1, 2))
    await log.outcomes(("dead_lettered", 0, 1), ("redriven", 1, 2), ("delivered", 1, 2), ("redriven", 2, 2))
    await log.outcomes(("delivered", 3, 1))
    await log.outcomes(("dead_lettered", 0, 2), plan="p1")
    await log.position(3)
    done = await audit(made)
    assert done.code == 0
    assert done.orders == {"accepted": 4, "delivered": 2, "in_flight": 2, "repeats": 2}


async def test_gaps_in_offsets_are_nothing_that_is_missing(bridge: MakeBridge) -> None:
    made = await bridge(SYSTEM, partitions=1)
    log = Log(made)
    offsets = await log.events(3, gaps=True)
    assert offsets == [0, 2, 4]
    await log.outcomes(*(("delivered", offset, 0) for offset in offsets))
    await log.position(6)
    done = await audit(made)
    assert (done.code, done.orders) == (0, {"accepted": 3, "delivered": 3})


async def test_a_time_range_counts_only_its_own_events(bridge: MakeBridge) -> None:
    made = await bridge(SYSTEM, partitions=1)
    log = Log(made)
    now = int(time.time() * 1000)
    for age, count in ((5 * 3600, 4), (3 * 3600, 3), (60, 2)):
        await log.events(count, at=now - age * 1000)
    await log.outcomes(*(("delivered", offset, 0) for offset in range(9) if offset != 1))
    await log.position(9)
    between = datetime.fromtimestamp(now / 1000 - 3600, UTC).isoformat()
    for arguments, accepted in ((("--from", "-4h", "--to", between), 3), (("--from", "-4h"), 5), (("--to", "-4h"), 4)):
        done = await audit(made, *arguments)
        assert done.orders["accepted"] == accepted
        assert done.code == (1 if arguments == ("--to", "-4h") else 0)
        assert "strays" not in done.orders


async def test_mistakes_are_one_line(bridge: MakeBridge) -> None:
    made = await bridge(SYSTEM, partitions=1)
    for arguments, said in (
        (("--flow", "parcels"), "--flow parcels: there is no such flow; there are orders"),
        (("--from", "yesterday"), "--from yesterday: expected a time such as"),
        (("--from", "-1h", "--to", "-2h"), "--from -1h is not before --to -2h"),
    ):
        done = await audit(made, *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert len(done.err.splitlines()) == 1
    away = await audit(made, bootstrap="127.0.0.1:9")
    assert (away.code, away.out) == (3, "")
    assert away.err.startswith("linkspan: Kafka does not answer")
    assert len(away.err.splitlines()) == 1


@pytest.mark.parametrize("interrupted", [0, 2])
async def test_the_metric_counts_what_the_position_passed_without_an_outcome(
    bridge: MakeBridge, monkeypatch: pytest.MonkeyPatch, interrupted: int
) -> None:
    """Also where Kafka goes away just when a suspect is looked up."""
    looked_up, left = AccountWatch._confirmed, [interrupted]

    async def confirmed(self: AccountWatch, *about: Any) -> int:
        if about[-1] and left[0]:
            left[0] -= 1
            raise TimeoutError
        return await looked_up(self, *about)

    monkeypatch.setattr(AccountWatch, "_confirmed", confirmed)
    made = await bridge(SYSTEM, partitions=1)
    log = Log(made)
    await log.events(3)
    await log.outcomes(("delivered", 0, 0))
    await log.position(1)
    gauge = metrics.UNACCOUNTED.labels("orders")
    before = gauge._value.get()
    watch = AccountWatch(KafkaClients(made.bootstrap), made.integration.integration, "orders", lambda: [0], 1.0)
    watching = asyncio.create_task(watch.run())
    try:
        await until(lambda: 0 in watch._followed, 60)
        await log.outcomes(("attempt_failed", 1, 0), ("delivered", 2, 0))
        offsets = await log.events(2, gaps=True)
        await log.outcomes(*(("delivered", offset, 0) for offset in offsets))
        await asyncio.sleep(3)
        assert gauge._value.get() == before
        await log.position(offsets[-1] + 2)
        await until(lambda: gauge._value.get() > before, 60)
        assert gauge._value.get() == before + 1
    finally:
        watching.cancel()
        await asyncio.wait([watching])
