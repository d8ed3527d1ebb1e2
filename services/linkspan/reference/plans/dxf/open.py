"""Opening a DXF drawing by ezdxf's recovering reader, and noticing what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import ezdxf
from ezdxf import recover
from ezdxf.audit import AuditError, Auditor
from ezdxf.lldxf.const import DXFError

from linkspan.reference.plans.notes import Notes, Refused

Drawing = Any

_TAIL = 4096
_END = re.compile(rb"(?:^|\n)[ \t]*0[ \t]*\r?\n[ \t]*EOF\s*\Z")
_BINARY_END = b"\x00EOF\x00"
_BINARY = b"AutoCAD Binary DXF"
_SHOWN = 10
#: Repairs after which something the drawing once showed is missing; the rest put its bookkeeping in order.
_LOSSES = {
    AuditError.REMOVED_INVALID_GRAPHIC_ENTITY,
    AuditError.REMOVED_STANDALONE_ATTRIB_ENTITY,
    AuditError.REMOVED_ENTITY_WITH_INVALID_OWNER_HANDLE,
    AuditError.REMOVED_UNSUPPORTED_SECTION,
    AuditError.REMOVED_UNSUPPORTED_TABLE,
    AuditError.MODELSPACE_NOT_FOUND,
    AuditError.MISSING_ENDSEC_TAG,
    AuditError.INVALID_FLOATING_POINT_VALUE,
    AuditError.INVALID_INTEGER_VALUE,
    AuditError.UNDEFINED_BLOCK,
}


def open_drawing(path: Path, notes: Notes) -> Drawing:
    """Raises Refused with the reader's complaint; what it could not repair becomes damage in ``notes``."""
    if not _ends(path):
        notes.damage("the drawing ends without EOF: it was cut off, and what followed is missing")
        _close(path)
    try:
        drawing, auditor = _read(path)
    except DXFError as error:
        raise Refused(f"is no readable DXF ({error})") from error
    _note_audit(auditor, notes)
    return drawing


def _read(path: Path) -> tuple[Drawing, Auditor]:
    if _is_binary(path):
        # The recovering reader knows text only.
        drawing = ezdxf.readfile(path)
        return drawing, drawing.audit()
    drawing, auditor = recover.readfile(path)
    return drawing, auditor


def stated_version(path: Path) -> str | None:
    """``$ACADVER`` as the file has it; ezdxf replaces an old one while loading."""
    with path.open("rb") as file:
        found = re.search(rb"\$ACADVER[\s\x00\x01]+(?:1\s+)?(AC\d{4})", file.read(64 * 1024))
    return found[1].decode("ascii") if found else None


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_BINARY)) == _BINARY


def _ends(path: Path) -> bool:
    binary = _is_binary(path)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read()
    return tail.rstrip(b"\x1a").endswith(_BINARY_END) if binary else bool(_END.search(tail.rstrip(b"\x1a\x00 \r\n\t")))


def _close(path: Path) -> None:
    """End a cut-off drawing before its last entity, which may be half."""
    if _is_binary(path):
        return
    content = path.read_bytes()
    lines = content.split(b"\n")
    # Lines alternate between group code and value: an entity starts at the code 0, not at a value that is 0.
    last = max((place for place in range(0, len(lines) - 1, 2) if lines[place].strip() == b"0"), default=0)
    kept = b"\n".join(lines[:last])
    if b"ENTITIES" not in kept:
        raise Refused("is cut off before its entities: it states nothing to extract")
    path.write_bytes(kept + b"\n  0\nENDSEC\n  0\nEOF\n")


def _note_audit(auditor: Auditor, notes: Notes) -> None:
    for error in auditor.errors[:_SHOWN]:
        notes.damage(f"the audit says: {error.message}")
    if len(auditor.errors) > _SHOWN:
        notes.damage(f"the audit says {len(auditor.errors) - _SHOWN} more things of this kind")
    losses = Counter(AuditError(fix.code).name for fix in auditor.fixes if fix.code in _LOSSES)
    for name, count in sorted(losses.items()):
        notes.damage(f"repaired with a loss, {count} times: {name.lower().replace('_', ' ')}")
    harmless = len(auditor.fixes) - losses.total()
    if harmless:
        notes.say(f"{harmless} inconsistencies that change no figure were repaired while reading")
