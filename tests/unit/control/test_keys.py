"""API keys as the control topic has them."""

import dataclasses

from linkspan.control.fold import ControlState
from linkspan.control.shown import subject
from linkspan.kernel.commands import ISSUE_KEY, REVOKE_KEY, Command, CommandCodec
from linkspan.kernel.records.api_key import ApiKey, hash_of, id_of, new_key
from linkspan.kernel.schemas import SchemaCatalog, packaged_schemas

NOW = 1_800_000_000_000_000


def issuing(name: str = "shop", at: int = NOW, expires: int | None = None) -> tuple[Command, str]:
    key_id, text = new_key()
    key = ApiKey(key_id, name, hash_of(text), ("send:orders",), expires, 5.0, 10, 4096)
    return Command(ISSUE_KEY, by="ann", reason="new", value=key_id, body=key, at=at), text


def revoking(command: Command, at: int = NOW) -> Command:
    return Command(REVOKE_KEY, by="bob", reason="old", value=command.value, at=at)


def test_a_key_is_known_by_its_hash_alone() -> None:
    command, text = issuing()
    assert isinstance(command.body, ApiKey)
    assert id_of(text) == command.value
    assert command.body.fits(text)
    assert not command.body.fits(text[:-1] + ("A" if text[-1] != "A" else "B"))
    secret = text.split("_", 2)[2]
    assert secret not in repr(command)
    assert secret.encode() not in CommandCodec(SchemaCatalog(packaged_schemas())).encode(command)


def test_a_command_with_a_key_is_read_as_it_was_written() -> None:
    codec, (command, _) = CommandCodec(SchemaCatalog(packaged_schemas())), issuing(expires=NOW + 1)
    assert codec.decode(codec.encode(command)) == command
    assert subject(command) == f"key {command.value} for shop"


def test_what_does_not_look_like_a_key_has_no_id() -> None:
    _, text = issuing()
    for wrong in (
        "",
        "lsk_",
        text[:-1],
        text + "x",
        text.upper(),
        text.replace("lsk_", "lsx_"),
        f" {text}",
        text + "\n",
    ):
        assert id_of(wrong) is None


def test_of_two_keys_with_one_name_the_second_is_refused_until_the_first_has_ended() -> None:
    state, (first, _) = ControlState(), issuing(expires=NOW + 100)
    assert state.fold(first).effective
    assert not state.fold(issuing()[0]).effective
    assert state.fold(issuing(at=NOW + 100)[0]).effective, "the first has expired by then"
    other = ControlState()
    other.fold(first)
    assert other.fold(revoking(first)).effective
    assert other.fold(issuing()[0]).effective


def test_a_key_is_revoked_once_and_stays_known() -> None:
    state, (command, _) = ControlState(), issuing()
    assert not state.fold(revoking(command)).effective, "it is not there yet"
    state.fold(command)
    assert state.fold(revoking(command)).effective
    again = state.fold(revoking(command))
    assert not again.effective
    assert "already by bob" in again.result
    issued = state.keys.by_id[command.value]
    assert not issued.active(NOW)
    assert not state.fold(dataclasses.replace(command, id="00000000-0000-7000-8000-000000000000")).effective


def test_a_command_without_a_key_issues_none() -> None:
    state = ControlState()
    assert not state.fold(Command(ISSUE_KEY, value="0123456789ab")).effective
    assert not state.keys.by_id
