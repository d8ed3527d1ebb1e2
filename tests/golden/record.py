"""``python -m tests.golden.record [name…]``: runs scenarios on a real Kafka and keeps their logs; see the README."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from linkspan.broker import EmbeddedKafka
from tests.golden.history import EXPECTED, HISTORIES, read_history, write_history
from tests.golden.replay import Replay
from tests.golden.scenarios import SCENARIOS


async def _record(name: str, broker: EmbeddedKafka, folder: Path) -> None:
    file, flow = await SCENARIOS[name](broker, folder)
    await write_history(HISTORIES / name, file, flow, broker.bootstrap)
    write_expected(HISTORIES / name)


def write_expected(folder: Path) -> None:
    results = Replay(read_history(folder)).results()
    (folder / EXPECTED).write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Records histories; without names those that are not there yet.")
    parser.add_argument("names", nargs="*", choices=[[], *SCENARIOS], metavar="name", help=", ".join(SCENARIOS))
    names: list[str] = parser.parse_args().names
    for name in names or [name for name in SCENARIOS if not (HISTORIES / name).exists()]:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            properties = {"group.min.session.timeout.ms": "1000"}
            with EmbeddedKafka(folder / "kafka", properties=properties) as broker:
                (folder / name).mkdir()
                asyncio.run(_record(name, broker, folder / name))
        print(f"recorded {name}")


if __name__ == "__main__":
    main()
