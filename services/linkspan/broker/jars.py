"""Kafka's jars on this machine: fetched once, checked against the lock at every start."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from linkspan.broker.errors import BrokerError
from linkspan.broker.locked import KAFKA_VERSION, LOCK_FILE, Jar, locked_jars, sha256_of

DOWNLOADS = 6  # at a time
TIMEOUT_SECONDS = 20  # for one answer of the repository


def cache_dir() -> Path:
    """Where this version's jars and class archives live: under `LINKSPAN_CACHE`, else `~/.cache/linkspan`."""
    named = os.environ.get("LINKSPAN_CACHE")
    base = Path(named).expanduser() if named else Path("~/.cache/linkspan").expanduser()
    return base / f"kafka-{KAFKA_VERSION}"


def are_fetched(cache: Path) -> bool:
    """Whether a start can do without a network."""
    return (cache / "jars").is_dir()


def class_path(cache: Path) -> str:
    """The checked jars as a Java class path; fetches them where they were never fetched.

    Raises:
        BrokerError: the jars cannot be fetched, or a jar is missing, altered or not in the lock.
    """
    folder = cache / "jars"
    if not folder.is_dir():
        _fetch(cache, folder)
    _check(folder, cache / "jars.checked.json")
    return os.pathsep.join(str(folder / jar.file) for jar in locked_jars())


def _check(folder: Path, stamp: Path) -> None:
    """Hashes every jar, unless sizes and times are those of the last check against this very lock."""
    found = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in folder.iterdir()}
    state = {"lock": sha256_of(LOCK_FILE), "jars": found}
    with contextlib.suppress(OSError, ValueError):
        if json.loads(stamp.read_text(encoding="utf-8")) == state:
            return
    mend = f"delete {folder} and start again: the right ones are fetched anew"
    names = {jar.file for jar in locked_jars()}
    if missing := sorted(names - found.keys()):
        raise BrokerError(f"Kafka's jar {missing[0]} is missing ({len(missing)} in all): {mend}")
    if extra := sorted(found.keys() - names):
        raise BrokerError(f"{extra[0]} in {folder} is not one of Kafka's locked jars: {mend}")
    for jar in locked_jars():
        if sha256_of(folder / jar.file) != jar.sha256:
            raise BrokerError(f"Kafka's jar {jar.file} was altered (its sha256 is not the locked one): {mend}")
    _write_whole(stamp, json.dumps(state))


def _write_whole(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)


def _fetch(cache: Path, folder: Path) -> None:
    """Fetches into a folder of its own and moves it into place whole, so that an interruption leaves nothing behind."""
    needs = f"Kafka {KAFKA_VERSION} (45 MB) is fetched once, on the first start, and that needs a network"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _staging(cache) as staging:
            (staging / "jars").mkdir()
            with ThreadPoolExecutor(DOWNLOADS) as pool:
                list(pool.map(lambda jar: fetch_one(jar, staging), locked_jars()))
            (staging / "jars").rename(folder)
        for archive in cache.glob("*.kafka.jsa"):  # made from jars with other times: Java would pass it over
            archive.unlink(missing_ok=True)
    except ImportError:
        raise BrokerError(f"{needs} and a package: pip install 'linkspan[broker]'") from None
    except (OSError, RuntimeError) as error:
        if folder.is_dir():
            return  # another process was quicker
        raise BrokerError(f"{needs}: {type(error).__name__}: {str(error)[:300]}") from error


@contextlib.contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    staging = Path(tempfile.mkdtemp(dir=cache, prefix="fetch-"))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def fetch_one(jar: Jar, staging: Path) -> None:
    """Puts it into `staging/jars`: from this machine's Maven repository where the very bytes lie there, else from a
    remote one. Raises BrokerError, OSError, RuntimeError."""
    for local in (True, False):
        source = _resolve(jar, staging, local=local)
        if source is not None and sha256_of(source) == jar.sha256:
            shutil.copyfile(source, staging / "jars" / jar.file)
            return
    raise BrokerError(
        f"the Maven repository sent other bytes for {jar.coordinates} than the locked ones; nothing was kept"
    )


def _resolve(jar: Jar, staging: Path, *, local: bool) -> Path | None:
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    settings = GlobalSettings.load()
    group, artifact, version = jar.coordinates.split(":")
    context: Any = MavenContext(
        repo_cache=staging / "maven",
        local_repos=[settings.repo_cache] if local else [],
        remote_repos=_remotes(settings.repositories),
        timeout=TIMEOUT_SECONDS,
        offline=local,
    )
    try:
        found: Path = context.project(group, artifact).at_version(version).artifact().resolve()
    except RuntimeError:
        if local:
            return None
        raise
    return found


def _remotes(configured: dict[str, str]) -> dict[str, str] | None:
    """`LINKSPAN_MAVEN_REPOSITORY` (a mirror) alone where set, else jgo's own settings, else its default (None)."""
    mirror = os.environ.get("LINKSPAN_MAVEN_REPOSITORY")
    if mirror:
        return {"mirror": mirror.rstrip("/")}
    return configured or None
