"""Messages and their outcomes as they happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from linkspan.control.errors import Away
from linkspan.control.v1 import messages_pb2 as pb
from linkspan.control.views.scope import Scope
from linkspan.control.views.times import timestamp
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.errors import Poison
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.records.epoch import Epoch
from linkspan.kernel.records.event import Event
from linkspan.kernel.topics import FlowTopics

#: Callers that one replica serves at a time; each reads Kafka for itself.
MOST = 16
_FETCH_MS, _RECORDS = 500, 500
_ABOUT_NO_MESSAGE = frozenset({"owner", "opened"})


@dataclass(frozen=True, slots=True)
class _Place:
    flow: str
    is_event: bool


class Tail:
    """``stale`` is told as far as the change of owner was seen by this tail."""

    def __init__(self, scope: Scope) -> None:
        self._scope, self._codec = scope, OutcomeCodec(scope.catalog)
        self._open = 0

    async def tail_messages(self, request: pb.TailMessagesRequest) -> AsyncIterator[pb.TailMessagesResponse]:
        """From now on, until the caller goes. Raises NotFound, Away."""
        flows = self._scope.flows(request.flow)
        if self._open >= MOST:
            raise Away("TOO_MANY_TAILS", f"this replica serves {MOST} tails already; try another one, or later")
        self._open += 1
        reader = self._scope.clients.reader()
        try:
            await reader.start()
            places = self._places(flows, outcomes_only=request.outcomes_only)
            async for answer in self._follow(reader, places, request):
                yield answer
        except (KafkaError, OSError) as error:
            raise Away("KAFKA_AWAY", f"Kafka does not answer: {error}") from error
        finally:
            self._open -= 1
            await stop_consumer(reader)

    def _places(self, flows: list[str], *, outcomes_only: bool) -> dict[TopicPartition, _Place]:
        found = {}
        for flow in flows:
            topics = FlowTopics.of(self._scope.name, flow)
            for number in range(self._scope.partitions(flow)):
                found[TopicPartition(topics.outcomes, number)] = _Place(flow, is_event=False)
                if not outcomes_only:
                    found[TopicPartition(topics.events, number)] = _Place(flow, is_event=True)
        return found

    async def _follow(
        self, reader: AIOKafkaConsumer, places: dict[TopicPartition, _Place], request: pb.TailMessagesRequest
    ) -> AsyncIterator[pb.TailMessagesResponse]:
        reader.assign(list(places))
        await reader.seek_to_end(*places)
        epochs = {tp: Epoch() for tp, place in places.items() if not place.is_event}
        while True:
            found = await reader.getmany(timeout_ms=_FETCH_MS, max_records=_RECORDS)
            records = sorted(((r, tp) for tp, some in found.items() for r in some), key=lambda one: one[0].timestamp)
            for record, tp in records:
                place = places[tp]
                said = _accepted(record) if place.is_event else self._outcome(record, epochs[tp])
                if said is not None and _wanted(said, request):
                    said.flow, said.partition = place.flow, tp.partition
                    yield said

    def _outcome(self, record: Any, epoch: Epoch) -> pb.TailMessagesResponse | None:
        try:
            said = self._codec.decode(record.value)
        except Poison:
            return None
        valid = epoch.valid(said["kind"], said["epoch"])
        if said["kind"] in _ABOUT_NO_MESSAGE or said["offset"] < 0:
            return None
        entry = pb.TimelineEntry(
            kind=said["kind"],
            at=timestamp(said["at"]),
            epoch=said["epoch"],
            attempt=said["attempt"],
            failure=said["failure"] or "",
            reason=said["reason"] or "",
            destination=said["destination"] or "",
            sent_at=timestamp(said["sentAt"]),
            transform=said["transform"] or "",
            command=said["command"],
            plan=said["plan"] or "",
            stale=not valid,
        )
        return pb.TailMessagesResponse(
            offset=said["offset"],
            message_id=said["messageId"] or "",
            correlation_id=said["correlationId"] or "",
            key=said["key"],
            entry=entry,
        )


def _accepted(record: Any) -> pb.TailMessagesResponse:
    event = Event.of(record)
    return pb.TailMessagesResponse(
        offset=event.offset,
        message_id=event.message_id or "",
        correlation_id=event.correlation_id or "",
        key=event.key.decode("utf-8", "replace") if event.key is not None else None,
        entry=pb.TimelineEntry(kind="accepted", at=timestamp(event.accepted_at)),
    )


def _wanted(said: pb.TailMessagesResponse, request: pb.TailMessagesRequest) -> bool:
    return request.key in ("", said.key) and request.correlation_id in ("", said.correlation_id)
