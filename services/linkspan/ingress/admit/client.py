"""Whoever sends, as far as it was made sure."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address

from linkspan.ingress.admit.buckets import Bucket
from linkspan.ingress.errors import TooMany
from linkspan.ingress.validate import Origin
from linkspan.kernel.records.api_key import ALL_FLOWS
from linkspan.kernel.telemetry.metrics import THROTTLED

_PREFIX = "send:"
#: Bits of an IPv6 address that are its network; whoever has one has all of it.
_NETWORK_BITS = 64


class Client:
    """``kind``: key, token or address. ``flows``: those that it may send to, None: all. ``most_bytes``: of a body, 0:
    no limit of its own. ``until``: it is known for so long, seconds since 1970."""

    __slots__ = ("_bucket", "flows", "kind", "most_bytes", "name", "origin", "until")

    def __init__(
        self,
        kind: str,
        name: str,
        flows: frozenset[str] | None,
        bucket: Bucket | None,
        *,
        most_bytes: int = 0,
        until: float = math.inf,
    ) -> None:
        self.kind, self.name, self.flows, self.until = kind, name, flows, until
        self.most_bytes, self._bucket = most_bytes, bucket
        self.origin = Origin(flows=flows)

    def origin_with(self, correlation_id: str | None) -> Origin:
        return self.origin if correlation_id is None else Origin(None, correlation_id, self.flows)

    def limit(self, most: int) -> int:
        """Bytes of a body; ``most``: anybody's."""
        return min(most, self.most_bytes) if self.most_bytes else most

    def may_now(self) -> bool:
        return self._bucket is None or self._bucket.wait(time.monotonic()) == 0

    def check(self) -> None:
        """Raises TooMany where nothing may come now."""
        wait = 0.0 if self._bucket is None else self._bucket.wait(time.monotonic())
        if wait > 0:
            THROTTLED.labels(self.kind).inc()
            raise TooMany("More was sent than is allowed in this time.", math.ceil(wait))

    def take(self, count: int) -> None:
        """Counts messages that it sends."""
        if self._bucket is not None:
            self._bucket.take(count)


def flows_of(scopes: Iterable[str]) -> frozenset[str] | None:
    """None: all."""
    found = set(scopes)
    if ALL_FLOWS in found:
        return None
    return frozenset(scope.removeprefix(_PREFIX) for scope in found if scope.startswith(_PREFIX))


def network_of(address: str) -> str:
    """What stands for a client that says no name."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else f"{IPv6Address(int(found) >> _NETWORK_BITS << _NETWORK_BITS)}/{_NETWORK_BITS}"
