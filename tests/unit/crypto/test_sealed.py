"""Events with confidential fields: who can read what, and what becomes of an altered one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.crypto.shop import ID, Shop
from tests.unit.crypto.vaults import keyring_file, vault

from linkspan.kernel.codec import RecordCodec
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.withheld import Secrets, told, unquoting
from linkspan.kernel.crypto.wrapper import KeyAway
from linkspan.kernel.errors import InvalidMessage, Poison, Rejected, Unavailable, Undecryptable, UserMistake
from linkspan.kernel.spec_check import schema_faults
from linkspan.kernel.spec_file import catalog_for, load_integration
from linkspan.replay.content import READABLE, SEALED, UNREADABLE, EventContent
from linkspan.replay.selection import predicate

MARKER = "MARKED-SECRET-TEXT"
FIELDS: list[dict[str, Any]] = [
    {"name": "line", "type": "int"},
    {"name": "note", "type": ["null", "string"], "default": None, "confidential": True},
    {
        "name": "people",
        "type": {
            "type": "array",
            "items": {
                "type": "record",
                "name": "Person",
                "fields": [
                    {"name": "name", "type": "string", "confidential": True},
                    {"name": "photo", "type": "bytes", "default": "", "confidential": True},
                ],
            },
        },
        "default": [],
    },
]
PAYLOAD = {"line": 7, "note": MARKER, "people": [{"name": f"{MARKER} 1", "photo": "TUFSS0VE"}, {"name": f"{MARKER} 2"}]}
OTHER = "01980000-0000-7000-8000-0000000000b2"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, FIELDS)


async def test_nothing_of_a_confidential_value_stands_in_the_event(shop: Shop, tmp_path: Path) -> None:
    value = (await shop.sealed(vault(tmp_path), PAYLOAD)).value
    assert b"MARKED" not in value
    assert b"MARKED" in shop.plain(PAYLOAD).value


async def test_a_message_without_such_values_stays_as_it_is(shop: Shop, tmp_path: Path) -> None:
    assert await shop.sealed(vault(tmp_path), {"line": 7}) == shop.plain({"line": 7})


async def test_every_view_shows_that_a_value_is_confidential_and_needs_no_key(shop: Shop, tmp_path: Path) -> None:
    value = (await shop.sealed(vault(tmp_path), PAYLOAD)).value
    assert shop.decoder.json(value)["payload"] == {
        "line": 7,
        "note": "<confidential>",
        "people": [
            {"name": "<confidential>", "photo": b"<confidential>"},
            {"name": "<confidential>", "photo": b""},
        ],
    }
    assert shop.decoder.decode(value)[1]["payload"]["note"] == "<confidential>"


async def test_the_digest_tells_other_content_and_is_the_same_after_a_rotation(shop: Shop, tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    first = await shop.sealed(vault(tmp_path), PAYLOAD)
    rotate(path)
    assert (await shop.sealed(vault(tmp_path), PAYLOAD)).digest == first.digest
    assert (await shop.sealed(vault(tmp_path), PAYLOAD | {"note": "another"})).digest != first.digest
    assert (await shop.sealed(vault(tmp_path), PAYLOAD | {"line": 8})).digest != first.digest
    assert first.digest != shop.plain(PAYLOAD).digest


async def test_a_process_without_the_key_in_memory_reads_it_from_the_store(shop: Shop, tmp_path: Path) -> None:
    value = (await shop.sealed(vault(tmp_path), PAYLOAD)).value
    opener = shop.opener(vault(tmp_path))
    assert opener.now(value) is None
    message, secrets = await opener.later(value)
    assert message == shop.decoder.json(shop.plain(PAYLOAD).value)
    assert secrets is not None
    assert opener.now(value) is not None


async def test_without_a_keyring_it_waits_and_does_not_become_poison(shop: Shop, tmp_path: Path) -> None:
    value = (await shop.sealed(vault(tmp_path), PAYLOAD)).value
    with pytest.raises(KeyAway, match="LINKSPAN_KEYRING"):
        shop.opener(None).now(value)


async def test_what_another_version_wrote_is_read_into_the_newest(tmp_path: Path) -> None:
    value = (await Shop(tmp_path, FIELDS).sealed(vault(tmp_path), PAYLOAD)).value
    renamed = FIELDS[1] | {"name": "remark", "aliases": ["note"]}
    newer = Shop(tmp_path, FIELDS, [FIELDS[0], renamed, FIELDS[2], {"name": "more", "type": "string", "default": "x"}])
    message, _ = await newer.opener(vault(tmp_path)).later(value)
    assert message["payload"]["remark"] == MARKER
    assert message["payload"]["people"][1]["name"] == f"{MARKER} 2"
    assert message["payload"]["more"] == "x"
    assert newer.decoder.json(value)["payload"]["remark"] == "<confidential>"


async def test_what_was_written_before_the_field_was_marked_is_read_as_ever(shop: Shop, tmp_path: Path) -> None:
    message, secrets = await shop.opener(vault(tmp_path)).later(shop.plain(PAYLOAD).value)
    assert message["payload"]["note"] == MARKER
    assert secrets is None


@pytest.mark.parametrize("part", ["ciphertext", "nonce", "event", "pointers", "keyId", "swapped", "swapped ids"])
async def test_an_altered_event_gives_no_text_at_all(shop: Shop, tmp_path: Path, part: str) -> None:
    ours = vault(tmp_path)
    codec = RecordCodec(shop.catalog, "Sealed")
    one = codec.decode((await shop.sealed(ours, PAYLOAD)).value)
    other = codec.decode((await shop.sealed(ours, PAYLOAD | {"note": "x" * len(MARKER)}, OTHER)).value)
    same = codec.decode((await shop.sealed(ours, PAYLOAD)).value)
    match part:
        case "ciphertext":
            one["ciphertext"] = one["ciphertext"][:-1] + bytes((one["ciphertext"][-1] ^ 1,))
        case "nonce":
            one["nonce"] = one["nonce"][:5]
        case "event":  # another message id
            one["event"] = one["event"].replace(ID.encode(), OTHER.encode())
        case "pointers":
            one["pointers"] = [one["pointers"][0], *reversed(one["pointers"][1:])]
        case "keyId":
            one["keyId"] = other["keyId"]
        case "swapped":
            one["ciphertext"], one["nonce"] = other["ciphertext"], other["nonce"]
        case _:
            one |= {"ciphertext": other["ciphertext"], "nonce": other["nonce"], "keyId": other["keyId"]}
    with pytest.raises(Undecryptable, match="altered, or are another message's"):
        await shop.opener(ours).later(codec.encode(one))
    assert (await shop.opener(ours).later(codec.encode(same)))[0]["payload"]["note"] == MARKER


async def test_a_damaged_sealed_event_is_poison_in_views_too(shop: Shop, tmp_path: Path) -> None:
    value = (await shop.sealed(vault(tmp_path), PAYLOAD)).value
    codec = RecordCodec(shop.catalog, "Sealed")
    record = codec.decode(value)
    changes = ({"pointers": ["/no/such"] * 3}, {"event": value})
    for wrong in (value[:40], value + b"x", *(codec.encode(record | one) for one in changes)):
        with pytest.raises(Poison):
            shop.decoder.json(wrong)
        with pytest.raises(Poison):
            await shop.opener(vault(tmp_path)).later(wrong)


async def test_a_plan_counts_what_has_lost_its_key_and_a_predicate_sees_no_value(shop: Shop, tmp_path: Path) -> None:
    ours = vault(tmp_path)
    kept, gone = (await shop.sealed(ours, PAYLOAD, OTHER)).value, (await shop.sealed(ours, PAYLOAD)).value
    await ours.shred(ID, await ours.retire(ID))
    assert [EventContent(shop.decoder, None, ours).asked(one) for one in (kept, gone, kept[:30])] == [
        (True, READABLE),
        (True, SEALED),
        (True, UNREADABLE),
    ]
    asks = EventContent(shop.decoder, predicate(f'payload.note = "{MARKER}"', {}), ours)
    assert [asks.asked(one) for one in (kept, gone)] == [(False, READABLE), (True, SEALED)]
    assert EventContent(shop.decoder, predicate("payload.line = 7", {}), ours).asked(kept) == (True, READABLE)


@pytest.mark.parametrize(
    "payload",
    [
        PAYLOAD | {"note": 5},
        PAYLOAD | {"line": MARKER},
        PAYLOAD | {"people": MARKER},
        PAYLOAD | {"people": [{"name": MARKER, "photo": MARKER}]},
        MARKER,
    ],
)
def test_a_refusal_names_the_field_and_quotes_no_value(shop: Shop, payload: Any) -> None:
    with pytest.raises(InvalidMessage) as raised:
        shop.message(payload)
    assert raised.value.faults[0].field.startswith("payload")
    assert "MARKED" not in str(raised.value)


def _mark(**field: Any) -> list[dict[str, Any]]:
    return [
        {"name": "line", "type": "int"},
        {"name": "box", "type": {"type": "record", "name": "Box", "fields": [field]}},
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "int",
        {"type": "string", "logicalType": "uuid"},
        {"type": "enum", "name": "E", "symbols": ["a"]},
        {"type": "record", "name": "R", "fields": []},
        {"type": "array", "items": "string"},
        ["null", "int"],
        ["string", "bytes"],
        ["bytes", "linkspan.BlobReference"],
    ],
)
def test_a_mark_on_anything_but_text_or_bytes_is_a_mistake_that_names_file_and_field(tmp_path: Path, kind: Any) -> None:
    with pytest.raises(UserMistake, match=r"Order\.1\.avsc: field box\.x: only a string or bytes"):
        Shop(tmp_path, _mark(name="x", type=kind, confidential=True))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"name": "x", "type": "string", "confidential": "yes"}, "confidential is true or false"),
        ({"name": "x", "type": {"type": "string", "confidential": True}}, "belongs beside the name of a field"),
        ({"name": "x", "type": {"type": "array", "items": {"type": "string", "confidential": True}}}, "belongs beside"),
    ],
)
def test_a_mark_that_would_do_nothing_is_a_mistake(tmp_path: Path, field: Any, said: str) -> None:
    with pytest.raises(UserMistake, match=said):
        Shop(tmp_path, _mark(**field))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ("key: payload.note", "flows.orders.key"),
        ('deliver: {path: "/o/{note}"}', "flows.orders.deliver.path"),
        ('refusal: {path: "/o/{note}"}', "flows.orders.refusal.path"),
    ],
)
def test_a_key_or_an_address_cannot_be_confidential(tmp_path: Path, more: str, field: str) -> None:
    Shop(tmp_path, [{"name": "note", "type": "string", "confidential": True}])
    file = tmp_path / "integration.yaml"
    file.write_text(file.read_text().replace("type: Order}", f"type: Order, {more}}}"))
    integration = load_integration(file, {})
    found = list(schema_faults(integration, catalog_for(integration)))
    assert [fault.field for fault in found] == [field]
    assert "confidential" in found[0].error


def test_a_reason_that_quotes_a_piece_of_a_value_is_withheld() -> None:
    secrets = Secrets([MARKER, b"\x00bytes of it", "pin"])
    for quoting in (f"422 bad {MARKER}", f"400 {MARKER[3:10].lower()}…", "said AGJ5dGVzIG9mIGl0", "your PIN is wrong"):
        error = told(Rejected(quoting), secrets)
        assert isinstance(error, Rejected)
        assert error.reason == "what was said of it is withheld: it quotes a confidential value"
    harmless = Rejected("422 Unprocessable: orderId")
    assert told(harmless, secrets) is harmless
    assert told(None, secrets) is None


def test_a_transforms_reason_is_told_only_if_it_is_the_same_without_the_values() -> None:
    secrets = Secrets([MARKER])
    assert unquoting(Poison("no id"), secrets, "no id").reason == "no id"
    assert "MARK" not in unquoting(Poison("got 'MARK'"), secrets, "").reason
    said = unquoting(ValueError(MARKER), secrets, "got '<con'")
    assert isinstance(said, Poison)
    assert said.reason == "with its confidential values hidden: got '<con'"
    away = unquoting(Unavailable("the store is away", retry_after=2), secrets, "")
    assert (away.reason, away.retry_after) == ("the store is away", 2)


def test_the_marks_do_not_change_what_a_schema_is_on_the_wire(tmp_path: Path) -> None:
    unmarked = json.loads(json.dumps(FIELDS).replace(', "confidential": true', ""))
    first, second = Shop(tmp_path / "a", unmarked), Shop(tmp_path / "b", FIELDS)
    prints = [one.catalog.events("shop", "Order")[-1].fingerprint for one in (first, second)]
    assert prints[0] == prints[1]
