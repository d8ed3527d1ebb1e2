"""One partition's part of a replay: which planned record may go next, and what becomes of each.

A planned record is looked for ahead of its turn, judged when it is the first of its key, sent when the lane of its key
is empty, and ended when its outcome is *acked*; each ends once. Pure: no I/O, no clock of its own.
"""

from __future__ import annotations

import heapq
from collections import deque

import msgspec

from linkspan.egress.partition.answer import Superseded, Unanswered, Unreadable
from linkspan.egress.partition.effect import Record
from linkspan.egress.partition.lanes import Message
from linkspan.egress.partition.offers import Offers
from linkspan.egress.partition.since import Since
from linkspan.kernel.errors import DeliveryError, FailureClass, Undecryptable
from linkspan.kernel.records.fact import ATTEMPT_FAILED
from linkspan.kernel.records.listed import Listed
from linkspan.kernel.records.plan import (
    FAILED,
    FILTERED,
    HELD_BACK,
    RETENTION,
    SEALED,
    SENT,
    SUPERSEDED,
    UNREADABLE,
    Planned,
    ReplayOptions,
)
from linkspan.kernel.resilience.retry import RetryPolicy

#: Records that are looked for and not ended, at most; what a successor marks.
LOOK_AHEAD = 256
#: And their bytes, before no more are looked for.
_BYTES = 8 * 1024 * 1024
#: What found its lane busy is looked at again after so many seconds.
_AGAIN = 0.02
#: Dispositions of what was attempted, as far as they show it.
_TRIED = frozenset({SENT, FAILED, FILTERED, UNREADABLE, SEALED})
_ENDS = ((Superseded, SUPERSEDED), (Undecryptable, SEALED), (Unreadable, UNREADABLE))


class Pending(msgspec.Struct, eq=False):
    """A planned record that was found and has not ended. ``begun``: it was attempted; ``out``: it is being attempted,
    or prepared; ``lane``: it occupies the one of its key."""

    at: int
    size: int = 0
    begun: bool = False
    out: bool = False
    lane: bool = False


class Part:
    """``offers``: None where another system gets it, which knows nothing of the flow's order. ``quota``: of a canary,
    as many are attempted at most. ``sent`` and ``failed`` count answers; ``stopped``: nothing new is attempted.
    """

    def __init__(
        self, listed: Listed, options: ReplayOptions, retry: RetryPolicy, offers: Offers | None, quota: int | None
    ) -> None:
        self.listed, self.quota = listed, quota
        self._retry, self._offers = retry, offers
        self._marks = 0
        self._next = 0
        self._pending: dict[int, Message] = {}
        self._bytes = self._out = self._recording = 0
        self._keys: dict[bytes, deque[Message]] = {}
        self._ready: deque[Message] = deque()
        self._blocked: list[Message] = []
        self._later: list[tuple[float, int, Message]] = []
        self._look_at = 0.0
        self._since = Since(listed, options)
        self._begun = 0
        self.sent = self.failed = 0
        self.stopped = False

    def live(self, kind: str, offset: int, key: bytes | None) -> None:
        """A valid outcome of live delivery, after the plan was made."""
        self._since.fold(kind, offset, key)

    def said(self, kind: str, offset: int, until: int) -> None:
        """A valid outcome of the plan that stood in the log before this owner began."""
        if self.listed.fold(kind, offset, until):
            self._begun += kind in _TRIED

    def resume(self) -> None:
        """After all that stood in the log: what a former owner may have had under way is marked."""
        self._marks = LOOK_AHEAD if self.listed.begun else 0

    def ranged(self, kind: str) -> Record:
        """About the whole list: what is ``skipped`` from the beginning, or ``cancelled`` at the end."""
        last = self.listed[len(self.listed) - 1].offset
        return Record(Message(self.listed[0].offset, None, None, replay=self), kind, until=last + 1)

    def wants(self) -> list[Planned]:
        """The records to look for now, in the log's order; ``found`` is told of as many of the first ones as were
        looked for."""
        room = LOOK_AHEAD - len(self._pending)
        if not self.goes or 2 * room < LOOK_AHEAD or self._bytes >= _BYTES:
            return []
        wanted: list[Planned] = []
        at = self.listed.open(self._next)
        while at is not None and len(wanted) < room:
            wanted.append(self.listed[at])
            at = self.listed.open(at + 1)
        return wanted

    def found(self, planned: Planned, message: Message | None, size: int = 0) -> Record | None:
        """None: what was planned is not there any more."""
        at = self.listed.at(planned.offset)
        if at is None or at < self._next or not self.listed.is_open(at):
            return None
        self._next = at + 1
        marked, self._marks = self._marks > 0, max(0, self._marks - 1)
        if message is None:
            message = Message(planned.offset, None, None, replay=Pending(at))
            self._pending[at] = message
            return self._end(message, RETENTION)
        message.replay = Pending(at, size)
        message.redelivery |= marked
        self._pending[at] = message
        self._bytes += size
        lane = self._keys.setdefault(message.key, deque()) if message.key is not None else None
        if lane is not None:
            lane.append(message)
        if lane is None or len(lane) == 1:
            self._ready.append(message)
        return None

    def next(self, now: float) -> Message | Record | None:
        """A message that is to be answered, put back or shelved; or what becomes of one that is not sent; None where
        nothing may go now."""
        if not self.goes:
            return None
        self._revive(now)
        while self._ready:
            message = self._ready.popleft()
            ended = self._judged(message)
            if ended is not None:
                return self._end(message, ended)
            if self._goes(message):
                message.replay.out, message.replay.begun = True, True
                self._out += 1
                return message
            self._blocked.append(message)
        return None

    def _revive(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            self._ready.append(heapq.heappop(self._later)[2])
        if self._blocked and now >= self._look_at:
            self._ready.extend(self._blocked)
            self._blocked.clear()
            self._look_at = now + _AGAIN

    def _judged(self, message: Message) -> str | None:
        if self._offers is None:
            return None
        if self._offers.held(message.key):
            return HELD_BACK
        return self._since.judged(message.replay.at, message)

    def _goes(self, message: Message) -> bool:
        pending: Pending = message.replay
        if not pending.begun and self.quota is not None and self._begun >= self.quota:
            return False
        if self._offers is not None:
            if not self._offers.take(message):
                return False
            pending.lane = True
        self._begun += not pending.begun
        return True

    def answered(
        self, message: Message, error: DeliveryError | None, now: float, *, spared: bool = False
    ) -> Record | None:
        """As of ``PartitionState``; what is to be tried again leaves its lane until then."""
        if not message.replay.out:
            return None
        self._count(error)
        if error is None:
            return self._end(message, SENT)
        message.redelivery = message.redelivery or isinstance(error, Unanswered)
        match error.failure:
            case FailureClass.TRANSIENT if not spared:
                return self._charge(message, error, now + self._retry.delay(message.charged + 1, error.retry_after))
            case FailureClass.UNAVAILABLE | FailureClass.TRANSIENT:
                message.asked += 1
                self._wait(message, now + self._retry.delay(message.asked, error.retry_after))
                return None
        return self._end(message, next((kind for sort, kind in _ENDS if isinstance(error, sort)), FAILED), error)

    def _count(self, error: DeliveryError | None) -> None:
        """A destination that is away, or says "later", is no failure."""
        if error is None or isinstance(error, Superseded) or error.failure is not FailureClass.UNAVAILABLE:
            self.sent += 1
            self.failed += error is not None and not isinstance(error, Superseded)

    def charge(self, message: Message, error: DeliveryError, now: float) -> Record | None:
        """A failure that was spared turned out to be its own."""
        return self._charge(message, error, now) if message.replay.out else None

    def _charge(self, message: Message, error: DeliveryError, again_at: float) -> Record:
        message.charged += 1
        message.asked = 0
        if message.charged >= self._retry.attempts:
            return self._end(message, FAILED, error)
        self._wait(message, again_at)
        return Record(message, ATTEMPT_FAILED, error)

    def put_back(self, message: Message) -> None:
        """It did not go; it is the next one."""
        if message.replay.out:
            self._back(message)
            self._ready.appendleft(message)

    def shelve(self, message: Message) -> None:
        """It is being prepared; its key need not wait for that. ``put_back``, or answered, when it is."""
        self._leave(message.replay, message)

    def _wait(self, message: Message, until: float) -> None:
        self._back(message)
        heapq.heappush(self._later, (until, message.offset, message))

    def _back(self, message: Message) -> None:
        message.replay.out = False
        self._out -= 1
        self._leave(message.replay, message)

    def _leave(self, pending: Pending, message: Message) -> None:
        if pending.lane and self._offers is not None:
            pending.lane = False
            self._offers.leave(message)

    def _end(self, message: Message, kind: str, error: DeliveryError | None = None) -> Record:
        """What was not sent keeps nobody back."""
        pending: Pending = message.replay
        self._recording += 1
        self._out -= pending.out
        pending.out = False
        if not pending.lane:
            self._follow(message)
        return Record(message, kind, error)

    def _follow(self, message: Message) -> None:
        """The next of its key may go."""
        lane = self._keys.get(message.key) if message.key is not None else None
        if lane and lane[0] is message:
            lane.popleft()
            if lane:
                self._ready.append(lane[0])
            elif message.key is not None:
                del self._keys[message.key]

    def acked(self, effect: Record) -> None:
        """It stands in the log."""
        message, replay = effect.message, effect.message.replay
        if effect.kind == ATTEMPT_FAILED:
            return
        self.listed.fold(effect.kind, message.offset, effect.until)
        if isinstance(replay, Pending):
            self._recording -= 1
            self._bytes -= replay.size
            del self._pending[replay.at]
            self._leave(replay, message)
            self._follow(message)

    @property
    def goes(self) -> bool:
        """It has begun, and is not stopped."""
        return self.listed.begun and not self.stopped

    def due(self, now: float) -> bool:
        """It is worth asking for the next."""
        wake_at = self.wake_at()
        return bool(self._ready) or (wake_at is not None and wake_at <= now)

    @property
    def idle(self) -> bool:
        """Nothing is attempted, or waits for its ack."""
        return not self._out and not self._recording

    @property
    def in_flight(self) -> int:
        return self._out

    @property
    def waits_for_confirmation(self) -> bool:
        return self.quota is not None and self._begun >= self.quota and not self._out

    def wake_at(self) -> float | None:
        """When something may go that cannot now."""
        times = [self._later[0][0]] if self._later else []
        times += [self._look_at] if self._blocked else []
        return None if self.stopped or not times else min(times)
