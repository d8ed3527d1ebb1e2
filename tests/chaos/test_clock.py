"""The clock of an egress process jumps (libfaketime, in that process alone): ``ttl`` follows it, nothing else does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests.chaos.fleet import settled_audit
from tests.integration.egress.bridge import FLOW, Bridge, EgressProcess, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(300)]

MINUTE = 60
TTL = 10 * MINUTE


class Clock:
    """``offset`` seconds from the real one; read anew at each look at it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, offset: int) -> None:
        beside = self._file.with_suffix(".new")  # or it would be read while it is empty
        beside.write_text(f"{offset:+d}\n", encoding="ascii")
        beside.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def library() -> str:
    for folder in ("/usr/lib", "/usr/local/lib", "/usr/lib64"):
        for found in Path(folder).glob("**/faketime/libfaketime.so.1"):
            return str(found)
    pytest.skip("needs libfaketime (the package of that name)")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


async def append(made: Bridge, first: int) -> tuple[set[str], set[str]]:
    """Ten messages that expire and ten that do not: their ids."""
    mortal = await made.append(*((order_id(first + n), 0) for n in range(10)), ttl=TTL)
    immortal = await made.append(*((order_id(first + 10 + n), 0) for n in range(10)))
    return set(mortal), set(immortal)


async def test_a_jump_forward_expires_what_has_a_ttl_and_a_jump_back_revives_or_stops_nothing(
    bridge: MakeBridge, rest: RestDestination, clock: Clock
) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    rest.reply = lambda _got: 503
    async with made.egress(LINKSPAN_SESSION_SECONDS="6", **clock.environment):
        expiring, staying = await append(made, 0)
        await until(lambda: len(rest.got) > 3)
        clock.set(30 * MINUTE)
        await made.wait_outcomes(10, 60)
        rest.reply = lambda _got: 201
        outcomes = await made.wait_outcomes(20, 60)
        kinds = {one["messageId"]: one["kind"] for one in outcomes}
        assert kinds == dict.fromkeys(expiring, "expired") | dict.fromkeys(staying, "delivered")
        clock.set(-30 * MINUTE)
        mortal, immortal = await append(made, 100)
        kinds = {one["messageId"]: one["kind"] for one in await made.wait_outcomes(40, 60)}
        assert {kinds[one] for one in mortal | immortal} == {"delivered"}
        clock.set(0)
        mortal, immortal = await append(made, 200)
        kinds = {one["messageId"]: one["kind"] for one in await made.wait_outcomes(60, 60)}
        assert Counter(kinds.values()) == {"delivered": 50, "expired": 10}
    found = (await settled_audit(made.path, made.bootstrap))["flows"][FLOW]
    assert (found["delivered"], found["expired"], found["in_flight"], found["balanced"]) == (50, 10, 0, True)


async def test_a_clock_so_far_ahead_that_kafka_refuses_its_records_loses_nothing_and_recovers(
    bridge: MakeBridge, rest: RestDestination, clock: Clock
) -> None:
    """Kafka takes no record of more than an hour ahead: what was delivered meanwhile cannot be recorded."""
    made = await bridge(rest_system(rest), partitions=2)
    orders = [(order_id(key), line) for line in range(5) for key in range(20)]
    async with made.egress(LINKSPAN_SESSION_SECONDS="6", **clock.environment) as process:
        await made.append(*orders[:40])
        await made.wait_outcomes(40)
        clock.set(180 * MINUTE)
        await made.append(*orders[40:])
        await until(lambda: refused(process), 60)
        clock.set(0)
        await made.wait_outcomes(100, 90)
    assert {got.order for got in rest.got} == set(orders)
    seen: set[tuple[str, int]] = set()
    for got in rest.got:
        assert got.order not in seen or got.redelivery
        seen.add(got.order)
    assert len(rest.got) - len(orders) <= 40


def refused(process: EgressProcess) -> bool:
    return bool(process.lines("partition dropped"))
