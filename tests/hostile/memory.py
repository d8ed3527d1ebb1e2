"""How much memory something takes at its peak: in a process of its own, as what ran before would hide it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import importlib, resource, sys
module, name, *arguments = sys.argv[1:]
function = getattr(importlib.import_module(module), name)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
function(*arguments)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak_of(module: str, function: str, *arguments: str) -> int:
    """Bytes above what the process had before the call."""
    command = [sys.executable, "-c", _PROGRAM, module, function, *arguments]
    root = Path(__file__).parents[2]
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=110)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout) * 1024
