"""``linkspan keyring``, and what a process and an integration file say of a keyring that is not there."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.unit.crypto.shop import Shop
from tests.unit.crypto.vaults import keyring_file

from linkspan.cli.main import main
from linkspan.kernel.config import Settings
from linkspan.kernel.crypto.keyring import Keyring
from linkspan.kernel.crypto.secret_text import seal_text
from linkspan.kernel.crypto.start import checked_blob_store
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.lined_yaml import InvalidFile
from linkspan.kernel.spec_file import load_integration

CONFIDENTIAL = [{"name": "note", "type": "string", "confidential": True}]


def linkspan(monkeypatch: pytest.MonkeyPatch, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["linkspan", "keyring", *arguments])
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()


def with_key(shop: Shop, api_key: str) -> None:
    text = shop.file.read_text()
    shop.file.write_text(text.replace('store.test"', f'store.test", auth: {{api_key: "{api_key}"}}'))


def test_a_keyring_is_made_rotated_and_listed_and_no_key_is_ever_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept" / "keyring.yaml"
    monkeypatch.setenv("LINKSPAN_KEYRING", str(path))
    made = linkspan(monkeypatch, "rotate")
    rotated = linkspan(monkeypatch, "rotate", "--file", str(path))
    listed = linkspan(monkeypatch, "list")
    first, second = (entry.id for entry in Keyring(path).keys.keys)
    assert (made[0], made[1].startswith("made"), rotated[1].startswith("rotated")) == (0, True, True)
    lines = listed[1].splitlines()
    assert [line.split()[:2] for line in lines] == [[second, "wraps"], [first, "unwraps"]]
    assert all(line.endswith("0 days") for line in lines)
    said = "".join(text for one in (made, rotated, listed) for text in one[1:])
    secrets = [line.split()[-1] for line in path.read_text().splitlines() if "key: " in line or "digest: " in line]
    assert len(secrets) == 3
    assert not [secret for secret in secrets if secret in said]
    assert listed[2] == ""


def test_an_old_key_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = keyring_file(tmp_path, days_old=90.5)
    code, out, err = linkspan(monkeypatch, "list", "--file", str(path))
    assert (code, "90 days" in out) == (0, True)
    assert "the newest key is older than 90 days: linkspan keyring rotate" in err


def test_a_secret_is_sealed_from_standard_input_and_is_what_the_system_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, path = Shop(tmp_path, CONFIDENTIAL), keyring_file(tmp_path)
    code, out, _ = linkspan(monkeypatch, "seal", "--file", str(path), stdin="the-api-key\n")
    assert code == 0
    assert "the-api-key" not in out
    shop.file.write_text(
        shop.file.read_text().replace('store.test"', f'store.test", auth: {{api_key: "{out.strip()}"}}')
    )
    auth = load_integration(shop.file, {"LINKSPAN_KEYRING": str(path)}).systems["store"].auth
    assert auth is not None
    assert auth.api_key is not None
    assert auth.api_key.get_secret_value() == "the-api-key"


@pytest.mark.parametrize("environ", [{}, {"LINKSPAN_KEYRING": "no/such/file"}, {"LINKSPAN_KEYRING": "another"}])
def test_a_sealed_secret_that_cannot_be_opened_is_a_mistake_with_its_field(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    shop = Shop(tmp_path, CONFIDENTIAL)
    sealed = seal_text("the-api-key", Keyring(keyring_file(tmp_path)))
    with_key(shop, sealed)
    if environ.get("LINKSPAN_KEYRING") == "another":
        (tmp_path / "another").mkdir()
        environ = {"LINKSPAN_KEYRING": str(keyring_file(tmp_path / "another"))}
    with pytest.raises(InvalidFile) as raised:
        load_integration(shop.file, environ)
    assert [fault.field for fault in raised.value.faults] == ["systems.store.auth.api_key"]
    assert sealed.split(":")[2] not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list",), "--file, or LINKSPAN_KEYRING"),
        (("list", "--file", "no-such-file"), "cannot be read"),
        (("seal", "--file", "keyring.yaml"), "standard input"),
        (("shred", "integration.yaml", "--flow", "returns", "--key", "x"), "there are orders"),
        (("shred", "integration.yaml", "--flow", "orders"), "--key"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    Shop(tmp_path, CONFIDENTIAL)
    keyring_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINKSPAN_DATA", str(tmp_path / "data"))
    if arguments[0] == "shred":
        monkeypatch.setenv("LINKSPAN_KEYRING", "keyring.yaml")
    else:
        monkeypatch.delenv("LINKSPAN_KEYRING", raising=False)
    code, out, err = linkspan(monkeypatch, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert said in err


def test_confidential_fields_without_a_keyring_are_refused_or_where_plain_text_is_allowed_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, CONFIDENTIAL)
    monkeypatch.setenv("LINKSPAN_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LINKSPAN_KEYRING", raising=False)
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT", raising=False)
    with pytest.raises(UserMistake, match=r"LINKSPAN_KEYRING is not set, and flow orders .*\(Order: note\)"):
        checked_blob_store(Settings(), shop.integration, shop.catalog)
    monkeypatch.setenv("LINKSPAN_PLAIN_TEXT", "development")
    with capture_logs() as logs:
        assert checked_blob_store(Settings(), shop.integration, shop.catalog).vault is None
    assert [line["field"] for line in logs if "stored in the open" in line["event"]] == ["note"]
    monkeypatch.setenv("LINKSPAN_KEYRING", str(keyring_file(tmp_path)))
    assert checked_blob_store(Settings(), shop.integration, shop.catalog).vault is not None


def test_an_integration_without_confidential_fields_needs_no_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, [{"name": "note", "type": "string"}])
    monkeypatch.setenv("LINKSPAN_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LINKSPAN_KEYRING", raising=False)
    assert checked_blob_store(Settings(), shop.integration, shop.catalog).vault is None
