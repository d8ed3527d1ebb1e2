"""What a person reads where a call fails, and the exit code that a script gets."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from linkspan.cli.control.refusals import gone, refusal
from linkspan.control.errors import (
    Forbidden,
    NotFound,
    NotKnown,
    NotYet,
    kafka_away,
    more_than_expected,
    no_such_flow,
    wrong,
)
from linkspan.control.told import told, trailing

WHERE = "10.0.0.7:50051"


class Failed(grpc.RpcError):
    """A call's end as grpc hands it over: its status, and the metadata that the server made of the same error."""

    def __init__(self, code: grpc.StatusCode, text: str, details: list[Message]) -> None:
        self._code, self._text, self._metadata = code, text, trailing(code, text, details)

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:
        return [type("Metadatum", (), {"key": key, "value": value}) for key, value in self._metadata]


def failed(error: Exception) -> Failed:
    found = told(error)
    assert found
    return Failed(*found)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (wrong("reason", "say why"), 2, "--reason: say why"),
        (wrong("filter.message_id", "is no id"), 2, "--message-id: is no id"),
        (wrong("filter.names", "is none"), 2, "PARTITION:OFFSET: is none"),
        (no_such_flow("a", ["b", "c"]), 2, "there is no flow a; there are b, c"),
        (NotFound("NO_SUCH_MESSAGE", "no such message"), 1, "no such message"),
        (more_than_expected(3, 2), 1, "3 are meant now, more than the 2 that were expected"),
        (NotYet("PlanReplay"), 1, "PlanReplay is not there yet"),
        (kafka_away("Kafka does not answer"), 3, "Kafka does not answer; try again in 1 s"),
        (TimeoutError(), 3, f"{WHERE} gave no answer in time"),
        (NotKnown("EXPIRED_TOKEN", "old"), 4, f"{WHERE}: the token has expired"),
        (Forbidden("bob is viewer", "viewer", "write"), 4, "not allowed: bob is viewer"),
    ],
)
def test_what_the_server_means_is_what_a_person_reads(error: Exception, code: int, text: str) -> None:
    ended = refusal(failed(error), WHERE)
    assert ended.code == code
    assert str(ended).startswith(text)
    assert "\n" not in str(ended)


def test_a_failure_inside_a_replica_names_the_replica() -> None:
    ended = refusal(Failed(grpc.StatusCode.INTERNAL, "an error of Linkspan", []), WHERE)
    assert (ended.code, str(ended)) == (3, f"{WHERE} failed: an error of Linkspan; its log says more")


def test_a_connection_that_broke_is_told_from_an_answer_that_kafka_is_away() -> None:
    assert gone(Failed(grpc.StatusCode.UNAVAILABLE, "Socket closed", []))
    assert not gone(failed(kafka_away("Kafka does not answer")))
