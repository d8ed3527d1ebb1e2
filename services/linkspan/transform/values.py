"""Value tables: how one system's words are said in the other, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linkspan.kernel.errors import LinkspanError


class Unmapped(LinkspanError):
    """A table has no such value; the text names the table, the value and what there is."""


class ValueTables:
    """The ``values`` of an integration; every table is one to one (the integration file is refused otherwise)."""

    def __init__(self, tables: Mapping[str, Mapping[str, str]]) -> None:
        self._forward = tables
        self._back = {name: {value: key for key, value in table.items()} for name, table in tables.items()}

    def value(self, table: Any, key: Any) -> str:
        """JSONata's ``$value(table, key)``; raises Unmapped."""
        return self._look_up(self._forward, table, key)

    def key(self, table: Any, value: Any) -> str:
        """JSONata's ``$key(table, value)``, the way back; raises Unmapped."""
        return self._look_up(self._back, table, value)

    def _look_up(self, tables: Mapping[str, Mapping[str, str]], table: Any, wanted: Any) -> str:
        known = tables.get(table) if isinstance(table, str) else None
        if known is None:
            raise Unmapped(f"there is no value table {_shown(table)}; there are {_list(tables)}")
        found = known.get(wanted) if isinstance(wanted, str) else None
        if found is None:
            raise Unmapped(f"value table {table} has nothing for {_shown(wanted)}; it knows {_list(known)}")
        return found


def _list(names: Mapping[str, Any]) -> str:
    listed = sorted(names)
    rest = len(listed) - 20
    return (", ".join(listed[:20]) + (f" and {rest} more" if rest > 0 else "")) or "none"


def _shown(value: Any) -> str:
    if value is None:
        return "an absent or null value"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
