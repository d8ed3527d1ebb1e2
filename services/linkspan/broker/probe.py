"""Does Kafka answer? One metadata request in Kafka's own protocol, without a client library."""

import socket
import struct

from linkspan.broker.ports import HOST

METADATA, VERSION, CORRELATION = 3, 1, 7
REQUEST = struct.pack(">hhihi", METADATA, VERSION, CORRELATION, -1, 0)  # no client id, no topics
LARGEST_ANSWER = 65536  # bytes; one broker and no topic take about 40


def answers(port: int, timeout: float = 1.0) -> bool:
    """Whether the broker on the port says that it has joined its cluster (whatever listens there is not yet Kafka).

    `timeout` is in seconds, for each of connecting and reading.
    """
    try:
        with socket.create_connection((HOST, port), timeout=timeout) as connection:
            connection.sendall(struct.pack(">i", len(REQUEST)) + REQUEST)
            (size,) = struct.unpack(">i", _exactly(connection, 4))
            if not 8 <= size <= LARGEST_ANSWER:
                return False
            correlation, brokers = struct.unpack(">ii", _exactly(connection, size)[:8])
    except OSError:
        return False
    return bool(correlation == CORRELATION and brokers > 0)


def _exactly(connection: socket.socket, size: int) -> bytes:
    """Raises ConnectionError where the other side closes earlier."""
    read = b""
    while len(read) < size:
        more = connection.recv(size - len(read))
        if not more:
            raise ConnectionError("closed")
        read += more
    return read
