"""Data keys: one for each entity, wrapped by the keyring's newest key, kept in the blob store beside what they seal.

A wrapped key stands at ``keys/<entity>/<wrapping key's id>.<16 hex digits>``; what it seals names it by
``<entity>/<wrapping key's id>.<16 hex digits>``. ``<entity>`` is a keyed hash of integration and entity.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from linkspan.kernel.crypto.wrapper import KeyAway, KeyWrapper, Wrapped
from linkspan.kernel.errors import Undecryptable
from linkspan.kernel.objects import Away, Objects

#: Seconds that a key is used from memory: to seal, and to open. Shredding waits for the first, and is true everywhere
#: after the second.
SEALS_FOR, OPENS_FOR = 20.0, 60.0
#: Keys in memory of each sort.
REMEMBERED = 10_000
_KEYS, _RETIRED, _SHREDDED = "keys", ".retired", "shredded"
_KEY_ID = re.compile(r"([0-9a-f]{32})/([A-Za-z0-9-]{1,64})\.[0-9a-f]{16}\Z")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DataKey:
    """``id``: as what it seals names it."""

    id: str
    cipher: AESGCM


class Vault:
    """The data keys of one integration. To be used in one event loop."""

    def __init__(self, wrapper: KeyWrapper, objects: Objects, integration: str) -> None:
        self.wrapper, self._objects, self._integration = wrapper, objects, integration
        self._sealing: _Remembered[DataKey] = _Remembered(SEALS_FOR)
        self._opening: _Remembered[DataKey] = _Remembered(OPENS_FOR)

    def entity(self, key: str) -> str:
        """Of whatever has this key, in any flow."""
        said = b"entity\0" + self._integration.encode() + b"\0" + key.encode()
        return hmac.digest(self.wrapper.secret, said, "sha256")[:16].hex()

    def digest(self, *parts: bytes, size: int = 32) -> bytes:
        """A keyed digest, the same for the same parts whatever is rotated."""
        made = hashlib.blake2b(key=self.wrapper.secret, digest_size=size)
        for part in parts:
            made.update(len(part).to_bytes(8) + part)
        return made.digest()

    def at_hand(self, key: str) -> DataKey | None:
        """What ``sealing`` gives, where it is in memory."""
        return self._sealing.get(key)

    async def sealing(self, key: str) -> DataKey:
        """The entity's key, made where it has none of the newest wrapping key; to be used without waiting for anything
        in between. Raises KeyAway, BaseError, OSError."""
        found = await self._sealing.asked(key, self._for_sealing)
        if self._sealing.get(key) is None:
            raise KeyAway(f"the blob store took longer than {SEALS_FOR:g} s to give a data key")
        return found

    def opened(self, key_id: str) -> DataKey | None:
        """What ``opening`` gives, where it is in memory."""
        return self._opening.get(key_id)

    async def opening(self, key_id: str) -> DataKey:
        """Raises Undecryptable where it is gone or was altered, KeyAway where it cannot be had now."""
        return await self._opening.asked(key_id, self._for_opening)

    def is_there(self, key_id: str) -> bool:
        """Whether the wrapped key is in the store. Blocks. Raises BaseError, OSError."""
        return bool(_KEY_ID.match(key_id)) and self._objects.has_now(f"{_KEYS}/{key_id}")

    async def _for_sealing(self, key: str) -> DataKey:
        entity, newest = self.entity(key), self.wrapper.newest
        names = await self._objects.names(f"{_KEYS}/{entity}")
        retired = {name.removesuffix(_RETIRED) for name in names if name.endswith(_RETIRED)}
        for name in names:
            key_id = f"{entity}/{name}"
            if name.startswith(f"{newest}.") and _KEY_ID.match(key_id) and name not in retired:
                try:
                    return await self.opening(key_id)
                except Undecryptable:
                    continue  # somebody altered or deleted it: what is sealed now must be readable
        return await self._made(entity)

    async def _made(self, entity: str) -> DataKey:
        key = AESGCM.generate_key(256)
        number = secrets.token_hex(8)
        wrapped = await self.wrapper.wrap(key, f"{entity}/{number}".encode())
        key_id = f"{entity}/{wrapped.key_id}.{number}"
        await self._objects.put(f"{_KEYS}/{key_id}", wrapped.content)
        return self._opening.put(key_id, DataKey(key_id, AESGCM(key)))

    async def _for_opening(self, key_id: str) -> DataKey:
        match = _KEY_ID.match(key_id)
        if match is None:
            raise Undecryptable("it names no data key of ours: it was altered")
        try:
            content = await self._objects.get(f"{_KEYS}/{key_id}")
        except FileNotFoundError:
            raise Undecryptable(await self._why_gone(key_id, match[1])) from None
        except Away as error:
            raise KeyAway(f"data key {key_id} cannot be read: {error}") from error
        entity, number = match[1], key_id[-16:]
        key = await self.wrapper.unwrap(Wrapped(match[2], content), f"{entity}/{number}".encode())
        return DataKey(key_id, AESGCM(key))

    async def _why_gone(self, key_id: str, entity: str) -> str:
        try:
            shredded = await self._objects.has(f"{_KEYS}/{entity}/{_SHREDDED}")
        except Away:
            shredded = False
        return f"its data key {key_id} {'was shredded' if shredded else 'is not in the blob store'}"

    async def retire(self, key: str) -> list[str]:
        """The entity's keys, which nothing is sealed with once ``SEALS_FOR`` has passed. Raises BaseError, OSError."""
        folder = f"{_KEYS}/{self.entity(key)}"
        names = [
            name for name in await self._objects.names(folder) if not name.endswith(_RETIRED) and name != _SHREDDED
        ]
        for name in names:
            await self._objects.put(f"{folder}/{name}{_RETIRED}", b"")
        return names

    async def shred(self, key: str, names: list[str]) -> None:
        """Deletes what ``retire`` gave; not sooner than ``SEALS_FOR`` after it. Raises BaseError, OSError."""
        folder = f"{_KEYS}/{self.entity(key)}"
        await self._objects.put(f"{folder}/{_SHREDDED}", str(int(time.time())).encode())
        for name in names:
            await self._objects.delete(f"{folder}/{name}")
            await self._objects.delete(f"{folder}/{name}{_RETIRED}")


class _Remembered(Generic[T]):
    """The latest ``REMEMBERED``, each for ``seconds``; who asks for the same at a time is given the same."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._asked: dict[str, asyncio.Task[T]] = {}

    def get(self, name: str) -> T | None:
        found = self._known.get(name)
        return None if found is None or found[0] < time.monotonic() else found[1]

    def put(self, name: str, what: T, since: float | None = None) -> T:
        self._known[name] = ((time.monotonic() if since is None else since) + self._seconds, what)
        self._known.move_to_end(name)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return what

    async def asked(self, name: str, ask: Callable[[str], Awaitable[T]]) -> T:
        found = self.get(name)
        if found is not None:
            return found
        task = self._asked.get(name)
        if task is None:
            task = self._asked[name] = asyncio.create_task(self._ask(name, ask))
            task.add_done_callback(lambda done: self._done(name, done))
        return await asyncio.shield(task)

    async def _ask(self, name: str, ask: Callable[[str], Awaitable[T]]) -> T:
        since = time.monotonic()  # what changed while it was asked for counts as not seen
        return self.put(name, await ask(name), since)

    def _done(self, name: str, done: asyncio.Task[T]) -> None:
        del self._asked[name]
        if not done.cancelled():
            done.exception()  # its waiters raise it; there may be none any more
