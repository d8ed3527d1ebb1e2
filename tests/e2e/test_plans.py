"""The main job, seen by the person who uploads plans."""

import asyncio
import json
from html import unescape
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from linkspan.kernel.codec import OutcomeCodec
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas
from tests.e2e.conftest import Bridge

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

#: Materials whose mass the analysis must give: the volume of truth.json times the take-off's density in kg/m3.
ANALYSED: dict[str, dict[str, float]] = {
    "pcert_building_architecture_ifc4.ifc": {"concrete_reinforced_in-situ": 2500, "stone_sand-lime": 1800},
    "geometrygym_frame_ifc2x3.ifc": {"STEEL/S275J0": 7850},
    "lantern_hollow_revit_ifc2x3.ifc": {},
    "revit_wall_window_foot_ifc2x3.ifc": {},
    "floorplan.dxf": {},
    "ezdxf_dimension_in_block.dxf": {},
}
REFUSED = {
    "lake_kegonsa_first_floor.pdf": "PDF",
    "one_room_utf16.gbxml": "gbXML",
    "wall_with_opening_and_window.ifcxml": "ifcXML",
}


async def test_every_real_plan_ends_with_figures_or_a_clear_refusal_on_its_page(
    bridge: Bridge, shared_plans: Path
) -> None:
    names = [item["name"] for item in json.loads((shared_plans / "MANIFEST.json").read_text())["files"]]
    assert set(names) == ANALYSED.keys() | REFUSED.keys()
    sent = {name: await bridge.upload(shared_plans / name) for name in names}
    ends = dict(zip(names, await asyncio.gather(*(bridge.end_of(sent[name][0], 200) for name in names)), strict=True))
    truth = json.loads((shared_plans / "truth.json").read_text())["files"]
    for name, densities in ANALYSED.items():
        assert ends[name]["state"] == "analysed", (name, ends[name]["reason"])
        page = await bridge.page(sent[name][0])
        figures = {figure["label"]: figure["value"] for figure in ends[name]["analysis"]["figures"]}
        assert figures
        assert all(label in unescape(page) for label in figures), name
        for material, density in densities.items():
            volume = truth[name]["volume_by_material_m3"]["A_raw_net"][material]
            assert figures[f"Mass, {material}"] == pytest.approx(volume * density, rel=1e-3)
    assert "inch" in (await bridge.page(sent["floorplan.dxf"][0])).lower()
    for name, kind in REFUSED.items():
        assert ends[name]["state"] == "refused", name
        assert kind in ends[name]["reason"]
        assert kind in await bridge.page(sent[name][0])


async def test_a_correlation_id_is_found_at_every_hop_from_the_upload_to_the_results_store(
    bridge: Bridge, tmp_path: Path
) -> None:
    from linkspan.reference.plans.floor_plan import write_floor_plan

    drawing = tmp_path / "floor.dxf"
    write_floor_plan(drawing)
    plan_id, correlation_id = await bridge.upload(drawing, "residential")
    plan = await bridge.end_of(plan_id)
    assert plan["analysis"]["correlationId"] == correlation_id
    assert plan["analysis"]["category"] == "residential"
    hops = await kafka_hops(bridge.bootstrap, correlation_id)
    assert hops == {
        "plans.plan-uploaded.events",
        "plans.plan-uploaded.outcomes",
        "plans.analysis-complete.events",
        "plans.analysis-complete.outcomes",
    }
    (at_b,) = await bridge.received_by_analysis()
    (at_a,) = await bridge.received_by_plan_manager()
    assert (at_b["correlationId"], at_a["correlationId"]) == (correlation_id, correlation_id)
    assert at_b["traceparent"][3:35] == at_a["traceparent"][3:35] == plan["traceparent"][3:35]


async def kafka_hops(bootstrap: str, correlation_id: str) -> set[str]:
    """Topics that hold a record with this correlation id; they are read a second longer than until all four do."""
    codec = OutcomeCodec(SchemaCatalog(packaged_schemas()))
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        names = [
            f"plans.{flow}.{kind}" for flow in ("plan-uploaded", "analysis-complete") for kind in ("events", "outcomes")
        ]
        consumer.assign([TopicPartition(name, partition) for name in names for partition in range(8)])
        found: set[str] = set()
        loop = asyncio.get_running_loop()
        until = loop.time() + 60
        while (now := loop.time()) < until:
            if found.issuperset(names):
                until = min(until, now + 1)
            for part, records in (await consumer.getmany(timeout_ms=200)).items():
                for record in records:
                    if ("correlation-id", correlation_id.encode()) in record.headers:
                        found.add(part.topic)
                        if part.topic.endswith("outcomes"):
                            assert codec.decode(record.value)["kind"] == "delivered"
        return found
    finally:
        await consumer.stop()
