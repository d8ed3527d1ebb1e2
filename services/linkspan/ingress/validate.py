"""A message as a system sends it: fast where it is right, with every fault where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import msgspec

from linkspan.ingress.absent import Repeated, read_strictly
from linkspan.ingress.encode import FILLED_METADATA
from linkspan.ingress.errors import Malformed
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.codec import Encoded
from linkspan.kernel.errors import Fault, InvalidMessage
from linkspan.kernel.faults import UUID_PATTERN, faults
from linkspan.kernel.json_form import struct_type
from linkspan.kernel.message import OPTIONAL_HEADER, Json, key_of, new_id, now_micros
from linkspan.kernel.schemas import COMMON, SchemaCatalog

_UUID = re.compile(UUID_PATTERN)
_PARTS = frozenset({"header", "payload", "metadata"})


class Origin(msgspec.Struct, frozen=True):
    """``sender``: the system, where the connection says it; ``correlation_id``: said beside the message, unchecked;
    ``flows``: those that it may send to, None: all."""

    sender: str | None = None
    correlation_id: str | None = None
    flows: frozenset[str] | None = None


class Message(msgspec.Struct):
    """A valid message, complete but for what the payload's schema fills in; its parts are structs.

    ``filled``: the fields that the sender left out; ``marks``: see ``encode``.
    """

    raw: bytes
    flow: FlowIntake
    header: Any
    payload: Any
    metadata: Any
    filled: list[str]
    marks: int
    key: str
    received: int


class _Doubtful(Exception):
    """The fast way cannot say yes; the slow one says why."""


class Validator:
    def __init__(self, flows: list[FlowIntake], catalog: SchemaCatalog) -> None:
        self._header = catalog.latest(COMMON, "Header").definition
        self._metadata = catalog.latest(COMMON, "Metadata").definition
        header = struct_type(self._header, OPTIONAL_HEADER, unset=True)
        metadata = struct_type(self._metadata, FILLED_METADATA, unset=True)
        fields: list[Any] = [("header", header), ("payload", msgspec.Raw), ("metadata", metadata | None, None)]
        envelope: Any = msgspec.defstruct("Message", fields, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(envelope).decode
        self._no_metadata = metadata
        self._by_pair = {(flow.spec.from_, flow.spec.type): flow for flow in flows}
        self._by_type: dict[str, list[FlowIntake]] = {}
        for flow in flows:
            self._by_type.setdefault(flow.spec.type, []).append(flow)

    def validate(self, raw: bytes, origin: Origin) -> Message:
        """Raises Malformed, or InvalidMessage with every fault."""
        try:
            return self._fast(raw, origin)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _Doubtful, InvalidMessage) as error:
            raise self._refusal(raw, origin, str(error)) from None

    def _fast(self, raw: bytes, origin: Origin) -> Message:
        envelope = self._decode(raw)
        header, metadata = envelope.header, envelope.metadata
        flow = self._flow(header.type, header.source, origin.sender)
        if flow is None or header.destination not in (None, flow.spec.to):
            raise _Doubtful
        payload = flow.decoder.decode(envelope.payload)
        now = now_micros()
        filled: list[str] = []
        marks = _OF_NAMES - _complete_header(header, flow, now, filled)
        if metadata is None:
            metadata = self._no_metadata()
        else:
            marks += 2
        marks -= _complete_metadata(metadata, header.messageId, origin, filled)
        key = flow.lane(flow.key(header, payload))
        return Message(raw, flow, header, payload, metadata, filled, marks, key, now)

    def _flow(self, type_name: str, source: str | None, sender: str | None) -> FlowIntake | None:
        if sender and source and sender != source:
            return None
        source = source or sender
        if source:
            return self._by_pair.get((source, type_name))
        known = self._by_type.get(type_name, [])
        return known[0] if len(known) == 1 else None

    def _refusal(self, raw: bytes, origin: Origin, otherwise: str) -> Malformed | InvalidMessage:
        try:
            value = msgspec.json.decode(raw)
            read_strictly(raw)
        except Repeated as repeated:
            return Malformed(f"the name {str(repeated)!r} occurs twice in one object")
        except RecursionError:
            return Malformed("it is nested too deeply")
        except UnicodeDecodeError:
            return Malformed("it is not UTF-8")
        except (msgspec.DecodeError, ValueError) as error:
            return Malformed(str(error).removeprefix("JSON is malformed: "))
        try:
            found = list(self._faults(value, origin))
        except RecursionError:
            return Malformed("it is nested too deeply")
        return InvalidMessage(found or [Fault("message", otherwise)])

    def _faults(self, message: Any, origin: Origin) -> Iterator[Fault]:
        if origin.correlation_id is not None and not _UUID.match(origin.correlation_id):
            yield Fault("X-Correlation-ID", "is not a uuid")
        if not isinstance(message, dict):
            yield Fault("message", "expected an object with header and payload")
            return
        yield from (
            Fault(name, "unknown field; a message has header, payload, metadata") for name in message.keys() - _PARTS
        )
        yield from (Fault(name, "required field missing") for name in ("header", "payload") if name not in message)
        if "header" in message:
            yield from faults(self._header, message["header"], "header", OPTIONAL_HEADER)
        if message.get("metadata") is not None:
            yield from faults(self._metadata, message["metadata"], "metadata", FILLED_METADATA)
            yield from _negative(message["metadata"])
        yield from self._faults_of_flow(message, origin)

    def _faults_of_flow(self, message: Json, origin: Origin) -> Iterator[Fault]:
        header = message.get("header")
        type_name = header.get("type") if isinstance(header, dict) else None
        if not isinstance(header, dict) or not isinstance(type_name, str):
            return
        known = self._by_type.get(type_name)
        if not known:
            yield Fault("header.type", f"no flow takes {type_name[:80]!r}; known are {', '.join(self._by_type)}")
            return
        flow, fault = self._chosen(known, header.get("source"), origin.sender)
        if fault:
            yield fault
        elif header.get("destination") not in (None, flow.spec.to):
            yield Fault("header.destination", f"the flow {flow.name} goes to {flow.spec.to}")
        if "payload" in message:
            found = list(faults(flow.payload, message["payload"], "payload"))
            yield from found or _key_faults(message, flow)

    def _chosen(self, known: list[FlowIntake], source: Any, sender: str | None) -> tuple[FlowIntake, Fault | None]:
        senders = [flow.spec.from_ for flow in known]
        if sender and source is not None and source != sender:
            return known[0], Fault("header.source", f"this connection is {sender}'s")
        source = source if source is not None else sender
        if source is None and len(known) > 1:
            return known[0], Fault(
                "header.source", f"is needed: {' and '.join(senders)} both send {known[0].spec.type}"
            )
        if source is not None and source not in senders:
            return known[0], Fault("header.source", f"{known[0].spec.type} comes from {' or '.join(senders)}")
        return next((flow for flow in known if flow.spec.from_ == source), known[0]), None


_HEADER_NAMES = ("messageId", "timestamp", "source", "destination", "messageType", "version")
#: Quotation marks of the names header and payload; and of a field that holds text, or a number.
_OF_NAMES, _OF_TEXT, _OF_NUMBER = 4, 4, 2
_written_header = attrgetter(*_HEADER_NAMES)


def encode(message: Message) -> Encoded:
    """Raises Malformed where a name stands twice in an object, which decoding does not tell.

    Each name and each text has two quotation marks, so there are more of them than of what was read exactly if
    something was written that was not read. ``marks``: those that are not written as they were sent.
    """
    filled, metadata, raw = message.filled, message.metadata, message.raw
    said = metadata.defaulted is not msgspec.UNSET
    event, marks = message.flow.writer.write(message.header, message.payload, metadata, filled)
    if filled:
        marks -= 2 * (len(filled) + (not said))
    if marks + message.marks != raw.count(b'"') or b"\\" in raw:
        _check_names(raw, marks + message.marks)
    return event


def _check_names(raw: bytes, marks: int) -> None:
    """Where no backslash is escaped, one before a mark makes it part of a text."""
    if b"\\\\" in raw or raw.count(b'"') - raw.count(b'\\"') != marks:
        try:
            read_strictly(raw)
        except Repeated as repeated:
            raise Malformed(f"the name {str(repeated)!r} occurs twice in one object") from None


def _complete_header(header: Any, flow: FlowIntake, now: int, filled: list[str]) -> int:
    """The quotation marks of what it fills in."""
    header.messageId = new_id() if (sent := header.messageId) is None else sent.lower()
    if sent is not None and None not in _written_header(header):
        return 0
    missing = ["messageId"] if sent is None else []
    for name in _HEADER_NAMES[1:]:
        if getattr(header, name) is None:
            missing.append(name)
            setattr(header, name, _filling(name, flow, now))
    filled += [f"header.{name}" for name in missing]
    return _OF_TEXT * len(missing)


def _filling(name: str, flow: FlowIntake, now: int) -> Any:
    match name:
        case "timestamp":
            return now
        case "source":
            return flow.spec.from_
        case "destination":
            return flow.spec.to
        case "messageType":
            return "event"
        case _:
            return "1.0"


def _complete_metadata(metadata: Any, message_id: str, origin: Origin, filled: list[str]) -> int:
    """The quotation marks of what it fills in."""
    marks = 0
    if origin.correlation_id is not None and not _UUID.match(origin.correlation_id):
        raise _Doubtful
    if metadata.correlationId is None:
        filled.append("metadata.correlationId")
        metadata.correlationId = origin.correlation_id or message_id
        marks += _OF_TEXT
    if metadata.priority is None:
        filled.append("metadata.priority")
        metadata.priority = "normal"
        marks += _OF_TEXT
    if metadata.retryCount is None:
        filled.append("metadata.retryCount")
        metadata.retryCount = 0
        marks += _OF_NUMBER
    if (metadata.ttl or 0) < 0 or metadata.retryCount < 0:
        raise _Doubtful
    metadata.correlationId = metadata.correlationId.lower()
    return marks


def _negative(metadata: Any) -> Iterator[Fault]:
    for name in ("ttl", "retryCount"):
        value = metadata.get(name) if isinstance(metadata, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value < 0:
            yield Fault(f"metadata.{name}", "must not be negative")


def _key_faults(message: Json, flow: FlowIntake) -> list[Fault]:
    try:
        key_of({"header": {"messageId": "-"}, **message} if flow.spec.key is None else message, flow.spec.key)
    except InvalidMessage as invalid:
        return list(invalid.faults)
    return []
