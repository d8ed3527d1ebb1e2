"""Calls that change something: what was asked becomes a command."""

from __future__ import annotations

from linkspan.control.commands import Commands
from linkspan.control.errors import NotFound, no_such_flow, wrong
from linkspan.control.identity import caller
from linkspan.control.shown import command as shown
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.commands import LOG_LEVEL, PAUSE, PROFILING, RESET_BREAKER, RESUME, Command
from linkspan.kernel.spec import Integration
from linkspan.kernel.telemetry.logs import LEVELS

_REASON = 1_000


def reason_of(said: str) -> str:
    """Raises BadRequest."""
    if not said.strip():
        raise wrong("reason", "say why; it is kept with the command")
    if len(said) > _REASON:
        raise wrong("reason", f"at most {_REASON} characters")
    return said.strip()


def flow_of(integration: Integration, name: str) -> str:
    """Raises BadRequest, NotFound."""
    if not name:
        raise wrong("flow", f"name a flow: {', '.join(integration.flows)}")
    if name not in integration.flows:
        raise no_such_flow(name, integration.flows)
    return name


class Actions:
    """Each raises BadRequest, NotFound, Away."""

    def __init__(self, integration: Integration, commands: Commands) -> None:
        self._integration, self._commands = integration, commands

    async def pause(self, request: pb.PauseRequest) -> pb.PauseResponse:
        return pb.PauseResponse(command=await self._targeted(PAUSE, request))

    async def resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        return pb.ResumeResponse(command=await self._targeted(RESUME, request))

    async def reset_breaker(self, request: pb.ResetBreakerRequest) -> pb.ResetBreakerResponse:
        return pb.ResetBreakerResponse(command=await self._targeted(RESET_BREAKER, request))

    async def set_log_level(self, request: pb.SetLogLevelRequest) -> pb.SetLogLevelResponse:
        if request.level not in LEVELS:
            raise wrong("level", f"expected one of {', '.join(LEVELS)}; got {request.level!r}")
        return pb.SetLogLevelResponse(command=await self._give(LOG_LEVEL, request.reason, value=request.level))

    async def enable_profiling(self, request: pb.EnableProfilingRequest) -> pb.EnableProfilingResponse:
        rate = request.sample_rate
        if not 0 <= rate <= 1:
            raise wrong("sample_rate", f"expected 0 to 1; got {rate:g}")
        given = await self._give(
            PROFILING, request.reason, value=f"{rate:g}", detailed=request.detailed_timings and rate > 0
        )
        return pb.EnableProfilingResponse(command=given)

    async def _targeted(
        self, kind: str, request: pb.PauseRequest | pb.ResumeRequest | pb.ResetBreakerRequest
    ) -> pb.Command:
        match request.target.WhichOneof("target"):
            case "flow":
                flow = flow_of(self._integration, request.target.flow)
                return await self._give(kind, request.reason, flow=flow)
            case "destination":
                destination = self._destination(request.target.destination)
                return await self._give(kind, request.reason, destination=destination)
        raise wrong("target", "name a flow or a destination")

    def _destination(self, name: str) -> str:
        known = self._integration.systems
        if name not in known:
            raise NotFound("NO_SUCH_SYSTEM", f"there is no system {name}; there are {', '.join(known)}")
        return name

    async def _give(
        self, kind: str, reason: str, *, flow: str = "", destination: str = "", value: str = "", detailed: bool = False
    ) -> pb.Command:
        by = caller()
        command = Command(
            kind,
            flow,
            by=by.name,
            role=by.role,
            reason=reason_of(reason),
            destination=destination,
            value=value,
            detailed=detailed,
        )
        (given,) = await self._commands.give([command])
        return shown(given)
