"""What is archived of an integration: all that cannot be made again from something else."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from linkspan.kernel.archive.store import Place
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import DAY_MS, all_topics, control_topic, sources_topic

#: Kept by Kafka for so much longer than the events that they are about, milliseconds (kernel/topics.py).
OUTCOMES_LONGER_MS = 7 * DAY_MS


class Kept(msgspec.Struct, frozen=True):
    """One partition. ``what``: last word of the topic's name; ``flow``: empty where it is of no flow; ``compacted``: of
    each key the newest record is enough; ``retention``: Kafka keeps a record for so long, milliseconds, 0: for ever."""

    place: Place
    flow: str
    what: str
    compacted: bool
    retention: int


#: What names offsets of another topic comes before it, so that what it names is archived, too.
_ORDER = ("sources", "replays", "state", "control", "parked", "outcomes", "events")


def kept_of(integration: Integration) -> list[Kept]:
    """In the order in which they are archived; not what is told anew every second, nor what insight counts from the
    events."""
    return sorted(_kept(integration), key=lambda one: _ORDER.index(one.what))


def _kept(integration: Integration) -> Iterator[Kept]:
    name = integration.integration
    others = {control_topic(name), sources_topic(name)}
    for spec in all_topics(integration):
        words = spec.name.split(".")
        if spec.name not in others and not (len(words) == 3 and words[1] in integration.flows):
            continue
        policy, said = spec.config["cleanup.policy"], int(spec.config.get("retention.ms", -1))
        for number in range(spec.partitions):
            place, flow = Place(spec.name, number), words[1] if len(words) == 3 else ""
            yield Kept(place, flow, words[-1], policy == "compact", max(0, said))
