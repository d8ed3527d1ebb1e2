"""A message as a system sends it: fast where it is right, with every fault where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from linkspan.ingress.absent import Repeated, read_strictly
from linkspan.ingress.errors import Malformed
from linkspan.ingress.flows import FlowIntake
from linkspan.kernel.errors import Fault, InvalidMessage
from linkspan.kernel.faults import UUID_PATTERN, faults
from linkspan.kernel.json_form import plain, struct_type
from linkspan.kernel.message import OPTIONAL_HEADER, OPTIONAL_METADATA, Json, key_of, new_id, now_micros
from linkspan.kernel.schemas import COMMON, SchemaCatalog

#: Also optional, because the schema has defaults; named here so that it is known which were left out.
_FILLED_METADATA = OPTIONAL_METADATA | {"priority", "retryCount"}
_UUID = re.compile(UUID_PATTERN)
_PARTS = frozenset({"header", "payload", "metadata"})


@dataclass(frozen=True, slots=True)
class Origin:
    """``sender``: the system, where the connection says it; ``correlation_id``: said beside the message, unchecked."""

    sender: str | None = None
    correlation_id: str | None = None


@dataclass(slots=True)
class Message:
    """A valid message, complete; its parts are data that the encoder takes."""

    flow: FlowIntake
    header: Json
    payload: Json
    metadata: Json
    key: str
    received: int


class _Doubtful(Exception):
    """The fast way cannot say yes; the slow one says why."""


class Validator:
    def __init__(self, flows: list[FlowIntake], catalog: SchemaCatalog) -> None:
        self._header = catalog.latest(COMMON, "Header").definition
        self._metadata = catalog.latest(COMMON, "Metadata").definition
        header = struct_type(self._header, OPTIONAL_HEADER, unset=True)
        metadata = struct_type(self._metadata, _FILLED_METADATA, unset=True)
        fields: list[Any] = [("header", header), ("payload", msgspec.Raw), ("metadata", metadata | None, None)]
        envelope: Any = msgspec.defstruct("Message", fields, forbid_unknown_fields=True)
        self._decode = msgspec.json.Decoder(envelope).decode
        self._encode = msgspec.json.Encoder().encode
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
        flow = self._flow(envelope.header.type, envelope.header.source, origin.sender)
        if flow is None:
            raise _Doubtful
        sent = flow.decoder.decode(envelope.payload)
        self._check_names(raw, envelope, sent)
        now = now_micros()
        filled: list[str] = []
        header = _complete_header(plain(envelope.header), flow, now, filled)
        metadata = _complete_metadata(envelope.metadata, header["messageId"], origin, filled)
        payload = plain(sent)
        if flow.fill:
            flow.fill(payload, "payload", filled)
        if filled:
            metadata["defaulted"] = [*metadata["defaulted"], *filled]
        key = flow.lane(key_of({"header": header, "payload": payload}, flow.spec.key))
        return Message(flow, header, payload, metadata, key, now)

    def _check_names(self, raw: bytes, envelope: Any, payload: Any) -> None:
        """Whether a name stands twice in an object, which decoding does not tell: then more names were written than
        were read. Counting is a hint; what follows it is exact."""
        read = self._encode([envelope.header, payload, envelope.metadata]).count(b'":') + 2
        if raw.count(b'":') != read + (envelope.metadata is not None):
            try:
                read_strictly(raw)
            except Repeated:
                raise _Doubtful from None

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
            yield from faults(self._metadata, message["metadata"], "metadata", _FILLED_METADATA)
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
_METADATA_NAMES = ("correlationId", "priority", "retryCount")


def _complete_header(header: Json, flow: FlowIntake, now: int, filled: list[str]) -> Json:
    if header.get("destination") not in (None, flow.spec.to):
        raise _Doubtful
    for name in _HEADER_NAMES:
        if header.get(name) is None:
            filled.append(f"header.{name}")
            header[name] = _filling(name, flow, now)
    header["messageId"] = header["messageId"].lower()
    return header


def _filling(name: str, flow: FlowIntake, now: int) -> Any:
    match name:
        case "messageId":
            return new_id()
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


def _complete_metadata(sent: Any, message_id: str, origin: Origin, filled: list[str]) -> Json:
    if origin.correlation_id is not None and not _UUID.match(origin.correlation_id):
        raise _Doubtful
    metadata: Json = {
        "correlationId": (origin.correlation_id or message_id).lower(),
        "priority": "normal",
        "ttl": None,
        "retryCount": 0,
        "defaulted": [],
    }
    said = {} if sent is None else {name: value for name, value in plain(sent).items() if value is not None}
    filled += [f"metadata.{name}" for name in _METADATA_NAMES if name not in said]
    metadata |= said
    if (metadata["ttl"] or 0) < 0 or metadata["retryCount"] < 0:
        raise _Doubtful
    metadata["correlationId"] = metadata["correlationId"].lower()
    return metadata


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
