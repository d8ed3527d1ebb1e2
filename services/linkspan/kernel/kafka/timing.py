"""How long everything about owning takes; all of it follows from the session timeout."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. ``session``: a member that Kafka has not heard of for so long loses its partitions.

    An attempt starts at most ``lease`` after the sending of a group commit that succeeded, and lasts at most
    ``attempt``: together no longer than a session, so that a member cut off from Kafka has stopped before another
    one begins. The figures for a session of 15 s were tried on a real broker (``delivery.md``); the others scale.
    ``stall``: without progress for so long the process ends.
    """

    session: float = 15.0
    stall: float = 120.0

    @property
    def heartbeat(self) -> float:
        return self.session / 5

    @property
    def lease(self) -> float:
        return self.session / 3

    @property
    def attempt(self) -> float:
        return self.session - self.lease

    @property
    def checkpoint(self) -> float:
        """Between checkpoints, and between group commits: two may fail before the lease ends."""
        return self.session * 2 / 15

    @property
    def commit(self) -> float:
        """A group commit "retries across a rejoin", so it is given up after this."""
        return self.session / 10

    @property
    def takeover(self) -> float:
        """The same during a takeover, which may fall into a rebalance."""
        return self.session / 5
