"""Messages, what became of each, and conversations: from the ledger; contents from Kafka."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.control.errors import BadRequest, NotFound, wrong
from linkspan.control.pages import page_size
from linkspan.control.v1 import messages_pb2 as pb
from linkspan.control.v1.status_pb2 import LedgerStatus
from linkspan.control.views.scope import Scope
from linkspan.control.views.times import duration, micros_of, timestamp
from linkspan.kernel.codec import Decoder
from linkspan.kernel.errors import Fault, Poison
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.topics import FlowTopics
from linkspan.readmodel.asked import Ledger
from linkspan.readmodel.paging import BadToken
from linkspan.readmodel.rows import (
    ConversationFilter,
    ConversationRow,
    Folded,
    MessageFilter,
    MessageRow,
    TimelineRow,
)

_EVENT = re.compile(r"([^/]+)/(\d{1,9}):(\d{1,18})\Z")
_CONTENT_SECONDS = 10.0
_STATUS = "MESSAGE_STATUS_"
_STATE = "CONVERSATION_STATE_"


class Messages:
    def __init__(self, scope: Scope, ledger: Ledger) -> None:
        self._scope, self._ledger = scope, ledger

    async def list_messages(self, request: pb.ListMessagesRequest) -> pb.ListMessagesResponse:
        self._scope.flows(request.flow)
        since, until = request.HasField("since"), request.HasField("until")
        wanted = MessageFilter(
            flow=request.flow or None,
            status=_asked(pb.MessageStatus, request.status, "status", _STATUS),
            type=request.type or None,
            key=request.key or None,
            message_id=request.message_id or None,
            correlation_id=request.correlation_id or None,
            since=micros_of(request.since) if since else None,
            until=micros_of(request.until) if until else None,
        )
        size = page_size(request.page_size)
        try:
            rows, following = await (await self._ledger.queries()).messages(wanted, size, request.page_token)
        except BadToken as error:
            raise wrong("page_token", str(error)) from None
        messages = [_message(row) for row in rows]
        return pb.ListMessagesResponse(messages=messages, next_page_token=following, ledger=await self.ledger())

    async def get_message(self, request: pb.GetMessageRequest) -> pb.GetMessageResponse:
        rows = await self._rows(request)
        if not rows:
            raise NotFound("NO_SUCH_MESSAGE", "the ledger knows no such message; it may not have folded it yet")
        row, *others = sorted(rows, key=lambda one: one.accepted_at or 0, reverse=True)
        timeline = await (await self._ledger.queries()).timeline(row.flow, row.partition, row.offset)
        return pb.GetMessageResponse(
            message=_message(row),
            timeline=[_entry(one) for one in timeline],
            content=await self._content(row) if request.content else "",
            same_id=[f"{one.flow}/{one.partition}:{one.offset}" for one in others],
            ledger=await self.ledger(),
        )

    async def _rows(self, request: pb.GetMessageRequest) -> list[MessageRow]:
        if request.WhichOneof("message") == "message_id" and request.message_id:
            return await (await self._ledger.queries()).message(request.message_id)
        found = _EVENT.match(request.event)
        if found is None:
            raise wrong("event", "expected a message_id, or an event as FLOW/PARTITION:OFFSET")
        self._scope.flows(found[1])
        return await (await self._ledger.queries()).event(found[1], int(found[2]), int(found[3]))

    async def list_conversations(self, request: pb.ListConversationsRequest) -> pb.ListConversationsResponse:
        self._scope.flows(request.flow)
        wanted = ConversationFilter(
            state=_asked(pb.ConversationState, request.state, "state", _STATE),
            flow=request.flow or None,
            correlation_id=request.correlation_id or None,
        )
        size = page_size(request.page_size)
        try:
            rows, following = await (await self._ledger.queries()).conversations(wanted, size, request.page_token)
        except BadToken as error:
            raise wrong("page_token", str(error)) from None
        found = [_conversation(row) for row in rows]
        return pb.ListConversationsResponse(conversations=found, next_page_token=following, ledger=await self.ledger())

    async def ledger(self) -> LedgerStatus:
        return ledger_status(await (await self._ledger.queries()).folded())

    async def _content(self, row: MessageRow) -> str:
        """JSON; empty where Kafka has the event no longer, the file its flow, or it cannot be decoded."""
        spec = self._scope.integration.flows.get(row.flow)
        if spec is None:
            return ""
        reader = self._scope.clients.reader()
        events = TopicPartition(FlowTopics.of(self._scope.name, row.flow).events, row.partition)
        try:
            async with asyncio.timeout(_CONTENT_SECONDS):
                value = await _value(reader, events, row.offset)
            decoder = Decoder.of_events(self._scope.catalog, self._scope.name, [spec.type])
            return msgspec.json.encode(decoder.json(value)).decode()
        except (KafkaError, TimeoutError, OSError, Poison):
            return ""
        finally:
            await stop_consumer(reader)


async def _value(reader: AIOKafkaConsumer, events: TopicPartition, offset: int) -> bytes | None:
    await reader.start()
    reader.assign([events])
    if offset < (await reader.beginning_offsets([events]))[events]:
        return None
    reader.seek(events, offset)
    while True:
        for record in (await reader.getmany(events, timeout_ms=1_000, max_records=1)).get(events, ()):
            found: bytes | None = record.value if record.offset == offset else None
            return found


def ledger_status(folded: list[Folded]) -> LedgerStatus:
    """The sum over partitions; its time is the newest."""
    newest = max((one.at for one in folded), default=None)
    return LedgerStatus(lag=sum(one.lag for one in folded) if folded else -1, at=timestamp(newest))


def _name(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _message(row: MessageRow) -> pb.Message:
    return pb.Message(
        flow=row.flow,
        partition=row.partition,
        offset=row.offset,
        message_id=row.message_id or "",
        correlation_id=row.correlation_id or "",
        key=row.key,
        type=row.type or "",
        source=row.source or "",
        destination=row.destination or "",
        priority=row.priority or "",
        status=pb.MessageStatus.Value(_STATUS + row.status.upper()),
        accepted_at=timestamp(row.accepted_at),
        decided_at=timestamp(row.decided_at),
        delivered_at=timestamp(row.delivered_at),
        attempts=row.attempts,
        failure=row.failure or "",
        reason=row.reason or "",
        size=row.size or 0,
        trace_id=row.trace_id or "",
    )


def _entry(row: TimelineRow) -> pb.TimelineEntry:
    return pb.TimelineEntry(
        kind=row.kind,
        at=timestamp(row.at),
        epoch=row.epoch,
        attempt=row.attempt,
        failure=row.failure or "",
        reason=row.reason or "",
        destination=row.destination or "",
        sent_at=timestamp(row.sent_at),
        transform=row.transform or "",
        command=row.command,
        plan=row.plan or "",
        stale=row.stale,
    )


def _conversation(row: ConversationRow) -> pb.Conversation:
    return pb.Conversation(
        correlation_id=row.correlation_id,
        request_flow=row.request_flow,
        request_message_id=row.request_message_id or "",
        requested_at=timestamp(row.request_at),
        answer_flow=row.answer_flow or "",
        answer_message_id=row.answer_message_id or "",
        answered_at=timestamp(row.answer_at),
        due_at=timestamp(row.due_at),
        state=pb.ConversationState.Value(_STATE + row.state.upper()),
        took=duration(row.between),
    )


def _asked(kind: Any, value: int, field: str, prefix: str) -> str | None:
    """None where it was not asked for. Raises BadRequest: a client may know of values that we do not."""
    if not value:
        return None
    if value not in kind.values():
        raise BadRequest(Fault(field, f"there is no {field} with the number {value}"))
    return _name(kind.Name(value), prefix)
