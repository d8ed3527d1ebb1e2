"""The keyring: its file, what it wraps, and what it says of itself."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from tests.unit.crypto.vaults import keyring_file

from linkspan.kernel.crypto.keyring import Keyring, read_keys
from linkspan.kernel.crypto.keyring_file import rotate
from linkspan.kernel.crypto.secret_text import open_text, seal_text
from linkspan.kernel.crypto.wrapper import KeyAway, Wrapped
from linkspan.kernel.errors import Undecryptable, UserMistake


def test_a_rotation_adds_a_key_that_wraps_and_the_older_ones_still_unwrap(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    first = Keyring(path).newest
    second = rotate(path)
    keyring = Keyring(path)
    assert [one.id for one in keyring.keys.keys] == [first, second.id]
    assert keyring.newest == second.id


async def test_what_was_wrapped_before_a_rotation_is_unwrapped_by_the_process_that_read_the_file_before(
    tmp_path: Path,
) -> None:
    path = keyring_file(tmp_path)
    running = Keyring(path)
    before = await running.wrap(b"k" * 32, b"place")
    made = rotate(path)
    after = await running.wrap(b"l" * 32, b"place")
    assert (before.key_id, after.key_id) == (running.keys.keys[0].id, made.id)
    assert await running.unwrap(before, b"place") == b"k" * 32
    assert await running.unwrap(after, b"place") == b"l" * 32


async def test_a_key_that_has_not_arrived_is_away_and_one_that_was_altered_or_moved_is_not(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    keyring = Keyring(path)
    wrapped = await keyring.wrap(b"k" * 32, b"place")
    with pytest.raises(KeyAway, match="has no key 20991231-x"):
        await keyring.unwrap(Wrapped("20991231-x", wrapped.content), b"place")
    altered = wrapped.content[:-1] + bytes((wrapped.content[-1] ^ 1,))
    for content, context in ((altered, b"place"), (wrapped.content, b"other"), (b"", b"place")):
        with pytest.raises(Undecryptable):
            await keyring.unwrap(Wrapped(wrapped.key_id, content), context)


def test_the_digest_secret_is_the_same_after_any_rotation(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    secret = Keyring(path).secret
    rotate(path)
    assert Keyring(path).secret == secret


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640])
def test_a_rotation_keeps_the_mode_and_leaves_nothing_beside_the_file(tmp_path: Path, mode: int) -> None:
    path = keyring_file(tmp_path)
    path.chmod(mode)
    rotate(path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE(keyring_file(tmp_path).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o602])
def test_a_keyring_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = keyring_file(tmp_path)
    path.chmod(mode)
    with pytest.raises(UserMistake, match="chmod 600"):
        Keyring(path)
    with pytest.raises(UserMistake, match="chmod 600"):
        rotate(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no keyring"),
        ("{", "not YAML"),
        ("digest: c2VjcmV0\nkeys: []", "digest has 6 bytes"),
        ("keys: 7", "no keyring"),
        ("digest: AAAA\nkeys: [{id: a, created: 2026-01-01T00:00:00Z, key: SECRETSECRET}]", "key a has 9 bytes"),
        ("digest: AAAA\nkeys: [{id: a/b, created: 2026-01-01T00:00:00Z, key: SECRETSECRET}]", "letters, digits"),
        ("digest: AAAA\nkeys: [{id: a, created: yesterday, key: SECRETSECRET}]", "no keyring"),
    ],
)
def test_a_file_that_is_no_keyring_is_refused_and_not_quoted(text: str, said: str) -> None:
    with pytest.raises(UserMistake, match=said) as raised:
        read_keys(text)
    assert "SECRET" not in str(raised.value)


def test_no_representation_shows_a_key(tmp_path: Path) -> None:
    keyring = Keyring(keyring_file(tmp_path))
    entry = keyring.keys.keys[0]
    for shown in (repr(entry), repr(keyring.keys), str(keyring.keys)):
        assert entry.id in shown
        assert repr(entry.key)[2:-1] not in shown


def test_an_old_key_is_said_once_and_its_age_is_a_metric_that_follows_the_file(tmp_path: Path) -> None:
    path = keyring_file(tmp_path, days_old=91)
    with capture_logs() as logs:
        keyring = Keyring(path)
        keyring.tell_age()
        assert _metric() == pytest.approx(keyring.created.timestamp())
    assert [line["days"] for line in logs if "is old" in line["event"]] == [91]
    made = rotate(path)
    assert _metric() == pytest.approx(made.created.timestamp())


def _metric() -> float | None:
    return REGISTRY.get_sample_value("linkspan_key_created_timestamp_seconds", {"use": "keyring"})


def test_a_sealed_secret_opens_after_a_rotation_and_with_no_other_keyring(tmp_path: Path) -> None:
    path = keyring_file(tmp_path)
    sealed = seal_text("the-api-key", Keyring(path))
    assert "the-api-key" not in sealed
    rotate(path)
    assert open_text(sealed, Keyring(path)) == "the-api-key"
    (tmp_path / "other").mkdir()
    with pytest.raises(UserMistake, match="has no key"):
        open_text(sealed, Keyring(keyring_file(tmp_path / "other")))
    for damaged in (f"{sealed[:-6]}AAAA==", f"{sealed}!", "sealed:", "sealed:x", sealed.replace("=", "")[:40]):
        with pytest.raises(UserMistake) as raised:
            open_text(damaged, Keyring(path))
        assert "the-api-key" not in str(raised.value)
