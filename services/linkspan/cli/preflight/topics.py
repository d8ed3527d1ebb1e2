"""Are the topics there, with their policies, on brokers enough?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.topic_admin import check_topics

#: So many copies, that one broker may be lost while another restarts.
COPIES = 3


async def topics(target: Target) -> AsyncIterator[Finding]:
    if target.integration is None:
        return
    settings = target.settings
    report = await check_topics(settings.kafka, target.integration, security=settings.kafka_security, create=False)
    for line in report.differences:
        name, _, fault = line.partition(": ")
        yield Finding(name, fault, "linkspan topics creates what is missing; the rest is kafka-configs.sh's")
    if report.brokers < COPIES:
        yield Finding(target.settings.kafka, f"has {report.brokers} brokers", f"{COPIES} keep events through a loss")
    if not report.differences:
        yield Finding(target.settings.kafka, said="all topics are as they should be")
