"""The deployment checklist, against processes that run: it finds each fault that is planted, and no other."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from tests.integration.tls.secured import INTEGRATION, Secured
from tests.kafka_fixture import require_embedded

from linkspan import __version__
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topics import all_topics

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
#: Where nothing listens.
NOWHERE = "127.0.0.1:9"
EVENTS = "plans.plan-uploaded.events"
SERVICES = ("plan-manager", "analysis", "ingress", "egress")


class Site:
    """What is checked, and how."""

    def __init__(self, folder: Path) -> None:
        self.secured = Secured(folder)
        self.plan, self.report = folder / "rollback.md", folder / "audit.json"

    def start(self) -> None:
        made = self.secured
        cert, key = made.authority.issue("long", days=200)
        key.replace(made.key)
        cert.replace(made.cert)
        made.start_kafka()
        for name in SERVICES:
            made.start(name, LINKSPAN_INTAKE="identified")
        made.ready(*SERVICES)
        self.plan.write_text(f"scripts/rollback.sh linkspan, back to {__version__}\n")
        self.report.write_text(json.dumps({"dependencies": [{"name": "aiohttp", "version": "3.1", "vulns": []}]}))

    def preflight(self, *options: str, **environ: str) -> dict[str, list[str]]:
        """Faults by check."""
        made = self.secured
        said = made.linkspan(
            *("preflight", str(INTEGRATION), "--url", made.url("ingress"), "-o", "json"),
            *("--rollback-plan", str(self.plan), "--scan-report", str(self.report), *options),
            **{
                "INTEGRATION_MODE": "production",
                "LINKSPAN_BLOBS": str(made.folder / "blobs"),
                "LINKSPAN_CONTROL": f"127.0.0.1:{made.control['ingress']}",
                "LINKSPAN_DATABASE_URL": f"postgresql://linkspan@{NOWHERE}/linkspan",
                "LINKSPAN_INTAKE_RATE": "100",
                "LINKSPAN_TOKEN": (made.folder / "data" / "control" / "token").read_text().strip(),
            }
            | environ,
        )
        assert said.stderr == ""
        found: dict[str, Any] = json.loads(said.stdout)
        assert said.returncode == (0 if found["passed"] else 1)
        return {
            name: faults
            for name, ones in found["checks"].items()
            if (faults := [f"{one['about']}: {one['fault']}" for one in ones if one["fault"]])
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    require_embedded()
    made = Site(tmp_path_factory.mktemp("preflight"))
    try:
        made.start()
        yield made
    finally:
        made.secured.end()


def test_what_is_right_passes(site: Site) -> None:
    assert site.preflight("--only", "environment", "--only", "rollback") == {}


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        ({"INTEGRATION_MODE": ""}, "INTEGRATION_MODE: is development"),
        ({"LINKSPAN_INTAK_RATE": "5"}, "LINKSPAN_INTAK_RATE: is no variable of Linkspan"),
        ({"SYSTEM_B_ENDPOINT": ""}, "SYSTEM_B_ENDPOINT"),
        ({"LINKSPAN_DATABASE_URL": ""}, "LINKSPAN_DATABASE_URL: is not set"),
        ({"LINKSPAN_DATABASE_URL": "sqlite:///ledger.db"}, "LINKSPAN_DATABASE_URL: is SQLite"),
        ({"LINKSPAN_BLOBS": ""}, "LINKSPAN_BLOBS: is not set"),
    ],
)
def test_an_environment_that_is_not_for_production_fails(site: Site, environ: dict[str, str], fault: str) -> None:
    (found,) = site.preflight("--only", "environment", **environ)["environment"]
    assert fault in found


def test_a_development_setting_that_allows_plain_text_fails(site: Site) -> None:
    at = {"LINKSPAN_CONTROL": NOWHERE, "LINKSPAN_PLAIN_TEXT": "development"}
    found = site.preflight("--only", "environment", **at)["environment"]
    assert found == ["LINKSPAN_PLAIN_TEXT: is set: connections may be in the clear"]


def test_certificates_that_end_soon_are_not_believed_or_not_there_fail(site: Site) -> None:
    made = site.secured
    kafka, ingress = made.listeners["SASL_SSL"], made.ports["ingress"]
    soon = site.preflight("--only", "certificates")["certificates"]
    assert f"Kafka 127.0.0.1:{kafka}: its certificate ends in 10 days" in soon
    assert len(soon) == 2
    assert f"PostgreSQL {NOWHERE}: no answer" in soon[1]
    unknown = site.preflight("--only", "certificates", LINKSPAN_CA="")["certificates"]
    assert any(one.startswith(f"ingress 127.0.0.1:{ingress}: its certificate is not believed") for one in unknown)
    plain = site.preflight("--only", "certificates", SYSTEM_A_ENDPOINT=f"http://{NOWHERE}", INTEGRATION_MODE="")
    assert f"system plan-manager {NOWHERE}: is plain text" in plain["certificates"]


def test_a_topic_with_another_policy_and_too_few_brokers_fail(site: Site) -> None:
    (events,) = [one for one in all_topics(load_integration(INTEGRATION, site.secured.environ)) if one.name == EVENTS]
    right = dict(events.config) | {"min.insync.replicas": "1"}
    asyncio.run(_configure(site.secured, right | {"retention.ms": "60000"}))
    try:
        found = site.preflight("--only", "topics")["topics"]
    finally:
        asyncio.run(_configure(site.secured, right))
    assert [one for one in found if one.startswith(f"{EVENTS}: retention.ms is 60000, expected")]
    assert [one for one in found if one.endswith("has 1 brokers")]
    assert len(found) == 2


async def _configure(made: Secured, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=made.kafka.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EVENTS, config)])
    finally:
        await admin.close()


def test_one_replica_behind_an_address_fails(site: Site) -> None:
    found = site.preflight("--only", "balancer")["balancer"]
    assert found == ["ingress: 1 replicas run", "egress: 1 replicas run"]


def test_an_address_where_nothing_answers_fails(site: Site) -> None:
    found = site.preflight("--only", "balancer", "--url", f"https://{NOWHERE}")["balancer"]
    assert [one for one in found if one.startswith(f"https://{NOWHERE}: 24 of 24 connections failed")]


def test_no_limit_for_senders_or_systems_fails(site: Site) -> None:
    found = site.preflight("--only", "rate-limits", LINKSPAN_INTAKE_RATE="")["rate-limits"]
    assert [one.partition(":")[0] for one in found] == ["LINKSPAN_INTAKE_RATE", "system analysis"]


def test_no_place_to_wait_and_a_blob_store_that_cannot_be_used_fail(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    found = site.preflight("--only", "backup", LINKSPAN_BLOBS=str(tmp_path / "file"))["backup"]
    about = [one.partition(":")[0] for one in found]
    assert about == ["flow plan-uploaded", "flow analysis-complete", "LINKSPAN_BLOBS"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("scripts/rollback.sh linkspan, back to 0.0.0", f"does not say how to go back to {__version__}"),
        (f"we run {__version__}", "names no way back"),
    ],
)
def test_a_rollback_plan_that_is_out_of_date_or_says_nothing_fails(
    site: Site, tmp_path: Path, text: str, fault: str
) -> None:
    (tmp_path / "plan").write_text(text)
    (found,) = site.preflight("--only", "rollback", "--rollback-plan", str(tmp_path / "plan"))["rollback"]
    assert fault in found


def test_nobody_to_be_woken_fails(site: Site) -> None:
    assert site.preflight("--only", "alerts")["alerts"] == ["--prometheus: no address is given"]
    (found,) = site.preflight("--only", "alerts", "--prometheus", f"http://{NOWHERE}")["alerts"]
    assert NOWHERE in found


def test_the_scan_passes_where_who_shows_nothing_gets_nothing_but_metrics(site: Site) -> None:
    found = site.preflight("--only", "scan")["scan"]
    assert found == [f"{site.secured.url('ingress')}/metrics: is open to senders"]


def test_a_report_of_known_faults_that_is_old_or_names_one_fails(site: Site) -> None:
    os.utime(site.report, (time.time() - 40 * 86_400,) * 2)
    assert f"{site.report}: is 40 days old" in site.preflight("--only", "scan")["scan"]
    site.report.write_text(
        json.dumps({"dependencies": [{"name": "aiohttp", "version": "3.1", "vulns": [{"id": "x"}]}]})
    )
    assert f"{site.report}: names 1 packages: aiohttp 3.1" in site.preflight("--only", "scan")["scan"]


def test_a_check_that_is_not_there_is_a_mistake(site: Site) -> None:
    ended = site.secured.linkspan("preflight", str(INTEGRATION), "--only", "weather")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "environment" in ended.stderr


def test_a_person_sees_what_fails_and_what_to_do(site: Site) -> None:
    ended = site.secured.linkspan("preflight", str(INTEGRATION), "--only", "rollback", "--only", "rate-limits")
    assert ended.returncode == 1
    assert "FAILS   rollback" in ended.stdout
    assert "--rollback-plan: no plan is named. write down how to go back, and to which version" in ended.stdout
    assert ended.stdout.endswith("2 of 2 checks fail\n")
