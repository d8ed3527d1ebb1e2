"""``ListCommands``."""

from __future__ import annotations

import sys

from linkspan.control.pages import page_size, place_of, token_of
from linkspan.control.shown import command as shown
from linkspan.control.trail import Trail
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.commands import Command


class CommandsView:
    def __init__(self, trail: Trail) -> None:
        self._trail = trail

    async def list_commands(self, request: pb.ListCommandsRequest) -> pb.ListCommandsResponse:
        """Raises BadRequest, KafkaError."""
        count = page_size(request.page_size)
        place = place_of(request.page_token, tuple[int])
        before = sys.maxsize if place is None else place[0]

        def fits(command: Command) -> bool:
            return request.kind in ("", command.kind) and request.by in ("", command.by)

        found = await self._trail.page(before, count + 1, fits)
        more = len(found) > count
        return pb.ListCommandsResponse(
            commands=[shown(one) for one in found[:count]],
            next_page_token=token_of(found[count - 1].offset) if more else "",
        )
