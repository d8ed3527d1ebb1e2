"""Whatever an integration file holds: lines that name the file, the line and what is wrong, and exit code 2."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkspan.cli.main import main
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.spec_file import load_integration
from tests.hostile.budget import budget

REFERENCE = Path(__file__).parents[2] / "services/linkspan/reference/integration.yaml"
ENVIRON = {
    "SYSTEM_A_CLIENT_SECRET": "s",
    "SYSTEM_B_API_KEY": "k",
}
WHOLE = REFERENCE.read_text()
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
ATTACKS = {
    "an object of Python": "integration: !!python/object/apply:os.system ['touch pwned']\n",
    "a module of Python": "integration: !!python/module:os\n",
    "a tag of its own": "integration: !secret x\n",
    "a binary": "integration: !!binary aGVsbG8=\n",
    "anchors that multiply": BOMB,
    "an anchor in itself": "a: &a [*a]\n",
    "deep lists": "a: " + "[" * 5_000 + "]" * 5_000 + "\n",
    "deep mappings": "a: " + "{a: " * 5_000 + "}" * 5_000 + "\n",
    "deep indents": "".join(" " * n + "a:\n" for n in range(1_000)),
    "a huge number": "integration: " + "9" * 10_000 + "\n",
    "a huge exponent": "integration: 1e999999\n",
    "a huge file": "# " + "x" * 600_000 + "\n",
    "the same field twice": "integration: a\nintegration: b\n",
    "fields that are no text": "1: a\n",
    "a merge key": "a: &a {x: 1}\nb: {<<: *a}\n",
    "no UTF-8": "integration: \udcff\n",
    "control characters": "integration: \x1b[2J\n",
    "a NUL": "integration: \x00\n",
    "nothing": "",
    "a list": "- a\n",
    "several documents": "a: 1\n---\nb: 2\n",
    "types turned round": "integration: [1]\nsystems: 7\nflows: {a: [b]}\nvalues: x\n",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_integration_file_is_told_by_its_line_and_exit_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "integration.yaml"
    path.write_bytes(ATTACKS[name].encode("utf-8", "surrogateescape"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["linkspan", "check", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert all(re.match(rf"linkspan: {re.escape(str(path))}:(\d+:)? \S", line) for line in said.splitlines()), said
    assert said
    assert "\x1b" not in said
    assert not (tmp_path / "pwned").exists()


PIECES = st.sampled_from(
    ["&a ", "*a", "!!python/name:os.system ", "? ", ": ", "- ", "[", "]", "{", "}", "<<: ", "|\n", ">\n", '"', "'",
     "${X", "${X:-", "$${",
     "\t", "\n", "\x00", "\x85", "9" * 400, "1e400", ".inf", "~", "---\n", "%YAML 9.9\n", "@", "`"]
)  # fmt: skip
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 30), PIECES | st.text(max_size=8)), min_size=1, max_size=4)


@budget(60)
@given(CHANGES)
def test_a_damaged_integration_file_is_read_or_told_by_its_lines(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[float, int, str]]
) -> None:
    text = WHOLE
    for place, cut, put in changes:
        at = int(place * len(text))
        text = text[:at] + put + text[at + cut :]
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_told(path)


@budget(60)
@given(st.lists(PIECES | st.text(max_size=10), max_size=20).map("".join))
def test_any_text_is_no_integration_and_told_so(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserMistake, match=re.escape(str(path))):
        load_integration(path, ENVIRON)


def read_or_told(path: Path) -> None:
    try:
        load_integration(path, ENVIRON)
    except UserMistake as mistake:
        said = str(mistake).splitlines()
        if not all(line.startswith(f"{path}:") for line in said):
            raise AssertionError(said) from mistake
