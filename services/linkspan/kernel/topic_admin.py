"""Creates the topics that are missing, and says where one that exists is not as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from linkspan.kernel.errors import KafkaAway, UserMistake
from linkspan.kernel.kafka.security import OPEN, Security
from linkspan.kernel.spec import Integration
from linkspan.kernel.topics import FlowTopics, TopicSpec, all_topics

#: Seconds that Kafka has for its first answer.
ANSWER = 10
#: Seconds until every partition of a new topic has a leader.
CREATION = 60

_INSTEAD = " (linkspan repartition copies a flow into topics with another number)"


class TooFewBrokers(UserMistake):
    """For the copies that are asked for; the others may still be starting."""


@dataclass(frozen=True, slots=True)
class TopicReport:
    """``differences``: a line each, ``<topic>: <what> is <found>, expected <wanted>``, or ``<topic>: is missing``;
    ``brokers``: how many there are."""

    created: tuple[str, ...]
    differences: tuple[str, ...]
    brokers: int


async def ensure_topics(
    bootstrap: str, integration: Integration, replication: int | None = None, *, security: Security = OPEN
) -> list[str]:
    """Creates what is missing and returns the differences of what was there; raises KafkaAway.

    ``replication``: by default 3, or as many as there are brokers. Partitions and policies of an existing topic are
    never changed.
    """
    report = await check_topics(bootstrap, integration, replication, security=security, create=True)
    return list(report.differences)


async def check_topics(
    bootstrap: str,
    integration: Integration,
    replication: int | None = None,
    *,
    security: Security = OPEN,
    create: bool,
    copying: str = "",
) -> TopicReport:
    """As ``ensure_topics``; without ``create`` a missing topic is a difference. ``copying``: the flow whose topics are
    made to copy another one's into them; those of others that wait to be copied are not made."""
    async with _client(bootstrap, security) as client:
        brokers = len((await client.describe_cluster())["brokers"])
        copies = replication or min(3, brokers)
        if copies > brokers:
            raise TooFewBrokers(f"replication {copies} is asked for, but Kafka at {bootstrap} has {brokers} brokers")
        wanted = [_with_copies(spec, copies) for spec in all_topics(integration)]
        existing = await _described(client)
        copied = {name for name in _to_be_copied(integration, existing) if name != copying}
        awaited = [spec for spec in wanted if _flow_of(integration, spec.name) in copied]
        wanted = [spec for spec in wanted if spec not in awaited]
        missing = [spec for spec in wanted if spec.name not in existing]
        created = await _create(client, missing, copies) if create and missing else []
        if len(created) < len(missing) and create:
            existing = await _described(client)  # somebody made one meanwhile, perhaps otherwise
        there = [spec for spec in wanted if spec.name in existing and spec.name not in created]
        configs = await _configs(client, there)
        found = [line for spec in there for line in _compare(spec, copies, existing[spec.name], configs[spec.name])]
        absent = [] if create else [f"{spec.name}: is missing" for spec in missing]
        absent += [f"{spec.name}: is missing, linkspan repartition makes and fills it" for spec in awaited]
        return TopicReport(tuple(created), (*absent, *found), brokers)


def _to_be_copied(integration: Integration, existing: Collection[str]) -> Iterator[str]:
    """Flows whose topics are not there, and those of the flow that they take the place of are."""
    for name, flow in integration.flows.items():
        events = FlowTopics.of(integration.integration, name).events
        source = FlowTopics.of(integration.integration, flow.copied_from or name).events
        if events not in existing and source in existing:
            yield name


def _flow_of(integration: Integration, topic: str) -> str:
    """Empty where the topic is not one of a flow's own."""
    parts = topic.split(".")
    return parts[1] if len(parts) == 3 and parts[0] == integration.integration else ""


@asynccontextmanager
async def _client(bootstrap: str, security: Security) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap, **security.options())
    try:
        async with asyncio.timeout(ANSWER):
            await client.start()
        yield client
    except (KafkaError, TimeoutError, OSError) as error:
        said = "" if isinstance(error, TimeoutError) else f" ({error})"
        raise KafkaAway(f"Kafka at {bootstrap} does not answer{said}; is it running?") from error
    finally:
        await client.close()


def _with_copies(spec: TopicSpec, copies: int) -> TopicSpec:
    """Acknowledged by two where there are three, so that one broker may be lost and one restarted."""
    return TopicSpec(spec.name, spec.partitions, {**spec.config, "min.insync.replicas": "2" if copies >= 3 else "1"})


async def _described(client: AIOKafkaAdminClient) -> dict[str, Any]:
    """All topics: to ask for one by name would create it on a broker that does that."""
    async with asyncio.timeout(ANSWER):
        topics = await client.describe_topics()
    return {topic["topic"]: topic for topic in topics if topic["error_code"] == 0}


async def _create(client: AIOKafkaAdminClient, specs: list[TopicSpec], copies: int) -> list[str]:
    """Names of those that it made; one that exists already is left as it is."""
    made = [NewTopic(spec.name, spec.partitions, copies, topic_configs=dict(spec.config)) for spec in specs]
    answer = await client.create_topics(made, timeout_ms=CREATION * 1000)
    refused = [
        f"{name}: {message}"
        for name, code, message in answer.topic_errors
        if code not in (0, TopicAlreadyExistsError.errno)
    ]
    if refused:
        raise KafkaAway("\n".join(f"Kafka refuses to create the topic {line}" for line in refused))
    await _until_led(client, {spec.name for spec in specs})
    return [name for name, code, _ in answer.topic_errors if code == 0]


async def _until_led(client: AIOKafkaAdminClient, names: set[str]) -> None:
    """A new topic can be written to once each partition has a leader."""
    try:
        async with asyncio.timeout(CREATION):
            while True:
                topics = await _described(client)
                led = {
                    name for name in names & topics.keys() if all(p["leader"] >= 0 for p in topics[name]["partitions"])
                }
                if led == names:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise KafkaAway(f"new topics have no leader after {CREATION} s; look at the brokers' logs") from error


async def _configs(client: AIOKafkaAdminClient, specs: list[TopicSpec]) -> dict[str, dict[str, str]]:
    if not specs:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name, dict.fromkeys(spec.config)) for spec in specs]
    async with asyncio.timeout(ANSWER):
        answers = await client.describe_configs(resources)
    found: dict[str, dict[str, str]] = {}
    for answer in answers:
        for resource in answer.to_object()["resources"]:
            if resource["error_code"]:
                raise KafkaAway(
                    f"Kafka does not say how {resource['resource_name']} is set: {resource['error_message']}"
                )
            entries = resource["config_entries"]
            found[resource["resource_name"]] = {entry["config_names"]: entry["config_value"] for entry in entries}
    return found


def _compare(spec: TopicSpec, copies: int, topic: Any, config: dict[str, str]) -> Iterable[str]:
    partitions = len(topic["partitions"])
    if partitions != spec.partitions:
        error = f"partitions is {partitions}, expected {spec.partitions}"
        yield f"{spec.name}: {error}; it is never changed: keys would move, and order be lost{_INSTEAD}"
    fewest = min(len(partition["replicas"]) for partition in topic["partitions"])
    if fewest < copies:
        yield f"{spec.name}: replication is {fewest}, expected {copies}"
    for name, wanted in spec.config.items():
        if _parts(config.get(name, "")) != _parts(wanted):
            yield f"{spec.name}: {name} is {config.get(name) or 'not set'}, expected {wanted}"


def _parts(value: str) -> set[str]:
    return {part.strip() for part in value.split(",")}
