"""The plan inside an ``.ifczip``: inflated piece by piece, so that a bomb stops at the bound."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path

from linkspan.reference.plans.notes import Notes, Refused, clean

_PIECE = 1024 * 1024
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError, ValueError)


def inflate(archive: Path, inflated: Path, most_mb: int, notes: Notes) -> None:
    """Write the first ``.ifc`` member to ``inflated``; raises Refused where there is none, or it is too large."""
    try:
        with zipfile.ZipFile(archive) as opened:
            _copy(opened, _choose(opened, notes), inflated, most_mb * 1024 * 1024)
    except _BROKEN as error:
        raise Refused(f"is a damaged ZIP archive ({error})") from error


def _choose(opened: zipfile.ZipFile, notes: Notes) -> zipfile.ZipInfo:
    files = [member for member in opened.infolist() if not member.is_dir()]
    plans = [member for member in files if member.filename.lower().endswith(".ifc")]
    if not plans:
        inside = ", ".join(clean(member.filename, 60) for member in files[:3]) or "nothing"
        raise Refused(f"is a ZIP archive without an .ifc file (it holds {inside})")
    if plans[0].flag_bits & 1:
        raise Refused("is a ZIP archive with a password")
    if len(files) > 1:
        notes.say(f"the archive holds {len(files)} files: only {clean(plans[0].filename, 100)!r} was read")
    return plans[0]


def _copy(opened: zipfile.ZipFile, member: zipfile.ZipInfo, inflated: Path, most: int) -> None:
    written = 0
    with opened.open(member) as source, inflated.open("wb") as target:
        while piece := source.read(_PIECE):
            written += len(piece)
            if written > most:
                raise Refused(f"inflates to more than {most // 1024 // 1024} MB")
            target.write(piece)
