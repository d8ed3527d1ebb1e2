"""TCP ports of the broker, all on 127.0.0.1."""

import random
import socket
from contextlib import suppress
from pathlib import Path

from linkspan.broker.errors import BrokerError

HOST = "127.0.0.1"
LOWEST, HIGHEST = 15000, 32767
EPHEMERAL = (32768, 60999)  # Linux's default, where its own is not to be read
LISTENING = "0A"  # a state in /proc/net/tcp
_given: set[int] = set()


def ephemeral_range() -> tuple[int, int]:
    """First and last port that the system gives to outgoing connections.

    There a client of a broker that is down can be given the broker's own port, connect to itself, and keep the port.
    """
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()
        return int(first), int(last)
    except (OSError, ValueError):
        return EPHEMERAL


def is_free(port: int) -> bool:
    """Whether Kafka could listen there; like Kafka it passes over connections that are only waiting for their end."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def choose(*taken: int) -> int:
    """A free port at random (brokers that start together would all find the same first one), never one of `taken`, nor
    one that this process was given before: what it is for may not listen there yet."""
    first, last = ephemeral_range()
    candidates = [
        port
        for port in range(LOWEST, HIGHEST + 1)
        if not first <= port <= last and port not in taken and port not in _given
    ]
    for port in random.SystemRandom().sample(candidates, min(len(candidates), 500)):
        if is_free(port):
            _given.add(port)
            return port
    raise BrokerError(
        f"no port between {LOWEST} and {HIGHEST} is free outside the ephemeral range {first}-{last}: name one"
    )


def require_free(port: int) -> None:
    """
    Raises:
        BrokerError: the port is taken; names it, and the process where this user may see that.
    """
    if is_free(port):
        return
    raise BrokerError(f"port {port} is taken{_holder(port)}: stop what holds it, or give another port (0 chooses one)")


def is_listening(port: int) -> bool:
    """Whether anything listens on the port, found without connecting to it; always true where there is no `/proc`.

    A probe that connects too early to a port in the ephemeral range can connect to itself and keep Kafka from the port.
    """
    return bool(_listening_inodes(port)) or not Path("/proc/net/tcp").exists()


def _holder(port: int) -> str:
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*") if inodes else []:
        with suppress(OSError):
            for handle in (process / "fd").iterdir():
                if _target(handle) in inodes:
                    return f" by process {process.name} ({(process / 'comm').read_text(encoding='utf-8').strip()})"
    return ""


def _target(handle: Path) -> str:
    try:
        return str(handle.readlink())
    except OSError:
        return ""


def _listening_inodes(port: int) -> set[str]:
    """The sockets that listen on the port, as `/proc/<pid>/fd` names them; empty where there is no `/proc`."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for row in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                cells = row.split()
                if cells[3] == LISTENING and int(cells[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{cells[9]}]")
    return found
