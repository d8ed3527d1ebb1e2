"""Which control API is asked and as whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from linkspan.cli.control.connection import Connection, choose
from linkspan.cli.control.profile_command import profile
from linkspan.cli.control.profiles import Profile, Profiles, read_profiles
from linkspan.kernel.errors import UserMistake


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "data" / "control").mkdir(parents=True)
    (tmp_path / "data" / "control" / "token").write_text("of this machine\n")
    (tmp_path / "prod.token").write_text("of prod\n")
    return tmp_path


@pytest.fixture
def known(home: Path) -> Profiles:
    found = read_profiles()
    found.by_name["prod"] = Profile("a:1,b:2", home / "prod.token", ca=home / "ca.pem")
    found.by_name["plain"] = Profile("c:3")
    found.current = "prod"
    found.write()
    return found


def chosen(
    home: Path, control: str | None = None, token: str | None = None, profile: str | None = None, **environ: str
) -> tuple[tuple[str, ...], str | None]:
    found = choose(control, token, profile, {"LINKSPAN_DATA": str(home / "data")} | environ)
    return found.addresses, found.token


HERE = ("127.0.0.1:50051",)


def test_with_nothing_said_it_is_this_machine_with_the_token_that_lies_there(home: Path) -> None:
    assert chosen(home) == (HERE, "of this machine")


def test_the_token_of_this_machine_is_told_to_no_other(home: Path) -> None:
    assert chosen(home, "elsewhere:1") == (("elsewhere:1",), None)
    assert chosen(home, "127.0.0.1:1,elsewhere:1")[1] is None
    assert chosen(home, "127.example.com:1")[1] is None


def test_the_current_profile_is_used_and_its_secrets_go_to_no_other_address(home: Path, known: Profiles) -> None:
    assert chosen(home) == (("a:1", "b:2"), "of prod")
    assert chosen(home, "elsewhere:1") == (("elsewhere:1",), None)
    assert chosen(home, LINKSPAN_CONTROL="elsewhere:1") == (("elsewhere:1",), None)


def test_the_command_line_comes_before_the_environment_and_that_before_the_current_profile(
    home: Path, known: Profiles
) -> None:
    said = {"LINKSPAN_CONTROL": "env:1", "LINKSPAN_TOKEN": "of env"}
    assert chosen(home, **said) == (("env:1",), "of env")
    assert chosen(home, profile="prod", **said) == (("a:1", "b:2"), "of prod")
    assert chosen(home, profile="plain", **said) == (("c:3",), "of env")
    assert chosen(home, "x:1", "given", "prod", **said) == (("x:1",), "given")
    assert chosen(home, LINKSPAN_PROFILE="plain") == (("c:3",), None)


def test_certificates_of_a_profile_mean_tls(home: Path, known: Profiles) -> None:
    found: Connection = choose(None, None, None, {})
    assert found.tls is not None
    assert found.tls.ca == home / "ca.pem"
    allowed = {"LINKSPAN_PLAIN_TEXT": "development"}
    assert choose(None, None, None, allowed).tls == found.tls


def test_nothing_is_asked_in_the_clear_unless_the_environment_allows_it(home: Path, known: Profiles) -> None:
    encrypted = choose(None, None, "plain", {"LINKSPAN_CA": str(home / "ca.pem")}).tls
    assert encrypted is not None
    assert encrypted.ca == home / "ca.pem"
    assert choose(None, None, "plain", {"LINKSPAN_PLAIN_TEXT": "development"}).tls is None


@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:99999", "http://host:1", ","])
def test_an_address_that_is_none_is_named(home: Path, address: str) -> None:
    with pytest.raises(UserMistake, match=r"host:port"):
        choose(address, None, None, {})


def test_a_profile_that_is_not_there_says_which_are(home: Path, known: Profiles) -> None:
    with pytest.raises(UserMistake, match=r"profile test: .* has no such profile; there are prod, plain"):
        choose(None, None, "test", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "expected current: NAME"),
        ("profiles: {p: {token_file: x}}", r"profiles\.p\.control: say host:port"),
        ("profiles: {p: {control: 'a:1', user: x}}", r"profiles\.p\.user: no such field"),
        ("profiles: {", "profiles.yaml: while parsing"),
    ],
)
def test_a_wrong_profiles_file_names_itself_and_the_field(home: Path, known: Profiles, text: str, said: str) -> None:
    known.path.write_text(text)
    with pytest.raises(UserMistake, match=said):
        read_profiles()


def test_profiles_are_added_used_listed_and_removed_by_command(home: Path) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(profile, arguments)
        assert done.exit_code == 0, done.exception
        return done.output

    run("add", "prod", "--control", "a:1,b:2", "--token-file", str(home / "prod.token"), "--tls")
    run("add", "test", "--control", "c:3")
    assert run("list").splitlines()[0].startswith("* prod  a:1,b:2  token_file ")
    run("use", "test")
    assert "* test  c:3" in run("list").splitlines()
    run("remove", "test")
    assert read_profiles().current is None
    assert read_profiles().path.stat().st_mode & 0o777 == 0o600
