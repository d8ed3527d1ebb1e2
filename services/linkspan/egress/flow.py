"""Everything that one flow needs, put together and run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from linkspan.control.commands import Commands
from linkspan.control.gate import Gate
from linkspan.control.tail import ControlTail
from linkspan.control.verdict import Verdict
from linkspan.egress.account.watch import AccountWatch
from linkspan.egress.deliver.adapter import Adapter
from linkspan.egress.deliver.batch_spans import BatchSpans
from linkspan.egress.deliver.rest import RestAdapter
from linkspan.egress.deliver.rest_batch import BatchAdapter
from linkspan.egress.deliver.websocket import WebSocketAdapter
from linkspan.egress.instruments import Instruments
from linkspan.egress.own.context import FlowContext
from linkspan.egress.own.member import FlowMember
from linkspan.egress.own.watchdog import Watchdog
from linkspan.egress.partition.window import WindowLimits
from linkspan.egress.pipeline import Pipeline
from linkspan.egress.prepare import Preparation
from linkspan.egress.record.outcome import OutcomeWriter
from linkspan.egress.refuse.notifier import RefusalContext, RefusalNotifier
from linkspan.egress.replays import FlowReplays
from linkspan.egress.resend import Resend
from linkspan.egress.run import Target
from linkspan.egress.spans import FlowSpans, delivery_span
from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.codec import Decoder, OutcomeCodec
from linkspan.kernel.commands import RESET_BREAKER, Command, CommandCodec
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.json_form import JsonForm
from linkspan.kernel.kafka.clients import KafkaClients
from linkspan.kernel.records.plan import PlanCodec
from linkspan.kernel.records.state import StateCodec
from linkspan.kernel.resilience.breaker import Breaker
from linkspan.kernel.resilience.limits import Limits, limits_of
from linkspan.kernel.resilience.retry import RetryPolicy
from linkspan.kernel.schemas import SchemaCatalog
from linkspan.kernel.spec import Integration, System
from linkspan.kernel.telemetry.traces import Tracing
from linkspan.kernel.topics import FlowTopics, egress_group
from linkspan.transform.transform import Transform

log = structlog.get_logger()

#: The longest that an attempt may last, seconds, whatever the session.
_LONGEST_ATTEMPT = 10.0


class FlowService:
    """One flow of an integration: its member, its destination, and its refusals where it has them. ``limits``: of each
    system, shared by the flows of a process.

    Raises UserMistake where transform or schemas cannot be used.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the flows of a process share
        self,
        integration: Integration,
        name: str,
        catalog: SchemaCatalog,
        clients: KafkaClients,
        blobs: BlobStore,
        tracing: Tracing,
        batch: int,
        tail: ControlTail,
        limits: Mapping[str, Limits] | None = None,
    ) -> None:
        self.name, self.destination = name, integration.flows[name].to
        self._integration, self._catalog, self._clients, self._tracing = integration, catalog, clients, tracing
        self._flow = flow = integration.flows[name]
        self._topics = FlowTopics.of(integration.integration, name)
        self._codec = OutcomeCodec(catalog)
        destination = integration.systems[flow.to]
        bounded = _bounded(flow.to, destination, clients.timing.attempt)
        self.adapter = self._adapter(flow.to, bounded)
        self._limits = limits = limits_of(integration) if limits is None else limits
        self._transform = transform = Transform(integration, name, catalog, blobs, limits)
        instruments = Instruments(name, flow.to, FlowSpans(integration, name, tracing))
        retry = _policy(destination)
        self.pipeline = Pipeline(
            Preparation(integration, name, catalog, transform, tracing, blobs.vault, tail.schemas),
            self.adapter,
            Breaker(retry, destination.concurrency * self.adapter.together),
            limits[flow.to],
            instruments,
            Gate(tail, name, flow.to),
        )
        self._control, self._blobs = tail, blobs
        tail.listen(self._commanded)
        writer = OutcomeWriter(self._codec, flow.to, transform.hash)
        self.replays = self._replays(instruments)
        self.member = FlowMember(self._context(writer, instruments, retry, batch))
        self._refusal_adapter = self._refusals()
        self._tasks: list[asyncio.Task[None]] = []

    def _commanded(self, _offset: int, command: Command, _verdict: Verdict) -> None:
        """Of commands from before the start nothing is left to do: every breaker is closed then."""
        if command.kind != RESET_BREAKER or not self._control.caught_up.is_set():
            return
        self._transform.ask_now(command.destination)
        if self.name == command.flow or self.destination == command.destination:
            self.pipeline.ask_now()

    def _context(self, writer: OutcomeWriter, instruments: Instruments, retry: RetryPolicy, batch: int) -> FlowContext:
        group = egress_group(self._integration.integration, self.name)
        limits = WindowLimits()
        return FlowContext(
            self.name,
            f"{self._integration.integration}.{self.name}",
            group,
            self._topics,
            self._clients,
            self.pipeline,
            writer,
            StateCodec(self._catalog),
            instruments,
            retry,
            limits,
            batch,
            self._flow.on_dead_letter == "hold",
            self._control,
            self._flow.duplicates,
            self.replays,
        )

    def _replays(self, instruments: Instruments) -> FlowReplays:
        self._gates: dict[str, Gate] = {}
        self._then: dict[str, Transform] = {}
        self.pipeline.resend = resend = Resend(instruments, self.pipeline.wake)
        commands = Commands(self._clients, self._control, CommandCodec(self._catalog))
        return FlowReplays(
            self.name, self._control, commands, PlanCodec(self._catalog), resend, self._target, self._made
        )

    def _target(self, to: str) -> Target:
        """Of a replay: ``to`` is empty, or another system of the integration. Raises UserMistake."""
        systems, flow = self._integration.systems, self._flow
        own = to in ("", flow.to)
        system = systems.get(to or flow.to)
        if system is None:
            raise UserMistake(f"there is no system {to}; there are {', '.join(systems)}")
        rate = None if system.throttle.rate is None else system.throttle.rate / 2
        limits = self._limits[to or flow.to]
        if own:
            most = max(1, system.concurrency * self.adapter.together // 4)
            return Target(flow.to, self.adapter, self.pipeline.breaker, limits, self.pipeline.gate, True, rate, most)
        adapter = self._adapter(to, _bounded(to, system, self._clients.timing.attempt))
        breaker = Breaker(_policy(system), system.concurrency * adapter.together)
        most = max(1, system.concurrency * adapter.together // 4)
        return Target(to, adapter, breaker, limits, self._gate(to), False, rate, most)

    def _adapter(self, to: str, system: System) -> Adapter:
        """A batch is collected no longer than a lease is surely left over."""
        deliver = self._flow.deliver
        if system.kind == "websocket":
            return WebSocketAdapter(system, deliver)
        if deliver.batch is None:
            return RestAdapter(system, deliver)
        spans = BatchSpans(to, system, deliver, self._tracing)
        return BatchAdapter(system, deliver, self._clients.timing.checkpoint, spans)

    def _gate(self, to: str) -> Gate:
        if to not in self._gates:
            self._gates[to] = Gate(self._control, self.name, to)
            self._gates[to].listen(self.pipeline.wake)
            self._limits[to].listen(self.pipeline.wake)
        return self._gates[to]

    def _made(self, text: str, to: str, plan: str) -> tuple[Preparation, OutcomeWriter]:
        """``text``: of the transform, empty: today's. Raises UserMistake."""
        transform = self._transform
        if text and text != transform.text:
            transform = self._then.get(text) or Transform.as_of(
                text, self._integration, self.name, self._catalog, self._blobs, self._limits
            )
            self._then[text] = transform
        preparation = Preparation(
            self._integration,
            self.name,
            self._catalog,
            transform,
            self._tracing,
            self._blobs.vault,
            self._control.schemas,
        )
        return preparation, OutcomeWriter(self._codec, to or self.destination, transform.hash, plan)

    def _refusals(self) -> RestAdapter | None:
        """Notices go to the sender's rest endpoint; a sender of another kind has none."""
        sender = self._integration.systems[self._flow.from_]
        return RestAdapter(sender, self._flow.refusal) if self._flow.refusal and sender.kind == "rest" else None

    def _notifier(self, adapter: Adapter) -> RefusalNotifier:
        integration, flow = self._integration, self._flow
        newest = self._catalog.events(integration.integration, flow.type)[-1]
        return RefusalNotifier(
            RefusalContext(
                self.name,
                f"linkspan-{integration.integration}-{self.name}-refusals",
                self._topics,
                flow.key,
                flow.from_,
                self._clients,
                adapter,
                Decoder.of_events(self._catalog, integration.integration, [flow.type]),
                JsonForm(newest.definition, ""),
                self._codec,
                _policy(integration.systems[flow.from_]),
                self._limits[flow.from_],
                self._tracing,
                Gate(self._control, "", flow.from_),
                delivery_span(flow.from_, integration.systems[flow.from_], flow.refusal or flow.deliver),
                self._control.schemas,
            )
        )

    async def start(self) -> None:
        await self.adapter.open()
        self._tasks.append(asyncio.create_task(self.member.run()))
        watch = AccountWatch(self._clients, self._integration.integration, self.name, lambda: self.member.partitions)
        self._tasks.append(asyncio.create_task(watch.run()))
        watchdog = Watchdog(self.name, self.member, self.pipeline, self._clients.timing.stall)
        self._tasks.append(asyncio.create_task(watchdog.run()))
        self._tasks.append(asyncio.create_task(self.replays.run(self._transform.hash, self._transform.text)))
        if self._refusal_adapter is not None:
            await self._refusal_adapter.open()
            self._tasks.append(asyncio.create_task(self._notifier(self._refusal_adapter).run()))

    async def stop(self) -> None:
        """Dispatches nothing more; what is under way may end, is recorded and committed; then the group is left."""
        await self.member.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        await self.replays.close()
        await self.pipeline.close()
        for transform in (self._transform, *self._then.values()):
            await transform.close()
        if self._refusal_adapter is not None:
            await self._refusal_adapter.close()

    async def died(self) -> None:
        """Returns, or raises, only if one of the tasks ends, which none should."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _policy(system: System) -> RetryPolicy:
    return RetryPolicy(system.retry.attempts, system.retry.first, system.retry.cap)


def _bounded(name: str, system: System, longest: float) -> System:
    """An attempt ends before another owner may begin, and within 10 s."""
    limit = min(system.timeout, longest, _LONGEST_ATTEMPT)
    if limit < system.timeout:
        log.warning("the system's timeout is shortened for deliveries", system=name, timeout=system.timeout, to=limit)
    return system.model_copy(update={"timeout": limit})
