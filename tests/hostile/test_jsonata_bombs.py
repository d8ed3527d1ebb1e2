"""Expressions that would fill the memory or take minutes, on hostile data: an error that says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from linkspan.kernel.errors import Poison, UserMistake
from linkspan.transform.jsonata import Expression
from linkspan.transform.values import ValueTables
from tests.hostile.memory import peak_of

LONG = {"s": "x" * 100_000, "list": list(range(50_000)), "maps": [{str(n): 1} for n in range(20_000)]}

BOMBS: dict[str, tuple[str, str]] = {
    "a text padded for ever": ('$pad("x", 1000000000)', r"\$pad: the width 1000000000 is above 100000"),
    "the same under another name": ('($p := $pad; $p("x", 1e9))', r"\$pad: the width 1000000000 is above"),
    "the same, partially applied": ('$map([1e9], $pad("x", ?))', r"\$pad: the width 1000000000 is above"),
    "a range without end": ("[1..1000000000]", "too many elements"),
    "a long range": ("$sum([1..9999999])", "maximum sequence length"),
    "a text doubled again and again": (
        '($f := function($s, $n) {$n = 0 ? $s : $f($s & $s, $n - 1)}; $f("x", 40))',
        "timeout",
    ),
    "a list doubled again and again": (
        "$reduce([1..30], function($a, $b) {$append($a, $a)}, [1, 2])",
        "timeout|maximum",
    ),
    "recursion without end": ("($f := function($n) {1 + $f($n)}; $f(1))", "Stack overflow"),
    "a loop without end": ("($f := function($n) {$f($n + 1)}; $f(1))", "timeout"),
    "each item beside a long text": ("$join($map([1..100000], function($i) {$$.s}))", r"timeout|\$join"),
    "a long separator": ("$join($map(list, $string), $$.s)", r"timeout|\$join: the result has more than"),
    "each letter replaced by a long text": ('$replace(s, "x", s)', r"\$replace: the result could have more than"),
    "a long text searched for everything": ('$match(s & "x", /x/)', r"\$match: the text has more than 100000"),
    "each item compared with each": ("$distinct(list)", r"\$distinct: there are more than 2000"),
    "each key compared with each": ("$keys(maps)", r"\$keys: there are more than 2000"),
    "a picture without end": ('$formatNumber(1e300, "#" & $pad("", 90000, "0"))', r"\$formatNumber: the picture"),
    "a Roman numeral without end": ('$formatInteger(1e300, "I")', r"\$formatInteger: no Roman numeral"),
    "a panic in the library": ('$fromMillis(1, "[Y,*-99999999]")', "the evaluation broke"),
    "a large regular expression": ('$match("a", /((a{1,1000}){1,1000}){1,1000}/)', "exceeds size limit"),
}


def expression(text: str) -> Expression:
    return Expression(text, ValueTables({}), frozenset())


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_an_expression_is_a_failed_transform_that_says_why(name: str) -> None:
    text, said = BOMBS[name]
    with pytest.raises(Poison, match=f"^the transform failed: .*({said})"):
        expression(text).run(json.dumps(LONG), {})


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_in_a_predicate_is_a_failed_predicate_that_says_why(name: str) -> None:
    text, said = BOMBS[name]
    with pytest.raises(Poison, match=f"^the predicate failed: .*({said})"):
        expression(f"$exists({text})").holds(json.dumps(LONG), {})


@pytest.mark.parametrize("text", [r"/^(a+)+$/", r"/(a|a)*$/", r"/(a|aa)+$/", r"/(x+x+)+y/", r"/(.*a){20}/"])
def test_no_regular_expression_backtracks(text: str) -> None:
    """The engine is linear; one that backtracks would need years for these."""
    found = expression(f"$exists($match(s, {text}))").run(json.dumps({"s": "a" * 5_000 + "!" + "x" * 50_000}), {})
    assert found in ("true", "false")


def test_a_bomb_that_a_limit_of_its_own_stops_takes_little_memory() -> None:
    """At any moment. What time alone stops takes what it can until then: docs/security.md."""
    assert peak_of(__name__, "explode") < 256 << 20


def explode() -> None:
    for text, said in BOMBS.values():
        if "timeout" not in said:
            with pytest.raises(Poison):
                expression(text).run(json.dumps(LONG), {})


DEEP = {
    "parentheses": "(" * 100_000 + "1" + ")" * 100_000,
    "lists": "[" * 100_000 + "]" * 100_000,
    "signs": "-" * 100_000 + "1",
    "a chain": "1" + "+1" * 200_000,
    "steps": "a" + ".a" * 100_000,
    "conditions": "1?" * 50_000 + "1" + ":1" * 50_000,
    "comments that do not end": "/*" * 200_000,
}


@pytest.mark.parametrize("name", DEEP)
def test_a_text_that_nests_without_end_is_no_expression(name: str) -> None:
    with pytest.raises(UserMistake, match=r"^not a JSONata expression: "):
        expression(DEEP[name])


SAME: list[tuple[str, Any]] = [
    ('t.$replace("b", "x")', "axcx"),
    ('$replace("abbc", "b", "x", 1)', "axbc"),
    ('$replace("abc", /b/, function($m) {"y"})', "ayc"),
    ('$join(["a", "b"], "-")', "a-b"),
    ('$join("a")', "a"),
    ("$join([])", ""),
    ('["a", "b"] ~> $join("-")', "a-b"),
    ("t.$match(/b/).index", [1, 3]),
    ('$match("abcb", /b/, 1).index', 1),
    ("$distinct([1, 1, 2])", [1, 2]),
    ('$keys([{"a": 1}, {"b": 1}])', ["a", "b"]),
    ('{"a": 1}.$keys()', "a"),
    ('n.$formatNumber("0.00")', "12.50"),
    ('$formatInteger(12, "I")', "XII"),
    ('$formatInteger(1000000000, "#,##0")', "1,000,000,000"),
    ('t.$pad(6, "-")', "abcb--"),
    ('$pad("x", -3)', "  x"),
]


@pytest.mark.parametrize(("text", "gives"), SAME)
def test_a_function_within_its_limit_gives_what_it_always_gave(text: str, gives: Any) -> None:
    assert json.loads(expression(text).run('{"t": "abcb", "n": 12.5}', {})) == gives
