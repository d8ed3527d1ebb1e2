"""Reading a file nobody vouches for, in a process of its own that may crash, swell or hang at its own cost."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import itertools
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec
import structlog

import linkspan
from linkspan.kernel.errors import Poison, Unavailable
from linkspan.reference.plans.limits import Limits
from linkspan.reference.plans.notes import clean
from linkspan.reference.plans.recognise import Format
from linkspan.reference.plans.shape import Extract, Refusal
from linkspan.reference.plans.worker import CANNOT_LOAD, OPEN, OUT_OF_MEMORY, STARVED, UNSEALED

log = structlog.get_logger()

_WORKER = "linkspan.reference.plans.worker"
_SOURCES = Path(linkspan.__file__).parents[1]
_COMPLAINTS = 16 * 1024
_LIBRARY = {"ifc": "ifcopenshell", "ifczip": "ifcopenshell", "dxf": "ezdxf"}

#: A semaphore belongs to one event loop, and to one bound.
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Semaphore]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Ended:
    """``unsealed``: what its seal left open; ``complaints``: what else it wrote on standard error."""

    code: int
    answer: bytes
    unsealed: list[str]
    complaints: str


class _TooLong(Exception):
    """The process outlived its wall time."""


class _TooMuch(Exception):
    """The process answered more than it may."""


async def extract_confined(content: bytes, form: Format, shown: str, limits: Limits) -> Extract:
    """``shown`` names the file in the reasons. Raises Poison, or Unavailable where no process can be started."""
    if importlib.util.find_spec(_LIBRARY[form]) is None:
        raise Unavailable(f"plans cannot be read: {_LIBRARY[form]} is missing, install linkspan[plans]")
    async with _turn(limits), _private_directory() as directory:
        source = directory / f"plan.{form}"
        await asyncio.to_thread(source.write_bytes, content)
        try:
            ended = await _run(source, form, limits)
        except _TooLong:
            raise Poison(f"{shown} took longer than {limits.seconds} s to read") from None
        except _TooMuch:
            raise Poison(f"the extract of {shown} is larger than {limits.answer_mb} MB") from None
    _say_unsealed(tuple(ended.unsealed))
    return _judge(ended, shown, limits)


@functools.cache
def _say_unsealed(unsealed: tuple[str, ...]) -> None:
    """Once in this process: every reader on this machine has the same seal."""
    for one in unsealed:
        log.warning("plans are read without the whole seal", open=clean(one))


def _turn(limits: Limits) -> asyncio.Semaphore:
    bounds = _turns.setdefault(asyncio.get_running_loop(), {})
    return bounds.setdefault(limits.at_once, asyncio.Semaphore(limits.at_once))


@contextlib.asynccontextmanager
async def _private_directory() -> AsyncIterator[Path]:
    try:
        with tempfile.TemporaryDirectory(prefix="linkspan-plan-", ignore_cleanup_errors=True) as directory:
            yield Path(directory)
    except OSError as error:
        raise Unavailable(f"plans cannot be read on this machine: {error}") from error


async def _run(source: Path, form: Format, limits: Limits) -> _Ended:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-P", "-s", "-m", _WORKER),
        *(form, str(source), str(limits.memory_mb), str(limits.cpu_seconds), str(limits.seconds)),
        *(str(limits.inflated_mb), "required" if limits.seal_required else "-"),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        cwd=source.parent,
        env=_environment(source.parent),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(limits.seconds):
            return await _listen(process, limits.answer_mb * 1024 * 1024)
    except TimeoutError:
        raise _TooLong from None
    finally:
        await _end(process)


async def _listen(process: Process, most: int) -> _Ended:
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("the process was started without pipes")
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(_read(process.stdout, most + 1))
        complaints = group.create_task(_read(process.stderr, _COMPLAINTS))
    if len(answer.result()) > most:
        raise _TooMuch
    # Its seal speaks first: a later line of that kind is the file's.
    lines = complaints.result().decode("utf-8", "replace").splitlines()
    unsealed = list(itertools.takewhile(lambda line: line.startswith(OPEN), lines))
    rest = "\n".join(lines[len(unsealed) :]).strip()
    return _Ended(await process.wait(), answer.result(), [line.removeprefix(OPEN) for line in unsealed], rest)


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    """The first ``most`` bytes; the rest is read and dropped, so that the writer never blocks."""
    kept = bytearray()
    while piece := await stream.read(64 * 1024):
        kept += piece[: most - len(kept)]
    return bytes(kept)


async def _end(process: Process) -> None:
    """Kill the process's group if it still runs and reap it, also while being cancelled."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await asyncio.shield(process.wait())


def _environment(directory: Path) -> dict[str, str]:
    """Nothing of our own environment. One BLAS thread: each further one maps memory that ``memory_mb`` would count."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "PYTHONPATH": str(_SOURCES),
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _judge(ended: _Ended, shown: str, limits: Limits) -> Extract:
    if ended.code != 0:
        raise _failure(ended, shown, limits)
    try:
        answer = msgspec.json.decode(ended.answer, type=Extract | Refusal)
    except msgspec.DecodeError as error:
        raise Poison(f"{shown} made its reader answer nonsense ({error})") from error
    if isinstance(answer, Refusal):
        raise Poison(f"{shown} {answer.reason}")
    return answer


def _failure(ended: _Ended, shown: str, limits: Limits) -> Poison | Unavailable:
    last = clean(ended.complaints.rsplit("\n", 1)[-1])
    if ended.code == UNSEALED:
        return Unavailable(f"plans cannot be read, LINKSPAN_PLANS_SEAL is required: {clean('; '.join(ended.unsealed))}")
    if ended.code == OUT_OF_MEMORY or STARVED.search(ended.complaints):
        return Poison(f"{shown} needed more than {limits.memory_mb} MB of memory to read")
    if ended.code == CANNOT_LOAD:
        return Unavailable(f"plans cannot be read: the reader does not load ({last})")
    if ended.code == -signal.SIGXCPU:
        return Poison(f"{shown} took more than {limits.cpu_seconds} s of processor time to read")
    if ended.code == -signal.SIGALRM:
        return Poison(f"{shown} took longer than {limits.seconds} s to read")
    if ended.code < 0:
        return Poison(f"{shown} crashed its reader with signal {_signal(-ended.code)}")
    return Poison(f"{shown} ended its reader with exit code {ended.code} ({last})")


def _signal(value: int) -> str:
    try:
        return signal.Signals(value).name
    except ValueError:
        return str(value)
