"""A flow's transform: its steps in order, and the check that what came out is what the destination is promised."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import DeliveryError, Fault, Poison, UserMistake
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.message import Json
from linkspan.kernel.resilience.limits import Limits, limits_of
from linkspan.kernel.schemas import SchemaCatalog, expanded
from linkspan.kernel.spec import Flow, Integration
from linkspan.kernel.spec_transform import StepSpec
from linkspan.kernel.steps import StepContext
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.transform.as_then import as_then
from linkspan.transform.asked import Cause
from linkspan.transform.content import holds_reference, look, with_content
from linkspan.transform.jsonata import Expression
from linkspan.transform.lookup import Lookup
from linkspan.transform.steps import NamedStep, named_step
from linkspan.transform.values import ValueTables

_encode = msgspec.json.Encoder().encode
_to_json = msgspec.to_builtins
Step = Expression | NamedStep | Lookup
#: Transforms with async steps (a subprocess, seconds) that run at a time.
SLOW_TRANSFORMS = 4
_NO_CAUSE = Cause(Tracing(None, 0.0), None)


class InvalidTransform(UserMistake):
    """A flow's transform cannot run; ``faults`` names each step: ``flows.<flow>.transform[0].jsonata``."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{fault.field}: {fault.error}" for fault in faults))


class Transform:
    """From a message's JSON form (content as ``bytes`` or a blob reference) to the payload that leaves.

    What leaves is plain JSON data that fits the schema of ``delivers``, with that schema's defaults filled in, content
    as base64 text. ``text`` is all that decides the result, ``hash`` its first 16 SHA-256 digits. ``at_once``: how many
    may wait at a time for something else; ``asks``: it has lookups, which ask systems.
    Raises InvalidTransform, and UnknownSchema where a type has none; ``as_of`` NotAsThen, too.
    """

    def __init__(
        self,
        integration: Integration,
        flow: str,
        catalog: SchemaCatalog,
        blobs: BlobStore,
        limits: Mapping[str, Limits] | None = None,
    ) -> None:
        spec, self._flow, self._blobs = integration.flows[flow], flow, blobs
        self._steps = compiled(integration, flow, limits)
        self.type = spec.delivers or spec.type
        taken = expanded(catalog.latest(integration.integration, spec.type).definition)
        self._form = JsonForm(catalog.latest(integration.integration, self.type).definition, "payload")
        self._look = look(taken)
        self._checks = bool(self._steps) or self.type != spec.type
        self.asks = any(isinstance(step, Lookup) for step in self._steps)
        self.is_sync = not any(isinstance(step, NamedStep) for step in self._steps)
        lookups = [step.at_once for step in self._steps if isinstance(step, Lookup)]
        self.at_once = max(lookups) if lookups and self.is_sync else SLOW_TRANSFORMS
        self.text = _said(spec, self._steps, integration)
        self.hash = _hash(self.text)

    @classmethod
    def as_of(
        cls,
        text: str,
        integration: Integration,
        flow: str,
        catalog: SchemaCatalog,
        blobs: BlobStore,
        limits: Mapping[str, Limits] | None = None,
    ) -> Transform:
        """The one whose ``text`` was kept: its steps and value tables, not the integration's of today. What leaves must
        fit today's schema; lookups ask the systems as they are today."""
        made = cls(as_then(integration, flow, text), flow, catalog, blobs, limits)
        made.text, made.hash = text, _hash(text)
        return made

    def ask_now(self, system: str) -> None:
        """Lookups ask this system again now, and not when their breakers would."""
        for step in self._steps:
            if isinstance(step, Lookup) and step.spec.system == system:
                step.ask_now()

    def apply_now(self, message: Json) -> Json | None:
        """The payload that leaves; None where something must be awaited (use ``apply``). Raises Poison."""
        payload = message["payload"]
        if not self.is_sync:
            return None
        if self._look and self._look(payload) and holds_reference(payload, rounded=bool(self._steps)):
            return None
        return self._now(payload, message)

    async def apply(self, message: Json, answers: Mapping[str, Any] | None = None, cause: Cause = _NO_CAUSE) -> Json:
        """The payload that leaves; raises Poison, or whatever failure a step names. ``answers``: what lookups find."""
        context = StepContext(self._flow, message["header"], message["metadata"], self._blobs)
        current: Json = message["payload"]
        text: str | None = None
        for step in self._steps:
            if isinstance(step, Expression):
                text = _text(await with_content(current, context, rounded=True)) if text is None else text
                text = step.run(text, message)
                continue
            current = current if text is None else self._parsed(text)
            text = None
            if isinstance(step, NamedStep):
                current = await _run(step, current, context)
            elif answers is not None:
                current = step.given(current, answers)
            else:
                current = await step.later(current, context.header, cause)
        if text is None and not self._checks:
            return _plain(await with_content(current, context, rounded=False))
        return self._checked(_text(await with_content(current, context, rounded=False)) if text is None else text)

    def fails_now(self, message: Json) -> str:
        """Why it fails, if it does, of a message whose confidential values are hidden: a reason that quotes none.
        Empty where it does not, or would have to ask somebody."""
        try:
            self.apply_now(message)
        except DeliveryError as error:
            return error.reason
        except Exception as error:  # noqa: BLE001 - a step is somebody's code
            return type(error).__name__
        return ""

    async def fails(self, message: Json, cause: Cause = _NO_CAUSE) -> str:
        """As ``fails_now``, of all its steps."""
        if any(isinstance(step, Lookup) for step in self._steps):
            return ""
        try:
            await self.apply(message, cause=cause)
        except DeliveryError as error:
            return error.reason
        except Exception as error:  # noqa: BLE001 - a step is somebody's code
            return type(error).__name__
        return ""

    async def close(self) -> None:
        """Whatever its steps hold open."""
        for step in self._steps:
            if isinstance(step, Lookup):
                await step.close()

    def _now(self, payload: Json, message: Json) -> Json | None:
        if not self._checks:
            return _plain(payload)
        text: str | None = None
        for step in self._steps:
            if isinstance(step, Expression):
                text = step.run(_text(payload) if text is None else text, message)
            elif isinstance(step, Lookup):
                found = step.now(payload if text is None else self._parsed(text), message["header"])
                if found is None:
                    return None
                payload, text = found, None
        return self._checked(_text(payload) if text is None else text)

    def _checked(self, text: str) -> Json:
        try:
            made: Json = _to_json(self._form.decoder.decode(text))
        except msgspec.DecodeError as error:
            raise Poison(self._misfit(text, str(error))) from error
        return made

    def _misfit(self, text: str, otherwise: str) -> str:
        invalid = self._form.invalid(msgspec.json.decode(text), otherwise)
        said = "; ".join(f"{fault.field}: {fault.error}{_hint(fault)}" for fault in invalid.faults)
        return f"the transform's result does not fit {self.type}: {said}"

    def expected(self, payload: Any) -> Any:
        """``payload`` as it would leave, its defaults filled in; unchanged where it does not fit the schema."""
        try:
            return _to_json(msgspec.convert(payload, self._form.type))
        except msgspec.ValidationError:
            return payload

    def _parsed(self, text: str) -> Json:
        value = msgspec.json.decode(text)
        if not isinstance(value, dict):
            raise Poison("the transform failed: an expression before a named step or a lookup must give an object")
        return value


def compiled(integration: Integration, flow: str, limits: Mapping[str, Limits] | None = None) -> list[Step]:
    """The flow's steps; raises InvalidTransform. ``limits``: of the systems that lookups ask."""
    limits = limits_of(integration) if limits is None else limits
    tables, known = ValueTables(integration.values), frozenset(integration.values)
    made: list[Step] = []
    faults: list[Fault] = []
    for index, step in enumerate(integration.flows[flow].transform):
        field = f"flows.{flow}.transform[{index}].{step.kind}"
        try:
            if step.lookup:
                made.append(
                    Lookup(step.lookup, integration.systems[step.lookup.system], flow, limits[step.lookup.system])
                )
            else:
                made.append(named_step(step.step) if step.step else Expression(step.jsonata or "", tables, known))
        except UserMistake as error:
            faults.append(Fault(field, str(error)))
    if faults:
        raise InvalidTransform(faults)
    return made


async def _run(step: NamedStep, payload: Json, context: StepContext) -> Json:
    try:
        made = await step.run(payload, context)
    except DeliveryError:
        raise
    except Exception as error:  # a step is somebody's code: whatever it raises is about this message
        raise Poison(f"the step {step.name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, dict):
        raise Poison(f"the step {step.name} gave {type(made).__name__}, not a payload")
    return made


def _plain(payload: Json) -> Json:
    made: Json = _to_json(payload)
    return made


def _text(payload: Json) -> str:
    try:
        return _encode(payload).decode()
    except (TypeError, ValueError) as error:
        raise Poison(f"a step gave what JSON cannot say: {error}") from error


def _said(spec: Flow, steps: list[Step], integration: Integration) -> str:
    values = {name: dict(sorted(integration.values[name].items())) for name in sorted(_tables(steps, integration))}
    said = [_step_text(*pair) for pair in zip(spec.transform, steps, strict=True)]
    return json.dumps({"steps": said, "values": values}, ensure_ascii=False, separators=(",", ":"))


def _step_text(spec: StepSpec, step: Step) -> dict[str, Any]:
    """What decides a step's result; of a lookup not how long it is remembered."""
    if spec.lookup:
        return {"lookup": spec.lookup.model_dump(exclude={"cache"})}
    if isinstance(step, NamedStep):
        return {"step": step.name, "version": step.version}
    return {"jsonata": spec.jsonata or ""}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tables(steps: list[Step], integration: Integration) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Expression):
            yield from integration.values if step.any_table else step.tables


def _hint(fault: Fault) -> str:
    if fault.error.startswith("expected a list"):
        return " (JSONata gives a single item without its list: write [ … ] around it)"
    return ""
