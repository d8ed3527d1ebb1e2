"""Every call is measured and told in the log, and what goes wrong in it reaches the caller as a status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import structlog
from grpc import aio

from linkspan.control.interceptors.around import Around
from linkspan.control.told import Told, shortened, told, trailing
from linkspan.kernel.telemetry import metrics

log = structlog.get_logger()

_OURS = "this is an error of Linkspan; its log has the details"


class Calls(Around):
    @asynccontextmanager
    async def around(self, method: str, context: Any) -> AsyncIterator[None]:
        name, began, code = method.rpartition("/")[2], time.perf_counter(), "OK"
        peer = context.peer()  # of a stream that was left there is none in the end, and asking gRPC ends the process
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except aio.AbortError:
            code = "ABORTED"
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status and no traceback
            status, text, details = _told(name, error)
            code = status.name
            await context.abort(status, shortened(text), trailing(status, text, details))
        finally:
            took = time.perf_counter() - began
            metrics.CONTROL_CALLS.labels(name, code).inc()
            metrics.CONTROL_SECONDS.labels(name).observe(took)
            log.debug("control call", method=name, code=code, seconds=round(took, 6), peer=peer)


def _told(name: str, error: Exception) -> Told:
    found = told(error)
    if found is None:
        log.error("control call failed", method=name, exc_info=error)
        return grpc.StatusCode.INTERNAL, _OURS, []
    return found
