"""How partitions go over from one version to another, as a command says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.schemas import SchemaCatalog


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """As ``Rollout.avsc`` says: ``stages`` in percent, ``stay``, ``watch`` and ``patience`` in seconds; no ``flows``:
    all."""

    to: str
    before: str
    stages: tuple[int, ...] = (10, 25, 50, 100)
    stay: float = 3600.0
    watch: float = 86400.0
    most_errors: float = 0.01
    patience: float = 60.0
    flows: tuple[str, ...] = ()

    def covers(self, flow: str) -> bool:
        return not self.flows or flow in self.flows

    def lasts(self, share: int) -> float:
        """Seconds that it stays at ``share``."""
        return self.watch if share >= self.stages[-1] else self.stay

    def after(self, share: int) -> int | None:
        """The next stage; None after the last."""
        return next((stage for stage in self.stages if stage > share), None)


def portion(partitions: int, share: int) -> int:
    """Of so many partitions, those that ``share`` percent are: rounded down, but one at least where it is not 0."""
    return 0 if share <= 0 else min(partitions, max(1, partitions * share // 100))


class RolloutCodec:
    def __init__(self, catalog: SchemaCatalog) -> None:
        self._codec = RecordCodec(catalog, "Rollout")

    def encode(self, plan: RolloutPlan) -> bytes:
        said = asdict(plan)
        said |= {"flows": list(plan.flows), "stages": list(plan.stages), "mostErrors": said.pop("most_errors")}
        return self._codec.encode(said)

    def decode(self, value: bytes | None) -> RolloutPlan:
        """Raises Poison."""
        found = self._codec.decode(value)
        flows, stages, most = tuple(found.pop("flows")), tuple(found.pop("stages")), found.pop("mostErrors")
        return RolloutPlan(flows=flows, stages=stages, most_errors=most, **found)
