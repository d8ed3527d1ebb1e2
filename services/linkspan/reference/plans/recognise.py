"""What a file is, by its first bytes. Its name is only a hint: a name that says otherwise is said."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from linkspan.reference.plans.notes import clean

Format = Literal["ifc", "ifczip", "dxf"]

ACCEPTED = "accepted are IFC as STEP text (.ifc), zipped IFC (.ifczip) and DXF (.dxf)"
_HEAD = 64 * 1024
_EXTENSIONS: dict[str, tuple[str, ...]] = {"ifc": (".ifc",), "ifczip": (".ifczip", ".zip"), "dxf": (".dxf",)}
_TITLES: dict[str, str] = {"ifc": "IFC", "ifczip": "zipped IFC", "dxf": "DXF"}

_DXF = re.compile(rb"\s*(?:999[ \t]*\r?\n[^\n]*\n\s*)*0[ \t]*\r?\n[ \t]*SECTION\s")
_BINARY_DXF = b"AutoCAD Binary DXF\r\n\x1a\x00"
_STEP = re.compile(rb"\s*ISO-10303-21\s*;")
_STEP_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']{0,200})'", re.IGNORECASE)
_PROLOGUE = re.compile(r"<!--.*?-->|<[?!][^>]*>", re.DOTALL)
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]{0,80})")
_MAGIC = (
    (b"%PDF", "a PDF document"),
    (b"AC10", "a DWG drawing"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE container (such as a Revit or an old Office file)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)


@dataclass(frozen=True, slots=True)
class Recognised:
    """``remark`` is set where the name says otherwise."""

    format: Format
    remark: str | None


class NotAPlan(Exception):
    """The text is one sentence: what the file is, and what is accepted."""


def recognise(content: bytes, file_name: str) -> Recognised:
    """Raises NotAPlan for what is neither IFC (STEP text, zipped or not) nor DXF."""
    head = content[:_HEAD].removeprefix(b"\xef\xbb\xbf")
    found = _accepted(head)
    extension = PurePath(file_name).suffix.lower()
    if found is None:
        claims = _claim(extension)
        raise NotAPlan(f"{shown(file_name)} is {_described(content, head)}{claims}: {ACCEPTED}")
    fits = extension in _EXTENSIONS[found] or extension == ""
    remark = None if fits else f"the file is named {shown(file_name)}, but its content is {_TITLES[found]}"
    return Recognised(found, remark)


def shown(file_name: str) -> str:
    return f"{clean(file_name, 120)!r}" if file_name else "the file"


def _accepted(head: bytes) -> Format | None:
    if _STEP.match(head):
        schema = _STEP_SCHEMA.search(head)
        return "ifc" if schema is None or schema[1].upper().startswith(b"IFC") else None
    if head.startswith(b"PK\x03\x04"):
        return "ifczip"
    if head.startswith(_BINARY_DXF) or _DXF.match(head):
        return "dxf"
    return None


def _claim(extension: str) -> str:
    known = {end for ends in _EXTENSIONS.values() for end in ends}
    return f", though named {extension}" if extension in known else ""


def _described(content: bytes, head: bytes) -> str:
    if not content.strip(b"\x00 \t\r\n"):
        return "empty" if not content else "blank"
    if step := _STEP_SCHEMA.search(head) if _STEP.match(head) else None:
        return f"a STEP file of schema {clean(step[1].decode('latin-1'), 60)}, which is not IFC"
    for magic, title in _MAGIC:
        if head.startswith(magic):
            return title
    return _described_text(head)


def _described_text(head: bytes) -> str:
    text = _decoded(head)
    if text is None:
        return "of no known format"
    start = text.lstrip()
    if start.startswith("<"):
        return _described_markup(start)
    return "JSON" if start.startswith(("{", "[")) else "of no known format"


def _decoded(head: bytes) -> str | None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) // 2 * 2].decode("utf-16", "replace")
    return None if b"\x00" in head else head.decode("utf-8", "replace")


def _described_markup(text: str) -> str:
    # The first 4 KiB bound what an unending comment can cost.
    root = _ROOT.search(_PROLOGUE.sub("", text[:4096]))
    name = root[1] if root else ""
    if re.match(r"(?:\w+:)?(?:ifcXML|iso_10303_28|uos|Ifc[A-Z]\w*)$", name, re.IGNORECASE):
        return "ifcXML"
    if name.lower() == "gbxml":
        return "gbXML"
    if name.lower() == "html":
        return "an HTML page"
    return f"XML with the root element {name}" if name else "XML"
