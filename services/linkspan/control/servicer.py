"""Every call of the API, and who answers it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from linkspan.control.actions import Actions
from linkspan.control.errors import NotYet, wrong
from linkspan.control.flush import Flush
from linkspan.control.profile import ProfileView
from linkspan.control.replaying.replaying import Replaying
from linkspan.control.status import Status
from linkspan.control.v1 import audit_pb2, commands_pb2, keys_pb2, letters_pb2, messages_pb2, replays_pb2, status_pb2
from linkspan.control.v1.control_pb2_grpc import ControlServiceServicer
from linkspan.control.views.audit import Audits
from linkspan.control.views.commands import CommandsView
from linkspan.control.views.keys import KeysView
from linkspan.control.views.letters import Letters
from linkspan.control.views.messages import Messages
from linkspan.control.views.plans import Plans
from linkspan.control.views.replays import Replays
from linkspan.control.views.tail import Tail

_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Views:
    """What answers the reads."""

    messages: Messages
    letters: Letters
    tail: Tail
    audit: Audits
    plans: Plans
    replays: Replays
    keys: KeysView


class Servicer(ControlServiceServicer):
    def __init__(
        self,
        status: Status,
        actions: Actions,
        flush: Flush,
        profile: ProfileView,
        commands: CommandsView,
        replaying: Replaying,
        views: Views,
    ) -> None:
        self._status, self._actions, self._flush, self._profile = status, actions, flush, profile
        self._commands, self._replaying, self._views = commands, replaying, views

    async def GetStatus(self, request: status_pb2.GetStatusRequest, context: Any) -> status_pb2.GetStatusResponse:
        return await self._status.now(request.flow)

    async def WatchStatus(
        self, request: status_pb2.WatchStatusRequest, context: Any
    ) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        every = request.every.ToNanoseconds() / 1e9 or _EVERY
        if every < _EVERY:
            raise wrong("every", "at least 1 s")
        while True:
            yield status_pb2.WatchStatusResponse(status=await self._status.now(request.flow))
            await asyncio.sleep(every)

    async def ListMessages(
        self, request: messages_pb2.ListMessagesRequest, context: Any
    ) -> messages_pb2.ListMessagesResponse:
        return await self._views.messages.list_messages(request)

    async def GetMessage(
        self, request: messages_pb2.GetMessageRequest, context: Any
    ) -> messages_pb2.GetMessageResponse:
        return await self._views.messages.get_message(request)

    async def TailMessages(
        self, request: messages_pb2.TailMessagesRequest, context: Any
    ) -> AsyncIterator[messages_pb2.TailMessagesResponse]:
        async for one in self._views.tail.tail_messages(request):
            yield one

    async def ListConversations(
        self, request: messages_pb2.ListConversationsRequest, context: Any
    ) -> messages_pb2.ListConversationsResponse:
        return await self._views.messages.list_conversations(request)

    async def ListDeadLetters(
        self, request: letters_pb2.ListDeadLettersRequest, context: Any
    ) -> letters_pb2.ListDeadLettersResponse:
        return await self._views.letters.list_dead_letters(request)

    async def GetDeadLetter(
        self, request: letters_pb2.GetDeadLetterRequest, context: Any
    ) -> letters_pb2.GetDeadLetterResponse:
        return await self._views.letters.get_dead_letter(request)

    async def Redrive(self, request: letters_pb2.RedriveRequest, context: Any) -> letters_pb2.RedriveResponse:
        return await self._views.letters.redrive(request)

    async def Discard(self, request: letters_pb2.DiscardRequest, context: Any) -> letters_pb2.DiscardResponse:
        return await self._views.letters.discard(request)

    async def Pause(self, request: commands_pb2.PauseRequest, context: Any) -> commands_pb2.PauseResponse:
        return await self._actions.pause(request)

    async def Resume(self, request: commands_pb2.ResumeRequest, context: Any) -> commands_pb2.ResumeResponse:
        return await self._actions.resume(request)

    async def ResetBreaker(
        self, request: commands_pb2.ResetBreakerRequest, context: Any
    ) -> commands_pb2.ResetBreakerResponse:
        return await self._actions.reset_breaker(request)

    async def FlushQueue(
        self, request: commands_pb2.FlushQueueRequest, context: Any
    ) -> commands_pb2.FlushQueueResponse:
        return await self._flush.flush_queue(request)

    async def SetLogLevel(
        self, request: commands_pb2.SetLogLevelRequest, context: Any
    ) -> commands_pb2.SetLogLevelResponse:
        return await self._actions.set_log_level(request)

    async def EnableProfiling(
        self, request: commands_pb2.EnableProfilingRequest, context: Any
    ) -> commands_pb2.EnableProfilingResponse:
        return await self._actions.enable_profiling(request)

    async def GetProfile(
        self, request: commands_pb2.GetProfileRequest, context: Any
    ) -> commands_pb2.GetProfileResponse:
        return self._profile.get_profile(request)

    async def Audit(self, request: audit_pb2.AuditRequest, context: Any) -> audit_pb2.AuditResponse:
        return await self._views.audit.audit(request)

    async def ListCommands(
        self, request: commands_pb2.ListCommandsRequest, context: Any
    ) -> commands_pb2.ListCommandsResponse:
        return await self._commands.list_commands(request)

    def PlanReplay(
        self, request: replays_pb2.PlanReplayRequest, context: Any
    ) -> AsyncIterator[replays_pb2.PlanReplayResponse]:
        return self._views.plans.plan_replay(request)

    async def StartReplay(
        self, request: replays_pb2.StartReplayRequest, context: Any
    ) -> AsyncIterator[replays_pb2.StartReplayResponse]:
        async for one in self._replaying.start_replay(request):
            yield one

    async def WatchReplay(
        self, request: replays_pb2.WatchReplayRequest, context: Any
    ) -> AsyncIterator[replays_pb2.WatchReplayResponse]:
        async for one in self._replaying.watch_replay(request):
            yield one

    async def GetReplay(self, request: replays_pb2.GetReplayRequest, context: Any) -> replays_pb2.GetReplayResponse:
        return await self._views.replays.get_replay(request)

    async def ListReplays(
        self, request: replays_pb2.ListReplaysRequest, context: Any
    ) -> replays_pb2.ListReplaysResponse:
        return await self._views.replays.list_replays(request)

    async def PauseReplay(
        self, request: replays_pb2.PauseReplayRequest, context: Any
    ) -> replays_pb2.PauseReplayResponse:
        return replays_pb2.PauseReplayResponse(command=await self._replaying.pause(request))

    async def ResumeReplay(
        self, request: replays_pb2.ResumeReplayRequest, context: Any
    ) -> replays_pb2.ResumeReplayResponse:
        return replays_pb2.ResumeReplayResponse(command=await self._replaying.resume(request))

    async def SetReplayRate(
        self, request: replays_pb2.SetReplayRateRequest, context: Any
    ) -> replays_pb2.SetReplayRateResponse:
        return replays_pb2.SetReplayRateResponse(command=await self._replaying.set_rate(request))

    async def ConfirmReplay(
        self, request: replays_pb2.ConfirmReplayRequest, context: Any
    ) -> replays_pb2.ConfirmReplayResponse:
        return replays_pb2.ConfirmReplayResponse(command=await self._replaying.confirm(request))

    async def CancelReplay(
        self, request: replays_pb2.CancelReplayRequest, context: Any
    ) -> replays_pb2.CancelReplayResponse:
        return replays_pb2.CancelReplayResponse(command=await self._replaying.cancel(request))

    async def IssueKey(self, request: keys_pb2.IssueKeyRequest, context: Any) -> keys_pb2.IssueKeyResponse:
        return await self._views.keys.issue(request)

    async def ListKeys(self, request: keys_pb2.ListKeysRequest, context: Any) -> keys_pb2.ListKeysResponse:
        return await self._views.keys.list_keys(request)

    async def RevokeKey(self, request: keys_pb2.RevokeKeyRequest, context: Any) -> keys_pb2.RevokeKeyResponse:
        return await self._views.keys.revoke(request)


async def _missing(method: str) -> AsyncIterator[Any]:
    if method:
        raise NotYet(method)
    yield
