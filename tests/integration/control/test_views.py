"""What operators are shown: dead letters, messages and what became of them, the account, what happens now."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from grpc import aio
from tests.integration.control.client import Caller, calling, refused
from tests.integration.control.test_pause import token
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination, until
from tests.integration.egress.test_egress_redrive import arrived, refusing
from tests.integration.insight.worker import WorkerProcess
from tests.integration.ledger.site import Site

from linkspan.control.v1 import audit_pb2, letters_pb2, messages_pb2, status_pb2
from linkspan.kernel.topic_admin import ensure_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]
BAD, WORSE, GOOD = order_id(1), order_id(2), order_id(3)


@asynccontextmanager
async def served(made: Bridge) -> AsyncIterator[Caller]:
    async with made.egress() as process, calling(process.control, token(made)) as caller:
        yield caller


@asynccontextmanager
async def with_ledger(made: Bridge) -> AsyncIterator[Caller]:
    """The ledger in a file of the same data directory."""
    file = made.path.parent / "data" / f"ledger-{made.integration.integration}.db"
    async with Site(made.path, made.bootstrap, f"sqlite:///{file}").ledger(), served(made) as caller:
        yield caller


def meant(**fields: Any) -> letters_pb2.LetterFilter:
    return letters_pb2.LetterFilter(**fields)


async def letters(caller: Caller, **fields: Any) -> letters_pb2.ListDeadLettersResponse:
    found = await caller("ListDeadLetters", letters_pb2.ListDeadLettersRequest(filter=meant(**fields)))
    assert isinstance(found, letters_pb2.ListDeadLettersResponse)
    return found


async def message(caller: Caller, **wanted: Any) -> messages_pb2.GetMessageResponse | None:
    """None where the ledger does not know it yet."""
    try:
        found = await caller("GetMessage", messages_pb2.GetMessageRequest(**wanted))
    except aio.AioRpcError as error:
        assert refused(error).reason == "NO_SUCH_MESSAGE"  # noqa: PT017
        return None
    assert isinstance(found, messages_pb2.GetMessageResponse)
    return found


async def delivered_message(caller: Caller, message_id: str) -> messages_pb2.GetMessageResponse:
    """Waits until the ledger says so."""
    async with asyncio.timeout(30):
        while True:
            found = await message(caller, message_id=message_id, content=True)
            if found is not None and found.message.status == messages_pb2.MESSAGE_STATUS_DELIVERED:
                return found
            await asyncio.sleep(0.05)


async def test_dead_letters_are_grouped_shown_whole_and_decided_on_by_what_they_have_in_common(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    bad = refusing(rest, (BAD, 0), (WORSE, 0))
    made = await bridge(rest_system(rest))
    await made.append(*((BAD, line) for line in range(3)), (WORSE, 0))
    await made.append_raw(b"no Avro at all", GOOD)
    async with served(made) as caller:
        await made.wait_outcomes(5)
        found = await letters(caller)
        assert [(one.failure, one.letters, one.waiting) for one in found.groups] == [
            ("rejected", 2, 2),
            ("poison", 1, 0),
        ]
        assert found.total == 3
        first = next(one for one in found.letters if one.key == BAD)
        page = await caller("ListDeadLetters", letters_pb2.ListDeadLettersRequest(page_size=2))
        rest_of = letters_pb2.ListDeadLettersRequest(page_size=2, page_token=page.next_page_token)
        following = await caller("ListDeadLetters", rest_of)
        assert [*page.letters, *following.letters] == list(found.letters)
        assert not following.next_page_token

        shown = await caller("GetDeadLetter", letters_pb2.GetDeadLetterRequest(flow=FLOW, name=first.name))
        assert json.loads(shown.content)["payload"]["line"] == 0
        assert json.loads(shown.would_send)["orderId"] == BAD
        assert shown.headers["message-id"] == shown.letter.message_id
        assert re.fullmatch("[0-9a-f]{16}", shown.headers["digest"])
        poison = next(one for one in found.letters if one.failure == "poison")
        shown = await caller("GetDeadLetter", letters_pb2.GetDeadLetterRequest(flow=FLOW, name=poison.name))
        assert shown.value == b"no Avro at all"
        assert "not an Avro" in shown.decode_error

        alike = meant(fingerprint=first.fingerprint)
        counted = await caller("Redrive", letters_pb2.RedriveRequest(filter=alike, dry_run=True))
        assert (counted.letters, counted.waiting, list(counted.commands)) == (2, 2, [])
        with pytest.raises(aio.AioRpcError) as raised:
            await caller("Redrive", letters_pb2.RedriveRequest(filter=alike, reason="mended", expected=1))
        assert refused(raised.value).reason == "MORE_THAN_EXPECTED"
        bad.clear()
        given = await caller("Redrive", letters_pb2.RedriveRequest(filter=alike, reason="mended", expected=2))
        assert {one.kind for one in given.commands} == {"redrive"}
        await until(lambda: arrived(rest) == [0, 1, 2] and arrived(rest, WORSE) == [0])
        given = await caller("Discard", letters_pb2.DiscardRequest(filter=meant(failure="poison"), reason="nothing"))
        assert given.letters == 1
        async with asyncio.timeout(30):
            while (await letters(caller)).total:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        account = await caller("Audit", audit_pb2.AuditRequest())
        assert account.balanced
        said = account.accounts[0]
        assert (said.accepted, said.delivered, said.discarded) == (5, 4, 1)


async def test_the_way_of_a_message_is_known_within_a_second_of_its_delivery(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest))
    async with with_ledger(made) as caller:
        (warm,) = await made.append((GOOD, 0))
        async with asyncio.timeout(60):
            while await message(caller, message_id=warm) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        (wanted,) = await made.append((GOOD, 1))
        await until(lambda: len(rest.got) == 2)
        delivered = time.monotonic()
        found = await delivered_message(caller, wanted)
        print(f"known {time.monotonic() - delivered:.2f} s after the delivery")
        assert [one.kind for one in found.timeline] == ["accepted", "delivered"]
        assert json.loads(found.content)["payload"]["line"] == 1
        assert found.ledger.lag >= 0
        of_it = messages_pb2.ListMessagesRequest(correlation_id=found.message.correlation_id)
        listed = await caller("ListMessages", of_it)
        assert [one.message_id for one in listed.messages] == [wanted]
        place = f"{FLOW}/{found.message.partition}:{found.message.offset}"
        same = await message(caller, event=place)
        assert same is not None
        assert same.message == found.message
        pages = await caller("ListMessages", messages_pb2.ListMessagesRequest(page_size=1))
        after = messages_pb2.ListMessagesRequest(page_size=1, page_token=pages.next_page_token)
        assert [one.message_id for one in (await caller("ListMessages", after)).messages] == [warm]


MISTAKES = [
    ("ListDeadLetters", letters_pb2.ListDeadLettersRequest(page_token="?"), "page_token"),
    ("ListDeadLetters", letters_pb2.ListDeadLettersRequest(filter=meant(names=["1:2"])), "filter.flow"),
    ("GetDeadLetter", letters_pb2.GetDeadLetterRequest(flow=FLOW, name="17"), "name"),
    ("Redrive", letters_pb2.RedriveRequest(), "reason"),
    ("Discard", letters_pb2.DiscardRequest(reason="x", expected=-1), "expected"),
    ("ListMessages", messages_pb2.ListMessagesRequest(page_size=-1), "page_size"),
    ("ListMessages", messages_pb2.ListMessagesRequest(page_token="?"), "page_token"),
    ("GetMessage", messages_pb2.GetMessageRequest(event="orders"), "event"),
]


async def test_the_status_tells_the_last_minute_and_how_far_the_ledger_is(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    await ensure_topics(made.bootstrap, made.integration)
    async with with_ledger(made) as caller:
        worker = await WorkerProcess(made, made.path.parent / "insight").start()
        try:
            await worker.ready()
            await made.append((BAD, 0), *((GOOD, line) for line in range(9)))
            async with asyncio.timeout(60):
                while True:
                    said = await caller("GetStatus", status_pb2.GetStatusRequest())
                    flow = said.flows[0]
                    healthy = {one.name: one.healthy for one in said.checks}
                    counted = flow.last_minute.rate > 0 and flow.last_minute.error_ratio == 0.1
                    if counted and flow.dead_letters == 1 and healthy["database"] and said.ledger.lag == 0:
                        break
                    await asyncio.sleep(0.5)
        finally:
            await worker.stop()
        assert flow.last_minute.length.seconds in range(50, 61)
        assert flow.last_minute.p99.ToMicroseconds() >= flow.last_minute.p50.ToMicroseconds() > 0


async def test_mistakes_name_their_field_and_what_is_away_is_said(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    async with served(made) as caller:
        for method, request, field in MISTAKES:
            with pytest.raises(aio.AioRpcError) as raised:
                await caller(method, request)
            said = refused(raised.value)
            assert (said.code, said.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [field]), (method, said)
        with pytest.raises(aio.AioRpcError) as raised:
            await caller("GetDeadLetter", letters_pb2.GetDeadLetterRequest(flow=FLOW, name="0:17"))
        assert refused(raised.value).reason == "NO_SUCH_LETTER"
        with pytest.raises(aio.AioRpcError) as raised:
            await caller("Audit", audit_pb2.AuditRequest(flows=["nothing"]))
        assert refused(raised.value).reason == "NO_SUCH_FLOW"
        with pytest.raises(aio.AioRpcError) as raised:
            await caller("ListMessages", messages_pb2.ListMessagesRequest())
        assert (refused(raised.value).code, refused(raised.value).reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "LEDGER_AWAY",
        )


async def test_a_tail_tells_what_is_accepted_and_what_becomes_of_it(bridge: MakeBridge, rest: RestDestination) -> None:
    bad = refusing(rest, (BAD, 0))
    made = await bridge(rest_system(rest))
    async with served(made) as caller:
        (before,) = await made.append((GOOD, 0))
        await made.wait_outcomes(1)
        stream = caller.stream("TailMessages", messages_pb2.TailMessagesRequest(flow=FLOW), timeout=60)
        told: list[Any] = []

        async def listen() -> None:
            with suppress(asyncio.CancelledError, aio.AioRpcError):
                async for one in stream:
                    told.append(one)  # noqa: PERF401 - each counts when it comes

        listening = asyncio.create_task(listen())
        async with asyncio.timeout(30):
            while not told:  # then the tail stands at the end
                await made.append((GOOD, 1))
                await asyncio.sleep(0.5)
        await made.append((BAD, 0), (BAD, 1))
        await until(lambda: len([one for one in told if one.key == BAD]) == 4)
        assert sorted(one.entry.kind for one in told if one.key == BAD) == [
            *("accepted", "accepted", "dead_lettered", "held")
        ]
        assert {one.key for one in told} == {GOOD, BAD}
        assert before not in {one.message_id for one in told}
        stream.cancel()
        await listening
    bad.clear()
