"""``released.lock``: what each released schema version is, so that none is edited or taken away afterwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.schemas import SchemaCatalog

LOCK = "released.lock"


def violations(catalog: SchemaCatalog, root: Path) -> Iterator[str]:
    """A line for each released file that was edited or is gone."""
    now = _digests(catalog, root)
    for name, digest in read_lock(root).items():
        if name not in now:
            yield f"{name}: is released and must stay: events of it may still be replayed"
        elif now[name] != digest:
            yield f"{name}: is released and was edited; put it back and make the change in {_next(name)}"


def unreleased(catalog: SchemaCatalog, root: Path) -> list[str]:
    """Files that no lock holds yet."""
    return sorted(_digests(catalog, root).keys() - read_lock(root).keys())


def release(catalog: SchemaCatalog, root: Path) -> list[str]:
    """Adds what is new to the lock and says what that was."""
    added = unreleased(catalog, root)
    locked = read_lock(root) | {name: digest for name, digest in _digests(catalog, root).items() if name in added}
    if added:
        (root / LOCK).write_text(json.dumps(dict(sorted(locked.items())), indent=2) + "\n", encoding="utf-8")
    return added


def read_lock(root: Path) -> dict[str, str]:
    """File (``plans/PlanUploaded.1.avsc``) -> SHA-256; empty where nothing is released."""
    path = root / LOCK
    try:
        locked = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise UserMistake(f"{path}: not valid JSON: {error}") from error
    if not isinstance(locked, dict) or not all(isinstance(digest, str) for digest in locked.values()):
        raise UserMistake(f"{path}: expected file names and their digests")
    return locked


def _digests(catalog: SchemaCatalog, root: Path) -> dict[str, str]:
    paths = (version.path for part in catalog.parts() for version in catalog.versions(*part))
    return {path.relative_to(root).as_posix(): _digest(path) for path in paths if path.is_relative_to(root)}


def _digest(path: Path) -> str:
    """Of all that the file means: neither its layout nor the order of keys nor its ``doc`` texts."""
    meaning = _without_docs(json.loads(path.read_text(encoding="utf-8")))
    return hashlib.sha256(json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _without_docs(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _without_docs(value) for name, value in node.items() if name != "doc"}
    return [_without_docs(item) for item in node] if isinstance(node, list) else node


def _next(name: str) -> str:
    stem, version, _ = name.rsplit(".", 2)
    return f"{stem}.{int(version) + 1}.avsc"
