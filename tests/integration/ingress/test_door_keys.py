"""API keys at ingress: who is heard, who is not, and what each is told."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from grpc import aio
from tests.authority import Authority
from tests.integration.control.client import Caller, refused
from tests.integration.ingress.senders import becomes, both_ways, issue, operator, post, revoke
from tests.integration.ingress.site import Replica, Site, done, order, replica
from tests.kafka_fixture import Kafka

from linkspan.control.v1 import commands_pb2
from linkspan.control.v1 import keys_pb2 as pb

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
AWAY = "kafka://127.0.0.1:1"


@pytest.fixture
def own(tmp_path: Path, kafka: Kafka) -> Site:
    return Site(tmp_path, kafka.bootstrap)


@pytest.fixture
async def one(own: Site) -> AsyncIterator[Replica]:
    async with replica(own) as started:
        yield started


@pytest.fixture
async def admin(own: Site, one: Replica) -> AsyncIterator[Caller]:
    async with operator(one, own) as by:
        yield by


async def test_development_is_open_and_says_so_until_the_first_key_is_issued(own: Site, one: Replica) -> None:
    assert (await both_ways(one)).status == 202
    assert "anybody may send messages" in one.log.read_text()
    async with operator(one, own) as by:
        key = (await issue(by, "shop")).key
        nobody = await both_ways(one)
        assert (nobody.status, nobody.problem) == (401, "credentials-missing")
        assert nobody.headers["WWW-Authenticate"].startswith("ApiKey ")
        assert "X-API-Key" in nobody.body["detail"]
        assert (await both_ways(one, key)).status == 202
        await revoke(by, "shop")
        assert (await both_ways(one)).status == 401, "nor is it open again when the last key is gone"


async def test_each_fault_of_a_key_is_told_apart_only_to_whoever_has_the_key(one: Replica, admin: Caller) -> None:
    good, old = (await issue(admin, "good")).key, (await issue(admin, "old", expires_in=5.0)).key
    gone = await issue(admin, "gone")
    await revoke(admin, gone.issued.id)
    await asyncio.sleep(5.1)

    async def said(key: str) -> tuple[int, str]:
        found = await both_ways(one, key)
        assert "WWW-Authenticate" in found.headers
        return found.status, found.problem

    assert await said(old) == (401, "credentials-expired")
    assert await said(gone.key) == (401, "credentials-revoked")
    unknown = (await post(one, key="lsk_0123456789ab_" + "a" * 43)).body
    for wrong in (other_secret(good), other_secret(old), other_secret(gone.key), "x", good.upper()):
        assert await said(wrong) == (401, "credentials-unknown")
        assert (await post(one, key=wrong)).body == unknown, "whether there is such a key at all is not told"


def other_secret(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


async def test_more_than_one_credential_is_none(one: Replica, admin: Caller) -> None:
    key = (await issue(admin, "shop")).key
    both = await both_ways(one, key, Authorization="Bearer x.y.z")
    assert (both.status, both.problem) == (401, "credentials-unknown")
    for scheme in (f"Bearer {key}", "Basic YTpi", "Bearer", "Bearer a.b.c"):
        assert (await both_ways(one, Authorization=scheme)).status == 401


async def test_a_key_sends_to_its_flows_alone_and_is_told_which_scope_is_missing(
    own: Site, one: Replica, admin: Caller
) -> None:
    key = (await issue(admin, "shop", "send:orders")).key
    assert (await both_ways(one, key)).status == 202
    before = len(await own.records("reports"))
    for headers in ({}, {"Prefer": "wait=0"}):
        found = await post(one, done(), key=key, **headers)
        assert (found.status, found.problem) == (403, "forbidden")
        assert (found.body["flow"], found.body["scope"]) == ("reports", "send:reports")
        assert 'error="insufficient_scope", scope="send:reports"' in found.headers["WWW-Authenticate"]
    lines = await post(one, [order(), done(), order()], "/v1/messages:batch", key)
    assert lines.status == 207
    assert [one["status"] for one in lines.body["results"]] == [202, 403, 202]
    assert (await post(one, [done(), done()], "/v1/messages:batch", key)).status == 403
    assert len(await own.records("reports")) == before
    assert (await post(one, done(), key=(await issue(admin, "all")).key)).status == 202


async def test_all_replicas_obey_and_one_that_is_started_again_still_does(own: Site, one: Replica) -> None:
    async with replica(own) as two:
        async with operator(two, own) as by:
            issued = await issue(by, "shop")

        async def heard(by: Replica) -> bool:
            return (await post(by, key=issued.key)).status == 202

        await becomes(lambda: heard(one))
        assert await heard(two)
        assert (await post(one)).status == 401
        async with operator(one, own) as by:
            await revoke(by, "shop")
        assert not await heard(one)

        async def deaf() -> bool:
            return not await heard(two)

        await becomes(deaf)
    async with replica(own) as again:
        found = await both_ways(again, issued.key)
        assert (found.status, found.problem) == (401, "credentials-revoked")
        assert (await both_ways(again)).status == 401


async def test_until_the_control_topic_was_read_nobody_is_heard(own: Site) -> None:
    early = Replica(own, MESSAGE_QUEUE_URL=AWAY)
    try:
        for key in (None, "lsk_0123456789ab_" + "a" * 43):

            async def answers(key: str | None = key) -> bool:
                try:
                    found = await post(early, key=key)
                except OSError:
                    return False
                assert found.status == 503
                assert "who may send is not known yet" in found.body["detail"]
                assert int(found.headers["Retry-After"]) >= 1
                return True

            await becomes(answers, 60)
    finally:
        early.kill()


async def test_identified_asks_before_any_key_was_issued(own: Site) -> None:
    async with replica(own, LINKSPAN_INTAKE="identified") as strict:
        assert (await both_ways(strict)).status == 401
        assert "anybody may send" not in strict.log.read_text()
        async with operator(strict, own) as by:
            assert (await both_ways(strict, (await issue(by, "shop")).key)).status == 202


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"INTEGRATION_MODE": "production"}, "LINKSPAN_INTAKE=identified"),
        ({"LINKSPAN_INTAKE_JWKS": "https://identity.test/keys"}, "LINKSPAN_INTAKE_JWT_ISSUER"),
        ({"LINKSPAN_INTAKE_JWT_ALGORITHMS": "RS256,HS256"}, "LINKSPAN_INTAKE_JWT_ALGORITHMS: 'HS256' is not possible"),
        ({"LINKSPAN_INTAKE": "closed"}, "LINKSPAN_INTAKE"),
        (
            {
                "LINKSPAN_INTAKE_JWKS": "http://identity.test/keys",
                "LINKSPAN_INTAKE_JWT_ISSUER": "i",
                "LINKSPAN_INTAKE_JWT_AUDIENCE": "a",
            },
            "LINKSPAN_INTAKE_JWKS is http://",
        ),
    ],
)
def test_a_setting_that_cannot_be_meant_ends_the_start(own: Site, given: dict[str, str], named: str) -> None:
    file = own.folder / "secure.yaml"
    text = own.file.read_text().replace("http://", "https://").replace("ws://", "wss://")
    file.write_text(
        text.replace("{api_key: s}", "{api_key: '${KEY}'}").replace("{api_key: the-key}", "{api_key: '${KEY}'}")
    )
    cert, key = Authority(own.folder).issue("ingress")
    ended = subprocess.run(
        [sys.executable, "-m", "linkspan", "ingress", str(file), "--port", "0", "--control-port", "0"],
        env={
            **os.environ,
            "MESSAGE_QUEUE_URL": "kafka+ssl://127.0.0.1:1",
            "LINKSPAN_DATA": str(own.folder / "data"),
            "LINKSPAN_PLAIN_TEXT": "",
            "LINKSPAN_TLS_CERT": str(cert),
            "LINKSPAN_TLS_KEY": str(key),
            "KEY": "k",
            **given,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert named in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


async def test_the_list_tells_when_a_key_was_used_and_no_secret(own: Site, one: Replica, admin: Caller) -> None:
    issued, idle = await issue(admin, "shop", "send:orders", rate=50, max_bytes=4096), await issue(admin, "idle")
    assert (await post(one, key=issued.key)).status == 202
    found: dict[str, pb.ApiKey] = {}

    async def told() -> bool:
        answer = await admin("ListKeys", pb.ListKeysRequest())
        found.update({one.name: one for one in answer.keys})
        return found["shop"].HasField("last_used")

    await becomes(told)
    assert not found["idle"].HasField("last_used")
    shop = found["shop"]
    assert (list(shop.scopes), shop.rate, shop.max_bytes, shop.state) == (["send:orders"], 50, 4096, "active")
    assert shop.issued_by == "local"
    page = await admin("ListKeys", pb.ListKeysRequest(page_size=1))
    assert [one.name for one in page.keys] == ["idle"]
    rest = await admin("ListKeys", pb.ListKeysRequest(page_size=1, page_token=page.next_page_token))
    assert [one.name for one in rest.keys] == ["shop"]
    assert not rest.next_page_token
    await revoke(admin, idle.issued.id)
    assert [one.name for one in (await admin("ListKeys", pb.ListKeysRequest())).keys] == ["shop"]
    ended = await admin("ListKeys", pb.ListKeysRequest(ended=True))
    assert [one.state for one in ended.keys] == ["revoked", "active"]
    trail = await admin("ListCommands", commands_pb2.ListCommandsRequest())
    assert [one.kind for one in trail.commands] == ["revoke_key", "issue_key", "issue_key"]
    secret = issued.key.split("_", 2)[2]
    for said in (str(trail), str(found), one.log.read_text(), *map(str, await everything(own))):
        assert secret not in said


async def everything(site: Site) -> list[bytes]:
    """What stands in the topics that keys are told in."""
    consumer = AIOKafkaConsumer(bootstrap_servers=site.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        parts = [TopicPartition(f"{site.name}.{name}", 0) for name in ("control", "key-uses", "status")]
        consumer.assign(parts)
        ends, found = await consumer.end_offsets(parts), []
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [record.value or b"" for record in records]
        assert found
        return found
    finally:
        await consumer.stop()


async def test_a_wrong_request_for_a_key_names_the_field(admin: Caller) -> None:
    right = {"name": "shop", "scopes": ["send:orders"], "reason": "r"}
    for wrong, field in (
        ({"name": "no spaces"}, "name"),
        ({"name": ""}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["send:orders", "send:moon"]}, "scopes"),
        ({"rate": -1.0}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"burst": 5}, "burst"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"reason": " "}, "reason"),
    ):
        with pytest.raises(aio.AioRpcError) as error:
            await admin("IssueKey", pb.IssueKeyRequest(**(right | wrong)))
        assert refused(error.value).fields == [field]
    with pytest.raises(aio.AioRpcError) as error:
        await issue(admin, "late", expires_in=-5)
    assert refused(error.value).fields == ["expires"]
    await issue(admin, "shop")
    with pytest.raises(aio.AioRpcError) as error:
        await issue(admin, "shop")
    assert (error.value.code(), refused(error.value).reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ISSUED")
    with pytest.raises(aio.AioRpcError) as error:
        await revoke(admin, "moon")
    assert (error.value.code(), refused(error.value).reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_KEY")


async def test_the_command_line_issues_lists_and_revokes(own: Site, one: Replica) -> None:
    file = own.folder / "shop.key"

    async def linkspan(*words: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "linkspan", "keys", *words),
            env={**os.environ, "LINKSPAN_CONTROL": one.control, "LINKSPAN_DATA": str(own.folder / "data")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    code, out, err = await linkspan("issue", "shop", "--flow", "orders", "--to", str(file), "--reason", "a test")
    assert code == 0, err
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text().strip()
    assert key not in out
    assert (await post(one, key=key)).status == 202
    code, out, _ = await linkspan("issue", "all", "--all-flows", "--expires", "90d", "--reason", "a test", "-o", "json")
    assert code == 0
    assert (await post(one, done(), key=json.loads(out)["key"])).status == 202
    code, out, _ = await linkspan("issue", "seen", "--all-flows", "--reason", "a test")
    assert (await post(one, key=out.splitlines()[1].strip())).status == 202
    code, out, _ = await linkspan("list", "-o", "json")
    assert [one["name"] for one in json.loads(out)["keys"]] == ["seen", "all", "shop"]
    code, out, _ = await linkspan("list")
    assert "send:orders" in out
    assert (await linkspan("revoke", "shop", "--reason", "a test"))[0] == 0
    assert (await post(one, key=key)).problem == "credentials-revoked"
    code, _, err = await linkspan("revoke", "shop", "--reason", "a test")
    assert (code, "no active one with the name shop" in err) == (1, True)
    code, _, err = await linkspan("issue", "shop", "--reason", "a test")
    assert (code, err.startswith("linkspan: say for which flows")) == (2, True)
    code, _, err = await linkspan("issue", "shop", "--flow", "moon", "--reason", "a test")
    assert (code, err.startswith("linkspan: --flow: there is no 'send:moon'")) == (2, True)
    code, _, err = await linkspan("issue", "shop", "--all-flows", "--expires", "soon", "--reason", "a test")
    assert (code, err.startswith("linkspan: --expires soon: expected")) == (2, True)
    code, _, err = await linkspan("issue", "x", "--all-flows", "--to", "/nowhere/x", "--reason", "a test")
    assert (code, err.startswith("linkspan: --to /nowhere/x:")) == (2, True)
