"""Dead letters: what there are, and one with its content and what would be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby

import msgspec

from linkspan.control.actions import reason_of
from linkspan.control.commands import Commands
from linkspan.control.errors import NotFound, more_than_expected, wrong
from linkspan.control.identity import caller
from linkspan.control.pages import page_size, place_of, token_of
from linkspan.control.shown import command
from linkspan.control.v1 import letters_pb2 as pb
from linkspan.control.v1.commands_pb2 import Command
from linkspan.control.views.letter_filter import check, chosen, place
from linkspan.control.views.scope import Scope
from linkspan.control.views.times import timestamp
from linkspan.kernel.codec import Decoder
from linkspan.kernel.commands import DISCARD, REDRIVE
from linkspan.kernel.commands import Command as Given
from linkspan.kernel.errors import DeliveryError, KafkaAway, Poison
from linkspan.kernel.message import Json
from linkspan.kernel.records.event import Event
from linkspan.kernel.topic_admin import ANSWER
from linkspan.kernel.topics import Headers
from linkspan.readmodel.letters import Letter, letter, letters
from linkspan.transform.transform import Transform

_PREVIEW_SECONDS = 20.0


class Letters:
    """``transform``: of a flow, made when it is asked for first."""

    def __init__(self, scope: Scope, transform: Callable[[str], Transform], commands: Commands) -> None:
        self._scope, self._transform, self._commands = scope, transform, commands
        self._one = asyncio.Lock()  # a reading goes through all copies of a flow

    async def find(self, wanted: pb.LetterFilter) -> list[Letter]:
        """In the order of flow, partition and event. Raises BadRequest, NotFound, KafkaAway."""
        check(wanted)
        flows = sorted(self._scope.flows(wanted.flow))
        scope, found = self._scope, list[Letter]()
        async with self._alone():
            for flow in flows:
                found += await letters(scope.clients, scope.name, flow, scope.partitions(flow))
        return chosen(found, wanted)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Raises KafkaAway where another call reads for too long."""
        try:
            async with asyncio.timeout(ANSWER):
                await self._one.acquire()
        except TimeoutError:
            raise KafkaAway(
                f"dead letters are being read for another call for more than {ANSWER} s; ask again"
            ) from None
        try:
            yield
        finally:
            self._one.release()

    async def list_dead_letters(self, request: pb.ListDeadLettersRequest) -> pb.ListDeadLettersResponse:
        size = page_size(request.page_size)
        after = place_of(request.page_token, tuple[str, int, int])
        found = await self.find(request.filter)
        left = [one for one in found if after is None or _order(one) > after]
        page = left[:size]
        return pb.ListDeadLettersResponse(
            groups=_groups(found),
            letters=[_said(one) for one in page],
            next_page_token=token_of(*_order(page[-1])) if len(left) > size else "",
            total=len(found),
        )

    async def get_dead_letter(self, request: pb.GetDeadLetterRequest) -> pb.GetDeadLetterResponse:
        flow = self._scope.flows(request.flow)[0] if request.flow else self._needs_flow()
        partition, offset = place(request.name)
        found = None
        if partition < self._scope.partitions(flow):
            found = await letter(self._scope.clients, self._scope.name, flow, partition, offset)
        if found is None:
            raise NotFound("NO_SUCH_LETTER", f"{flow} has no dead letter {request.name} now")
        one, copy = found
        event = copy.event()
        answer = pb.GetDeadLetterResponse(
            letter=_said(one),
            headers={name: _header(name, value) for name, value in event.headers},
            value=event.value or b"",
        )
        await self._preview(flow, event, answer)
        return answer

    async def redrive(self, request: pb.RedriveRequest) -> pb.RedriveResponse:
        letters, given = await self._decide(REDRIVE, request)
        waiting = sum(one.waiting for one in letters)
        return pb.RedriveResponse(letters=len(letters), waiting=waiting, commands=given)

    async def discard(self, request: pb.DiscardRequest) -> pb.DiscardResponse:
        letters, given = await self._decide(DISCARD, request)
        waiting = sum(one.waiting for one in letters)
        return pb.DiscardResponse(letters=len(letters), waiting=waiting, commands=given)

    async def _decide(
        self, kind: str, request: pb.RedriveRequest | pb.DiscardRequest
    ) -> tuple[list[Letter], list[Command]]:
        """The letters that are meant, and the commands that were given, one for each."""
        reason = "" if request.dry_run else reason_of(request.reason)
        if request.expected < 0:
            raise wrong("expected", "a number of letters; 0: no limit")
        found = await self.find(request.filter)
        if request.expected and len(found) > request.expected:
            raise more_than_expected(len(found), request.expected)
        if request.dry_run or not found:
            return found, []
        by = caller()
        wanted = [Given(kind, one.flow, one.partition, one.offset, by.name, reason, role=by.role) for one in found]
        return found, [command(one) for one in await self._commands.give(wanted)]

    async def _preview(self, flow: str, event: Event, answer: pb.GetDeadLetterResponse) -> None:
        spec = self._scope.integration.flows[flow]
        if event.refused is not None:
            answer.decode_error = f"no message came in: {event.refused}"
            return
        try:
            decoder = Decoder.of_events(self._scope.catalog, self._scope.name, [spec.type])
            message = decoder.json(event.value)
        except Poison as error:
            answer.decode_error = error.reason
            return
        answer.content = _text(message)
        try:
            async with asyncio.timeout(_PREVIEW_SECONDS):
                made = await self._transform(flow).apply(message)
        except DeliveryError as error:
            answer.transform_error = error.reason
        except TimeoutError:
            answer.transform_error = f"it took longer than {_PREVIEW_SECONDS:g} s"
        else:
            answer.would_send = _text(made)

    def _needs_flow(self) -> str:
        names = list(self._scope.integration.flows)
        if len(names) == 1:
            return names[0]
        raise NotFound("NO_SUCH_FLOW", f"say the flow; there are {', '.join(names)}")


def _order(one: Letter) -> tuple[str, int, int]:
    return one.flow, one.partition, one.offset


def _header(name: str, value: bytes) -> str:
    return value.hex() if name == Headers.DIGEST else value.decode("utf-8", "replace")


def _text(message: Json) -> str:
    return msgspec.json.encode(message).decode()


def _said(one: Letter) -> pb.DeadLetter:
    return pb.DeadLetter(
        flow=one.flow,
        name=one.name,
        key=one.key,
        message_id=one.message_id,
        correlation_id=one.correlation_id,
        failure=one.failure,
        reason=one.reason,
        fingerprint=one.fingerprint,
        attempts=one.attempts,
        at=timestamp(one.at),
        waiting=one.waiting,
    )


def _groups(found: list[Letter]) -> list[pb.DeadLetterGroup]:
    """The largest first."""
    by = lambda one: (one.flow, one.failure, one.fingerprint)  # noqa: E731
    groups = [list(those) for _, those in groupby(sorted(found, key=by), by)]
    return [_group(those) for those in sorted(groups, key=len, reverse=True)]


def _group(those: list[Letter]) -> pb.DeadLetterGroup:
    newest = max(those, key=lambda one: one.at)
    return pb.DeadLetterGroup(
        flow=newest.flow,
        failure=newest.failure,
        fingerprint=newest.fingerprint,
        reason=newest.reason,
        letters=len(those),
        waiting=sum(one.waiting for one in those),
        oldest=timestamp(min(one.at for one in those)),
        newest=timestamp(newest.at),
    )
