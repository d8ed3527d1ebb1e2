"""The ledger for processes that only ask it, now and then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pydantic import SecretStr

if TYPE_CHECKING:
    from linkspan.readmodel.database import Database
    from linkspan.readmodel.queries import Queries


class Ledger:
    """SQLAlchemy takes longer to load than anything else, so the first question loads it, in a thread."""

    def __init__(self, url: str | SecretStr) -> None:
        self._url = url
        self._opening: asyncio.Task[tuple[Database, Queries]] | None = None

    async def queries(self) -> Queries:
        """Raises UserMistake where the address is of no database that is supported."""
        return (await self._open())[1]

    async def check(self) -> str | None:
        """For ``/health``: what is wrong."""
        return await (await self._open())[0].check()

    async def _open(self) -> tuple[Database, Queries]:
        """A caller that gives up does not end the loading."""
        if self._opening is None:
            self._opening = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._opening)

    def _load(self) -> tuple[Database, Queries]:
        from linkspan.readmodel.database import open_database
        from linkspan.readmodel.queries import Queries

        database = open_database(self._url)
        return database, Queries(database)
