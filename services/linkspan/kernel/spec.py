"""What an ``integration.yaml`` says, as typed data. Reading the file, its environment and its errors: ``spec_file``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from linkspan.kernel.errors import Fault
from linkspan.kernel.spec_deliver import Batch, batch_fault
from linkspan.kernel.spec_parts import Name, Part, PerSecond, Seconds
from linkspan.kernel.spec_transform import StepSpec

Method = Literal["POST", "PUT", "PATCH"]


def _refuse(*faults: Fault) -> PydanticCustomError:
    """What a validator raises about fields below its own part; ``spec_file`` finds their lines."""
    return PydanticCustomError("faults", "{text}", {"text": "; ".join(f.error for f in faults), "faults": faults})


class OAuth2(Part):
    """Client credentials grant; ``token_url`` may be relative to the system's url."""

    token_url: str
    """Absolute, or relative to the url of the system."""
    client_id: str
    """Usually "${SYSTEM_A_CLIENT_ID}"."""
    client_secret: SecretStr
    """Usually "${SYSTEM_A_CLIENT_SECRET}"; never shown."""
    scope: str | None = None
    """Scopes asked for, separated by spaces."""


class Auth(Part):
    oauth2: OAuth2 | None = None
    """Client credentials."""
    api_key: SecretStr | None = None
    """Sent as X-API-Key; never shown."""

    @model_validator(mode="after")
    def _one_kind(self) -> Auth:
        if (self.oauth2 is None) == (self.api_key is None):
            raise ValueError("give either oauth2 or api_key")
        return self


class Retry(Part):
    """After attempt n the wait is ``first`` * 2^(n-1), at most ``cap``, each with jitter."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Tries of one message before it is a dead letter. RETRY_ATTEMPTS wins."""
    backoff: Literal["exponential"] = "exponential"
    """How the wait grows."""
    first: Seconds = 2.0
    """Wait after the first attempt."""
    cap: Seconds = 60.0
    """Longest wait."""


class Throttle(Part):
    rate: PerSecond | None = None
    """Deliveries, lookups and polls of a process, such as 50/s; no limit by default."""
    concurrency: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Requests under way at once; by default 16 of a rest system, 1000 frames without an answer of a websocket one."""


class Poll(Part):
    """A change feed that is read: ``GET path?after=<cursor>&limit=<limit>`` answers ``{items, next}``.

    An item is ``{<cursor>, type, payload}``, with ``correlationId``, ``traceparent``, ``at`` (its time), ``priority``
    and ``ttl`` where it has them.
    """

    path: str
    """Such as /v1/changes."""
    every: Seconds = 5.0
    """Pause after a page without items."""
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    """Items of one page."""
    cursor: str = "change"
    """The item's field that numbers the changes; `next` of a page, or that of its last item, is asked `after` with."""
    first: str = "0"
    """What is asked `after` with as long as no cursor was kept."""
    query: dict[str, str] = Field({})
    """Further parameters, such as {content: "true"}."""
    id: str | None = None
    """The item's field with the message id (a uuid); without it the id is made from source and change."""


class System(Part):
    """An endpoint outside. ``source`` is the path a websocket system's events are received from."""

    kind: Literal["rest", "websocket"]
    """Which adapter speaks to it."""
    url: str
    """http(s):// of a rest system, ws(s):// of a websocket system."""
    auth: Auth | None = None
    """How Linkspan says who it is."""
    retry: Retry = Retry()
    """What happens after a failure that may pass."""
    throttle: Throttle = Throttle()
    """The most that the system is asked for."""
    heartbeat: Seconds = 30.0
    """Between WebSocket pings."""
    timeout: Seconds = 10.0
    """For one answer."""
    source: str = "/v1/events"
    """Path where a websocket system gives its events."""
    subprotocol: str | None = None
    """WebSocket subprotocol."""
    poll: Poll | None = None
    """The change feed of a rest system, for messages that it does not send by itself."""

    @property
    def concurrency(self) -> int:
        return self.throttle.concurrency or (16 if self.kind == "rest" else 1000)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str, info: ValidationInfo) -> str:
        kind = info.data.get("kind", "rest")
        schemes = {"rest": ("http", "https"), "websocket": ("ws", "wss")}[kind]
        try:
            parts = urlsplit(url)
            right = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise ValueError(f"expected {schemes[0]}://host… or {schemes[1]}://host… for a {kind} system")
        if parts.username or parts.password:
            raise ValueError("an address holds no credentials; give them in auth")
        return url


class Deliver(Part):
    """Where at the destination; ``{name}`` in a path stands for that field of the payload or header."""

    path: str = "/"
    """Such as /v1/plans/{planId}."""
    method: Method = "POST"
    """HTTP method; of no meaning to a websocket system."""
    batch: Batch | None = None
    """Many messages in one request; by default each has its own."""


class Duplicates(Part):
    """How far back a message id is known, so that the same one again is not delivered again."""

    within: Seconds = 24 * 3600.0
    """How long an id is known at most."""
    count: Annotated[int, Field(ge=0, le=1_000_000)] = 16_384
    """How many ids of each partition are known at most, in steps of 512; 0 looks for no duplicates."""


class Answer(Part):
    """The message of the other direction that answers; later than ``within`` is overdue."""

    type: str
    """Type of the answering message."""
    within: Seconds
    """Later than this the answer is overdue, such as 15m."""


class Flow(Part):
    """One direction. ``delivers`` is the type (and schema) of what leaves; by default what came in.

    ``refusal``: where the sending system is told that one of its messages became a dead letter.
    """

    from_: Annotated[Name, Field(alias="from")]
    """System that sends."""
    to: Name
    """System that receives."""
    type: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")]
    """header.type of its messages, and name of their payload schema."""
    key: str | None = None
    """Field whose value decides the order, such as payload.planId; without it no message waits for another."""
    delivers: str | None = None
    """Type and payload schema of what leaves; by default what came in."""
    answer: Answer | None = None
    """The message of the other direction that answers."""
    on_dead_letter: Literal["hold", "continue"] = "hold"
    """Whether the followers of a dead letter wait for it."""
    duplicates: Duplicates = Duplicates()
    """When a message id that comes again is a duplicate."""
    when_kafka_is_away: Literal["refuse", "spool"] = "refuse"
    """Whether ingress refuses messages meanwhile (503) or keeps them on its disk."""
    transform: tuple[StepSpec, ...] = ()
    """Steps from what came in to what leaves, in order."""
    deliver: Deliver = Deliver()
    """Where at the receiving system."""
    refusal: Deliver | None = None
    """Where the sending system is told of a dead letter."""
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    """Of each of its topics; more of them are had by linkspan repartition only, under another name."""
    copied_from: Name | None = None
    """Flow that this one takes the place of, by linkspan repartition."""
    retention_days: Annotated[int, Field(ge=1)] = 30
    """How long its events are kept."""
    examples: tuple[str, ...] = ()
    """Files with examples, relative to this one; linkspan check runs them."""


class Integration(Part):
    """``schemas``: folder of the payload schemas, beside the file unless absolute; Linkspan's own come with it."""

    integration: Name
    """Name of the integration: prefix of its topics, folder of its schemas."""
    systems: Annotated[dict[Name, System], Field(min_length=2)]
    """The two systems; SYSTEM_A_… is about the first, SYSTEM_B_… about the second. Further ones only get replays."""
    flows: Annotated[dict[Name, Flow], Field(min_length=1)]
    """The directions."""
    values: dict[Name, dict[str, str]] = Field({})
    """Value tables, usable both ways."""
    schemas: Path | None = None
    """Folder of the payload schemas, relative to this file."""
    conversation_partitions: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Of the topics of conversations, for ever; by default as many as the flow with the most has."""

    @model_validator(mode="after")
    def _fits_together(self) -> Integration:
        faults = [
            *self._wrong_ends(),
            *self._same_sender_and_type(),
            *self._one_way_tables(),
            *self._useless_polls(),
            *self._lookups_elsewhere(),
            *self._impossible_batches(),
        ]
        if faults:
            raise _refuse(*faults)
        return self

    def _wrong_ends(self) -> Iterator[Fault]:
        two = tuple(self.systems)[:2]
        for name, flow in self.flows.items():
            for role, system in (("from", flow.from_), ("to", flow.to)):
                if system not in two:
                    yield Fault(f"flows.{name}.{role}", f"no system {system!r}; there are {', '.join(two)}")
            if flow.copied_from in self.flows:
                yield Fault(f"flows.{name}.copied_from", f"{flow.copied_from} is in this file still: remove that flow")
            if flow.from_ == flow.to:
                yield Fault(f"flows.{name}.to", "a flow leads to the other system, not back to its own")

    def _same_sender_and_type(self) -> Iterator[Fault]:
        seen: dict[tuple[str, str], str] = {}
        for name, flow in self.flows.items():
            other = seen.setdefault((flow.from_, flow.type), name)
            if other != name:
                yield Fault(f"flows.{name}.type", f"flow {other} takes {flow.type} from {flow.from_} already")

    def _one_way_tables(self) -> Iterator[Fault]:
        for name, table in self.values.items():
            seen: dict[str, str] = {}
            for key, value in table.items():
                other = seen.setdefault(value, key)
                if other != key:
                    yield Fault(f"values.{name}.{key}", f"{value!r} stands for {other!r} already; tables go both ways")

    def _useless_polls(self) -> Iterator[Fault]:
        for name, system in self.systems.items():
            if system.poll and system.kind != "rest":
                yield Fault(f"systems.{name}.poll", f"only a rest system is polled, and this is a {system.kind} system")
            elif system.poll and not self.flows_from(name):
                yield Fault(f"systems.{name}.poll", f"no flow comes from {name}: nothing of it would be taken")

    def _lookups_elsewhere(self) -> Iterator[Fault]:
        for name, flow in self.flows.items():
            for index, step in enumerate(flow.transform):
                field = f"flows.{name}.transform[{index}].lookup.system"
                system = self.systems.get(step.lookup.system) if step.lookup else None
                if step.lookup and system is None:
                    yield Fault(field, f"no system {step.lookup.system!r}; there are {', '.join(self.systems)}")
                elif system and system.kind != "rest":
                    yield Fault(field, f"a lookup asks a rest system, and this is a {system.kind} system")

    def _impossible_batches(self) -> Iterator[Fault]:
        for name, flow in self.flows.items():
            base, system = f"flows.{name}", self.systems.get(flow.to)
            if system and flow.deliver.batch:
                fault = batch_fault(f"{base}.deliver.batch", flow.deliver.batch, flow.deliver.path, system.kind)
                yield from (fault,) if fault else ()
            if flow.refusal and flow.refusal.batch:
                yield Fault(f"{base}.refusal.batch", "refusals are told one by one; remove it")

    def sources(self) -> list[str]:
        """Systems that Linkspan itself asks or connects to for their messages, in the file's order."""
        senders = {flow.from_ for flow in self.flows.values()}
        return [name for name, one in self.systems.items() if name in senders and (one.kind == "websocket" or one.poll)]

    def flows_from(self, system: str) -> dict[str, str]:
        """Type of message -> flow, for what this system sends."""
        return {flow.type: name for name, flow in self.flows.items() if flow.from_ == system}
