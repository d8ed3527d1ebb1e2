"""What insight reads of an integration, and which flow answers which. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, InsightTopics, conversation_partitions

EVENTS, OUTCOMES, MENTIONS = "events", "outcomes", "mentions"


@dataclass(frozen=True, slots=True)
class Source:
    """A topic that is read; ``flow`` is empty for the mentions."""

    kind: str
    flow: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Plan:
    """``within``: flow of requests -> microseconds until the answer is due. ``asked_by``: flow of answers -> flows
    whose requests it answers."""

    integration: str
    topics: InsightTopics
    flows: dict[str, int]
    partitions: int
    within: dict[str, int] = field(default_factory=dict)
    asked_by: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Integration) -> Plan:
        """Raises UserMistake where no flow brings the answer."""
        within: dict[str, int] = {}
        asked_by: dict[str, tuple[str, ...]] = {}
        for name, flow in spec.flows.items():
            if flow.answer is None:
                continue
            bringing = spec.flows_from(flow.to).get(flow.answer.type)
            if bringing is None:
                raise UserMistake(
                    f"flows.{name}.answer.type: no flow takes {flow.answer.type} from {flow.to}; "
                    "add that flow or remove the answer"
                )
            for asking in filter(None, (name, flow.copied_from)):  # its conversations go on
                within[asking] = int(flow.answer.within * 1_000_000)
                asked_by[bringing] = (*asked_by.get(bringing, ()), asking)
        return cls(
            spec.integration,
            InsightTopics.of(spec.integration),
            {name: flow.partitions for name, flow in spec.flows.items()},
            conversation_partitions(spec),
            within,
            asked_by,
        )

    @property
    def sources(self) -> dict[str, Source]:
        """By topic."""
        found: dict[str, Source] = {}
        for flow, partitions in self.flows.items():
            topics = FlowTopics.of(self.integration, flow)
            found[topics.events] = Source(EVENTS, flow, partitions)
            found[topics.outcomes] = Source(OUTCOMES, flow, partitions)
        if self.within:
            found[self.topics.mentions] = Source(MENTIONS, "", self.partitions)
        return found

    def conversations_of(self, flow: str) -> tuple[str, ...]:
        """Flows of the requests whose conversations an event of this flow belongs to."""
        return ((flow,) if flow in self.within else ()) + self.asked_by.get(flow, ())
