"""Takes submit frames into the durable queue, in order of arrival, as long as there is room."""

from __future__ import annotations

import asyncio

from prometheus_client import Counter

from linkspan.reference.analysis.submission import Submission, Verdict, keep, read_frame
from linkspan.reference.analysis.work import Worker
from linkspan.reference.store import Store

SUBMITTED = Counter("analysis_submitted_total", "Submit frames, by result.", ["result"])


class Intake:
    """``bound``: items that may wait for the worker; above it a new one is answered ``busy``."""

    def __init__(self, store: Store, worker: Worker, bound: int) -> None:
        self._store = store
        self._worker = worker
        self.bound = bound
        self._under_way = 0

    def submit(self, text: str) -> asyncio.Future[Verdict]:
        """The verdict comes when it is durable. Calls keep their order."""
        submission: Submission = read_frame(text)
        full = self._worker.queued + self._under_way >= self.bound
        self._under_way += 1
        future = self._store.submit(lambda connection: keep(connection, submission, full))
        future.add_done_callback(self._kept)
        return future

    def _kept(self, future: asyncio.Future[Verdict]) -> None:
        self._under_way -= 1
        if future.cancelled() or future.exception():
            return
        result = future.result().result
        SUBMITTED.labels(result).inc()
        if result == "queued":
            self._worker.added()
