"""``python -m bench.door``: what it costs a message that its sender is asked who it is.

One ingress that asks nobody, and one that asks everybody, get the same load in turn: one message a request, with
nothing, an API key, and a token. ``BENCH_BEFORE=<services of another checkout>`` adds an ingress of that code. A ratio
is of messages per core-second of the ingress process, as the median over the rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

from bench.integration import NAME, message, write_integration
from bench.load import Load, post
from bench.process import Process
from bench.smoke import SINGLE, port_of, say
from linkspan.broker import EmbeddedKafka
from linkspan.cli.control.connection import choose
from linkspan.cli.control.session import Session
from linkspan.control.v1.keys_pb2 import IssueKeyRequest

ROUNDS, MESSAGES, SECONDS, WARM = int(os.environ.get("BENCH_ROUNDS", "9")), 3_000, 4.0, 500
ISSUER, AUDIENCE, ASKING = "https://identity.bench", "linkspan-intake", "benchdoor"


class Sender:
    """Loads one ingress, always with the same header."""

    def __init__(self, name: str, process: Process, header: str = "") -> None:
        self.name, self.rates = name, list[float]()
        self._process, self._port, self._header = process, port_of(process), header.encode()
        self._numbers = iter(range(10**9))

    async def round(self, count: int) -> float:
        """Messages per core-second."""
        load, before = Load(self._port, self._requests(count)), self._process.cpu()
        await load.run(SECONDS)
        return load.answered / max(1e-3, self._process.cpu() - before)

    def _requests(self, count: int) -> Iterator[bytes]:
        for _ in range(count):
            head, _, rest = post(SINGLE, message(next(self._numbers))).partition(b"\r\n")
            yield head + b"\r\n" + self._header + rest


def start(name: str, file: Path, directory: Path, kafka: str, services: str | None = None, **more: str) -> Process:
    environ = os.environ | {"MESSAGE_QUEUE_URL": f"kafka://{kafka}", "LINKSPAN_DATA": str(directory / name)} | more
    if services:
        environ["PYTHONPATH"] = services
    command = [sys.executable, "-m", "linkspan", "ingress", str(file), "--port", "0", "--control-port", "0"]
    return Process(name, command, directory, environ)


def issued(process: Process, data: Path) -> str:
    session = Session(
        choose(process.ready("control 127.").split()[1], None, None, os.environ | {"LINKSPAN_DATA": str(data)})
    )
    request = IssueKeyRequest(name="bench", scopes=["send:*"], reason="bench")
    return session.change(session.api.IssueKey, request).key


def signed(key: ECKey) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "exp": int(time.time()) + 3600, "scope": "send:*"}
    return str(jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"]))


async def run(directory: Path, kafka: str) -> None:
    file, asking_file = write_integration(directory, NAME, 1), write_integration(directory, ASKING, 1)
    key, keys = ECKey.generate_key("P-256", {"kid": "bench"}), directory / "keys.json"
    keys.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    said = {"JWKS": str(keys), "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    asking = start(
        "asking", asking_file, directory, kafka, **{f"LINKSPAN_INTAKE_{name}": one for name, one in said.items()}
    )
    started = [asking, start("open", file, directory, kafka)]
    try:
        senders = [Sender("nobody is asked", started[1])]
        senders.append(Sender("API key", asking, f"x-api-key: {issued(asking, directory / 'asking')}\r\n"))
        senders.append(Sender("token", asking, f"authorization: Bearer {signed(key)}\r\n"))
        if before := os.environ.get("BENCH_BEFORE"):
            started.append(start("before", file, directory, kafka, before))
            senders.insert(0, Sender("before", started[-1]))
        for sender in senders:
            await sender.round(WARM)
        for number in range(ROUNDS):
            for sender in senders if number % 2 else reversed(senders):
                sender.rates.append(await sender.round(MESSAGES))
        show(senders)
    finally:
        for process in started:
            process.stop()


def show(senders: list[Sender]) -> None:
    first = senders[0]
    for sender in senders:
        ratios = [one / other for one, other in zip(sender.rates, first.rates, strict=True)]
        low, high = min(ratios), max(ratios)
        say(f"ratio {sender.name} / {first.name} {statistics.median(ratios):.3f} ({low:.2f} to {high:.2f})")
        say(f"  per core-second: {statistics.median(sender.rates):,.0f}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="linkspan-bench-") as folder:
        directory = Path(folder)
        with EmbeddedKafka(directory / "kafka") as kafka:
            asyncio.run(run(directory, kafka.bootstrap))
    say(f"{ROUNDS} rounds of {MESSAGES} messages, load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
