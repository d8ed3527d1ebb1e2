"""Tables that stay readable on a narrow terminal and in a pipe: the least important columns go first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

#: Control characters, and those that turn the direction of what follows: a message must not steer a terminal.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_GAP = 2
_FOLDED = 14

Cell = str | int | Text


def plain(text: str) -> str:
    """On one line, without anything that steers a terminal."""
    return _STEERING.sub(" ", text).strip()


@dataclass(frozen=True, slots=True)
class Column:
    """``spare``: 0 is always shown, the highest goes first; ``folds``: long text goes on in the next line."""

    heading: str
    right: bool = False
    spare: int = 0
    folds: bool = False


class Listing:
    """Rows under columns; a cell is text as it is, never markup."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self.rows: list[list[Text]] = []

    def add(self, *cells: Cell, style: str = "") -> None:
        self.rows.append([_text(cell, style) for cell in cells])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self._fitting(options.max_width)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for index in shown:
            column = self._columns[index]
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=not column.folds,
                overflow="fold" if column.folds else "ellipsis",
                min_width=None if column.folds else self._width(index),
            )
        for row in self.rows:
            table.add_row(*(row[index] for index in shown))
        yield table

    def _fitting(self, width: int) -> Sequence[int]:
        shown = list(range(len(self._columns)))
        while sum(self._least(index) + _GAP for index in shown) - _GAP > width:
            index = max(shown, key=lambda one: self._columns[one].spare)
            if not self._columns[index].spare:
                break
            shown.remove(index)
        return shown

    def _least(self, index: int) -> int:
        wide = self._width(index)
        return min(wide, _FOLDED) if self._columns[index].folds else wide

    def _width(self, index: int) -> int:
        return max([len(self._columns[index].heading), *(row[index].cell_len for row in self.rows)])


def _text(cell: Cell, style: str) -> Text:
    if isinstance(cell, Text):
        return cell
    return Text(f"{cell:,}" if isinstance(cell, int) else plain(cell), style=style)
