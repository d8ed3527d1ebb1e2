"""Kafka's own MirrorMaker for tests, by a lock of its own: the product's download does not grow.

``python -m tests.integration.mirror.jars`` writes the lock anew, when the version in linkspan.broker.locked changes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from linkspan.broker.jars import cache_dir, fetch_one
from linkspan.broker.lock import resolve
from linkspan.broker.locked import KAFKA_VERSION, Jar, sha256_of

LOCK_FILE = Path(__file__).with_name("jars.lock.json")
ENDPOINT = f"org.apache.kafka:connect-mirror:{KAFKA_VERSION}+org.slf4j:slf4j-jdk14:1.7.36"


def class_path() -> str:
    """Fetches what is not there or was altered. Raises BrokerError, OSError, RuntimeError."""
    content = json.loads(LOCK_FILE.read_text(encoding="utf-8"))
    assert content["endpoint"] == ENDPOINT, "python -m tests.integration.mirror.jars"
    jars = [Jar(**one) for one in content["jars"]]
    folder = cache_dir().with_name(f"mirror-maker-{KAFKA_VERSION}") / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in jars if not _is_there(folder / one.file, one)]
    with tempfile.TemporaryDirectory(dir=folder.parent) as staging, ThreadPoolExecutor(6) as pool:
        (Path(staging) / "jars").mkdir()
        list(pool.map(lambda jar: fetch_one(jar, Path(staging)), missing))
        for one in missing:
            (Path(staging) / "jars" / one.file).replace(folder / one.file)
    return os.pathsep.join(str(folder / one.file) for one in jars)


def _is_there(path: Path, jar: Jar) -> bool:
    return path.is_file() and sha256_of(path) == jar.sha256


if __name__ == "__main__":
    found = resolve(ENDPOINT)
    LOCK_FILE.write_text(json.dumps({"endpoint": ENDPOINT, "jars": [asdict(one) for one in found]}, indent=2) + "\n")
    sys.stdout.write(f"{LOCK_FILE.name}: {len(found)} jars\n")
