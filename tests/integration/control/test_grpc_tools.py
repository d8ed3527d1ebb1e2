"""Tools that know of us only the address: grpcurl asks, ghz makes load."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from tests.integration.control.client import TOKENS, write_tokens
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.control.v1 import control_pb2

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
SERVICE = control_pb2.DESCRIPTOR.services_by_name["ControlService"]
CALLS, AT_ONCE = 2_000, 10
#: Seconds that a tool has, however slow the machine.
LONGEST = 120


@pytest.fixture
async def control(bridge: MakeBridge, rest: RestDestination) -> AsyncIterator[str]:
    made = await bridge(rest_system(rest))
    tokens = write_tokens(made.path.parent / "tokens.yaml")
    async with made.egress(LINKSPAN_TOKENS=str(tokens)) as process:
        yield process.control


@pytest.fixture
def grpcurl() -> str:
    return tool("grpcurl")


@pytest.fixture
def ghz() -> str:
    return tool("ghz")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH (CONTRIBUTING.md says where it comes from)")
    return found


@dataclass(frozen=True)
class Said:
    """``wrong``: what it says on stderr."""

    text: str
    wrong: str

    def error(self) -> tuple[grpc.StatusCode, dict[str, Any]]:
        """With the only detail."""
        found = json.loads(self.wrong)
        (detail,) = found["details"]
        (code,) = (code for code in grpc.StatusCode if code.value[0] == found["code"])
        return code, detail


async def run(*command: str) -> Said:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(LONGEST):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Said(out.decode(), err.decode())


async def call(grpcurl: str, control: str, method: str, request: dict[str, Any], role: str | None) -> Said:
    token = ("-H", f"authorization: Bearer {TOKENS[role]}") if role else ()
    options = ("-plaintext", "-format-error", *token, "-d", json.dumps(request))
    return await run(grpcurl, *options, control, f"{SERVICE.full_name}/{method}")


async def test_grpcurl_finds_every_service_and_call_without_a_token(grpcurl: str, control: str) -> None:
    services = await run(grpcurl, "-plaintext", control, "list")
    assert set(services.text.split()) == {
        SERVICE.full_name,
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }, services
    found = await run(grpcurl, "-plaintext", control, "describe", SERVICE.full_name)
    for method in SERVICE.methods:
        assert f"rpc {method.name} ( .{method.input_type.full_name} )" in found.text, found
        one = await run(grpcurl, "-plaintext", control, "describe", method.full_name)
        assert f"{method.full_name} is a method" in one.text, one


async def test_grpcurl_gets_the_status_with_a_token_and_otherwise_the_reason(grpcurl: str, control: str) -> None:
    status = await call(grpcurl, control, "GetStatus", {}, "viewer")
    assert [flow["flow"] for flow in json.loads(status.text)["flows"]] == ["orders"], status
    nobody = await call(grpcurl, control, "GetStatus", {}, None)
    code, detail = nobody.error()
    assert (code, detail["reason"]) == (grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIALS")
    assert not nobody.text
    code, detail = (await call(grpcurl, control, "Pause", {}, "viewer")).error()
    assert (code, detail["reason"]) == (grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN")
    assert detail["metadata"] == {"role": "viewer", "permission": "write"}
    code, detail = (await call(grpcurl, control, "Pause", {}, "operator")).error()
    assert (code, detail["@type"]) == (grpc.StatusCode.INVALID_ARGUMENT, "type.googleapis.com/google.rpc.BadRequest")
    assert detail["field_violations"] == [{"field": "target", "description": "name a flow or a destination"}]
    request = {"target": {"flow": "nothing"}, "reason": "to see"}
    code, detail = (await call(grpcurl, control, "Pause", request, "operator")).error()
    assert (code, detail["reason"]) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_FLOW")


async def load(ghz: str, control: str, token: str, calls: int) -> dict[str, Any]:
    """Its report. The method is found by reflection."""
    metadata = json.dumps({"authorization": f"Bearer {token}"})
    options = ("--insecure", "-O", "json", "-d", "{}", "-m", metadata, "-n", str(calls), "-c", str(AT_ONCE))
    said = await run(ghz, *options, "--call", f"{SERVICE.full_name}/GetStatus", control)
    assert said.text, said.wrong
    found: dict[str, Any] = json.loads(said.text)
    return found


async def test_ghz_gets_an_answer_to_every_call_under_load_and_a_refusal_without_a_right_token(
    ghz: str, control: str
) -> None:
    report = await load(ghz, control, TOKENS["viewer"], CALLS)
    assert report["statusCodeDistribution"] == {"OK": CALLS}, report["errorDistribution"]
    assert not report["errorDistribution"]
    slow = {one["percentage"]: one["latency"] / 1e6 for one in report["latencyDistribution"]}
    print(f"ghz: {report['rps']:.0f} requests a second, p50 {slow[50]:.1f} ms, p99 {slow[99]:.1f} ms")
    refused = await load(ghz, control, "made-up", 200)
    assert refused["statusCodeDistribution"] == {"Unauthenticated": 200}
