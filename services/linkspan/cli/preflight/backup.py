"""Where do messages wait when Kafka is away, and is large content kept where all replicas see it?"""

from __future__ import annotations

from collections.abc import AsyncIterator

from linkspan.cli.preflight.finding import Finding
from linkspan.cli.preflight.target import Target
from linkspan.kernel.blobs import BlobStore

_PROBE = b"linkspan preflight"


async def backup(target: Target) -> AsyncIterator[Finding]:
    for name, flow in target.integration.flows.items() if target.integration else ():
        if flow.when_kafka_is_away != "spool":
            fault = "its senders get 503 while Kafka is away"
            yield Finding(f"flow {name}", fault, "when_kafka_is_away: spool, with a volume for ingress")
    try:
        store = BlobStore(target.settings.blobs)
        reference = await store.put(_PROBE)
        read = await store.get(reference)
    except Exception as error:  # noqa: BLE001 - whatever it is, the store cannot be used
        yield Finding("LINKSPAN_BLOBS", f"cannot be used: {error}", "large content would be refused")
        return
    if read != _PROBE:
        yield Finding("LINKSPAN_BLOBS", "gives back other content than was put", "look at what is behind it")
    else:
        yield Finding("LINKSPAN_BLOBS", said="written and read")
