"""Keys that change, keys that are late, and keys that are gone, while messages flow."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from tests.integration.at_rest.place import MARKER, Place, id_of, new_id, order, until
from tests.integration.cli.operator import Operator

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.crypto.keyring import Keyring
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.secret_text import seal_text
from linkspan.kernel.crypto.vault import SEALS_FOR
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.kernel.topics import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]


async def send(session: aiohttp.ClientSession, message: dict[str, Any]) -> str:
    async with session.post("/v1/messages", json=message) as response:
        assert response.status == 202, await response.text()
    return id_of(message)


def sealed_codec(place: Place) -> RecordCodec:
    return RecordCodec(catalog_for(load_integration(place.path, place.environ)), "Sealed")


async def wrapping_keys(place: Place) -> dict[str, int]:
    """How many events each key of the keyring stands behind."""
    codec, found = sealed_codec(place), dict[str, int]()
    for record in await place.records(place.topics.events):
        key = codec.decode(record.value)["keyId"].split("/")[1].split(".")[0]
        found[key] = found.get(key, 0) + 1
    return found


async def test_a_rotation_under_load_loses_nothing_and_old_events_are_delivered_again(place: Place) -> None:
    """Every message in order of its key; the second wave is sealed with the new key, and a replay opens the first."""
    first = Keyring(place.keyring).newest
    keys = [new_id() for _ in range(10)]
    sent: list[str] = []
    async with (
        place.process("ingress") as ingress,
        place.process("egress") as egress,
        aiohttp.ClientSession(ingress.url) as session,
    ):
        going = True

        async def load(key: str) -> None:
            line = 0
            while going:
                line += 1
                sent.append(await send(session, order(line, order_id=key, note=f"{MARKER} {line}")))
                await asyncio.sleep(0.2)

        loads = [asyncio.create_task(load(key)) for key in keys]
        await asyncio.sleep(2)
        second = (await asyncio.to_thread(rotate, place.keyring)).id
        await asyncio.sleep(SEALS_FOR + 2)  # so long an entity's former key is used on
        going = False
        await asyncio.gather(*loads)
        await until(lambda: place.systems.taken.keys() >= set(sent))
        used = await wrapping_keys(place)
        assert used.keys() == {first, second}
        assert sum(used.values()) == len(sent) == len(set(sent))
        for body in place.systems.taken.values():
            assert body["payload"]["note"] == f"{MARKER} {body['payload']['line']}"
        lines: dict[str, list[int]] = {}
        for body in place.systems.taken.values():
            lines.setdefault(body["payload"]["orderId"], []).append(body["payload"]["line"])
        assert all(found == sorted(found) for found in lines.values())
        assert not place.systems.repeated
        await _replayed(place, egress.control, keys[0], len(lines[keys[0]]))
    assert not place.files_with(MARKER)


async def _replayed(place: Place, control: str, key: str, count: int) -> None:
    linkspan = Operator(place, control, more=place.environ)
    plan = (await linkspan("replay", "plan", "orders", "--key", key, "--reason", "again", "--output", "json")).json
    done = await linkspan("replay", "run", plan["plan"], "--force", "--allow-superseded", "--yes", "--reason", "again")
    assert done.code == 0, done
    assert len(place.systems.repeated) == count


async def test_a_replica_whose_keyring_is_behind_waits_with_those_messages_alone(place: Place) -> None:
    behind = place.folder / "behind.yaml"
    shutil.copy2(place.keyring, behind)
    old = order(note=f"{MARKER} old")
    async with place.process("egress", LINKSPAN_KEYRING=str(behind)) as egress:
        async with place.process("ingress") as ingress, aiohttp.ClientSession(ingress.url) as session:
            await send(session, old)
            await until(lambda: id_of(old) in place.systems.taken)
            rotate(place.keyring)
        async with place.process("ingress") as ingress, aiohttp.ClientSession(ingress.url) as session:
            new, follower, plain = order(note=f"{MARKER} new"), order(note=None), order(2)
            follower["payload"]["orderId"] = new["payload"]["orderId"]
            for message in (new, follower, plain):
                await send(session, message)
            await until(lambda: id_of(plain) in place.systems.taken)
            await asyncio.sleep(3)
            assert place.systems.taken.keys() == {id_of(old), id_of(plain)}
            shutil.copy2(place.keyring, behind)  # the rotation arrives
            await until(lambda: {id_of(new), id_of(follower)} <= place.systems.taken.keys())
        linkspan = Operator(place, egress.control, more=place.environ)
        assert (await linkspan("dead-letters", "--output", "json")).json.get("total", 0) == 0


async def test_what_is_shredded_is_dead_listed_as_undecryptable_and_the_proof_balances(place: Place) -> None:
    gone, kept = order(note=f"{MARKER} gone"), order(note=f"{MARKER} kept")
    key = gone["payload"]["orderId"]
    async with place.process("ingress") as ingress, aiohttp.ClientSession(ingress.url) as session:
        for message in (gone, kept):
            await send(session, message)
        shred = ("keyring", "shred", str(place.path), "--flow", "orders", "--key", key.upper())
        linkspan = Operator(place, "", more=place.environ)
        asked = await linkspan(*shred)
        assert (asked.code, "would shred" in asked.out) == (1, True), asked
        done = await linkspan(*shred, "--confirm")
        assert (done.code, "1 data key deleted" in done.out) == (0, True), done
        async with place.process("egress") as egress:
            await until(lambda: id_of(kept) in place.systems.taken)
            linkspan = Operator(place, egress.control, more=place.environ)
            letters = await linkspan.told("dead-letters", "--output", "json", until=id_of(gone))
            letter = letters.json["letters"][0]
            assert (letter["failure"], "was shredded" in letter["reason"]) == ("poison", True), letter
            # What comes after is sealed with a new key, and delivered.
            later = order(order_id=key, note=f"{MARKER} later")
            await send(session, later)
            await until(lambda: id_of(later) in place.systems.taken)
            await _proven(linkspan)


async def _proven(linkspan: Operator) -> None:
    plan = (await linkspan("replay", "plan", "orders", "--reason", "to see", "--output", "json")).json
    assert "undecryptable" in str(plan)
    done = await linkspan("replay", "run", plan["plan"], "--force", "--allow-superseded", "--yes", "--reason", "see")
    assert done.code == 0, done
    shown = await linkspan("replay", "show", plan["plan"], "--prove", "--output", "json")
    assert shown.code == 0, shown
    proof = shown.json["replay"]["proof"]
    assert proof["proven"] is True
    assert proof["dispositions"] == {"delivered": "2", "undecryptable": "1"}


async def test_altered_and_swapped_events_are_dead_letters_and_their_neighbours_go_on(place: Place) -> None:
    one, two, good = order(note=f"{MARKER} one"), order(note=f"{MARKER} two"), order(note=f"{MARKER} good")
    async with (
        place.process("ingress") as ingress,
        place.process("egress", LINKSPAN_DATA=str(place.folder / "data")) as egress,
        aiohttp.ClientSession(ingress.url) as session,
    ):
        for message in (one, two):
            await send(session, message)
        await until(lambda: len(place.systems.taken) == 2)
        codec = sealed_codec(place)
        records = {dict(one.headers)["message-id"].decode(): one for one in await place.records(place.topics.events)}
        first, second = (codec.decode(records[id_of(message)].value) for message in (one, two))
        altered = first | {"ciphertext": first["ciphertext"][:-1] + bytes((first["ciphertext"][-1] ^ 1,))}
        swapped = first | {"ciphertext": second["ciphertext"], "nonce": second["nonce"]}
        no_key = first | {"keyId": f"{first['keyId'][:-16]}{'0' * 16}"}
        entity = first["keyId"].split("/")[0]
        never = first | {"keyId": f"{entity}/19990101-00000000.{'0' * 16}"}
        ids = [new_id() for _ in range(4)]
        values = [codec.encode(record) for record in (altered, swapped, no_key, never)]
        await _append(place, zip(ids, values, strict=True))
        await send(session, good)
        await until(lambda: id_of(good) in place.systems.taken)
        linkspan = Operator(place, egress.control, more=place.environ)
        end = asyncio.get_running_loop().time() + 60
        while len(found := (await linkspan("dead-letters", "--output", "json")).json.get("letters", [])) < 4:
            assert asyncio.get_running_loop().time() < end, found
            await asyncio.sleep(0.5)
    reasons = {letter["message_id"]: letter["reason"] for letter in found}
    assert {letter["failure"] for letter in found} == {"poison"}
    assert all("altered, or are another message's" in reasons[one] for one in ids[:2])
    assert all("is not in the blob store" in reasons[one] for one in ids[2:])
    assert len(place.systems.taken) == 3


async def _append(place: Place, values: Any) -> None:
    async with AIOKafkaProducer(bootstrap_servers=place.bootstrap, acks="all") as producer:
        for message_id, value in values:
            key = new_id().encode()
            headers = [("message-id", message_id.encode()), ("correlation-id", message_id.encode()), ("type", b"Order")]
            partition = partition_of(key, 2)
            await producer.send_and_wait(place.topics.events, value, key, partition, headers=headers)


async def test_a_secret_that_the_file_has_encrypted_is_what_the_system_gets(place: Place) -> None:
    sealed = seal_text("the-real-key", Keyring(place.keyring))
    text = place.path.read_text()
    place.path.write_text(text.replace('api_key: "k"', f'api_key: "{sealed}"'))
    rotate(place.keyring)
    message = order(note=MARKER)
    async with (
        place.process("ingress") as ingress,
        place.process("egress"),
        aiohttp.ClientSession(ingress.url) as session,
    ):
        await send(session, message)
        await until(lambda: id_of(message) in place.systems.taken)
    assert place.systems.keys == {"the-real-key"}
    assert not place.files_with("the-real-key")
