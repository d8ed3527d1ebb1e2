"""Opening a DXF drawing by ezdxf's recovering reader, and noticing what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from ezdxf import recover
from ezdxf.audit import AuditError, Auditor
from ezdxf.lldxf.const import DXFError

from linkspan.reference.plans.notes import Notes, Refused

Drawing = Any

_TAIL = 4096
_END = re.compile(rb"(?:^|\n)[ \t]*0[ \t]*\r?\n[ \t]*EOF\s*\Z")
_BINARY_END = b"\x00EOF\x00"
_BINARY = b"AutoCAD Binary DXF"
_ENTITY = re.compile(rb"\n[ \t]*0[ \t]*\r?\n")
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
        drawing, auditor = recover.readfile(path)
    except DXFError as error:
        raise Refused(f"is no readable DXF ({error})") from error
    _note_audit(auditor, notes)
    return drawing


def stated_version(path: Path) -> str | None:
    """``$ACADVER`` as the file has it; ezdxf replaces an old one while loading."""
    with path.open("rb") as file:
        found = re.search(rb"\$ACADVER(?:\x00|\s+1\s+|\x01|\x00\x01\x00?){1,3}(AC\d{4})", file.read(64 * 1024))
    return found[1].decode("ascii") if found else None


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        binary = file.read(len(_BINARY)) == _BINARY
        file.seek(max(0, path.stat().st_size - _TAIL))
        tail = file.read()
    return tail.rstrip(b"\x1a").endswith(_BINARY_END) if binary else bool(_END.search(tail.rstrip(b"\x1a\x00 \r\n\t")))


def _close(path: Path) -> None:
    """End a cut-off drawing before its last entity, which may be half."""
    content = path.read_bytes()
    if content.startswith(_BINARY):
        return
    last = 0
    for entity in _ENTITY.finditer(content):
        last = entity.start() + 1
    if b"ENTITIES" not in content[:last]:
        raise Refused("is cut off before its entities: it states nothing to extract")
    path.write_bytes(content[:last] + b"  0\nENDSEC\n  0\nEOF\n")


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
