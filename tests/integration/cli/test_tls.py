"""A profile with certificates, against a real egress that asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tests.authority import Authority
from tests.integration.cli.operator import Operator
from tests.integration.egress.conftest import MakeBridge, rest_system
from tests.integration.egress.destinations import RestDestination

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]


async def test_a_certificate_in_a_profile_says_who_asks(
    bridge: MakeBridge, rest: RestDestination, tmp_path: Path
) -> None:
    authority, roles = Authority(tmp_path), tmp_path / "roles.yaml"
    cert, key = authority.issue("egress")
    ann = authority.issue("ann")
    roles.write_text(yaml.safe_dump({"ann": "operator"}))
    serving = {
        "LINKSPAN_CONTROL_CERT": str(cert),
        "LINKSPAN_CONTROL_KEY": str(key),
        "LINKSPAN_CONTROL_CLIENT_CA": str(authority.ca),
        "LINKSPAN_CLIENT_ROLES": str(roles),
    }
    made = await bridge(rest_system(rest))
    async with made.egress(**serving) as process:
        linkspan = Operator(made, process.control)
        known = ("--ca", str(authority.ca), "--cert", str(ann[0]), "--key", str(ann[1]))
        assert (await linkspan("profile", "add", "ann", "--control", process.control, *known)).code == 0
        paused = await linkspan("pause", "orders", "--reason", "to see", "--profile", "ann", "-o", "json")
        assert (paused.json["by"], paused.json["role"]) == ("ann", "operator")
        refused = await linkspan("log-level", "debug", "--reason", "to see", "--profile", "ann")
        assert (refused.code, refused.err.count("\n")) == (4, 1)
        in_the_clear = await linkspan("status")
        assert (in_the_clear.code, in_the_clear.err.count("\n")) == (3, 1)
        assert process.control in in_the_clear.err
