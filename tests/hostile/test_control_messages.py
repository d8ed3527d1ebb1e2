"""Whatever comes to a method of the control API, fields or bytes, the answer is a documented status."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from linkspan.control.v1 import control_pb2
from tests.hostile.budget import budget
from tests.integration.control.client import TOKENS
from tests.integration.control.replica import replica
from tests.integration.egress.bridge import Bridge, write_integration
from tests.kafka_fixture import Kafka

SERVICE = control_pb2.DESCRIPTOR.services_by_name["ControlService"]
METHODS = {method.name: method for method in SERVICE.methods}
_Code = grpc.StatusCode
#: docs/control.md has the table.
DOCUMENTED = {
    _Code.OK,
    _Code.INVALID_ARGUMENT,
    _Code.NOT_FOUND,
    _Code.FAILED_PRECONDITION,
    _Code.ABORTED,
    _Code.UNAVAILABLE,
    _Code.DEADLINE_EXCEEDED,
    _Code.UNIMPLEMENTED,
    _Code.OUT_OF_RANGE,
}
#: They never end by themselves; hearing nothing within the time is their good answer.
_PATIENCE = 2.0

TEXTS = st.sampled_from(
    ["", "orders", "nothing", "../..", "\x00", "\x1b[2J", "x" * 10_000, "0:1", "999:999999999999999999999", "-1:-1",
     "$now()", "($f := function($n) {$f($n + 1)}; $f(1))", "/*" * 2_000, "[" * 2_000, "\U0001f4a3", "🙂" * 300]
) | st.text(st.characters(exclude_categories=["Cs"]), max_size=30)  # fmt: skip
NUMBERS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]),
    FieldDescriptor.CPPTYPE_INT64: st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]),
    FieldDescriptor.CPPTYPE_UINT32: st.sampled_from([0, 1, 2**32 - 1]),
    FieldDescriptor.CPPTYPE_UINT64: st.sampled_from([0, 1, 2**64 - 1]),
    FieldDescriptor.CPPTYPE_DOUBLE: st.sampled_from([0.0, -1.0, 1e308, float("inf"), float("-inf"), float("nan")]),
    FieldDescriptor.CPPTYPE_FLOAT: st.sampled_from([0.0, -1.0, float("inf"), float("nan")]),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.sampled_from([0, 1, 2, 99, -1]),
    FieldDescriptor.CPPTYPE_STRING: TEXTS,
}


@st.composite
def messages(draw: st.DrawFn, descriptor: Any, depth: int = 3) -> Any:
    """Any fields of it, with values that are at some border."""
    made = GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if not draw(st.booleans()):
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            if depth == 0 or field.message_type.GetOptions().map_entry:
                continue
            inner = draw(messages(field.message_type, depth - 1))
            target = getattr(made, field.name)
            (target.add() if field.is_repeated else target).CopyFrom(inner)
            continue
        values = NUMBERS[field.cpp_type]
        if field.type == FieldDescriptor.TYPE_BYTES:
            values = st.binary(max_size=20)
        if field.is_repeated:
            getattr(made, field.name).extend(draw(st.lists(values, max_size=4)))
        else:
            setattr(made, field.name, draw(values))
    return made


@pytest.fixture(scope="module")
def answering(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    """A replica on a real Kafka, in a loop of its own, and a channel to it."""
    loop, place = asyncio.new_event_loop(), tmp_path_factory.mktemp("hostile")
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = Bridge(write_integration(place, {"kind": "rest", "url": "http://127.0.0.1:9"}), kafka.bootstrap)
    serving = contextlib.AsyncExitStack()

    async def start() -> str:
        await made.create_topics()
        return await serving.enter_async_context(address_of(made))

    address = asyncio.run_coroutine_threadsafe(start(), loop).result(90)
    with grpc.insecure_channel(address) as channel:
        yield channel
    asyncio.run_coroutine_threadsafe(serving.aclose(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@contextlib.asynccontextmanager
async def address_of(made: Bridge) -> AsyncIterator[str]:
    async with replica(made, "admin") as caller:
        yield caller.address


def status_of(
    channel: grpc.Channel, name: str, request: bytes, patience: float = _PATIENCE
) -> tuple[grpc.StatusCode, str]:
    method = METHODS[name]
    path, metadata = f"/{SERVICE.full_name}/{name}", (("authorization", f"Bearer {TOKENS['admin']}"),)
    kind = channel.unary_stream if method.server_streaming else channel.unary_unary
    call = kind(path, request_serializer=bytes, response_deserializer=bytes)
    try:
        answer = call(request, metadata=metadata, timeout=patience if method.server_streaming else 30)
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return error.code(), str(error.details())
    return _Code.OK, ""


@pytest.mark.parametrize("name", METHODS)
def test_any_fields_of_a_request_get_a_documented_status(name: str, answering: grpc.Channel) -> None:
    @budget(8)
    @given(messages(METHODS[name].input_type))
    def asked(request: Any) -> None:
        code, said = status_of(answering, name, request.SerializeToString())
        assert code in DOCUMENTED, f"{code}: {said}"
        assert "Traceback" not in said

    asked()


@pytest.mark.parametrize("name", METHODS)
def test_bytes_that_are_no_message_are_an_invalid_argument(name: str, answering: grpc.Channel) -> None:
    for request in (b"\xff" * 64, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200):
        code, said = status_of(answering, name, request, 30)
        assert (code, said) == (_Code.INVALID_ARGUMENT, ": the bytes are no message of this method")


@budget(30)
@given(st.sampled_from(sorted(METHODS)), st.binary(max_size=60))
def test_any_bytes_get_a_documented_status(answering: grpc.Channel, name: str, request: bytes) -> None:
    code, said = status_of(answering, name, request)
    assert code in DOCUMENTED, f"{code}: {said}"


@pytest.mark.parametrize("wrong", [{"nanos": -1}, {"nanos": 2**31 - 1}, {"seconds": 2**63 - 1}, {"seconds": -(2**63)}])
def test_a_key_that_expires_at_no_time_is_an_invalid_argument(wrong: dict[str, int], answering: grpc.Channel) -> None:
    request = GetMessageClass(METHODS["IssueKey"].input_type)(name="shop", reason="to see", scopes=["send:*"])
    request.expires.CopyFrom(Timestamp(**wrong))
    code, said = status_of(answering, "IssueKey", request.SerializeToString())
    assert code is _Code.INVALID_ARGUMENT, f"{code}: {said}"
    assert "expires" in said
