"""A way to Kafka on which the group's coordinator alone can be lost: everything else goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from linkspan.broker.ports import HOST

#: Kafka's numbers of OffsetCommit, JoinGroup, Heartbeat, LeaveGroup and SyncGroup.
OF_THE_GROUP = {8, 11, 12, 13, 14}


class GroupProxy:
    """While ``lost`` is set, a connection on which a member ever spoke to its group is open and dead."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._there = asyncio.Event()
        self._there.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, port)

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose(self) -> None:
        self._there.clear()

    def find(self) -> None:
        self._there.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        of_group = asyncio.Event()
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._requests(reader, far_writer, of_group))
                both.create_task(self._answers(far_reader, writer, of_group))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, of_group: asyncio.Event
    ) -> None:
        try:
            while True:
                size = await reader.readexactly(4)
                request = await reader.readexactly(int.from_bytes(size))
                if int.from_bytes(request[:2]) in OF_THE_GROUP:
                    of_group.set()
                if of_group.is_set():
                    await self._there.wait()
                writer.write(size + request)
                await writer.drain()
        finally:
            with suppress(OSError):
                writer.close()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, of_group: asyncio.Event
    ) -> None:
        while True:
            some = await reader.read(65536)
            if not some:
                raise ConnectionResetError
            if of_group.is_set():
                await self._there.wait()
            writer.write(some)
            await writer.drain()
