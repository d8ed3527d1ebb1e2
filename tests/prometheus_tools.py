"""Where ``prometheus`` and ``promtool`` are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CACHE = Path.home() / ".cache/linkspan-tools"


def prometheus_tool(name: str) -> str:
    """Its path; skips the test where it is missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{CACHE}")
    if found is None:
        pytest.skip(f"needs {name}: scripts/prometheus.sh puts it into {CACHE}")
    return found
