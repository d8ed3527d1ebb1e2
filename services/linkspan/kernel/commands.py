"""Commands: what somebody wants done, as records of the control topic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace

import uuid_utils

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.errors import Poison, UnknownWriter
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.api_key import ApiKey, ApiKeyCodec
from linkspan.kernel.records.plan import PartDone, PlanCodec, PlanHead, ReplayOptions
from linkspan.kernel.records.rollout import RolloutCodec, RolloutPlan
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.topics import Headers

REDRIVE, DISCARD, PAUSE, RESUME, RESET_BREAKER, FLUSH = (
    "redrive",
    "discard",
    "pause",
    "resume",
    "reset_breaker",
    "flush",
)
LOG_LEVEL, PROFILING, REFUSED = "log_level", "profiling", "refused"
PLAN_FROZEN, REPLAY_START, REPLAY_PART_DONE, REPLAY_ABORT = (
    "plan_frozen",
    "replay_start",
    "replay_part_done",
    "replay_abort",
)
REPLAY_PAUSE, REPLAY_RESUME, REPLAY_RATE, REPLAY_CONFIRM, REPLAY_CANCEL = (
    "replay_pause",
    "replay_resume",
    "replay_rate",
    "replay_confirm",
    "replay_cancel",
)
TRANSFORM, RESTORED, REPARTITIONED = "transform", "restored", "repartitioned"
ISSUE_KEY, REVOKE_KEY = "issue_key", "revoke_key"
ROLLOUT_START, ROLLOUT_SHARE, ROLLOUT_STOP, ROLLOUT_FINISH = (
    "rollout_start",
    "rollout_share",
    "rollout_stop",
    "rollout_finish",
)
ROLLOUT_KINDS = (ROLLOUT_START, ROLLOUT_SHARE, ROLLOUT_STOP, ROLLOUT_FINISH)
#: They change who may send.
KEY_KINDS = (ISSUE_KEY, REVOKE_KEY)
#: Of one partition: its owner carries them out, and an outcome names each.
OF_PARTITION = frozenset({REDRIVE, DISCARD, FLUSH})


#: What a version does that does not know a kind; of others it does nothing. A new kind that changes what may be
#: delivered belongs here.
_SAFE = {PAUSE: PAUSE, RESUME: RESUME}
Body = PlanHead | ReplayOptions | PartDone | ApiKey | RolloutPlan | str


def _new_id() -> str:
    return str(uuid_utils.uuid7())


@dataclass(frozen=True, slots=True)
class Command:
    """``partition`` and ``offset`` name a dead letter of ``flow`` by its event, or where a flush ends; -1 where none is
    meant. ``value``: of a log level, a sample rate, the method of a refused call, messages a second of a replay, the
    id of an API key, percent of a rollout, the flow that ``flow`` was copied from, or the hash of a transform, whose
    text is its ``body``. ``plan``: id of a replay's plan, or of the command that began a rollout. ``at``: microseconds
    since 1970.
    """

    kind: str
    flow: str = ""
    partition: int = -1
    offset: int = -1
    by: str = ""
    reason: str = ""
    destination: str = ""
    value: str = ""
    detailed: bool = False
    role: str = ""
    plan: str = ""
    body: Body | None = None
    id: str = field(default_factory=_new_id)
    at: int = field(default_factory=now_micros)

    @property
    def key(self) -> bytes:
        """Of its record."""
        return (self.flow or self.destination).encode()

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """Of its record."""
        safe = _SAFE.get(self.kind)
        if safe is None:
            return []
        named = f"flow {self.flow}" if self.flow else f"system {self.destination}"
        return [(Headers.OTHERWISE, f"{safe} {named}".encode())]


def otherwise(headers: Iterable[tuple[str, bytes]], what: str, by: str = "") -> Command | None:
    """What a command that is not understood means here; None: nothing. ``what``: the command, in words."""
    said = dict(headers).get(Headers.OTHERWISE, b"").decode("utf-8", "replace").split(" ", 2)
    if len(said) < 3 or said[0] not in _SAFE.values():
        return None
    kind, sort, name = said
    flow, destination = (name, "") if sort == "flow" else ("", name)
    return Command(kind, flow, destination=destination, by=by, reason=f"{what}, which this version does not know")


class CommandCodec:
    def __init__(self, catalog: SchemaCatalog) -> None:
        self.catalog = catalog
        self._codec, self._plans = RecordCodec(catalog, "Command"), PlanCodec(catalog)
        self._keys, self._rollouts = ApiKeyCodec(catalog), RolloutCodec(catalog)

    def encode(self, command: Command) -> bytes:
        said = {one.name: getattr(command, one.name) for one in fields(command)}
        return self._codec.encode(said | {"body": self._body(command.body)})

    def unknown(self, value: bytes | None) -> bytes | None:
        """As ``Decoder.unknown``, of its body too."""
        try:
            self.decode(value)
        except UnknownWriter as error:
            return error.fingerprint
        except Poison:
            return None
        return None

    def read(self, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> Command:
        """A kind of another version is what its header says, or has its own name and means nothing. Raises Poison."""
        try:
            command = self.decode(value)
        except Poison:
            safe = otherwise(headers, "a command that cannot be read")
            if safe is None:
                raise
            return safe
        if command.kind != "unknown" or value is None:
            return command
        kind = str(self._codec.written(value)["kind"])
        safe = otherwise(headers, f"{kind}: {command.reason}", command.by)
        return replace(command, kind=kind) if safe is None else replace(safe, id=command.id, at=command.at)

    def decode(self, value: bytes | None) -> Command:
        """Raises Poison."""
        found = self._codec.decode(value)
        said = {one.name: found[one.name] for one in fields(Command)}
        return Command(**(said | {"body": self._read(found["kind"], found["body"])}))

    def _body(self, body: Body | None) -> bytes | None:
        match body:
            case PlanHead():
                return self._plans.encode_head(body)
            case ReplayOptions():
                return self._plans.encode_options(body)
            case PartDone():
                return self._plans.encode_done(body)
            case ApiKey():
                return self._keys.encode(body)
            case RolloutPlan():
                return self._rollouts.encode(body)
            case str():
                return body.encode()
        return None

    def _read(self, kind: str, body: bytes | None) -> Body | None:
        match kind:
            case "plan_frozen":
                return self._plans.decode_head(body)
            case "replay_start":
                return self._plans.decode_options(body)
            case "replay_part_done":
                return self._plans.decode_done(body)
            case "issue_key":
                return self._keys.decode(body)
            case "rollout_start":
                return self._rollouts.decode(body)
            case "transform" if body is not None:
                return _text(body)
        return None


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Poison(f"the text of a transform is not UTF-8: {error}") from None
