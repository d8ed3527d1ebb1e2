"""How a process starts, says that it is ready, and stops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import uvicorn
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.telemetry.heartbeat import Heartbeat
from linkspan.kernel.tls.served import Served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Check = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, else what is wrong."""


def calm_collector() -> None:
    """Messages make no reference cycles, but the collector counts them: by default it looks every 700 objects, and at
    all messages in memory every now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def stop_event() -> asyncio.Event:
    """Set by SIGTERM or SIGINT; call it inside the running loop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; raises UserMistake where the port is taken. Port 0 chooses one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise UserMistake(
            f"{host}:{port} cannot be listened on ({error.strerror}); choose another with --port"
        ) from error
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket, host: str, served: Served | None) -> str:
    """Where the listener is reached: ``https://host:port``, or http."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if served else 'http'}://{shown}:{listener.getsockname()[1]}"


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's own stop_event decides


@asynccontextmanager
async def http_server(
    app: Any, listener: socket.socket, served: Served | None = None, **options: Any
) -> AsyncIterator[None]:
    """Serves ``app`` (ASGI) until the block ends; requests under way get 5 s to finish. ``served`` None: in the
    clear."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
        server_header=False,
        **options,
    )
    config.load()
    config.ssl = served.context if served else None
    server = _Server(config)
    beat = Heartbeat()
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
                raise RuntimeError("the HTTP server stopped while starting")
            await asyncio.sleep(0.01)
        yield
    finally:
        beat.stop()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await task


def add_operations(app: Starlette, *, ready: Check, checks: Mapping[str, Check]) -> None:
    """Adds ``/live``, ``/ready``, ``/health`` and ``/metrics`` to ``app``, which may be a FastAPI one too.

    ``/live`` says only that the process runs, and which one it is, ``/ready`` that this replica can do its work;
    ``/health`` asks all ``checks`` and is 503 unless every one passes.
    """
    started, replica = time.monotonic(), f"{socket.gethostname()}-{os.getpid()}"

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "alive", "replica": replica})

    async def is_ready(_request: Request) -> Response:
        wrong = await ready()
        return JSONResponse({"ready": wrong is None, "reason": wrong}, 200 if wrong is None else 503)

    async def health(_request: Request) -> Response:
        found = await answers(checks)
        healthy = all(answer is None for answer in found.values())
        body = {
            "status": "healthy" if healthy else "unhealthy",
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "checks": {
                name: {"healthy": answer is None, **({"error": answer} if answer else {})}
                for name, answer in found.items()
            },
            "uptime": round(time.monotonic() - started, 3),
        }
        return JSONResponse(body, 200 if healthy else 503)

    async def metrics(request: Request) -> Response:
        """OpenMetrics, which has exemplars, for whoever asks for it; Prometheus does."""
        encode, form = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(REGISTRY), headers={"content-type": form})

    for path, endpoint in (("/live", live), ("/ready", is_ready), ("/health", health), ("/metrics", metrics)):
        app.router.add_route(path, endpoint, methods=["GET"])


async def answers(checks: Mapping[str, Check]) -> dict[str, str | None]:
    """All at once; each has 3 s."""
    found = await asyncio.gather(*(_ask(check) for check in checks.values()))
    return dict(zip(checks, found, strict=True))


async def _ask(check: Check) -> str | None:
    try:
        async with asyncio.timeout(3):
            return await check()
    except TimeoutError:
        return "no answer within 3 s"
    except Exception as error:  # noqa: BLE001 - a check that breaks is a failed check
        return str(error) or type(error).__name__
