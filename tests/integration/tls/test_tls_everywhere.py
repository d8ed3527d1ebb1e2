"""The reference integration over TLS alone: nothing older than 1.3, and certificates change without a restart."""

from __future__ import annotations

import asyncio
import http.client
import shutil
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import grpc
import pytest
from tests.integration.tls.secured import CONTROL, HTTP, INTEGRATION, MARKED, Secured
from tests.kafka_fixture import require_embedded

from linkspan.cli.demo.plan_manager_client import plan_manager_client
from linkspan.kernel.tls.served import first_end
from linkspan.reference.plans.floor_plan import write_floor_plan

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    require_embedded()
    pytest.importorskip("faust")
    made = Secured(tmp_path_factory.mktemp("secured"))
    try:
        made.start_all()
        yield made
    finally:
        made.end()


def listening(made: Secured) -> dict[str, int]:
    control = {f"{name}'s control API": port for name, port in made.control.items()}
    return made.ports | control | {f"Kafka {name}": port for name, port in made.listeners.items()}


def handshake(port: int, *options: str) -> str:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("needs the program openssl")
    command = [program, "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    return next(line for line in done.stdout.decode(errors="replace").splitlines() if "Cipher is" in line)


def test_no_port_speaks_tls_1_2_and_every_one_speaks_1_3(secured: Secured) -> None:
    for name, port in listening(secured).items():
        assert handshake(port, "-tls1_2", "-alpn", "h2").endswith("Cipher is (NONE)"), name
        assert handshake(port, "-tls1_3", "-alpn", "h2").startswith("New, TLSv1.3"), name


async def test_a_plan_goes_there_and_its_analysis_comes_back(
    secured: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINKSPAN_CA", str(secured.authority.ca))
    file, plan_id = tmp_path / "floor-plan.dxf", str(uuid.uuid4())
    write_floor_plan(file)
    said = {"identifier": "LS-FLOOR-1", "title": "Ground floor", "category": "residential"}
    client = secured.url("plan-manager"), "linkspan", MARKED["SYSTEM_A_CLIENT_SECRET"]
    async with plan_manager_client(*client) as plans:
        await plans.upload(plan_id, file, said)
        deadline = time.monotonic() + 120
        while (state := (await plans.plan(plan_id))["state"]) != "analysed":
            assert state != "refused"
            assert time.monotonic() < deadline, {name: secured.log(name).read_text()[-2000:] for name in HTTP}
            await asyncio.sleep(0.2)


def test_status_and_metrics_say_when_certificates_end(secured: Secured) -> None:
    end = first_end(secured.cert.read_bytes())
    context = ssl.create_default_context(cafile=secured.authority.ca)

    async def asked(name: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(secured.url(name) + "/metrics", ssl=context) as one:
            return await one.text()

    for name in HTTP:
        lines = asyncio.run(asked(name)).splitlines()
        said = [line for line in lines if line.startswith("linkspan_certificate_expires_timestamp_seconds{")]
        assert {float(line.rsplit(" ", 1)[1]) for line in said} == {end}
        assert len(said) == (2 if name in CONTROL else 1)
    peers = [line for line in asyncio.run(asked("egress")).splitlines() if "peer_certificate_expires" in line]
    assert any('host="127.0.0.1"' in line for line in peers)
    shown = secured.linkspan("status", LINKSPAN_CONTROL=f"127.0.0.1:{secured.control['egress']}", **token(secured))
    assert shown.returncode == 0, shown.stderr
    assert "certificate http of ingress" in shown.stdout
    assert "ends in 20 days" in shown.stdout


def token(made: Secured) -> dict[str, str]:
    return {"LINKSPAN_TOKEN": (made.folder / "data" / "control" / "token").read_text().strip()}


def test_a_new_certificate_is_served_without_a_restart_and_connections_are_kept(secured: Secured) -> None:
    def shown(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port), timeout=20)

    context = ssl.create_default_context(cafile=secured.authority.ca)
    kept = http.client.HTTPSConnection("127.0.0.1", secured.ports["ingress"], context=context, timeout=20)
    of_control = grpc.ssl_channel_credentials(secured.authority.ca.read_bytes())
    before, places = secured.cert.read_text(), [*secured.ports.values(), *secured.control.values()]
    with grpc.secure_channel(f"127.0.0.1:{secured.control['egress']}", of_control) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"")
        assert alive(kept)
        connection = kept.sock
        secured.key.write_text("not yet whole")
        assert shown(secured.ports["ingress"]) == shown(secured.control["ingress"]) == before
        cert, key = secured.authority.issue("renewed", days=19.5)
        key.replace(secured.key)
        cert.replace(secured.cert)
        assert {shown(port) for port in places} == {secured.cert.read_text()} != {before}
        assert check(b"")
        assert alive(kept)
        assert kept.sock is connection
    assert all(process.poll() is None for process in secured.running.values())
    assert "what it said before stays in force" in secured.log("ingress").read_text()


def alive(connection: http.client.HTTPSConnection) -> bool:
    connection.request("GET", "/live")
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


@pytest.mark.parametrize(("service", "variable"), [("ingress", "LINKSPAN_TLS_CERT"), ("egress", "LINKSPAN_TLS_CERT")])
def test_without_a_certificate_nothing_listens(secured: Secured, service: str, variable: str) -> None:
    ended = secured.linkspan(service, str(INTEGRATION), "--port", "0", LINKSPAN_TLS_CERT="", LINKSPAN_TLS_KEY="")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "LINKSPAN_PLAIN_TEXT" in ended.stderr
    assert variable in ended.stderr


@pytest.mark.parametrize("name", [*HTTP, "topics", "broker"])
def test_plain_text_is_refused_in_one_line_that_names_the_variable(secured: Secured, name: str) -> None:
    away = {"MESSAGE_QUEUE_URL": "kafka://127.0.0.1:9", "LINKSPAN_INGRESS_URL": "http://127.0.0.1:9"}
    gone = {"LINKSPAN_TLS_CERT": "", "LINKSPAN_TLS_KEY": ""} if name == "analysis" else {}
    arguments = [] if name in {"plan-manager", "analysis", "broker"} else [str(INTEGRATION)]
    arguments += [] if name == "topics" else ["--port", "0"]
    ended = secured.linkspan(name, *arguments, **(away | gone))
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "LINKSPAN_PLAIN_TEXT=development" in ended.stderr


def test_production_refuses_the_development_setting(secured: Secured) -> None:
    environ = {"INTEGRATION_MODE": "production", "LINKSPAN_PLAIN_TEXT": "development"}
    ended = secured.linkspan("analysis", "--port", "0", **environ)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
    assert "LINKSPAN_PLAIN_TEXT" in ended.stderr


def test_a_development_process_says_once_that_it_speaks_plain_text(secured: Secured, tmp_path: Path) -> None:
    environ = {"LINKSPAN_PLAIN_TEXT": "development", "LINKSPAN_TLS_CERT": "", "LINKSPAN_TLS_KEY": ""}
    try:
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "linkspan", "analysis", "--port", "0", "--data-dir", str(tmp_path)],
                env=secured.environ | environ,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while "ready http://" not in (tmp_path / "log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (tmp_path / "log").read_text().count("plain text is allowed") == 1
    finally:
        process.terminate()
        process.wait(20)
