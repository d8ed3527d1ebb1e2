"""Data keys: one for an entity, found by every process, gone for good when shredded."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.unit.crypto.vaults import keyring_file, vault

from linkspan.kernel.blobs import MAGIC, BlobMissing, BlobStore
from linkspan.kernel.crypto import vault as module
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.errors import Unavailable, Undecryptable

CONTENT = b"the plan of the vault " * 20_000


def blobs(folder: Path) -> BlobStore:
    return BlobStore(str(folder / "blobs"), vault(folder))


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """For what the vault remembers."""
    later = SimpleNamespace(time=time.time, monotonic=lambda: time.monotonic() + seconds)
    monkeypatch.setattr(module, "time", later)


async def test_an_entity_has_one_key_in_all_processes_and_another_entity_another(tmp_path: Path) -> None:
    one, two = vault(tmp_path), vault(tmp_path)
    first = await one.sealing("plan-1")
    assert (await two.sealing("plan-1")).id == first.id
    assert (await one.sealing("plan-2")).id.split("/")[0] != first.id.split("/")[0]
    assert "plan-1" not in first.id


async def test_who_asks_at_the_same_time_is_given_the_same_key(tmp_path: Path) -> None:
    made = vault(tmp_path)
    keys = await asyncio.gather(*(made.sealing("plan-1") for _ in range(50)))
    assert len({key.id for key in keys}) == 1
    assert len(list((tmp_path / "blobs" / "keys").glob("*/*"))) == 1


async def test_after_a_rotation_new_data_keys_are_made_and_old_ones_still_open(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    before = await vault(tmp_path).sealing("plan-1")
    made = rotate(path)
    after = await vault(tmp_path).sealing("plan-1")
    assert after.id.split("/")[1].startswith(f"{made.id}.")
    sealed = before.cipher.encrypt(b"n" * 12, b"text", None)
    assert (await vault(tmp_path).opening(before.id)).cipher.decrypt(b"n" * 12, sealed, None) == b"text"


async def test_a_running_process_makes_new_data_keys_soon_after_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = keyring_file(tmp_path)
    running = vault(tmp_path)
    before = await running.sealing("plan-1")
    rotate(path)
    pass_time(monkeypatch, module.SEALS_FOR + 0.1)
    assert running.at_hand("plan-1") is None
    assert (await running.sealing("plan-1")).id != before.id


async def test_nothing_is_sealed_with_a_key_that_is_retired_and_shredding_deletes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, operator = vault(tmp_path), vault(tmp_path)
    old, other = await running.sealing("plan-1"), await running.sealing("plan-2")
    names = await operator.retire("plan-1")
    pass_time(monkeypatch, module.SEALS_FOR + 0.1)
    new = await running.sealing("plan-1")
    assert new.id != old.id
    await operator.shred("plan-1", names)
    with pytest.raises(Undecryptable, match="was shredded"):
        await vault(tmp_path).opening(old.id)
    assert (await vault(tmp_path).opening(new.id)).id == new.id
    assert (await vault(tmp_path).opening(other.id)).id == other.id


async def test_a_shredding_that_was_cut_off_is_done_by_the_next_one(tmp_path: Path) -> None:
    key = await vault(tmp_path).sealing("plan-1")
    await vault(tmp_path).retire("plan-1")
    again = vault(tmp_path)
    await again.shred("plan-1", await again.retire("plan-1"))
    assert not again.is_there(key.id)
    assert [path.name for path in (tmp_path / "blobs" / "keys" / key.id.split("/")[0]).iterdir()] == ["shredded"]


async def test_a_key_id_that_is_not_ours_or_not_there_is_said_and_one_of_a_key_to_come_is_away(tmp_path: Path) -> None:
    made = vault(tmp_path)
    key = await made.sealing("plan-1")
    for wrong in ("", "../../etc/passwd", "x/y", f"{key.id}\n", key.id[:-1]):
        with pytest.raises(Undecryptable, match="names no data key"):
            await made.opening(wrong)
        assert not made.is_there(wrong)
    with pytest.raises(Undecryptable, match="is not in the blob store"):
        await made.opening(f"{key.id[:-16]}{'0' * 16}")
    other = tmp_path / "other"
    other.mkdir()
    behind = vault(tmp_path, keyring_file(other))
    with pytest.raises(KeyAway, match="has a rotation not arrived"):
        await behind.opening(key.id)


async def test_a_wrapped_key_put_in_the_place_of_another_opens_nothing(tmp_path: Path) -> None:
    made = vault(tmp_path)
    one, two = await made.sealing("plan-1"), await made.sealing("plan-2")
    keys = tmp_path / "blobs" / "keys"
    (keys / two.id).write_bytes((keys / one.id).read_bytes())
    with pytest.raises(Undecryptable):
        await vault(tmp_path).opening(two.id)


async def test_a_blob_is_encrypted_and_read_by_another_process(tmp_path: Path) -> None:
    reference = await blobs(tmp_path).put(CONTENT, "text/plain", key="plan-1")
    stored = (tmp_path / "blobs" / reference["address"]).read_bytes()
    assert stored.startswith(MAGIC)
    assert b"vault" not in stored
    assert await blobs(tmp_path).get(reference) == CONTENT


async def test_the_same_content_has_the_same_reference_after_a_rotation_and_another_for_another_entity(
    tmp_path: Path,
) -> None:
    path = keyring_file(tmp_path)
    before = await blobs(tmp_path).put(CONTENT, key="plan-1")
    rotate(path)
    assert await blobs(tmp_path).put(CONTENT, key="plan-1") == before
    other = await blobs(tmp_path).put(CONTENT, key="plan-2")
    assert other["address"] != before["address"]
    assert await blobs(tmp_path).get(before) == await blobs(tmp_path).get(other) == CONTENT


async def test_what_was_stored_before_there_was_a_keyring_is_still_read(tmp_path: Path) -> None:
    reference = await BlobStore(str(tmp_path / "blobs")).put(CONTENT)
    assert await blobs(tmp_path).get(reference) == CONTENT
    sealed = await blobs(tmp_path).put(CONTENT, key="plan-1")
    with pytest.raises(Unavailable, match="LINKSPAN_KEYRING"):
        await BlobStore(str(tmp_path / "blobs")).get(sealed)


@pytest.mark.parametrize("where", ["magic", "key id", "nonce", "ciphertext", "tag", "cut", "plain"])
async def test_an_altered_blob_is_refused(tmp_path: Path, where: str) -> None:
    reference = await blobs(tmp_path).put(CONTENT, key="plan-1")
    path = tmp_path / "blobs" / reference["address"]
    stored = bytearray(path.read_bytes())
    at = {"magic": 3, "key id": len(MAGIC) + 10, "nonce": -len(CONTENT) - 20, "ciphertext": -1000, "tag": -1}
    if where in at:
        stored[at[where]] ^= 1
    path.write_bytes(CONTENT if where == "plain" else stored[: len(MAGIC) + 3] if where == "cut" else stored)
    with pytest.raises((BlobMissing, Undecryptable)):
        await blobs(tmp_path).get(reference)


async def test_blobs_that_changed_places_are_refused(tmp_path: Path) -> None:
    one = await blobs(tmp_path).put(CONTENT, key="plan-1")
    two = await blobs(tmp_path).put(CONTENT[1:], key="plan-1")
    paths = [tmp_path / "blobs" / reference["address"] for reference in (one, two)]
    first, second = (path.read_bytes() for path in paths)
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)
    for reference in (one, two):
        with pytest.raises(BlobMissing, match="altered, or is another one"):
            await blobs(tmp_path).get(reference)


async def test_a_shredded_entitys_blob_is_unreadable_and_others_are_not(tmp_path: Path) -> None:
    one, two = await blobs(tmp_path).put(CONTENT, key="plan-1"), await blobs(tmp_path).put(CONTENT, key="plan-2")
    operator = vault(tmp_path)
    await operator.shred("plan-1", await operator.retire("plan-1"))
    with pytest.raises(Undecryptable, match="was shredded"):
        await blobs(tmp_path).get(one)
    assert await blobs(tmp_path).get(two) == CONTENT
