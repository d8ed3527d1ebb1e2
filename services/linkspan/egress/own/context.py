"""What all partitions of a flow share."""

from __future__ import annotations

from dataclasses import dataclass

from linkspan.control.tail import ControlTail
from linkspan.egress.instruments import Instruments
from linkspan.egress.partition.window import WindowLimits
from linkspan.egress.pipeline import Pipeline
from linkspan.egress.record.outcome import OutcomeWriter
from linkspan.egress.replays import FlowReplays
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.spec import Duplicates
from linkspan.kernel.topics import FlowTopics


@dataclass(frozen=True, slots=True)
class FlowContext:
    """What all partitions of a flow share. ``identity``: ``<integration>.<flow>``; ``batch``: records of one fetch at
    most; ``hold``: a dead letter holds its key."""

    name: str
    identity: str
    group: str
    topics: FlowTopics
    clients: KafkaClients
    pipeline: Pipeline
    writer: OutcomeWriter
    states: StateCodec
    instruments: Instruments
    retry: RetryPolicy
    limits: WindowLimits
    batch: int
    hold: bool
    control: ControlTail
    duplicates: Duplicates
    replays: FlowReplays
