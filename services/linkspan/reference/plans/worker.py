"""The confined process: limits itself first, reads one file, answers with one JSON document on its standard output.

Started by ``confine``; arguments: format, path, memory (MiB), processor seconds, wall seconds, inflated bound (MiB),
and whether it must be able to seal itself.
"""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import sys
import traceback
from pathlib import Path

import msgspec

from linkspan.reference.plans.notes import Notes, Refused, clean
from linkspan.reference.plans.seal import seal
from linkspan.reference.plans.shape import Extract, Refusal

#: Exit codes of a process that ran out of its memory and could still say so, of one whose libraries do not load, and of
#: one that could not seal itself though it must.
OUT_OF_MEMORY, CANNOT_LOAD, UNSEALED = 77, 78, 79
#: Begins a line on standard error that says what the seal does not close here.
OPEN = "not sealed: "
#: In what C++, the loader and Python say of it; also searched in what a crashed process left on its standard error.
STARVED = re.compile(r"bad_alloc|MemoryError|Cannot allocate memory|failed to map|OpenBLAS", re.IGNORECASE)

#: More than Python needs to import what it reads with.
_OPEN_FILES = 64


def main() -> None:
    form, path, memory, processor, wall, inflated, required = sys.argv[1:]
    _limit(int(memory), int(processor), int(wall), int(inflated))
    os.closerange(3, 1 << 20)  # the parent closes them too
    channel = _take_standard_output()
    _seal(Path(path).parent, required=required == "required")
    logging.disable(logging.CRITICAL)
    answer = _answer(form, Path(path), int(inflated))
    with os.fdopen(channel, "wb") as out:
        out.write(msgspec.json.encode(answer))
    # The readers' C++ destructors have nothing to save and can still crash.
    os._exit(0)


def _limit(memory: int, processor: int, wall: int, inflated: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory << 20, memory << 20))
    resource.setrlimit(resource.RLIMIT_CPU, (processor, processor + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (inflated << 20, inflated << 20))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    # The parent keeps the wall time; this one ends an orphan whose parent was killed.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(wall + 5)


def _take_standard_output() -> int:
    """What libraries print goes to standard error, so that the answer stays one document."""
    channel = os.dup(1)
    os.dup2(2, 1)
    return channel


def _seal(scratch: Path, *, required: bool) -> None:
    missing = seal(scratch)
    for one in missing:
        sys.stderr.write(f"{OPEN}{one}\n")
    sys.stderr.flush()
    if missing and required:
        os._exit(UNSEALED)


def _answer(form: str, path: Path, inflated: int) -> Extract | Refusal:
    try:
        return _extract(form, path, inflated)
    except Refused as error:
        return Refusal(clean(error, 600))
    except Exception as error:  # noqa: BLE001 - whatever a broken file makes a library raise is this file's fault
        if STARVED.search("".join(traceback.format_exception(error))):
            os._exit(OUT_OF_MEMORY)
        if isinstance(error, ImportError):
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(CANNOT_LOAD)
        return Refusal(clean(f"cannot be read ({type(error).__name__}: {error})", 600))


def _extract(form: str, path: Path, inflated: int) -> Extract:
    notes = Notes()
    if form == "dxf":
        from linkspan.reference.plans.dxf.extract import extract_dxf

        return extract_dxf(path, notes)
    from linkspan.reference.plans.ifc.extract import extract_ifc

    if form == "ifczip":
        from linkspan.reference.plans.archive import inflate

        archive, path = path, path.with_name("inflated.ifc")
        inflate(archive, path, inflated, notes)
    return extract_ifc(path, notes)


if __name__ == "__main__":
    main()
