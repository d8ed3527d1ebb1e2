"""How a plan is to be run: the options of ``linkspan replay run``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from linkspan.cli.when import length

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

    from linkspan.control.v1.replays_pb2 import StartReplayRequest


class Version(StrEnum):
    """Of the transform."""

    CURRENT = "current"
    AS_OF = "as-of"


@dataclass(frozen=True)
class HowToRun:
    """What is not said is left to the replica."""

    rate: Annotated[float, typer.Option(min=0, metavar="PER-SECOND", help="At most so many; 0: no limit.")] = 0
    canary: Annotated[int, typer.Option(min=0, help="Send so many, then wait for linkspan replay confirm.")] = 0
    ramp: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Grow from a tenth of the rate to the whole, such as 5m.")
    ] = None
    max_failures: Annotated[
        float | None, typer.Option(min=0, max=1, help="Abort when this share of what was sent failed; 0.1 if not said.")
    ] = None
    abort_lag: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Abort when the oldest live event is as old.")
    ] = None
    yield_lag: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Give way while it is as old; 5s if not said.")
    ] = None
    wait_for_breaker: Annotated[
        bool,
        typer.Option("--wait-for-breaker", help="Wait, not abort, when the destination's breaker opens."),
    ] = False
    force: Annotated[bool, typer.Option("--force", help="Also what was delivered.")] = False
    allow_superseded: Annotated[
        bool, typer.Option("--allow-superseded", help="Also what is older than what was delivered of its key.")
    ] = False
    to: Annotated[str, typer.Option(metavar="SYSTEM", help="Another destination.", show_default=False)] = ""
    transform: Annotated[Version, typer.Option(help="Today's, or of each event the one of then.")] = Version.CURRENT
    as_of: Annotated[bool, typer.Option("--as-of", help="The same as --transform as-of.")] = False
    expected: Annotated[int, typer.Option(min=0, help="Refuse where another number would be sent; 0: no matter.")] = 0

    def request(self, plan: str, reason: str) -> StartReplayRequest:
        """Raises UserMistake."""
        from linkspan.control.v1.replays_pb2 import StartReplayRequest

        return StartReplayRequest(
            plan=plan,
            reason=reason,
            rate=self.rate,
            canary=self.canary,
            ramp=_length("--ramp", self.ramp),
            max_failures=self.max_failures,
            abort_lag=_length("--abort-lag", self.abort_lag),
            yield_lag=_length("--yield-lag", self.yield_lag),
            wait_for_breaker=self.wait_for_breaker,
            force=self.force,
            allow_superseded=self.allow_superseded,
            to=self.to,
            as_of=self.as_of or self.transform is Version.AS_OF,
            expected=self.expected,
        )

    def words(self) -> str:
        """What is unusual of it, in one line; empty where nothing is."""
        said = (
            (f"at most {self.rate:g} a second", self.rate),
            (f"{self.canary:,} of them first", self.canary),
            (f"growing within {self.ramp}", self.ramp),
            ("also what was delivered", self.force),
            ("also what is superseded", self.allow_superseded),
            (f"to {self.to}", self.to),
            ("by the transform of then", self.as_of or self.transform is Version.AS_OF),
        )
        return ", ".join(text for text, meant in said if meant)


def _length(option: str, text: str | None) -> Duration | None:
    from google.protobuf.duration_pb2 import Duration

    if text is None:
        return None
    made = Duration()
    made.FromNanoseconds(round(length(option, text) * 1e9))
    return made
