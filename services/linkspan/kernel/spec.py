"""What an ``integration.yaml`` says, as typed data. Reading the file, its environment and its errors: ``spec_file``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|m|h)")
NAME = r"^[a-z][a-z0-9-]{0,62}$"


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if not match:
            raise ValueError("expected a duration such as 500ms, 30s, 15m or 1h")
        return float(match[1]) * _UNITS[match[2]]
    return value


def _per_second(value: Any) -> Any:
    if isinstance(value, str):
        match = _RATE.fullmatch(value.strip())
        if not match:
            raise ValueError("expected a rate such as 50/s or 600/m")
        return float(match[1]) / _UNITS[match[2]]
    return value


Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=str | float), Field(gt=0)]
PerSecond = Annotated[float, BeforeValidator(_per_second, json_schema_input_type=str | float), Field(gt=0)]
Name = Annotated[str, Field(pattern=NAME)]
Method = Literal["POST", "PUT", "PATCH"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class OAuth2(_Part):
    """Client credentials grant; ``token_url`` may be relative to the system's url."""

    token_url: str
    client_id: str
    client_secret: SecretStr
    scope: str | None = None


class Auth(_Part):
    oauth2: OAuth2 | None = None
    api_key: SecretStr | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Auth:
        if (self.oauth2 is None) == (self.api_key is None):
            raise ValueError("give either oauth2 or api_key")
        return self


class Retry(_Part):
    """After attempt n the wait is ``first`` * 2^(n-1), at most ``cap``, each with jitter."""

    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff: Literal["exponential"] = "exponential"
    first: Seconds = 2.0
    cap: Seconds = 60.0


class Throttle(_Part):
    rate: PerSecond | None = None
    concurrency: Annotated[int, Field(ge=1, le=1024)] = 16


class System(_Part):
    """An endpoint outside. ``source`` is the path a websocket system's events are received from."""

    kind: Literal["rest", "websocket"]
    url: str
    auth: Auth | None = None
    retry: Retry = Retry()
    throttle: Throttle = Throttle()
    heartbeat: Seconds = 30.0
    timeout: Seconds = 10.0
    source: str = "/v1/events"
    subprotocol: str | None = None

    @model_validator(mode="after")
    def _address(self) -> System:
        schemes = {"rest": ("http", "https"), "websocket": ("ws", "wss")}[self.kind]
        parts = urlsplit(self.url)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"url: expected {schemes[0]}://… or {schemes[1]}://… for a {self.kind} system")
        return self


class Deliver(_Part):
    """Where at the destination; ``{name}`` in a path stands for that field of the payload or header."""

    path: str = "/"
    method: Method = "POST"


class Answer(_Part):
    """The message of the other direction that answers; later than ``within`` is overdue."""

    type: str
    within: Seconds


class StepSpec(_Part):
    step: str | None = None
    jsonata: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> StepSpec:
        if (self.step is None) == (self.jsonata is None):
            raise ValueError("give either step or jsonata")
        return self


class Flow(_Part):
    """One direction. ``delivers`` is the type (and schema) of what leaves; by default what came in.

    ``refusal``: where the sending system is told that one of its messages became a dead letter.
    """

    from_: Annotated[Name, Field(alias="from")]
    to: Name
    type: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")]
    key: str | None = None
    delivers: str | None = None
    answer: Answer | None = None
    on_dead_letter: Literal["hold", "continue"] = "hold"
    when_kafka_is_away: Literal["refuse", "spool"] = "refuse"
    transform: tuple[StepSpec, ...] = ()
    deliver: Deliver = Deliver()
    refusal: Deliver | None = None
    partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    retention_days: Annotated[int, Field(ge=1)] = 30
    examples: tuple[str, ...] = ()


class Integration(_Part):
    """``schemas``: folder of the payload schemas, beside the file unless absolute; Linkspan's own come with it."""

    integration: Name
    systems: Annotated[dict[Name, System], Field(min_length=2, max_length=2)]
    flows: Annotated[dict[Name, Flow], Field(min_length=1)]
    values: dict[Name, dict[str, str]] = {}
    schemas: Path | None = None

    @model_validator(mode="after")
    def _names_exist(self) -> Integration:
        for name, flow in self.flows.items():
            for role, system in (("from", flow.from_), ("to", flow.to)):
                if system not in self.systems:
                    raise ValueError(f"flows.{name}.{role}: no system {system!r}; there are {', '.join(self.systems)}")
        pairs = [(flow.from_, flow.type) for flow in self.flows.values()]
        if len(set(pairs)) < len(pairs):
            raise ValueError("flows: two flows take the same type from the same system")
        return self

    def sources(self) -> list[str]:
        """Systems that Linkspan itself connects to for their messages, in the file's order."""
        senders = {flow.from_ for flow in self.flows.values()}
        return [name for name, system in self.systems.items() if system.kind == "websocket" and name in senders]

    def flows_from(self, system: str) -> dict[str, str]:
        """Type of message -> flow, for what this system sends."""
        return {flow.type: name for name, flow in self.flows.items() if flow.from_ == system}
