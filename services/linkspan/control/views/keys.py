"""``IssueKey``, ``ListKeys`` and ``RevokeKey``."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterator
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from linkspan.control.actions import reason_of
from linkspan.control.commands import Commands
from linkspan.control.errors import BadRequest, NotFound, Precondition, kafka_away
from linkspan.control.host import Host
from linkspan.control.identity import caller
from linkspan.control.keys import Issued
from linkspan.control.pages import page_size, place_of, token_of
from linkspan.control.shown import command as shown
from linkspan.control.shown import timestamp
from linkspan.control.tail import ControlTail
from linkspan.control.trail import Given
from linkspan.control.v1 import keys_pb2 as pb
from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.commands import ISSUE_KEY, REVOKE_KEY, Command
from linkspan.kernel.errors import Fault, Poison
from linkspan.kernel.kafka.clients import stop_consumer
from linkspan.kernel.kafka.reading import read_all
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.api_key import ALL_FLOWS, ApiKey, hash_of, new_key, scope_of
from linkspan.kernel.topics import key_uses_topic

log = structlog.get_logger()

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LARGEST = 2**31 - 1
#: Reading when keys were used may take so long, seconds; without it they are listed nevertheless.
_LIMIT = 5.0


class KeysView:
    def __init__(self, host: Host, commands: Commands, tail: ControlTail) -> None:
        self._host, self._commands, self._tail = host, commands, tail
        self._uses = RecordCodec(host.catalog, "KeyUse")

    async def issue(self, request: pb.IssueKeyRequest) -> pb.IssueKeyResponse:
        """Raises BadRequest, Precondition, Away."""
        reason = reason_of(request.reason)
        expires = _expiry(request)
        faults = list(self._faults(request, expires))
        if faults:
            raise BadRequest(*faults)
        key_id, secret = new_key()
        key = ApiKey(
            key_id,
            request.name,
            hash_of(secret),
            tuple(dict.fromkeys(request.scopes)),
            expires,
            request.rate,
            request.burst,
            request.max_bytes,
        )
        given = await self._give(ISSUE_KEY, reason, key_id, key)
        if not given.verdict.effective:
            raise Precondition("NOT_ISSUED", given.verdict.result)
        issued = self._tail.state.keys.by_id[key_id]
        return pb.IssueKeyResponse(command=shown(given), issued=_shown(issued, now_micros(), None), key=secret)

    async def revoke(self, request: pb.RevokeKeyRequest) -> pb.RevokeKeyResponse:
        """Raises BadRequest, NotFound, Away."""
        reason, keys = reason_of(request.reason), self._tail.state.keys
        found = keys.by_id.get(request.key) or keys.named(request.key, now_micros())
        if found is None:
            self._check_read()
            raise NotFound("NO_SUCH_KEY", f"there is no key with the id, and no active one with the name {request.key}")
        return pb.RevokeKeyResponse(command=shown(await self._give(REVOKE_KEY, reason, found.key.id)))

    async def list_keys(self, request: pb.ListKeysRequest) -> pb.ListKeysResponse:
        """Raises BadRequest, Away."""
        count, place, at = page_size(request.page_size), place_of(request.page_token, tuple[str]), now_micros()
        self._check_read()
        keys = list(self._tail.state.keys.by_id)
        if place is not None:
            keys = keys[: keys.index(place[0])] if place[0] in keys else []
        every = (self._tail.state.keys.by_id[one] for one in reversed(keys))
        found = [one for one in every if request.ended or one.active(at)]
        page, used = found[:count], await self._used()
        return pb.ListKeysResponse(
            keys=[_shown(one, at, used.get(one.key.id.encode())) for one in page],
            next_page_token=token_of(page[-1].key.id) if len(found) > count else "",
        )

    def _check_read(self) -> None:
        if not self._tail.caught_up.is_set():
            raise kafka_away("the control topic was not read yet")

    async def _give(self, kind: str, reason: str, key_id: str, key: ApiKey | None = None) -> Given:
        by = caller()
        command = Command(kind, by=by.name, role=by.role, reason=reason, value=key_id, body=key)
        (given,) = await self._commands.give([command])
        return given

    def _faults(self, request: pb.IssueKeyRequest, expires: int | None) -> Iterator[Fault]:
        if not _NAME.fullmatch(request.name):
            yield Fault("name", "expected up to 64 letters, digits, '.', '_' and '-'")
        scopes = [ALL_FLOWS, *(scope_of(flow) for flow in self._host.integration.flows)]
        unknown = [scope for scope in request.scopes if scope not in scopes]
        if unknown or not request.scopes:
            yield Fault("scopes", f"{f'there is no {unknown[0]!r}; ' if unknown else ''}expected {', '.join(scopes)}")
        if expires is not None and expires <= now_micros():
            yield Fault("expires", "that is past")
        if not 0 <= request.rate < _LARGEST or math.isnan(request.rate):
            yield Fault("rate", "messages a second, or 0")
        if request.burst < 0 or (request.burst and not request.rate):
            yield Fault("burst", "messages at once, beside a rate; or 0")
        if request.max_bytes < 0:
            yield Fault("max_bytes", "bytes, or 0")

    async def _used(self) -> dict[bytes, int]:
        """When each was used last, by id; empty where that cannot be read now."""
        found: dict[bytes, int] = {}

        def take(record: Any) -> None:
            if record.key is not None and record.value is not None:
                try:
                    used = self._uses.decode(record.value)["used"]
                except Poison:
                    return
                found[record.key] = max(used, found.get(record.key, 0))

        reader = self._host.clients.reader()
        try:
            async with asyncio.timeout(_LIMIT):
                await reader.start()
                topic = TopicPartition(key_uses_topic(self._host.integration.integration), 0)
                await read_all(reader, topic, 0, None, take)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("when keys were used cannot be read", error=repr(error))
        finally:
            await stop_consumer(reader)
        return found


def _shown(one: Issued, at: int, used: int | None) -> pb.ApiKey:
    key, revoked = one.key, one.revoked
    state = "revoked" if revoked else "expired" if key.expired(at) else "active"
    return pb.ApiKey(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        expires=None if key.expires is None else timestamp(key.expires),
        rate=key.rate,
        burst=key.burst,
        max_bytes=key.max_bytes,
        issued=timestamp(one.issued.at),
        issued_by=one.issued.by,
        revoked=None if revoked is None else timestamp(revoked.at),
        revoked_by="" if revoked is None else revoked.by,
        last_used=None if used is None else timestamp(used),
        state=state,
    )


def _expiry(request: pb.IssueKeyRequest) -> int | None:
    """Microseconds since 1970. Raises BadRequest for what is no time, such as negative nanoseconds."""
    if not request.HasField("expires"):
        return None
    try:
        return request.expires.ToMicroseconds()
    except ValueError as error:
        raise BadRequest(Fault("expires", "is no time")) from error
