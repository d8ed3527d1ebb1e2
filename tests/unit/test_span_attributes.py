"""The names of spans' attributes: documented, and those of the conventions are the conventions' own."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv._incubating import attributes as incubating

from linkspan.kernel.telemetry.attributes import MEANINGS

PAGE = Path(__file__).parents[2] / "docs" / "traces.md"


def conventions() -> dict[str, str]:
    """What each name of the conventions means, as their package says it; what became stable is said there last."""
    found: dict[str, str] = {}
    for package in (incubating, stable):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            source = Path(str(importlib.import_module(module.name).__file__)).read_text()
            found |= dict(re.findall(r': Final = "([a-z0-9_.]+)"\n"""\n(.*?)\n"""', source, flags=re.DOTALL))
    return found


def test_the_page_says_of_each_attribute_what_the_code_says() -> None:
    rows = re.findall(r"^\| `([a-z_]+(?:\.[a-z_]+)+)` \| (.+) \|$", PAGE.read_text(), flags=re.MULTILINE)
    assert dict(rows) == MEANINGS


def test_what_is_not_ours_is_of_the_conventions_and_not_deprecated() -> None:
    known = conventions()
    assert len(known) > 100
    theirs = [name for name in MEANINGS if not name.startswith("linkspan.")]
    assert [name for name in theirs if name not in known] == []
    assert [name for name in theirs if known[name].startswith("Deprecated")] == []
