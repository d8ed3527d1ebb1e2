"""What ``linkspan repartition`` leaves in ``state``, in each partition of both flows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CopyMark:
    """``source``, ``target``: flows. Not ``done``: the topics of ``target`` do not have everything yet, and nothing may
    be delivered from them, or accepted into them. ``done``: nothing may be delivered from ``source`` any more."""

    source: str
    target: str
    done: bool = False

    def forbids(self, flow: str) -> str | None:
        """Why nothing of the flow may be delivered by who finds this in its state."""
        if self.target == flow and not self.done:
            return f"the copy of flow {self.source} is not whole: linkspan repartition {flow} FILE goes on with it"
        if self.source == flow and self.done:
            return (
                f"the flow was copied to {self.target}, which has the rest of it: deliver that one (or take it back, "
                f"as long as nothing ran on it: linkspan repartition {self.target} FILE --back)"
            )
        return None
