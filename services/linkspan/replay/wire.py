"""What a replica and its planner process say to each other: a job on the planner's standard input, answers on its
standard output, each a line of JSON."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from linkspan.kernel.archive.store import ArchiveAt
from linkspan.replay.compared import Sample
from linkspan.replay.selection import Selection

#: Longest line that is taken.
LINE = 64 * 1024 * 1024


class Setting(msgspec.Struct):
    """``made``: integration and catalogue, pickled. ``secured``: Kafka is spoken to as the environment says, by TLS or
    with a password. ``keyring``: path of its file, not what it holds."""

    servers: str
    secured: bool
    blobs: str
    made: bytes
    keyring: str | None = None
    archive: ArchiveAt | None = None


class OldList(msgspec.Struct):
    """Of a plan that is over for long; ``chunks``: how many, by partition."""

    plan: str
    chunks: dict[int, int]


class PlanJob(msgspec.Struct, tag="plan"):
    """``plan``: its id; ``rate``: messages a second, 0: not known; ``texts``: of transforms of then, by hash;
    ``forget``: lists that are deleted once this one is frozen."""

    setting: Setting
    plan: str
    asked: Selection
    samples: int = 0
    diff: bool = False
    rate: float = 0.0
    texts: dict[str, str] = {}
    forget: tuple[OldList, ...] = ()


class DryJob(msgspec.Struct, tag="dry"):
    """``head`` and ``options`` as ``PlanCodec`` encodes them."""

    setting: Setting
    plan: str
    flow: str
    head: bytes
    options: bytes
    texts: dict[str, str] = {}


Job: TypeAlias = PlanJob | DryJob


class Progress(msgspec.Struct, tag="progress"):
    """Records, events and outcomes together; ``selected``: events."""

    scanned: int
    total: int
    selected: int


class Frozen(msgspec.Struct, tag="frozen"):
    """The list stands in ``replays``; ``head`` as ``PlanCodec`` encodes it."""

    head: bytes
    samples: tuple[Sample, ...]


class Dry(msgspec.Struct, tag="dry"):
    """So far: planned records by disposition (``delivered``: would be sent), and reasons of failures, each with how
    often it came, the most frequent first. ``finished``: it is the last one."""

    dispositions: dict[str, int]
    errors: tuple[tuple[str, int], ...] = ()
    finished: bool = False


class Failed(msgspec.Struct, tag="failed"):
    """``reason``: KAFKA_AWAY, ARCHIVE_AWAY, ARCHIVE_DAMAGED, MISTAKE, TOO_MANY, NOT_AS_FROZEN; another is a bug, and
    ``text`` its traceback."""

    reason: str
    text: str


Answer: TypeAlias = Progress | Frozen | Dry | Failed

to_line = msgspec.json.Encoder().encode
read_job = msgspec.json.Decoder(Job).decode
read_answer = msgspec.json.Decoder(Answer).decode
