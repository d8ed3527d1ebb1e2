"""Where segments lie: a directory or an object store, ``<integration>/<topic>/<partition>/<segment>``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from linkspan.kernel.archive.errors import ArchiveAway, ArchiveDamaged
from linkspan.kernel.archive.segment import Segment, is_whole
from linkspan.kernel.objects import Away, Objects, directory_of

_HEAD = "archive.json"


class ArchiveAt(msgspec.Struct, frozen=True):
    """Where the archive of an integration is. ``asked``: somebody named it, so that it must be there."""

    url: str
    integration: str
    asked: bool = False


class Head(msgspec.Struct):
    """``cluster``: the Kafka cluster whose offsets these are."""

    integration: str
    cluster: str
    version: int = 1


class Place(msgspec.Struct, frozen=True, order=True):
    topic: str
    partition: int

    @property
    def path(self) -> str:
        return f"{self.topic}/{self.partition}"


class ArchiveStore:
    """Of one integration. Whatever is put is durable when the call returns.

    ``url`` as of a blob store. All raise ArchiveAway where it cannot be reached.
    """

    def __init__(self, url: str, integration: str) -> None:
        self.url, self.integration = url, integration
        self._opened: Objects | None = None

    async def head(self) -> Head | None:
        """None: there is no archive. Raises ArchiveDamaged."""
        try:
            content = await self._read(f"{self.integration}/{_HEAD}")
        except FileNotFoundError:
            return None
        try:
            head = msgspec.json.decode(content, type=Head)
        except msgspec.DecodeError as error:
            raise ArchiveDamaged(f"{self.url}/{self.integration}/{_HEAD}: {error}") from error
        if head.integration != self.integration or head.version != 1:
            raise ArchiveDamaged(f"{self.url}/{self.integration}/{_HEAD} is of another integration or version")
        return head

    async def begin(self, cluster: str) -> None:
        """Says of which cluster it is, from now on."""
        content = msgspec.json.encode(Head(self.integration, cluster))
        await self._write(f"{self.integration}/{_HEAD}", content)

    async def segments(self, place: Place) -> list[Segment]:
        """In the order of their offsets. Raises ArchiveAway where there is no archive: a disk that is not mounted any
        more lists nothing, and nothing is gone for that."""
        found = await self._listed(place)
        if found:
            return found
        if await self.head() is None:
            raise ArchiveAway(f"there is no archive of {self.integration} at {self.url} now: is its disk mounted?")
        return await self._listed(place)

    async def _listed(self, place: Place) -> list[Segment]:
        names = await self._names(f"{self.integration}/{place.path}")
        return sorted(segment for name in names if (segment := Segment.named(name)) is not None)

    async def put(self, place: Place, segment: Segment, content: bytes) -> None:
        await self._write(self._path(place, segment), content)

    async def get(self, place: Place, segment: Segment) -> bytes:
        """Raises ArchiveDamaged where it was altered; ArchiveAway where it is gone, as it may be after a listing."""
        path = self._path(place, segment)
        try:
            content = await self._read(path)
        except FileNotFoundError as error:
            raise ArchiveAway(f"the archived segment {path} is not at {self.url} any more") from error
        if not await asyncio.to_thread(is_whole, segment, content):
            raise ArchiveDamaged(f"archived segment {path} was altered: its SHA-256 is not the one of its name")
        return content

    async def delete(self, place: Place, segment: Segment) -> None:
        with self._away():
            await self._objects.delete(self._path(place, segment))

    def _path(self, place: Place, segment: Segment) -> str:
        return f"{self.integration}/{place.path}/{segment.name}"

    async def _names(self, folder: str) -> list[str]:
        with self._away():
            return await self._objects.names(folder) if self._is_mounted() else []

    async def _read(self, path: str) -> bytes:
        """Raises FileNotFoundError."""
        if not self._is_mounted():
            raise FileNotFoundError(path)
        try:
            with self._away():
                return await self._objects.get(path)
        except ArchiveAway as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from None
            raise

    async def _write(self, path: str, content: bytes) -> None:
        with self._away():
            await self._objects.put(path, content)

    def _is_mounted(self) -> bool:
        """A directory that is not there is not made for a reader: it may be a disk that is not mounted."""
        directory = directory_of(self.url)
        return self._opened is not None or directory is None or directory.is_dir()

    @property
    def _objects(self) -> Objects:
        if self._opened is None:
            self._opened = Objects(self.url)
        return self._opened

    @contextmanager
    def _away(self) -> Iterator[None]:
        try:
            yield
        except Away as error:
            raise ArchiveAway(f"the archive {self.url} cannot be reached: {str(error)[:300]}") from error
