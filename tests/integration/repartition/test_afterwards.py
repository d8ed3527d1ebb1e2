"""What knows the flow by its events knows the copy: the ledger, a pause, and a later copy."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_redrive import refusing, taken
from tests.integration.repartition.grown import GROWN, at, audited, copied, grown

from linkspan.kernel.commands import PAUSE, RESUME
from linkspan.readmodel.database import open_database
from linkspan.readmodel.queries import Queries

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
KEYS = [order_id(number) for number in range(1, 9)]


async def lived(made: Bridge, rest: RestDestination) -> None:
    """A message of a key is discarded, all others are delivered, and as many wait."""
    refusing(rest, (KEYS[0], 2))
    async with made.serving():
        await made.append(*((key, line) for line in range(3) for key in KEYS))
        await made.wait_outcomes(len(KEYS) * 3)
        await made.command("discard", *await made.letter(KEYS[0]))
        await made.wait_outcomes(1, kinds=("opened",))
        await asyncio.sleep(2.5)  # a checkpoint
    await made.append(*((key, line) for line in range(3, 6) for key in KEYS))


async def test_a_ledger_that_is_folded_again_says_of_the_copy_what_the_log_says(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    await lived(old, rest)
    url = f"sqlite:///{old.path.parent}/ledger.db"
    assert (await at(old, LINKSPAN_DATABASE_URL=url)("ledger", "rebuild", str(old.path))).code == 0
    wide = grown(old, 4)
    await copied(wide)
    assert (await at(wide, LINKSPAN_DATABASE_URL=url)("ledger", "rebuild", str(wide.path))).code == 0
    queries = Queries(open_database(url))
    counts = Counter[str]()
    for one in await queries.counts(None):
        assert one.flow == GROWN
        counts[one.status] += one.count
    counts += Counter()
    assert counts == {"delivered": len(KEYS) * 3 - 1, "discarded": 1, "in_flight": len(KEYS) * 3}
    assert await queries.unaccounted(None) == []
    audit = await audited(wide, GROWN)
    assert {name: audit[name] for name in counts} == counts


async def test_a_flow_that_was_paused_is_paused_as_a_copy(bridge: MakeBridge, rest: RestDestination) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    await lived(old, rest)
    before = len(taken(rest))
    await old.command(PAUSE, -1, -1)
    wide = grown(old, 4)
    await copied(wide)
    async with wide.serving():
        await asyncio.sleep(3)
        assert len(taken(rest)) == before
        await wide.command(RESUME, -1, -1)
        await until(lambda: len(taken(rest)) == before + len(KEYS) * 3, 60)


async def test_the_audit_trail_has_who_copied_what_and_why(bridge: MakeBridge, rest: RestDestination) -> None:
    old = await bridge(rest_system(rest), partitions=2)
    wide = grown(old, 4)
    await copied(wide)
    async with wide.egress() as process:
        found = await at(wide, LINKSPAN_CONTROL=process.control)("audit-trail", "--kind", "repartitioned", "-o", "json")
    assert found.code == 0, found
    (one,) = found.json["commands"]
    assert (one["by"], one["reason"]) == ("linkspan repartition", "more of them")
    assert one["result"] == "takes the place of orders"
