"""The whole reference integration as real processes that speak TLS alone, with every secret in a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.authority import Authority

from linkspan import reference
from linkspan.broker import EmbeddedKafka, ports
from linkspan.kernel.crypto.keyring_file import ensure

INTEGRATION = Path(reference.__file__).parent / "integration.yaml"
HTTP = ("plan-manager", "analysis", "ingress", "egress", "ledger", "insight")
CONTROL = ("ingress", "egress")
PATIENCE = 300
#: Marked, so that each is found wherever it leaks to.
MARKED = {
    "SYSTEM_A_CLIENT_SECRET": "marked-client-secret/5f0c+1=",
    "SYSTEM_B_API_KEY": "marked-api-key-77ab1e",
    "LINKSPAN_KAFKA_SASL_PASSWORD": "marked-sasl-password-c41d",
}
USER = "linkspan"


def secured_kafka(folder: Path, authority: Authority) -> tuple[EmbeddedKafka, dict[str, int]]:
    """Not started; and the ports of its listeners ``SASL_SSL`` (PLAIN, SCRAM) and ``SSL`` (client certificates)."""
    cert, key = authority.issue("kafka", days=10)
    store = folder / "kafka-store.pem"
    store.write_bytes(key.read_bytes() + cert.read_bytes())
    open_port = ports.choose()
    listeners = {"SASL_SSL": ports.choose(), "SSL": ports.choose()}
    password = MARKED["LINKSPAN_KAFKA_SASL_PASSWORD"]
    module = "org.apache.kafka.common.security"
    properties = {
        "ssl.enabled.protocols": "TLSv1.3",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'{module}.plain.PlainLoginModule required user_{USER}="{password}";'
        ),
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
    }
    scram = [f"SCRAM-SHA-{bits}=[name={USER},password={password}]" for bits in (256, 512)]
    broker = EmbeddedKafka(folder / "kafka", open_port, properties=properties, listeners=listeners, scram=scram)
    return broker, listeners


class Secured:
    """``environ``: of every process; ``logs``: standard output and error of each. Start what is needed."""

    def __init__(self, folder: Path, mechanism: str = "SCRAM-SHA-512") -> None:
        self.folder, self.authority = folder, Authority(folder)
        self.cert, self.key = self.authority.issue("served", days=20)
        self.kafka, self.listeners = secured_kafka(folder, self.authority)
        self.ports = {name: ports.choose() for name in HTTP}
        self.control = {name: ports.choose() for name in CONTROL}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.environ = self._environ(mechanism)

    def _environ(self, mechanism: str) -> dict[str, str]:
        found = {name: said for name, said in os.environ.items() if not name.startswith("LINKSPAN_")}
        for name, secret in MARKED.items():
            (self.folder / name).write_text(f"{secret}\n")
            found[f"{name}_FILE"] = str(self.folder / name)
        ensure(self.folder / "keyring.yaml")
        return found | {
            "LINKSPAN_KEYRING": str(self.folder / "keyring.yaml"),
            "LINKSPAN_TLS_CERT": str(self.cert),
            "LINKSPAN_TLS_KEY": str(self.key),
            "LINKSPAN_CA": str(self.authority.ca),
            "LINKSPAN_DATA": str(self.folder / "data"),
            "LINKSPAN_INGRESS_URL": self.url("ingress"),
            "LINKSPAN_KAFKA_SASL_MECHANISM": mechanism,
            "LINKSPAN_KAFKA_SASL_USERNAME": USER,
            "MESSAGE_QUEUE_URL": f"kafka+ssl://127.0.0.1:{self.listeners['SASL_SSL']}",
            "SYSTEM_A_ENDPOINT": self.url("plan-manager"),
            "SYSTEM_A_CLIENT_ID": "linkspan",
            "SYSTEM_B_ENDPOINT": self.url("analysis", "wss"),
        }

    def url(self, name: str, scheme: str = "https") -> str:
        return f"{scheme}://127.0.0.1:{self.ports[name]}"

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def linkspan(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """A command, to its end."""
        command = [sys.executable, "-m", "linkspan", *arguments]
        return subprocess.run(
            command, env=self.environ | environ, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def start(self, name: str, **environ: str) -> None:
        options = ["--port", str(self.ports[name])]
        options += ["--control-port", str(self.control[name])] if name in CONTROL else []
        options += (
            ["--data-dir", str(self.folder / name)]
            if name in {"plan-manager", "analysis"}
            else [str(environ.pop("FILE", INTEGRATION))]
        )
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", "linkspan", name, *options],
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def ready(self, *names: str) -> None:
        deadline = time.monotonic() + PATIENCE
        for name in names:
            while b"ready https://" not in self.log(name).read_bytes():
                assert self.running[name].poll() is None, self.log(name).read_text()
                assert time.monotonic() < deadline, self.log(name).read_text()
                time.sleep(0.1)

    def start_kafka(self) -> None:
        """With the topics."""
        self.kafka.start()
        for left in reversed(range(4)):  # a machine under load may take longer than the command has patience
            made = self.linkspan("topics", str(INTEGRATION))
            assert left or made.returncode == 0, made.stderr
            if made.returncode == 0:
                break

    def start_all(self, **environ: str) -> None:
        self.start_kafka()
        for name in HTTP:
            self.start(name, **environ)
        self.ready(*HTTP)

    def end(self) -> None:
        for process in self.running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.kafka.kill()
