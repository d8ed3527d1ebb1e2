"""Starts the whole reference integration in the right order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linkspan.cli.demo.key import issue_key
from linkspan.cli.demo.stack import HOST, Stack
from linkspan.kernel.crypto.keyring_file import ensure
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import ensure_topics


async def start_all(
    stack: Stack, integration: Path, say: Callable[[str], Any], *, insight: bool = False
) -> Integration:
    """Returns when every process is ready; raises UserMistake that names the one that is not."""
    data = stack.directory.absolute()
    ensure(stack.keyring)
    stack.start("broker", "--data-dir", str(data / "kafka"))
    stack.start("analysis", "--data-dir", str(data / "analysis"))
    spec = await asyncio.to_thread(load_integration, integration, stack.environment)
    await stack.ready("broker")
    services = ("ingress", "egress", "ledger") + ("insight",) * insight
    say(f"creating topics, starting {', '.join(services[:-1])} and {services[-1]}")
    await ensure_topics(f"{HOST}:{stack.ports.kafka}", spec)
    for service in services:
        stack.start(service, str(integration))
    await stack.ready("ingress")
    await asyncio.to_thread(issue_key, stack, "plan-manager", ["plan-uploaded"])
    stack.start("plan-manager", "--data-dir", str(data / "plan-manager"), "--ingress-url", stack.ports.url("ingress"))
    await asyncio.gather(*(stack.ready(service) for service in stack.running))
    return spec
