"""The gRPC server: who listens, how large and how long calls may be, and how it ends."""

from __future__ import annotations

import asyncio
import socket

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from linkspan.control.certificate import control_certificate, credentials
from linkspan.control.interceptors.around import Around
from linkspan.control.reflected import descriptors
from linkspan.control.servicer import Servicer
from linkspan.control.settings import ControlSettings
from linkspan.control.v1 import control_pb2
from linkspan.control.v1.control_pb2_grpc import add_ControlServiceServicer_to_server
from linkspan.kernel.errors import UserMistake

NAME = control_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name
MIB = 1024 * 1024
#: Calls under way get so long to end when the process stops, seconds.
_GRACE = 1.0
_MOST_CALLS = 256
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a port that is taken must be an error, not shared
    ("grpc.max_receive_message_length", 4 * MIB),
    ("grpc.max_send_message_length", 16 * MIB),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class ControlServer:
    """``start`` gives the address, host:port."""

    def __init__(self, servicer: Servicer, around: list[Around], settings: ControlSettings) -> None:
        self._settings = settings
        self._server = aio.server(interceptors=around, options=_OPTIONS, maximum_concurrent_rpcs=_MOST_CALLS)
        self._health = health.aio.HealthServicer()
        add_ControlServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server, descriptors())

    async def start(self, host: str, port: int) -> str:
        """Port 0 chooses one. Raises UserMistake."""
        shown = control_certificate(self._settings)
        where = f"{f'[{host}]' if ':' in host else host}:{port}"
        try:
            if shown is None:
                bound = self._server.add_insecure_port(where)
            else:
                bound = self._server.add_secure_port(where, credentials(shown, self._settings))
        except RuntimeError as error:
            text = f"{where} cannot be listened on; choose another with --control-port"
            raise UserMistake(text) from error
        await self._server.start()
        for name in ("", NAME):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reached = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
        return f"{f'[{reached}]' if ':' in reached else reached}:{bound}"

    async def stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self._server.stop(_GRACE))
        await asyncio.wait({stopping}, timeout=_GRACE + 2)
