"""A store of named bytes: a local directory, or an object store.

An object is durable when ``put`` returns. Object stores promise that; obstore's local store does not sync what it
writes (seen with strace, 0.12.1), so a directory is written here.
"""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from linkspan.kernel.disk import sync_folder, write_synced
from linkspan.kernel.errors import UserMistake

#: What reading and writing may raise; FileNotFoundError is an OSError.
Away = (BaseError, OSError)


class Objects:
    """``url`` is a directory path or an ``s3://``, ``gs://``, ``az://``, ``file://`` address. Raises UserMistake.

    All methods raise BaseError or OSError where the store cannot be asked; a disk that is not mounted any more has lost
    nothing, and is not written beside.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._directory = directory_of(url)
        self._store: ObjectStore = _local(self._directory) if self._directory else _remote(url)
        self._mount = _mount_of(self._directory)

    async def put(self, path: str, content: bytes) -> None:
        if self._directory is not None:
            await asyncio.to_thread(self._write, self._directory / path, content)
        else:
            await obstore.put_async(self._store, path, content)

    async def get(self, path: str) -> bytes:
        """Raises FileNotFoundError where there is none."""
        try:
            return await self._get(path)
        except FileNotFoundError:
            if self._directory is None:
                raise
            self.see()
            return await self._get(path)  # the disk may have come back just then

    async def _get(self, path: str) -> bytes:
        answer = await obstore.get_async(self._store, path)
        return bytes(await answer.bytes_async())

    async def has(self, path: str) -> bool:
        try:
            await obstore.head_async(self._store, path)
        except FileNotFoundError:
            self.see()
            return False
        return True

    def has_now(self, path: str) -> bool:
        """``has`` for who has no event loop to spare."""
        try:
            obstore.head(self._store, path)
        except FileNotFoundError:
            self.see()
            return False
        return True

    async def names(self, folder: str) -> list[str]:
        """Of the objects right in ``folder``, in their order."""
        found = await obstore.list_with_delimiter_async(self._store, f"{folder}/")
        if not found["objects"]:
            self.see()
        return sorted(one["path"].rpartition("/")[2] for one in found["objects"])

    async def delete(self, path: str) -> None:
        """It is gone for good when this returns; that it was gone before is no error."""
        try:
            await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            self.see()
            return
        if self._directory is not None:
            await asyncio.to_thread(sync_folder, (self._directory / path).parent)

    def _write(self, path: Path, content: bytes) -> None:
        self.see()
        write_synced(path, content)
        self.see()

    def see(self) -> None:
        """Raises OSError where it is a directory whose disk is not mounted any more."""
        if self._directory is not None and not (self._directory.is_dir() and self._mount.is_mount()):
            raise OSError(errno.ENODEV, f"{self._directory} is not there any more: is its disk mounted?")


def _mount_of(directory: Path | None) -> Path:
    """Where the disk is mounted that has it."""
    there = (directory or Path("/")).resolve()
    return next(one for one in (there, *there.parents) if one.is_mount())


def directory_of(url: str) -> Path | None:
    """None where it is no local one."""
    if "://" not in url:
        return Path(url).expanduser().absolute()
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" and not parts.netloc else None


def _local(directory: Path) -> LocalStore:
    directory.mkdir(parents=True, exist_ok=True)
    sync_folder(directory.parent)
    return LocalStore(prefix=directory)


def _remote(url: str) -> ObjectStore:
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise UserMistake(f"blob store {url}: {error}") from error
