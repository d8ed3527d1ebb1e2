"""The operator of a chaos run: looks at the dead letters every few seconds, whatever is broken just then, and has them
delivered again, gives them up, or gives commands that mean nothing, in the way that ``linkspan redrive`` does."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aiokafka.errors import KafkaError
from tests.chaos.receivers import Receiver
from tests.chaos.verdict import Fault

from linkspan.kernel.commands import DISCARD, REDRIVE, Command, CommandCodec
from linkspan.kernel.errors import KafkaAway
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topics import control_topic
from linkspan.readmodel.letters import Letter, letters

#: What is decided of a letter, and how often. ``again``: it will be refused once more. ``both``: two commands, of which
#: the first counts. ``nonsense``: of the event behind it, which is seldom a letter.
CHOICES = {"redrive": 40, "again": 15, "discard": 25, "both": 10, "nonsense": 10}
#: Of the letters that there are, so many are decided in one look.
SHARE = 0.4
LIMIT = 20.0


@dataclass(frozen=True, slots=True)
class Decision:
    """``at``: just before the command was sent, seconds since 1970."""

    what: str
    flow: str
    message_id: str
    at: float


class Operator:
    """``systems``: of each flow. What it decides to have delivered, the system takes from then on."""

    def __init__(self, file: Path, bootstrap: str, systems: dict[str, Receiver], seed: int) -> None:
        self._spec = load_integration(file, {})
        self._codec = CommandCodec(catalog_for(self._spec))
        self._clients = KafkaClients(bootstrap)
        self._systems = systems
        self._rng = random.Random(seed)
        self._refused_again: set[str] = set()
        self.given: list[Decision] = []
        self.looks = self.blind = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
            for flow in self._systems:
                there = [one for one in await self.letters(flow) or () if self._rng.random() < SHARE]
                choices = self._rng.choices(list(CHOICES), list(CHOICES.values()), k=len(there))
                await self._give(
                    [command for one, what in zip(there, choices, strict=True) for command in self._decide(what, one)]
                )

    async def clear(self, flow: str) -> bool:
        """Decides on all letters; True where there were none."""
        there = await self.letters(flow)
        commands = [
            command
            for one in there or ()
            for command in self._decide(DISCARD if self._rng.random() < 0.3 else REDRIVE, one)
        ]
        await self._give(commands)
        return there == []

    async def letters(self, flow: str) -> list[Letter] | None:
        """None where Kafka cannot be asked."""
        self.looks += 1
        try:
            async with asyncio.timeout(LIMIT):
                return await letters(self._clients, self._spec.integration, flow, self._spec.flows[flow].partitions)
        except (KafkaAway, TimeoutError):
            self.blind += 1
            return None

    def _decide(self, what: str, letter: Letter) -> list[Command]:
        if what == "again" and letter.message_id in self._refused_again:
            what = REDRIVE
        if what == "again":
            self._refused_again.add(letter.message_id)
        if what in {"redrive", "both"}:
            self._systems[letter.flow].mended.add(letter.message_id)
        self.given.append(Decision(what, letter.flow, letter.message_id, time.time()))
        kinds = {"again": [REDRIVE], "both": [REDRIVE, DISCARD], "nonsense": [REDRIVE]}.get(what, [what])
        self._rng.shuffle(kinds)
        offset = letter.offset + (what == "nonsense")
        return [Command(kind, letter.flow, letter.partition, offset, "the chaos run", what) for kind in kinds]

    async def _give(self, commands: list[Command]) -> None:
        """What Kafka does not take now is decided anew at the next look; whether it came through, nobody knows."""
        if not commands:
            return
        topic = control_topic(self._spec.integration)
        try:
            async with asyncio.timeout(LIMIT), self._clients.producer() as producer:
                for one in commands:
                    await producer.send(topic, self._codec.encode(one), one.flow.encode(), 0)
        except (KafkaError, TimeoutError, OSError):
            pass

    def given_up(self, flow: str) -> dict[str, float]:
        """When it was first said of a message that it may be discarded."""
        found: dict[str, float] = {}
        for one in self.given:
            if one.flow == flow and one.what in {"discard", "both"}:
                found.setdefault(one.message_id, one.at)
        return found

    def summary(self, faults: Iterable[Fault]) -> str:
        faults = list(faults)
        amid = sum(any(fault.begun <= one.at <= fault.ended for fault in faults) for one in self.given)
        told = Counter(f"{one.flow} {one.what}" for one in self.given)
        counts = ", ".join(f"{what} {count}" for what, count in sorted(told.items()))
        return (
            f"decisions on {len({one.message_id for one in self.given})} dead letters: {counts}; amid a fault: {amid}"
        )
