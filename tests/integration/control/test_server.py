"""The server itself: without Kafka, with TLS, and what needs no credentials."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.integration.control.client import TOKENS, Caller, calling, refused, write_tokens
from tests.integration.egress.bridge import write_integration

from linkspan.control.host import Host
from linkspan.control.plane import ControlPlane
from linkspan.control.settings import ControlSettings
from linkspan.control.tail import ControlTail
from linkspan.control.v1 import status_pb2
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.commands import CommandCodec
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.readmodel.asked import Ledger

pytestmark = pytest.mark.timeout(180)
NOWHERE = "127.0.0.1:9"


def control_plane(folder: Path, **more: Any) -> ControlPlane:
    """Of a process whose Kafka is away."""
    store = {"kind": "rest", "url": "http://127.0.0.1:9"}
    integration = load_integration(write_integration(folder, store), {})
    catalog, clients = catalog_for(integration), KafkaClients(NOWHERE)
    tokens = write_tokens(folder / "tokens.yaml")
    settings = ControlSettings(linkspan_data=folder / "data", linkspan_tokens=tokens, **more)

    async def away() -> str | None:
        return "Kafka is away"

    database, blobs = Ledger(f"sqlite:///{folder / 'ledger.db'}"), BlobStore(str(folder / "blobs"))
    host = Host("egress", integration, catalog, clients, blobs, database, {"messageQueue": away}, Tracing(None, 0.0))
    tail = ControlTail(clients, integration.integration, CommandCodec(catalog))
    return ControlPlane(host, settings, tail, lambda: {"flows": []})


async def test_without_kafka_nothing_is_changed_and_the_status_says_why(tmp_path: Path) -> None:
    async with (
        control_plane(tmp_path).running("127.0.0.1", 0) as address,
        calling(address, TOKENS["admin"]) as caller,
    ):
        with pytest.raises(aio.AioRpcError) as error:
            await caller.pause()
        said = refused(error.value)
        assert (said.code, said.reason) == (grpc.StatusCode.UNAVAILABLE, "KAFKA_AWAY")
        assert "no command can be given" in said.text
        status = await caller("GetStatus", status_pb2.GetStatusRequest())
        assert [(one.name, one.healthy, one.error) for one in status.checks] == [
            ("messageQueue", False, "Kafka is away")
        ]
        assert not status.flows[0].paused


async def test_a_port_that_is_taken_is_a_mistake_that_names_the_option(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserMistake, match="choose another with --control-port"):
            async with control_plane(tmp_path).running("127.0.0.1", taken.getsockname()[1]):
                pass


async def test_health_and_reflection_need_no_credentials(tmp_path: Path) -> None:
    async with control_plane(tmp_path).running("127.0.0.1", 0) as address, aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(service="linkspan.control.v1.ControlService"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
        names = {one.name for one in (await call.read()).list_services_response.service}
        assert "linkspan.control.v1.ControlService" in names


class Authority:
    """Makes certificates below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the test's authority")])
        self.cert = self._write("ca", self._signed("the test's authority", self._key, ca=True), self._key)[0]

    def _signed(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files[0].write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        files[1].write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        return files

    def make(self, name: str) -> tuple[Path, Path]:
        """Files of certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, self._signed(name, key), key)


@asynccontextmanager
async def over_tls(
    address: str, authority: Authority, files: tuple[Path, Path] | None, token: str | None = None
) -> AsyncIterator[Caller]:
    cert, key = (files[0].read_bytes(), files[1].read_bytes()) if files else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.cert.read_bytes(), key, cert)
    where = f"localhost:{address.rpartition(':')[2]}"
    async with aio.secure_channel(where, credentials) as channel:
        yield Caller(channel, token)


async def test_a_client_certificate_is_an_identity_and_without_one_nobody_gets_in(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.make("localhost")
    roles = tmp_path / "roles.yaml"
    roles.write_text("bot: viewer\n")
    plane = control_plane(
        tmp_path,
        linkspan_control_cert=cert,
        linkspan_control_key=key,
        linkspan_control_client_ca=authority.cert,
        linkspan_client_roles=roles,
    )
    async with plane.running("127.0.0.1", 0) as address:
        async with over_tls(address, authority, authority.make("bot")) as caller:
            assert (await caller("GetStatus", status_pb2.GetStatusRequest())).integration
            with pytest.raises(aio.AioRpcError) as error:
                await caller.pause()
            assert refused(error.value).metadata == {"role": "viewer", "permission": "write"}
        async with over_tls(address, authority, authority.make("somebody")) as caller:
            with pytest.raises(aio.AioRpcError) as error:
                await caller("GetStatus", status_pb2.GetStatusRequest())
            assert refused(error.value).reason == "NO_CREDENTIALS"
        async with over_tls(address, authority, None, TOKENS["admin"]) as caller:
            with pytest.raises(aio.AioRpcError) as error:
                await caller("GetStatus", status_pb2.GetStatusRequest())
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
