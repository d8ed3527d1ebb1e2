"""What a confidential field costs, beside the same message without one: CPU time of the same steps in turns, one run.

``python -m bench.sealed [MESSAGES]`` prints microseconds a message and ratios. Kafka is not part of it.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.unit.crypto.shop import Shop
from tests.unit.crypto.vaults import vault

from linkspan.ingress.seal import Sealing
from linkspan.ingress.validate import encode
from linkspan.kernel.crypto import vault as vaults

TEXT = "what nobody else may read " * 4
FIELDS = [{"name": "line", "type": "int"}, {"name": "text", "type": "string"}, {"name": "note", "type": "string"}]
MARKED = [*FIELDS[:2], FIELDS[2] | {"confidential": True}]
PAYLOAD = {"line": 7, "text": "an open text " * 40, "note": TEXT}
ROUNDS = 15


async def main(messages: int) -> None:
    vaults.SEALS_FOR = vaults.OPENS_FOR = 3600.0  # the rounds of a busy machine take longer than keys are remembered
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain, marked, keys = Shop(folder / "plain", FIELDS), Shop(folder / "marked", MARKED), vault(folder)
        sealing, message = Sealing(keys, marked.catalog), marked.message(PAYLOAD)
        await sealing.ready(message.key)
        sealed, unsealed = sealing.event(message).value, encode(plain.message(PAYLOAD)).value
        open_sealed, open_plain = marked.opener(keys), plain.opener(None)
        for said, one, other in (
            (
                "ingress: validate, encode, seal",
                lambda: sealing.event(marked.message(PAYLOAD)),
                lambda: encode(plain.message(PAYLOAD)),
            ),
            ("egress: open, decode", lambda: open_sealed.now(sealed), lambda: open_plain.now(unsealed)),
            ("decode alone, not sealed", lambda: open_plain.now(unsealed), lambda: plain.decoder.json(unsealed)),
        ):
            with_field, without = _measured(one, other, messages)
            print(f"{said}: {with_field:.1f} us with, {without:.1f} us without, ratio {with_field / without:.2f}")
        print(f"bytes of an event: {len(sealed)} with, {len(unsealed)} without")


def _measured(one: Callable[[], object], other: Callable[[], object], messages: int) -> tuple[float, float]:
    """Medians of rounds that take turns, microseconds of CPU a message."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, call in zip(found, (one, other), strict=True):
            started = time.process_time()
            for _ in range(messages):
                call()
            times.append((time.process_time() - started) / messages * 1e6)
    return statistics.median(found[0]), statistics.median(found[1])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
