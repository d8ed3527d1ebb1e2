"""Where a person's machine keeps what is ours."""

from __future__ import annotations

import os
from pathlib import Path


def default_data_dir() -> Path:
    """Where processes keep their data unless LINKSPAN_DATA says otherwise."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "linkspan"


def config_dir() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "linkspan"
