"""Limits of the built-in functions of JSONata whose work is more than the length of their data.

Evaluation is interrupted between its steps only; one call of these can fill the memory or take minutes (seen with
jsonatapy 2.2.13). An expression that uses one has it wrapped, and a call beyond the limit is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

#: Characters of a text that is made, and that is searched for all matches.
MAX_CHARACTERS = 10_000_000
MAX_SEARCHED = 100_000
#: Characters that a text is padded to.
MAX_WIDTH = 100_000
#: Items that are compared, each with each.
MAX_COMPARED = 2_000
#: Characters of a number's picture, and the greatest number in Roman numerals, which have a letter for each thousand.
MAX_PICTURE = 1_000
MAX_ROMAN = 1_000_000


@dataclass(frozen=True, slots=True)
class _Limit:
    """``too_much`` is a JSONata condition over ``parameters``, of which those from ``optional`` on may be left out.
    ``signature``: the built-in's, for which the value before a dot can stand for the first one (``x.$pad(5)``)."""

    parameters: tuple[str, ...]
    optional: int
    too_much: str
    said: str
    signature: str = ""


_LENGTH = '($type({0}) = "string" ? $length({0}) : 0)'
_LIMITS = {
    "pad": _Limit(
        ("$text", "$width", "$char"),
        2,
        f"$abs($width) > {MAX_WIDTH}",
        f'the width " & $width & " is above {MAX_WIDTH}',
        "<s-ns?>",
    ),
    "replace": _Limit(
        ("$text", "$pattern", "$by", "$limit"),
        3,
        f"{_LENGTH.format('$text')} * {_LENGTH.format('$by')} > {MAX_CHARACTERS}",
        f"the result could have more than {MAX_CHARACTERS} characters",
        "<s-(sf)(sf)n?>",
    ),
    "join": _Limit(
        ("$texts", "$separator"),
        1,
        f"$sum($map($texts, $length)) + $count($texts) * {_LENGTH.format('$separator')} > {MAX_CHARACTERS}",
        f"the result has more than {MAX_CHARACTERS} characters",
    ),
    "match": _Limit(
        ("$text", "$pattern", "$limit"),
        2,
        f"{_LENGTH.format('$text')} > {MAX_SEARCHED}",
        f"the text has more than {MAX_SEARCHED} characters",
        "<s-(sf)n?>",
    ),
    "distinct": _Limit(("$list",), 1, f"$count($list) > {MAX_COMPARED}", f"there are more than {MAX_COMPARED} items"),
    "keys": _Limit(
        ("$object",), 1, f"$count($object) > {MAX_COMPARED}", f"there are more than {MAX_COMPARED} objects", "<x->"
    ),
    "formatNumber": _Limit(
        ("$number", "$picture", "$options"),
        2,
        f"{_LENGTH.format('$picture')} > {MAX_PICTURE}",
        f"the picture has more than {MAX_PICTURE} characters",
        "<n-so?>",
    ),
    "formatInteger": _Limit(
        ("$number", "$picture"),
        2,
        f'$type($number) = "number" and $abs($number) > {MAX_ROMAN} and $contains($picture, /[iI]/)',
        f"no Roman numeral above {MAX_ROMAN} is written",
        "<n-s>",
    ),
}


def bounded(names: Collection[str]) -> str:
    """A ``%`` template that takes an expression with these names after ``$``; empty where none of them is limited."""
    wrapped = "".join(_wrapped(name, _LIMITS[name]) for name in _LIMITS if name in names)
    return f"({wrapped}\n%s\n)" if wrapped else ""


def _wrapped(name: str, limit: _Limit) -> str:
    built_in, given = f"$builtIn_{name}", limit.parameters
    call = f"{built_in}({', '.join(given[: limit.optional])})"
    for count in range(limit.optional, len(given)):
        call = f"$exists({given[count]}) ? {built_in}({', '.join(given[: count + 1])}) : {call}"
    return (
        f"{built_in} := ${name}; ${name} := function({', '.join(given)}){limit.signature} {{$exists({given[0]}) ? ("
        f'{limit.too_much} ? $error("${name}: {limit.said}") : {call})}};'
    )
