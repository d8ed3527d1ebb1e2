"""Requests and their answers on the command line, with all four services running."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
import yaml
from tests.integration.cli.operator import Operator, service
from tests.integration.egress.conftest import rest, rest_system
from tests.integration.egress.destinations import RestDestination
from tests.integration.insight.logbook import ANSWERS, ASKS, Logbook, correlation, write_integration
from tests.kafka_fixture import Kafka

__all__ = ["rest"]
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
URGENT = "urgent"


def integration(folder: Path, destination: RestDestination) -> Path:
    """That of insight's tests with systems that answer, and a second flow of requests, which has no patience."""
    path = write_integration(folder, partitions=2, within="15m")
    spec = yaml.safe_load(path.read_text())
    spec["systems"] = {name: rest_system(destination) for name in spec["systems"]}
    spec["flows"][URGENT] = spec["flows"][ASKS] | {"type": "Urgent", "answer": {"type": "OrderDone", "within": "3s"}}
    path.write_text(yaml.safe_dump(spec))
    orders = folder / "schemas" / spec["integration"] / "Order.1.avsc"
    orders.with_name("Urgent.1.avsc").write_text(json.dumps(json.loads(orders.read_text()) | {"name": "Urgent"}))
    return path


async def send(ingress: str, source: str, type_name: str, about: str) -> str:
    """Its message id."""
    message = {
        "header": {"source": source, "type": type_name},
        "payload": {"orderId": about},
        "metadata": {"correlationId": about},
    }
    async with aiohttp.ClientSession() as session, session.post(f"{ingress}/v1/messages", json=message) as answer:
        said = await answer.json()
        assert answer.status == 202, said
    return str(said["messageId"])


@pytest.mark.thorough
async def test_conversations_are_listed_waiting_answered_overdue_and_late_with_their_messages(
    tmp_path: Path, kafka: Kafka, rest: RestDestination
) -> None:
    log = Logbook(integration(tmp_path, rest), kafka.bootstrap)
    await log.create_topics()
    linkspan = Operator(log, "")
    async with (
        service(linkspan, "ingress") as (ingress, _),
        service(linkspan, "egress") as (_, linkspan.control),
        service(linkspan, "ledger", "run"),
        service(linkspan, "insight"),
    ):
        none = await linkspan("conversations")
        assert (none.code, none.out.splitlines()[0][:21]) == (0, "no conversations fit;")

        waiting, answered, missed, late = (correlation() for _ in range(4))
        ids = {about: await send(ingress, "shop", "Order", about) for about in (waiting, answered)}
        ids |= {about: await send(ingress, "shop", "Urgent", about) for about in (missed, late)}
        answer = await send(ingress, "store", "OrderDone", answered)
        await linkspan.told("conversations", "--correlation-id", late, until="overdue")
        too_late = await send(ingress, "store", "OrderDone", late)
        await linkspan.told("conversations", "--correlation-id", late, until="late")
        await linkspan.told("conversations", "--correlation-id", missed, until="overdue")
        await linkspan.told("conversations", "--correlation-id", answered, until="answered")

        found = (await linkspan("conversations", "-o", "json")).json["conversations"]
        said = {one["correlation_id"]: one for one in found}
        assert {about: one["state"].removeprefix("CONVERSATION_STATE_") for about, one in said.items()} == {
            waiting: "WAITING",
            answered: "ANSWERED",
            missed: "OVERDUE",
            late: "LATE",
        }
        assert {about: one["request_message_id"] for about, one in said.items()} == ids
        assert {about: one["request_flow"] for about, one in said.items()} == {
            **dict.fromkeys((waiting, answered), ASKS),
            **dict.fromkeys((missed, late), URGENT),
        }
        answers = {about: (one["answer_flow"], one["answer_message_id"]) for about, one in said.items()}
        assert answers == {
            **dict.fromkeys((waiting, missed), ("", "")),
            answered: (ANSWERS, answer),
            late: (ANSWERS, too_late),
        }
        assert {about for about, one in said.items() if "took" in one} == {answered, late}

        for state, about in (("waiting", waiting), ("answered", answered), ("overdue", missed), ("late", late)):
            heading, row, behind = (await linkspan("conversations", "--state", state)).out.splitlines()
            assert heading.split()[:3] == ["requested", "state", "took"]
            assert row.split()[2] == state
            assert all(one in row for one in (about, ids[about], said[about]["request_flow"]))
            assert behind.startswith("ledger: ")
        assert len((await linkspan("conversations", "--flow", URGENT)).out.splitlines()) == 4
        page = (await linkspan("conversations", "--limit", "3", "-o", "json")).json
        rest_of = (await linkspan("conversations", "--page-token", page["next_page_token"], "-o", "json")).json
        assert [*page["conversations"], *rest_of["conversations"]] == found
        wrong = await linkspan("conversations", "--flow", "nothing")
        assert (wrong.code, wrong.out) == (2, "")

        await linkspan.told("status", "-o", "json", until='"last_minute"')
