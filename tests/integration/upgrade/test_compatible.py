"""``linkspan compatible`` says before an upgrade what would go wrong after it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer
from tests.integration.cli.operator import Operator
from tests.integration.egress.bridge import FLOW, Bridge, order_id
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

from linkspan.kernel.kafka.published import schema_text
from linkspan.kernel.schemas import schema_fingerprint
from linkspan.kernel.topics import schemas_topic

pytestmark = pytest.mark.kafka


async def compatible(made: Bridge) -> tuple[int, dict[str, Any]]:
    done = await Operator(made, "")("compatible", str(made.path), "--output", "json")
    assert not done.err, done
    return done.code, json.loads(done.out)


def stops(said: dict[str, Any]) -> list[str]:
    return [f"{one['where']}: {one['what']}" for one in said["findings"] if one["stops"]]


def changed(made: Bridge, **flow: Any) -> None:
    """The file of the next version."""
    spec = yaml.safe_load(made.path.read_text())
    spec["flows"][FLOW] |= flow
    made.path.write_text(yaml.safe_dump(spec))


async def publish(made: Bridge, schema: dict[str, Any], key: bytes | None = None) -> None:
    key = key or schema_fingerprint(schema).hex().encode()
    topic = schemas_topic(made.integration.integration)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        await producer.send_and_wait(topic, schema_text(schema), key, 0)


async def test_what_this_version_wrote_fits(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest))
    await made.append(*((order_id(number % 5), number) for number in range(40)))
    async with made.egress():
        await made.wait_outcomes(40)
    code, said = await compatible(made)
    assert (code, said["compatible"], stops(said)) == (0, True, [])
    text = await Operator(made, "")("compatible", str(made.path))
    assert text.out.endswith("fits what stands in Kafka\n")


async def test_another_key_or_partition_count_stops_it(bridge: MakeBridge, rest: RestDestination) -> None:
    made = await bridge(rest_system(rest), partitions=2)
    await made.append(*((order_id(number), number) for number in range(4)))
    changed(made, key="payload.text")
    code, said = await compatible(made)
    assert code == 1
    (line,) = stops(said)
    assert line.startswith(f"flows.{FLOW}.key: the event at partition")
    assert "has another key than by this file" in line
    changed(made, key="payload.orderId", partitions=3)
    code, said = await compatible(made)
    assert code == 1
    assert any("events: has 2 partitions, and the file says 3: keys would move" in line for line in stops(said))


async def test_records_that_this_version_cannot_read_stop_it(bridge: MakeBridge) -> None:
    made = await bridge({"kind": "rest", "url": "http://127.0.0.1:9"}, partitions=1)
    value, headers = made.event(order_id(1), 1)
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        unknown = value[:2] + b"\x07" * 8 + value[10:]
        await producer.send_and_wait(made.topics.events, unknown, order_id(1).encode(), 0, headers=headers)
    code, said = await compatible(made)
    assert code == 1
    what = "was written with a schema (0707070707070707) that this version does not have and nobody published"
    assert stops(said) == [f"{made.topics.events} partition 0 offset 0: {what}"]


async def test_a_published_schema_is_a_note_where_it_is_read_and_stops_it_where_not(bridge: MakeBridge) -> None:
    made = await bridge({"kind": "rest", "url": "http://127.0.0.1:9"}, partitions=1)
    outcome = made.catalog.latest("linkspan", "Outcome").definition
    more = outcome | {"fields": [*outcome["fields"], {"name": "weight", "type": "double", "default": 0}]}
    await publish(made, more)
    await publish(made, {"type": "record", "name": "linkspan.Liar", "fields": []}, key=b"00" * 8)
    code, said = await compatible(made)
    assert (code, stops(said)) == (0, [])
    assert [one["where"] for one in said["findings"]] == ["linkspan.Outcome"]
    less = outcome | {"fields": [one for one in outcome["fields"] if one["name"] != "offset"]}
    await publish(made, less)
    code, said = await compatible(made)
    assert code == 1
    (line,) = stops(said)
    assert line.startswith("linkspan.Outcome: this version cannot read what another one writes")


async def test_a_flow_that_is_gone_from_the_file_stops_it_until_all_is_finished(
    bridge: MakeBridge, rest: RestDestination
) -> None:
    made = await bridge(rest_system(rest), partitions=1)
    await made.append((order_id(1), 0), (order_id(1), 1))
    spec = yaml.safe_load(made.path.read_text())
    kept = made.path.read_text()
    spec["flows"]["parcels"] = spec["flows"].pop(FLOW)
    made.path.write_text(yaml.safe_dump(spec))
    code, said = await compatible(made)
    assert code == 1
    assert any(line.startswith(f"flows.{FLOW}: the file has this flow no more, and 2 of") for line in stops(said))
    made.path.write_text(kept)
    async with made.egress():
        await made.wait_outcomes(2)
    made.path.write_text(yaml.safe_dump(spec))
    code, said = await compatible(made)
    assert (code, stops(said)) == (0, [])


async def test_nothing_in_kafka_yet_is_no_obstacle_and_kafka_away_is_exit_code_3(bridge: MakeBridge) -> None:
    made = await bridge({"kind": "rest", "url": "http://127.0.0.1:9"}, partitions=1)
    spec = yaml.safe_load(made.path.read_text())
    made.path.write_text(yaml.safe_dump(spec | {"integration": "fresh"}))
    folder = made.path.parent / "schemas"
    old = folder / made.integration.integration
    schema = json.loads((old / "Order.1.avsc").read_text())
    (folder / "fresh").mkdir()
    (folder / "fresh" / "Order.1.avsc").write_text(json.dumps(schema | {"namespace": "fresh.payload"}))
    code, said = await compatible(made)
    assert (code, stops(said)) == (0, [])
    away = await Operator(made, "", more={"MESSAGE_QUEUE_URL": "kafka://127.0.0.1:9"})("compatible", str(made.path))
    assert (away.code, away.out) == (3, "")
    assert away.err.startswith("linkspan: Kafka does not answer")
