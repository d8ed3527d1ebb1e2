"""A connection to the first control API that answers, and calls over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import grpc

from linkspan.cli.control.connection import Connection, Files, on_this_machine
from linkspan.cli.control.refusals import gone, refusal
from linkspan.cli.ended import CommandEnded, ExitCode
from linkspan.control.v1.control_pb2_grpc import ControlServiceStub
from linkspan.kernel.errors import UserMistake

REACH_SECONDS = 3.0
READ_SECONDS = 20.0
CHANGE_SECONDS = 30.0
AGAIN_SECONDS = 1.0
_MIB = 1024 * 1024
_HEALTH = "/grpc.health.v1.Health/Check"
_NEVER_SENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

Q = TypeVar("Q")
A = TypeVar("A")


class Session:
    """Raises CommandEnded where no address answers, or a call is refused."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.address = connection.addresses[0]
        self._channel: grpc.Channel | None = None
        self._metadata = (("authorization", f"Bearer {connection.token}"),) if connection.token else ()

    @property
    def api(self) -> ControlServiceStub:
        if self._channel is None:
            self._channel = self._reach()
        return ControlServiceStub(self._channel)

    def ask(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, seconds: float = READ_SECONDS) -> A:
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            raise refusal(error, self.address) from error

    def change(self, method: grpc.UnaryUnaryMultiCallable[Q, A], request: Q, seconds: float = CHANGE_SECONDS) -> A:
        """As ``ask``; says where it is not known what became of it."""
        try:
            return method(request, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as error:
            ended = refusal(error, self.address)
            if gone(error):
                text = f"{ended}; whether it was taken is not known: linkspan audit-trail shows it"
                ended = CommandEnded(text, ended.code)
            raise ended from error

    def listen(self, method: grpc.UnaryStreamMultiCallable[Q, A], request: Q) -> Iterator[A]:
        """What comes until it ends; the call is cancelled where nobody listens any more."""
        call = method(request, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise refusal(error, self.address) from error
        finally:
            call.cancel()

    def follow(
        self,
        method: Callable[[ControlServiceStub], grpc.UnaryStreamMultiCallable[Q, A]],
        request: Q,
        lost: Callable[[str], None],
    ) -> Iterator[A]:
        """Without end: a connection that breaks is told to ``lost``, and made again to whichever address answers."""
        yield from self._stream(method(self.api), request, lost)
        while True:
            time.sleep(AGAIN_SECONDS)
            try:
                yield from self._stream(method(self.api), request, lost)
            except CommandEnded as ended:
                if ended.code is not ExitCode.AWAY:
                    raise
                lost(str(ended))

    def _stream(
        self, method: grpc.UnaryStreamMultiCallable[Q, A], request: Q, lost: Callable[[str], None]
    ) -> Iterator[A]:
        call = method(request, metadata=self._metadata)
        try:
            yield from call
            lost(f"{self.address} ended")
        except grpc.RpcError as error:
            if not gone(error):
                raise refusal(error, self.address) from error
            lost(str(refusal(error, self.address)))
        finally:
            call.cancel()
        self.close()

    def close(self) -> None:
        """The next call connects anew."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _reach(self) -> grpc.Channel:
        said: list[str] = []
        for address in self.connection.addresses:
            channel = _channel(address, self.connection.tls)
            why = _away(channel)
            if why is None:
                self.address = address
                return channel
            channel.close()
            said.append(f"{address}: {why}")
        raise CommandEnded(
            f"no control API answers: {'; '.join(said)}. Is ingress or egress running there? "
            f"--control, LINKSPAN_CONTROL or a profile says where{self._hint}",
            ExitCode.AWAY,
        )

    @property
    def _hint(self) -> str:
        if self.connection.tls is None:
            return ""
        return "; it was asked by TLS (LINKSPAN_CA), plain text is for LINKSPAN_PLAIN_TEXT=development"


def _away(channel: grpc.Channel) -> str | None:
    """Why it cannot be reached; any answer at all says that it can."""
    check = channel.unary_unary(_HEALTH, request_serializer=bytes, response_deserializer=bytes)
    try:
        check(b"", timeout=REACH_SECONDS)
    except grpc.RpcError as error:
        if error.code() not in _NEVER_SENT:
            return None
        said = str(error.details() or "").rpartition("; last error: ")[2].rpartition("remote host: ")[2]
        return said if error.code() is grpc.StatusCode.UNAVAILABLE else "no answer"
    return None


def _channel(address: str, tls: Files | None) -> grpc.Channel:
    options = [
        ("grpc.max_receive_message_length", 16 * _MIB),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.enable_http_proxy", 0 if on_this_machine(address) else 1),
    ]
    if tls is None:
        return grpc.insecure_channel(address, options)
    ca, key, cert = (_read(one) for one in (tls.ca, tls.key, tls.cert))
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca, key, cert), options)


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserMistake(f"{path}: {error.strerror}") from error
