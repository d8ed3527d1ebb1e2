"""The records of a partition's compacted ``state``."""

from __future__ import annotations

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.copied import CopyMark
from linkspan.kernel.records.hold import Hold
from linkspan.kernel.records.position import Position
from linkspan.kernel.schemas import SchemaCatalog

POSITION, HOLD, IDS, COPIED = b"position", b"hold/", b"ids/", b"copied"
#: Of a tombstone in ``state`` and ``parked`` that says nothing: its commit ends what Kafka left open there.
BARRIER = b"barrier"


class StateCodec:
    """The records of ``state``: ``position``, ``hold/<entity key>`` for each held key, ``ids/<n>`` for past ids,
    ``copied`` where ``linkspan repartition`` was."""

    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec, self._holds = RecordCodec(catalog, "Position"), RecordCodec(catalog, "Hold")
        self._ids, self._marks = RecordCodec(catalog, "Ids"), RecordCodec(catalog, "Copied")

    def unknown(self, value: bytes | None) -> bytes | None:
        """As ``Decoder.unknown``."""
        found = [codec.unknown(value) for codec in (self._codec, self._holds, self._ids, self._marks)]
        return None if None in found else found[0]

    def encode_ids(self, serial: int, entries: bytes) -> bytes:
        return self._ids.encode({"serial": serial, "entries": entries})

    def decode_ids(self, value: bytes) -> tuple[int, bytes]:
        """Serial number and packed entries; raises Poison."""
        found = self._ids.decode(value)
        return found["serial"], found["entries"]

    def encode_hold(self, hold: Hold | None) -> bytes | None:
        """None, a tombstone, for a key that is free again."""
        if hold is None:
            return None
        said = {"dead": hold.dead, "last": hold.last, "drained": hold.drained, "from": hold.start}
        return self._holds.encode(said | {"draining": hold.draining})

    def decode_hold(self, value: bytes) -> Hold:
        """Raises Poison."""
        found = self._holds.decode(value)
        return Hold(found["dead"], found["last"], found["drained"], found["from"], found["draining"])

    def encode_mark(self, mark: CopyMark) -> bytes:
        return self._marks.encode({"source": mark.source, "target": mark.target, "done": mark.done, "at": now_micros()})

    def decode_mark(self, value: bytes) -> CopyMark:
        """Raises Poison."""
        found = self._marks.decode(value)
        return CopyMark(found["source"], found["target"], found["done"])

    def encode(self, position: Position) -> bytes:
        return self._codec.encode(
            {
                "epoch": position.epoch,
                "at": now_micros(),
                "events": position.events,
                "finished": [{"first": first, "end": end} for first, end in position.finished],
                "charged": [{"offset": offset, "attempts": attempts} for offset, attempts in position.charged],
                "outcomes": position.outcomes,
                "outcomesEpoch": position.outcomes_epoch,
                "control": position.control,
                "redriven": list(position.redriven),
                "parked": position.parked,
                "cluster": position.cluster,
                "marked": position.marked,
                "checked": position.checked,
            }
        )

    def decode(self, value: bytes | None) -> Position:
        """Raises Poison."""
        found = self._codec.decode(value)
        return Position(
            found["epoch"],
            found["events"],
            tuple((one["first"], one["end"]) for one in found["finished"]),
            tuple((one["offset"], one["attempts"]) for one in found["charged"]),
            found["outcomes"],
            found["outcomesEpoch"],
            found["control"],
            tuple(found["redriven"]),
            found["parked"],
            found["cluster"],
            found["marked"],
            found["checked"],
        )
