"""SECURITY.md names a test for each attack, and each of them exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| .+ \| .+ \| `([\w/.]+\.py)::(test_\w+)` \|$", re.MULTILINE)


def named() -> list[tuple[Path, str]]:
    rows = ROW.findall((ROOT / "SECURITY.md").read_text())
    return [(ROOT / (path if "/" in path else f"tests/hostile/{path}"), test) for path, test in rows]


def test_each_attack_of_the_security_page_has_a_test_that_exists() -> None:
    assert len(named()) >= 20
    for path, test in named():
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if hasattr(node, "name")]
        assert test in [node.name for node in functions], f"{path}: there is no {test}"


def test_each_row_of_the_table_is_understood() -> None:
    table = (ROOT / "SECURITY.md").read_text().split("| attack | what it got | test |\n|---|---|---|\n")[1]
    assert len([line for line in table.splitlines() if line.startswith("|")]) == len(named())
