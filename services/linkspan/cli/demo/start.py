"""Starts the whole reference integration in the right order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from linkspan.cli.demo.stack import HOST, Stack
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import load_integration
from linkspan.kernel.topic_admin import ensure_topics


async def start_all(stack: Stack, integration: Path, say: Callable[[str], Any]) -> Integration:
    """Returns when every process is ready; raises UserMistake that names the one that is not."""
    data = stack.directory.absolute()
    stack.start("broker", "--data-dir", str(data / "kafka"))
    stack.start("plan-manager", "--data-dir", str(data / "plan-manager"), "--ingress-url", stack.ports.url("ingress"))
    stack.start("analysis", "--data-dir", str(data / "analysis"))
    spec = await asyncio.to_thread(load_integration, integration, stack.environment)
    await stack.ready("broker")
    say("creating topics, starting ingress, egress and ledger")
    await ensure_topics(f"{HOST}:{stack.ports.kafka}", spec)
    for service in ("ingress", "egress", "ledger"):
        stack.start(service, str(integration))
    await asyncio.gather(*(stack.ready(service) for service in stack.running))
    return spec
