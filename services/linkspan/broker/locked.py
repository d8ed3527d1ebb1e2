"""The committed list of Kafka's jars with their sha256: a start fetches exactly these and accepts no other bytes."""

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LOCK_FILE = Path(__file__).with_name("jars.lock.json")
KAFKA_VERSION = "4.3.1"
ENDPOINT = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.slf4j:slf4j-jdk14:1.7.36"


@dataclass(frozen=True)
class Jar:
    """One locked file; `coordinates` are Maven's group:artifact:version, `file` its name in Maven's layout."""

    file: str
    coordinates: str
    sha256: str


@cache
def locked_jars() -> tuple[Jar, ...]:
    """The lock's jars in class path order."""
    content = json.loads(LOCK_FILE.read_text(encoding="utf-8"))
    if content["endpoint"] != ENDPOINT:
        raise RuntimeError(f"{LOCK_FILE.name} is for {content['endpoint']}: run python -m linkspan.broker.lock")
    return tuple(Jar(**jar) for jar in content["jars"])


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
