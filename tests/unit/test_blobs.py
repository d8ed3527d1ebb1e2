"""A blob is durable before anything can name it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import Unavailable

CONTENT = b"x" * 300_000


class Disk:
    """What reaches the disk, in order: (what was done, path); ``fsync`` itself is the real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[str, str]] = []
        sync, replace = os.fsync, Path.replace

        def fsync(descriptor: int) -> None:
            self.done.append(("sync", str(Path(f"/proc/self/fd/{descriptor}").readlink())))
            sync(descriptor)

        def replaced(path: Path, target: Path) -> Path:
            self.done.append(("rename", str(target)))
            return replace(path, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replaced)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks Linux which file is synced")
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_local_blob_is_synced_before_it_has_its_name_and_its_folders_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    store = BlobStore(f"{scheme}{tmp_path}/blobs")
    disk = Disk(monkeypatch)
    reference = asyncio.run(store.put(CONTENT))
    path = tmp_path / "blobs" / reference["address"]
    (first, partial), renamed, *folders = disk.done
    assert first == "sync"
    assert partial.startswith(f"{path}#")
    assert renamed == ("rename", str(path))
    assert folders == [("sync", str(path.parent)), ("sync", str(path.parent.parent))]
    assert asyncio.run(store.get(reference)) == CONTENT
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_the_same_content_again_never_replaces_it_by_less(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))

    async def put_often() -> list[dict[str, object]]:
        return await asyncio.gather(*(store.put(CONTENT) for _ in range(20)))

    references = asyncio.run(put_often())
    assert all(one == references[0] for one in references)
    assert asyncio.run(store.get(references[0])) == CONTENT


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """One of its own, mounted."""
    point = tmp_path / "mounted"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(point)], check=False, capture_output=True).returncode:
        pytest.skip("mounts a disk, which is not allowed here")
    yield point
    subprocess.run(["umount", "--lazy", str(point)], check=False, capture_output=True)


def test_below_an_empty_mount_point_nothing_is_read_or_written_until_a_disk_is_mounted_again(disk: Path) -> None:
    store = BlobStore(str(disk))
    reference = asyncio.run(store.put(CONTENT))
    subprocess.run(["umount", str(disk)], check=True)
    with pytest.raises(Unavailable, match="is its disk mounted"):
        asyncio.run(store.get(reference))
    with pytest.raises(OSError, match="is its disk mounted"):
        asyncio.run(store.put(CONTENT))
    assert not list(disk.iterdir())
    subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=True)
    assert asyncio.run(store.put(CONTENT)) == reference
    assert asyncio.run(store.get(reference)) == CONTENT


def test_a_disk_that_is_not_mounted_any_more_has_lost_nothing_and_is_not_written_beside(tmp_path: Path) -> None:
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    store = BlobStore(str(disk / "blobs"))
    reference = asyncio.run(store.put(CONTENT))
    disk.rename(elsewhere)
    with pytest.raises(Unavailable, match="is its disk mounted"):
        asyncio.run(store.get(reference))
    with pytest.raises(OSError, match="is its disk mounted"):
        asyncio.run(store.put(b"more"))
    assert not disk.exists()
    elsewhere.rename(disk)
    assert asyncio.run(store.get(reference)) == CONTENT


def test_a_failed_write_leaves_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = BlobStore(str(tmp_path))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        asyncio.run(store.put(CONTENT))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
