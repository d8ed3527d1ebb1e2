"""``GetProfile``: what this process measured."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration

from linkspan.control.errors import wrong
from linkspan.control.shown import timestamp
from linkspan.control.v1 import commands_pb2 as pb
from linkspan.kernel.telemetry.profiling import SLOWEST, Profile

_DEFAULT = 10


class ProfileView:
    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def get_profile(self, request: pb.GetProfileRequest) -> pb.GetProfileResponse:
        """Raises BadRequest."""
        if not 0 <= request.slowest <= SLOWEST:
            raise wrong("slowest", f"at most {SLOWEST}")
        profile = self._profile
        stages = [
            pb.Stage(name=name, count=one.count, total=_duration(one.total), longest=_duration(one.longest))
            for name, one in profile.stages.items()
        ]
        operations = [
            pb.Operation(stage=one.stage, message_id=one.message_id, took=_duration(one.took), at=timestamp(one.at))
            for one in profile.slowest(request.slowest or _DEFAULT)
        ]
        found = profile.stalls.longest(request.slowest or _DEFAULT) if profile.stalls is not None else []
        stalls = [pb.Stall(took=_duration(one.took), at=timestamp(one.at), stack=one.stack) for one in found]
        return pb.GetProfileResponse(
            sample_rate=profile.rate,
            detailed_timings=profile.detailed,
            stages=stages,
            slowest_operations=operations,
            stalls=stalls,
        )


def _duration(seconds: float) -> Duration:
    found = Duration()
    found.FromNanoseconds(int(seconds * 1e9))
    return found
