"""Outcomes say in eight bytes what left, for shadows, and stay as quick to fold as before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.record import outcome
from linkspan.egress.record.outcome import DIGESTS, OutcomeWriter
from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.records.sent import sent_digest
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.replay.standing import Transforms

CODEC = OutcomeCodec(SchemaCatalog(packaged_schemas()))
HEADER, PAYLOAD = {"messageId": "1", "type": "Order"}, {"line": 1, "text": "a"}


def effect(kind: str = "delivered", secrets: Any = None) -> Record:
    message = Message(5, b"k", None)
    message.prepared = SimpleNamespace(header=HEADER, payload=PAYLOAD, secrets=secrets)
    return Record(message, kind)


def said(writer: OutcomeWriter, one: Record) -> dict[str, Any]:
    return CODEC.decode(writer.write(one, None, 7, 1)[0])


def test_the_order_of_names_makes_no_difference_and_everything_else_does() -> None:
    turned = dict(reversed(PAYLOAD.items()))
    assert sent_digest(HEADER, PAYLOAD) == sent_digest(HEADER, turned)
    assert (
        len({sent_digest(HEADER, PAYLOAD), sent_digest(HEADER, PAYLOAD | {"line": 2}), sent_digest({}, PAYLOAD)}) == 3
    )


def test_only_what_was_delivered_live_and_has_no_confidential_values_is_said() -> None:
    live, replay = OutcomeWriter(CODEC, "store", "t1"), OutcomeWriter(CODEC, "store", "t1", "a plan")
    assert said(live, effect())["sent"] == sent_digest(HEADER, PAYLOAD)
    assert said(live, effect("filtered"))["sent"] is None
    assert said(live, effect(secrets=object()))["sent"] is None
    assert said(replay, effect())["sent"] is None
    assert said(live, Record(Message(5, b"k", None), "delivered"))["sent"] is None


def test_of_a_second_only_the_first_ones_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    writer, now = OutcomeWriter(CODEC, "store", "t1"), 1_000_000
    monkeypatch.setattr(outcome, "now_micros", lambda: now)
    known = [said(writer, effect())["sent"] is not None for _ in range(DIGESTS + 3)]
    assert known == [True] * DIGESTS + [False] * 3
    now = 2_000_000
    assert said(writer, effect())["sent"] is not None


def test_the_transform_is_still_read_from_the_end_of_the_value_without_decoding() -> None:
    decoded: list[bytes] = []

    def read(value: bytes) -> str:
        decoded.append(value)
        return str(CODEC.decode(value)["transform"])

    transforms, writer = Transforms(read), OutcomeWriter(CODEC, "store", "0123456789abcdef")
    numbers = [transforms.number(writer.write(effect(), None, at, 1)[0]) for at in range(50)]
    assert (numbers, len(decoded)) == ([1] * 50, 1)
