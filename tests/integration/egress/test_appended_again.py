"""A spool that drains may append a message again, far behind; its sender may send it again. The one is never a new try,
the other is."""

from __future__ import annotations

import asyncio

import pytest
from tests.integration.egress.bridge import Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_holds import kinds
from tests.integration.egress.test_egress_redrive import arrived, refusing

from linkspan.kernel.message import now_micros
from linkspan.kernel.topics import Headers

pytestmark = pytest.mark.kafka
BAD = order_id(1)


class Spooled:
    """A message as a spool keeps it."""

    def __init__(self, made: Bridge, line: int) -> None:
        self._made = made
        self._value, headers = made.event(BAD, line)
        self._headers = dict(headers)

    async def append(self) -> None:
        await self._made.append_raw(self._value, BAD, **self._headers)

    async def accepted_again(self) -> None:
        """As its sender sent it once more."""
        self._headers[Headers.ACCEPTED_AT] = b"%d" % now_micros()
        await self.append()


async def test_what_was_given_up_does_not_come_back_because_it_is_appended_again(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    message = Spooled(made, 0)
    await message.append()
    await made.append((BAD, 1))
    await message.append()
    async with made.serving():
        await made.wait_outcomes(3)
        await made.command("discard", *await made.letter(BAD))
        await made.wait_outcomes(1, kinds=("opened",))
        bad.clear()
        assert kinds(await made.outcomes(), BAD)[-3:] == ["delivered", "duplicate", "opened"]
        await asyncio.sleep(2.5)  # a checkpoint, so that the next owner has it from `state` alone
    await message.append()
    async with made.serving():
        await made.wait_outcomes(2, kinds=("duplicate",))
        assert arrived(rest) == [1]
        await message.accepted_again()
        await until(lambda: arrived(rest) == [1, 0])


async def test_where_letters_hold_no_key_it_is_not_tried_again_while_its_letter_waits(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest), on_dead_letter="continue")
    message = Spooled(made, 0)
    await message.append()
    async with made.serving():
        await made.wait_outcomes(1)
    await message.append()
    async with made.serving():
        await made.wait_outcomes(2)
        await message.accepted_again()
        await made.wait_outcomes(3)
    assert kinds(await made.outcomes(), BAD) == ["dead_lettered", "duplicate", "dead_lettered"]
