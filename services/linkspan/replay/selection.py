"""Which events of the past are meant: what was asked for, and whether the headers of a record fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from linkspan.kernel.errors import Fault, UserMistake
from linkspan.kernel.topics import partition_of
from linkspan.replay.known import Known
from linkspan.replay.standing import STATUSES, codes_of
from linkspan.transform.jsonata import Expression
from linkspan.transform.values import ValueTables

MOST_SAMPLES = 100
#: Values of a field that names messages one by one.
_MOST_NAMED = 10_000


class OffsetSpan(msgspec.Struct, frozen=True):
    """Of event offsets; ``end`` 0: the log's end."""

    partition: int
    first: int = 0
    end: int = 0

    def holds(self, offset: int) -> bool:
        return self.first <= offset and (not self.end or offset < self.end)


class Selection(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is given must fit. ``since``, ``until``: microseconds since 1970 of the acceptance, the latter
    exclusive; ``statuses``: of ``STATUSES``; ``predicate``: JSONata over the message."""

    flow: str
    since: int | None = None
    until: int | None = None
    keys: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    correlation_ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    not_statuses: tuple[str, ...] = ()
    transform: str = ""
    predicate: str = ""
    offsets: tuple[OffsetSpan, ...] = ()
    dead_letters: bool = False

    @property
    def json(self) -> str:
        return msgspec.json.encode(self).decode()

    @property
    def codes(self) -> frozenset[int]:
        """Bytes of ``Standing.codes`` that fit."""
        wanted = codes_of(*(self.statuses or STATUSES)) - codes_of(*self.not_statuses)
        return wanted & codes_of("dead_lettered", "held") if self.dead_letters else wanted

    def partitions(self, count: int) -> list[int]:
        """Those that can hold what is meant: a key has its partition."""
        found = set(range(count))
        if self.keys:
            found &= {partition_of(key.encode(), count) for key in self.keys}
        if self.offsets:
            found &= {one.partition for one in self.offsets}
        return sorted(found)

    def first(self, partition: int) -> int:
        """No lower offset of the partition is meant."""
        return min((one.first for one in self.offsets if one.partition == partition), default=0)


def faults(asked: Selection, partitions: int, values: Mapping[str, Mapping[str, str]]) -> Iterator[Fault]:
    """What is wrong with it, by the names of the request's fields. ``values``: the integration's tables."""
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        yield Fault("until", "is not after since")
    yield from _wrong_names(asked)
    yield from _wrong_statuses(asked)
    yield from _wrong_offsets(asked, partitions)
    if asked.predicate:
        try:
            predicate(asked.predicate, values)
        except UserMistake as error:
            yield Fault("predicate", str(error))


def _wrong_names(asked: Selection) -> Iterator[Fault]:
    for name in ("keys", "message_ids", "correlation_ids", "types"):
        given = getattr(asked, name)
        if len(given) > _MOST_NAMED:
            yield Fault(name, f"at most {_MOST_NAMED:,} of them; {len(given):,} were given")
        if "" in given:
            yield Fault(name, "an empty one fits nothing")


def _wrong_statuses(asked: Selection) -> Iterator[Fault]:
    unknown = False
    for name in ("statuses", "not_statuses"):
        for status in getattr(asked, name):
            if status not in STATUSES:
                unknown = True
                yield Fault(name, f"there is no status {status!r}; there are {', '.join(STATUSES)}")
    if not (asked.codes or unknown):
        yield Fault("statuses", "no status is left; look at not_statuses and dead_letters, too")


def _wrong_offsets(asked: Selection, partitions: int) -> Iterator[Fault]:
    for index, one in enumerate(asked.offsets):
        field = f"offsets[{index}]"
        if not 0 <= one.partition < partitions:
            yield Fault(f"{field}.partition", f"the flow has the partitions 0 to {partitions - 1}")
        if one.first < 0:
            yield Fault(f"{field}.first", "an offset is not negative")
        if one.end and one.end <= one.first:
            yield Fault(f"{field}.end", "is not after first")


def predicate(text: str, values: Mapping[str, Mapping[str, str]]) -> Expression:
    """Raises UserMistake."""
    return Expression(text, ValueTables(values), frozenset(values))


class Fitting:
    """Whether what headers say fits, in one partition; statuses and the predicate are somebody else's."""

    def __init__(self, asked: Selection, partition: int) -> None:
        self.since, self.until = asked.since, asked.until
        self._spans = [one for one in asked.offsets if one.partition == partition]
        self._sets = {
            name: frozenset(value.encode() for value in wanted)
            for name, wanted in (
                ("key", asked.keys),
                ("message_id", asked.message_ids),
                ("correlation_id", asked.correlation_ids),
                ("type", asked.types),
            )
            if wanted
        }
        #: Whether more than the time of acceptance matters.
        self.more: Callable[[int, Known], bool] | None = self._others if self._spans or self._sets else None

    def fits(self, offset: int, known: Known) -> bool:
        if self.since is not None and known.accepted < self.since:
            return False
        if self.until is not None and known.accepted >= self.until:
            return False
        return self.more is None or self.more(offset, known)

    @property
    def unknowing(self) -> bool:
        """It asks for nothing that an event without any headers could not fit."""
        return self.since is None and self.until is None and not self._sets

    def spans(self, offset: int) -> bool:
        return not self._spans or any(one.holds(offset) for one in self._spans)

    def _others(self, offset: int, known: Known) -> bool:
        return self.spans(offset) and all(getattr(known, name) in wanted for name, wanted in self._sets.items())
