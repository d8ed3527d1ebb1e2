"""How the account of flows looks, wherever it comes from."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

#: flow -> term of the sum -> number, in the order of the equation.
Sums = Mapping[str, Mapping[str, int]]


def sums_view(sums: Sums, console: Console) -> RenderableType:
    """A table; a line for each flow where nobody looks."""
    if console.is_terminal:
        return _table(sums)
    return Text("\n".join(f"{flow}: {_in_a_line(terms)}" for flow, terms in sums.items()))


def missing_line(flow: str, partition: int, offset: int, message_id: str | None, at: str) -> str:
    message = message_id or "(unknown)"
    return f"unaccounted: flow {flow}, partition {partition}, offset {offset}, message {message}, accepted {at}"


def _in_a_line(terms: Mapping[str, int]) -> str:
    return ", ".join(f"{_shown(name)} {count}" for name, count in terms.items())


def _table(sums: Sums) -> Table:
    table = Table("", *sums)
    for column in table.columns[1:]:
        column.justify = "right"
    columns = list(sums.values())
    for name in columns[0] if columns else ():
        wrong = name == "unaccounted" and any(one[name] for one in columns)
        table.add_row(_shown(name), *(f"{one[name]:,}" for one in columns), style="bold red" if wrong else None)
    return table


def _shown(name: str) -> str:
    return "dead-lettered" if name == "dead_lettered" else name.replace("_", " ")
