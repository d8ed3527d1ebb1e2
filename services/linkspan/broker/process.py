"""The Java process of one broker."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linkspan.broker.datadir import DataDir
from linkspan.broker.errors import BrokerError
from linkspan.broker.java import Java, archive_stem

EXIT_ON_SIGTERM = 143  # Java's own exit code after an orderly stop by SIGTERM
LAST_LINES = 50
FAULT = re.compile(r" (SEVERE|ERROR) |^\S*(Exception|Error)\b")
VAIN = ("Error: Could not create the Java", "Error: A fatal exception")  # after the line that says why
# Runs the program in its arguments so that it gets SIGTERM when its parent dies (prctl, PR_SET_PDEATHSIG = 1). That
# outlives exec; a process of its own sets it, since code between fork and exec is not safe in a program with threads.
LEASH = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Program:
    """Java, Kafka's class path, and the class archives that make it start faster."""

    java: Java
    class_path: str
    cache: Path
    base_archive: Path | None
    heap: str

    @property
    def archive(self) -> Path:
        """Kafka's classes as this very Java build has them in memory."""
        return self.cache / f"{archive_stem(self.java)}.kafka.jsa"

    def command(self, data: DataDir) -> list[str]:
        flags = [
            f"-Xmx{self.heap}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:+IgnoreUnrecognizedVMOptions",
            "-Djava.awt.headless=true",
            "-Djava.net.preferIPv4Stack=true",
            f"-Djava.io.tmpdir={data.tmp}",
            f"-Djava.util.logging.config.file={data.logging}",
            *self._archive_flags(data),
        ]
        return [str(self.java.program), *flags, "kafka.Kafka", str(data.properties)]

    def _archive_flags(self, data: DataDir) -> list[str]:
        if self.archive.exists():
            return self._shared()
        return [*self._shared(), f"-XX:ArchiveClassesAtExit={data.classes}"]

    def _shared(self) -> list[str]:
        archives = [str(path) for path in (self.base_archive, self.archive) if path is not None and path.exists()]
        return [f"-XX:SharedArchiveFile={os.pathsep.join(archives)}"] if archives else []

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "CLASSPATH": self.class_path}

    def keep_archive(self, data: DataDir) -> None:
        """Puts the archive that an orderly stop left in the data directory where the next start finds it."""
        part = self.archive.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            if not self.archive.exists():
                part.write_bytes(data.classes.read_bytes())
                part.replace(self.archive)
        data.classes.unlink(missing_ok=True)

    def format(self, data: DataDir, cluster_id: str, scram: Sequence[str] = ()) -> None:
        """Kafka's own formatting of a new directory; one that is half formatted is finished.

        Raises:
            BrokerError: Kafka refuses the settings.
        """
        name = f"--cluster-id={cluster_id}"  # one word: an id may begin with a dash
        tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted", name, "-c", str(data.properties)]
        logging = f"-Djava.util.logging.config.file={data.logging}"
        tool += [f"--add-scram={user}" for user in scram]
        flags = [*self._shared(), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", logging]
        command = [str(self.java.program), *flags, *tool]
        with (data.log / "format.log").open("w", encoding="utf-8") as log:
            code = subprocess.run(  # noqa: S603
                command, env=self.environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            ).returncode
        if code:
            raise BrokerError(f"Kafka could not format {data.kafka}: {last_words(data.log / 'format.log')}")


@dataclass
class Process:
    """One run of Kafka. It ends with this Python process: by the leash where it can, else if Python exits in order."""

    popen: "subprocess.Popen[bytes]"
    started: float  # seconds since 1970
    _finalizer: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._finalizer = weakref.finalize(self, _end, self.popen)

    @classmethod
    def spawn(cls, program: Program, data: DataDir, lock: int) -> "Process":
        """`lock` is an open file that the process inherits."""
        command = leashed(program.command(data))
        started = time.time()
        with (data.log / "java.log").open("wb") as log:
            popen = subprocess.Popen(  # noqa: S603
                command,
                env=program.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lock,),
                start_new_session=True,  # Ctrl-C is for this process, which then stops Kafka in order
            )
        return cls(popen, started)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        return self.popen.poll()

    def stop(self, timeout: float) -> bool:
        """SIGTERM, and SIGKILL after `timeout` seconds; whether it ended in order."""
        self.popen.terminate()
        try:
            return self.popen.wait(timeout) == EXIT_ON_SIGTERM
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


def leashed(command: Sequence[str]) -> list[str]:
    """The command, on Linux such that it ends when this process is killed.

    Linux ties it to the thread that starts it, so a broker that another thread than the main one starts is not leashed.
    """
    if sys.platform != "linux" or threading.current_thread() is not threading.main_thread():
        return list(command)
    return [sys.executable, "-ISc", LEASH, str(os.getpid()), *command]


def _end(popen: "subprocess.Popen[bytes]") -> None:
    if popen.poll() is None:
        popen.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            popen.wait(20)
            return
        popen.kill()
        popen.wait()


def last_words(*logs: Path, since: float = 0.0) -> str:
    """The first fault in the last lines, else the last line, of the first log that was written after `since`."""
    for log in logs:
        with suppress(OSError):
            if log.stat().st_mtime < since:
                continue
            lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
            lines = [line for line in lines if line and not line.startswith(VAIN)][-LAST_LINES:]
            faults = [line for line in lines if FAULT.search(line)]
            for line in faults[:1] or lines[-1:]:
                return f"{line[:300]} (more in {log})"
    return f"no word of it in {logs[0].parent}"
