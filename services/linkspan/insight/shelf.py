"""A Faust table as the pipeline uses it: by partition, the changelog first and its copy on this machine after.

Faust's own way writes the copy at once and the changelog some time later, without telling when. Here a row that is on
this machine is in Kafka too, and the copy says in the same write up to where it has the changelog.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rocksdict import WriteBatch

Rows = Mapping[bytes, bytes | None]


class Shelf:
    """``changelog``: its topic, whose partitions are those of the table."""

    def __init__(self, table: Any, changelog: str) -> None:
        self._table, self.changelog = table, changelog

    def get(self, partition: int, key: bytes) -> bytes | None:
        found: bytes | None = self._rows(partition).get(key)
        return found

    def items(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """All rows of a partition."""
        mark = self._table.data.offset_key
        return ((key, value) for key, value in self._rows(partition).items() if key != mark)

    def kept(self, partition: int) -> int | None:
        """Offset up to which the copy has the changelog; None: it has nothing."""
        found = self._rows(partition).get(self._table.data.offset_key)
        return None if found is None else int(found)

    def keep(self, partition: int, rows: Rows, offset: int) -> None:
        """``rows``, None: removed; all stand in the changelog, the last at ``offset``."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(self._table.data.offset_key, b"%d" % offset)
        self._rows(partition).write(batch)

    def _rows(self, partition: int) -> Any:
        return self._table.data._db_for_partition(partition)  # noqa: SLF001 - Faust's way asks for the agent's event
