"""Which control API is asked, and as whom: from options, the environment, a profile, or what a demo leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from linkspan.cli.control.profiles import Profile, Profiles, read_profiles
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.places import default_data_dir
from linkspan.kernel.tls.trusted import client_files

DEFAULT = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class Files:
    """PEM; ``ca`` None: those that the system trusts."""

    ca: Path | None
    cert: Path | None
    key: Path | None


@dataclass(frozen=True, slots=True)
class Connection:
    """``addresses``: in the order in which they are tried; ``tls`` None: in the clear."""

    addresses: tuple[str, ...]
    token: str | None
    tls: Files | None


def on_this_machine(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def choose(control: str | None, token: str | None, profile: str | None, environ: Mapping[str, str]) -> Connection:
    """The command line comes before the environment, that before a profile. Raises UserMistake.

    An address that is given stands alone: no token of another place's profile goes there.
    """
    profiles = read_profiles()
    given = control or (None if profile else environ.get("LINKSPAN_CONTROL"))
    chosen = _profile(profiles, profile, given, environ)
    addresses = addresses_in(given or (chosen.control if chosen else DEFAULT))
    by_environ = environ.get("LINKSPAN_TOKEN")
    of_profile = _token_of(chosen)
    found = token or (of_profile or by_environ if profile else by_environ or of_profile)
    return Connection(addresses, found or _token_of_this_machine(addresses, environ), _tls(chosen, environ))


def _profile(profiles: Profiles, name: str | None, given: str | None, environ: Mapping[str, str]) -> Profile | None:
    if name:
        return profiles.get(name)
    wanted = None if given else environ.get("LINKSPAN_PROFILE") or profiles.current
    return profiles.get(wanted) if wanted else None


def addresses_in(text: str) -> tuple[str, ...]:
    """Raises UserMistake that shows how one looks."""
    found = tuple(one.strip() for one in text.split(",") if one.strip())
    for one in found:
        host, _, port = one.rpartition(":")
        if not host or "/" in one or not port.isdigit() or not 0 < int(port) < 65536:
            raise UserMistake(f"{one}: expected host:port of a control API, such as {DEFAULT}")
    if not found:
        raise UserMistake(f"the address of the control API is empty: say host:port, such as {DEFAULT}")
    return found


def _token_of(profile: Profile | None) -> str | None:
    if profile is None or profile.token_file is None:
        return None
    try:
        return profile.token_file.read_text(encoding="utf-8").strip() or None
    except OSError as error:
        raise UserMistake(f"token_file {profile.token_file}: {error.strerror}") from error


def _token_of_this_machine(addresses: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    """What a process in development mode left for its owner; told to this machine alone."""
    if not all(map(on_this_machine, addresses)):
        return None
    data = Path(environ.get("LINKSPAN_DATA") or default_data_dir())
    try:
        return (data / "control" / "token").read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _tls(profile: Profile | None, environ: Mapping[str, str]) -> Files | None:
    """What a profile does not say, the environment does; in the clear only where that allows it."""
    said = profile is not None and (profile.tls or profile.ca or profile.cert)
    if not said and environ.get("LINKSPAN_PLAIN_TEXT") == "development":
        return None
    ca, cert, key = client_files(environ)
    if profile is None or not said:
        return Files(ca, cert, key)
    if bool(profile.cert) != bool(profile.key):
        raise UserMistake("a profile needs cert and key together")
    return Files(profile.ca or ca, profile.cert or cert, profile.key or key)
