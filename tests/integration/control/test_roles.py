"""Who may do what: every role, every method, and callers that nobody knows."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from grpc import aio
from tests.integration.control.client import TOKENS, Caller, calling, refused, write_tokens
from tests.integration.egress.bridge import Bridge
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.control.roles import METHODS, ROLES
from linkspan.control.v1 import (
    audit_pb2,
    commands_pb2,
    control_pb2,
    keys_pb2,
    letters_pb2,
    messages_pb2,
    replays_pb2,
    status_pb2,
)

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
SERVICE = control_pb2.DESCRIPTOR.services_by_name["ControlService"]
STREAMS = {method.name for method in SERVICE.methods if method.server_streaming}
MODULES = (audit_pb2, commands_pb2, keys_pb2, letters_pb2, messages_pb2, replays_pb2, status_pb2)
#: Requests that change nothing: a wrong one is refused only after the caller was found to be allowed.
REQUESTS = {
    method.name: next(
        getattr(module, method.input_type.name)() for module in MODULES if hasattr(module, method.input_type.name)
    )
    for method in SERVICE.methods
}


@dataclass
class Served:
    made: Bridge
    control: str
    log: list[str]


@pytest.fixture
async def served(bridge: MakeBridge, rest: RestDestination) -> AsyncIterator[Served]:
    made = await bridge(rest_system(rest))
    tokens = write_tokens(made.path.parent / "tokens.yaml")
    async with made.egress(LINKSPAN_TOKENS=str(tokens)) as process:
        yield Served(made, process.control, process.log)


async def answer(caller: Caller, method: str) -> aio.AioRpcError | None:
    """None: it was answered. Once more where there was no connection, as a busy machine may take too long for it."""
    error = await once(caller, method)
    lost = error is not None and error.code() is grpc.StatusCode.UNAVAILABLE and not refused(error).reason
    return await once(caller, method) if lost else error


async def once(caller: Caller, method: str) -> aio.AioRpcError | None:
    try:
        if method in STREAMS:
            async for _ in caller.stream(method, REQUESTS[method], timeout=4):  # a tail has nothing to tell
                return None
        else:
            await caller(method, REQUESTS[method])
    except aio.AioRpcError as error:
        return error
    return None


def test_no_method_is_without_a_permission_and_every_one_is_tried() -> None:
    assert set(METHODS) == set(REQUESTS) == {method.name for method in SERVICE.methods}
    assert set(ROLES) == {"viewer", "operator", "admin"} == set(TOKENS)


async def test_every_role_may_call_what_its_permissions_say_and_nothing_else(served: Served) -> None:
    for role, method in itertools.product(ROLES, REQUESTS):
        async with calling(served.control, TOKENS[role]) as caller:
            error = await answer(caller, method)
        if METHODS[method] in ROLES[role]:
            codes = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INTERNAL)
            assert error is None or error.code() not in codes, (role, method, error)
        else:
            assert error is not None, (role, method)
            said = refused(error)
            assert (said.code, said.reason) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"), (role, method)
            assert said.metadata == {"role": role, "permission": METHODS[method].value}


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "NO_CREDENTIALS"), ("made-up", "BAD_TOKEN"), ("a.b.c", "BAD_TOKEN")]
)
async def test_nobody_who_is_not_known_gets_anything(served: Served, token: str | None, reason: str) -> None:
    async with calling(served.control, token) as caller:
        for method in REQUESTS:
            error = await answer(caller, method)
            assert error is not None, method
            said = refused(error)
            assert (said.code, said.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason), method
            assert "Traceback" not in said.text


async def test_a_forbidden_call_stands_in_the_audit_trail_once_a_minute(served: Served) -> None:
    async with calling(served.control, TOKENS["viewer"]) as caller:
        for _ in range(5):
            assert await answer(caller, "Pause") is not None
        async with asyncio.timeout(20):
            while not (await caller("ListCommands", commands_pb2.ListCommandsRequest(kind="refused"))).commands:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        found = await caller("ListCommands", commands_pb2.ListCommandsRequest(kind="refused"))
    (command,) = found.commands
    assert (command.kind, command.by, command.role, command.subject) == ("refused", "the viewer", "viewer", "Pause")
    assert (command.result, command.effective) == ("Pause was refused", False)
    assert "lacks write" in command.reason
