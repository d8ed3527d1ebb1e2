"""What is selected and how each of it stands, against a model that looks at everything again for every event."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.kernel.codec import Decoder, OutcomeCodec
from linkspan.kernel.records import plan
from linkspan.kernel.records.plan import Planned, Stood, check_of
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from linkspan.replay.chosen import Chosen
from linkspan.replay.content import EventContent
from linkspan.replay.selection import Fitting, OffsetSpan, Selection
from linkspan.replay.standing import STATUSES, Around, Standing, Transforms, codes_of


class Record(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp: int


CATALOG = SchemaCatalog(packaged_schemas())
CODEC = OutcomeCodec(CATALOG)
#: Of something that any version reads: it stands for an event here.
READABLE = CODEC.encode({"kind": "opened", "offset": 0, "at": 0})
KEYS = (b"a", b"b", b"c")
HASHES = ("1" * 16, "2" * 16, "x" * 64)
FINISHING = ("delivered", "dead_lettered", "held", "filtered", "duplicate", "superseded", "discarded", "expired")


DECODER = Decoder([[variant for part in CATALOG.versions("linkspan", "Outcome") for variant in part.variants]])


def events(dice: Random) -> list[Record]:
    """Offsets have gaps; times do not rise; some values cannot be read."""
    found, offset = [], dice.randint(0, 3)
    for number in range(dice.randint(0, 14)):
        accepted = dice.randint(0, 20) * 1_000_000
        headers = [("message-id", b"m%d" % number), ("type", dice.choice((b"Order", b"Other")))]
        if dice.randint(0, 5):
            headers.insert(dice.randint(0, 2), ("accepted-at", b"%d" % accepted))
        value = dice.choice((READABLE, READABLE, READABLE, b"\xc3\x01unknown!", None))
        found.append(Record(offset, dice.choice((*KEYS, None)), value, headers, accepted // 1_000))
        offset += dice.randint(1, 3)
    return found


def outcomes(dice: Random, of: list[Record], end: int) -> list[Record]:
    """With owners that come, and what their predecessors still append; of a replay, too."""
    found, epoch = [], 0
    keys = {one.offset: one.key for one in of}
    for at in range(dice.randint(0, 40)):
        if dice.randint(0, 7) == 0:
            epoch += 1
            found.append(Record(at, None, b"", [("kind", b"owner"), ("epoch", b"%d" % epoch)], 0))
            continue
        offset = dice.choice([*keys, *keys, *keys, end + 1])
        key = keys.get(offset, dice.choice(KEYS))
        kind = dice.choice((*FINISHING, "delivered", "delivered", "redriven", "opened", "attempt_failed"))
        said = dice.randint(max(0, epoch - 1), epoch)
        headers = [("kind", kind.encode()), ("offset", b"%d" % offset), ("epoch", b"%d" % said)]
        if key is not None and kind in ("dead_lettered", "held", "redriven", "opened") and dice.randint(0, 1):
            headers.append(("hold", b"1"))
        if dice.randint(0, 9) == 0:
            headers.append(("plan", b"another"))
        headers += [("message-id", b"m"), ("correlation-id", b"c"), ("digest", b"12345678")]
        value = CODEC.encode(
            {"kind": kind, "offset": offset, "at": at, "transform": dice.choice((*HASHES, None))}
            | {"command": dice.choice((None, None, 7))}
        )
        found.append(Record(at, key, value, headers, 0))
    return found


def selection(dice: Random) -> Selection:
    """Half of what may be asked for is not."""

    def some(*choices: Any) -> Any:
        return dice.choice(choices) if dice.randint(0, 1) else ()

    since = dice.randint(0, 15) if dice.randint(0, 1) else None
    until = dice.randint((since or 0) + 1, 25) if dice.randint(0, 1) else None
    return Selection(
        "orders",
        since=None if since is None else since * 1_000_000,
        until=None if until is None else until * 1_000_000,
        keys=some(("a",), ("a", "b")),
        types=some(("Order",)),
        statuses=some(*(tuple(dice.sample(STATUSES, count)) for count in (1, 3, 6))),
        not_statuses=some(("delivered",), ("in_flight", "held")),
        offsets=some((OffsetSpan(0, 3, 12),), (OffsetSpan(0, 2),)),
        message_ids=some(("m1", "m2", "m5")),
    )


class Model:
    """Everything that outcomes say, looked up anew each time."""

    def __init__(self, told: list[Record]) -> None:
        self.valid: list[tuple[str, int, dict[str, bytes], Record]] = []
        in_force = 0
        for one in told:
            said = dict(one.headers)
            epoch = int(said["epoch"])
            if epoch < in_force:
                continue
            if said["kind"] == b"owner":
                in_force = epoch
            elif "plan" not in said:
                self.valid.append((said["kind"].decode(), int(said["offset"]), said, one))

    def status(self, offset: int) -> str:
        kinds = [kind for kind, at, _, _ in self.valid if at == offset and kind in STATUSES]
        return kinds[-1] if kinds else "in_flight"

    def holds(self, offset: int) -> bool:
        said = [said for kind, at, said, _ in self.valid if at == offset and kind in STATUSES]
        return bool(said) and "hold" in said[-1]

    def held(self, key: bytes | None) -> bool:
        found = False
        for kind, _, said, one in self.valid:
            if key is not None and one.key == key:
                found = (found or ("hold" in said and kind in ("dead_lettered", "held"))) and kind != "opened"
        return found

    def made(self, offset: int) -> str | None:
        made = [
            CODEC.decode(one.value)["transform"]
            for kind, at, _, one in self.valid
            if (kind, at) == ("delivered", offset)
        ]
        return made[-1] if made else None

    def delivered(self, of: list[Record], end: int, key: bytes | None) -> list[int]:
        here = [one.offset for one in of if one.key == key and self.status(one.offset) == "delivered"]
        later = [at for kind, at, _, one in self.valid if kind == "delivered" and at >= end and one.key == key]
        return here + later

    def stood(self, event: Record, of: list[Record], end: int, position: int, inside: set[int]) -> Stood:
        status = self.status(event.offset)
        standing = {"delivered": plan.DELIVERED, "duplicate": plan.DELIVERED, "held": plan.HELD}.get(status, plan.OPEN)
        if self.held(event.key) or (status == "dead_lettered" and self.holds(event.offset)):
            standing = plan.HELD
        if event.value != READABLE:
            standing = plan.UNDECODABLE
        newest = max(self.delivered(of, end, event.key), default=-1) if event.key is not None else -1
        newer = 0 if newest <= event.offset else plan.NEWER_INSIDE if newest in inside else plan.NEWER_OUTSIDE
        if status == "superseded":
            newer = plan.NEWER_OUTSIDE
        open_ = status == "redriven" or (status == "in_flight" and event.offset >= position)
        return Stood(standing, newer, False, open_)


def fits(asked: Selection, event: Record, status: str) -> bool:
    said = dict(event.headers)
    accepted = int(said.get("accepted-at", event.timestamp * 1_000))
    return all(
        (
            asked.since is None or accepted >= asked.since,
            asked.until is None or accepted < asked.until,
            not asked.keys or (event.key or b"").decode() in asked.keys,
            not asked.types or said["type"].decode() in asked.types,
            not asked.message_ids or said["message-id"].decode() in asked.message_ids,
            not asked.statuses or status in asked.statuses,
            status not in asked.not_statuses,
            not asked.offsets or asked.offsets[0].holds(event.offset),
        )
    )


def pieces(records: list[Record], size: int) -> list[list[Record]]:
    return [records[at : at + size] for at in range(0, len(records), size)]


@settings(max_examples=1_500, deadline=None)
@given(st.integers(0, 2**32))
def test_each_record_is_listed_as_the_model_says(seed: int) -> None:
    dice = Random(seed)
    of, asked, size, position = events(dice), selection(dice), dice.randint(1, 9), dice.randint(0, 20)
    end = of[-1].offset + 1 if of else 0
    told = outcomes(dice, of, end)
    first = of[0].offset if of else 0
    transforms = Transforms(lambda value: CODEC.decode(value)["transform"])
    standing = Standing(first, end, transforms)
    for some in pieces(told, size):
        standing.take(some)
    chosen = Chosen(standing, Fitting(asked, 0), asked.codes, EventContent(DECODER), None)
    for some in pieces(of, size):
        chosen.take(some)
    standing.forget()

    model = Model(told)
    wanted = [one for one in of if fits(asked, one, model.status(one.offset))]
    inside = {one.offset for one in wanted}
    places = {number: number for number in range(1, 10)}
    assert list(chosen.planned(position, places)) == [
        Planned(
            one.offset,
            model.stood(one, of, end, position, inside).code,
            places.get(transforms.known(model.made(one.offset) or ""), -1),
            check_of(dict(one.headers)["message-id"]),
        )
        for one in wanted
    ]
    assert len(chosen) == sum(chosen.statuses.values()) == sum(chosen.hours.values()) == len(wanted)
    assert chosen.bytes == sum(len(one.value or b"") for one in wanted)
    assert sum(count for _, count in chosen.keys) == sum(one.key is not None for one in wanted)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((*HASHES, None, "")), st.sampled_from((None, 0, 5, 10**9)))))
def test_the_transform_is_read_from_the_end_of_the_value_as_the_whole_value_says_it(said: list[Any]) -> None:
    read = lambda value: CODEC.decode(value)["transform"]  # noqa: E731
    transforms = Transforms(read)
    for made, command in said:
        value = CODEC.encode({"kind": "delivered", "offset": 1, "at": 1, "transform": made, "command": command})
        assert transforms.hashes[transforms.number(value)] == (read(value) or "")


def test_what_retention_took_before_it_was_delivered_is_known_as_a_range() -> None:
    headers = [("kind", b"expired"), ("offset", b"3"), ("epoch", b"0"), ("until", b"12")]
    standing = Standing(10, 20, Transforms(lambda _: None), Around(start=10))
    standing.take([Record(0, None, b"", headers, 0)])
    assert standing.lost == [(3, 10)]
    assert list(standing.codes[:3]) == [4, 4, 0]
    assert {4} == codes_of("expired")


def test_a_hold_that_began_before_the_scan_ends_where_an_outcome_says_so() -> None:
    opened = [("kind", b"opened"), ("offset", b"-1"), ("epoch", b"0"), ("hold", b"1")]
    standing = Standing(0, 5, Transforms(lambda _: None), Around(held=frozenset({b"a", b"b"}), held_from=2))
    standing.take([Record(1, b"b", b"", opened, 0), Record(2, b"a", b"", opened, 0)])
    assert standing.held == {b"b"}
