"""Messages and plans into a release, from outside its pods, for as long as it is changed; and what became of them.

A sender keeps to what docs/ingress.md asks: the next message of a key after the acknowledgement of the one before, and
what was not acknowledged again, with the same id.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from linkspan.reference.plans.floor_plan import write_floor_plan

#: Seconds between two messages of a key, and between two plans.
PAUSE, PLAN_PAUSE = 0.5, 10.0
_LATER = 0.5


def asked(
    address: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Status and JSON; status 0 where there was no answer. ``address``: host, or host:port."""
    connection = http.client.HTTPConnection(address, timeout=15)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, str(error)
    finally:
        connection.close()


def asked_text(address: str, path: str) -> str:
    """Raises OSError."""
    connection = http.client.HTTPConnection(address, timeout=15)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@dataclass
class Load:
    """``accepted``: message ids by plan, in the order in which they were acknowledged. ``refused``: answers that are
    neither an acknowledgement nor a reason to come again. ``waited``: longest time until an acknowledgement, seconds.
    ``in_order``: each key's messages arrive as they were acknowledged; not promised of what two replicas have spooled.
    """

    ingress: str
    manager: str
    folder: Path
    keys: int = 6
    accepted: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    plans: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    again: int = 0
    waited: float = 0.0
    in_order: bool = True

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._token = ""
        self._threads = [threading.Thread(target=self._messages, daemon=True) for _ in range(self.keys)]
        self._threads.append(threading.Thread(target=self._uploads, daemon=True))

    def __enter__(self) -> Self:
        write_floor_plan(self.folder / "floor-plan.dxf")
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def count(self) -> int:
        return sum(len(ids) for ids in self.accepted.values())

    def _messages(self) -> None:
        plan, number = str(uuid.uuid4()), 0
        while not self._stop.is_set():
            number += 1
            message_id = str(uuid.uuid4())
            message = {
                "header": {"messageId": message_id, "type": "AnalysisComplete", "source": "analysis"},
                "payload": _analysis(plan, number),
            }
            if self._told(message):
                self.accepted[plan].append(message_id)
            self._stop.wait(PAUSE)

    def _told(self, message: dict[str, Any]) -> bool:
        """Until it is acknowledged, also after the end of the load: then it is known what became of it."""
        body, began = json.dumps(message).encode(), time.monotonic()
        while True:
            status, said = asked(
                self.ingress, "POST", "/v1/messages", body, {"Content-Type": "application/json", "Connection": "close"}
            )
            if status == 202:
                self.waited = max(self.waited, time.monotonic() - began)
                return True
            if status not in (0, 503) or time.monotonic() - began > 300:
                self.refused.append(f"{status} {said}")
                return False
            self.again += 1
            time.sleep(_LATER)

    def _uploads(self) -> None:
        content = (self.folder / "floor-plan.dxf").read_bytes()
        while not self._stop.is_set():
            plan = str(uuid.uuid4())
            said = {"identifier": plan[:8], "title": "load", "category": "office", "fileName": "floor-plan.dxf"}
            status, _ = self._manager("PUT", f"/v1/plans/{plan}?{urlencode(said)}", content)
            if status in (200, 201, 202):
                self.plans.append(plan)
            self._stop.wait(PLAN_PAUSE)

    def _manager(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        status, found = 401, None
        if self._token:
            status, found = asked(self.manager, method, path, body, {"Authorization": f"Bearer {self._token}"})
        if status == 401:
            form = {
                "grant_type": "client_credentials",
                "client_id": "linkspan",
                "client_secret": "linkspan-development",
            }
            head = {"Content-Type": "application/x-www-form-urlencoded"}
            given, answer = asked(self.manager, "POST", "/oauth/token", urlencode(form).encode(), head)
            if given != 200:
                return given, answer
            self._token = answer["access_token"]
            return asked(self.manager, method, path, body, {"Authorization": f"Bearer {self._token}"})
        return status, found

    def received(self) -> Iterator[dict[str, Any]]:
        """All that the plan manager got, in the order of its arrival."""
        after = 0
        while True:
            status, page = self._manager("GET", f"/v1/received?after={after}&limit=1000")
            assert status == 200, f"the plan manager answers {status}: {page}"
            yield from page["items"]
            if not page["items"]:
                return
            after = page["items"][-1]["n"]

    def state(self, plan: str) -> str:
        status, found = self._manager("GET", f"/v1/plans/{plan}")
        return str(found["state"]) if status == 200 else f"{status} {found}"

    def settled(self, seconds: float = 180) -> None:
        """Waits until every accepted message was received and every plan analysed; fails with what is missing."""
        end = time.monotonic() + seconds
        while True:
            stored = {item["idempotencyKey"] for item in self.received() if item["result"] == "stored"}
            missing = [each for ids in self.accepted.values() for each in ids if each not in stored]
            open_plans = {plan: state for plan in self.plans if (state := self.state(plan)) != "analysed"}
            if not missing and not open_plans:
                break
            assert time.monotonic() < end, f"lost: {missing[:5]} of {len(missing)}; {open_plans}"
            time.sleep(2)
        self._judged()

    def _judged(self) -> None:
        """Each once, and those of a key in their order, where that is promised."""
        assert not self.refused, self.refused[:5]
        arrived: dict[str, list[str]] = defaultdict(list)
        for item in self.received():
            if item["result"] == "stored":
                arrived[item["key"]].append(item["idempotencyKey"])
        for plan, ids in self.accepted.items():
            found = arrived[plan] if self.in_order else sorted(arrived[plan])
            wanted = ids if self.in_order else sorted(ids)
            assert found == wanted, f"key {plan}: {len(found)} arrived, {len(ids)} were accepted; or another order"


def _analysis(plan: str, number: int) -> dict[str, Any]:
    results = {
        "identifier": "LOAD",
        "type": "OFF",
        "verdict": "complete",
        "figures": [{"label": "Number", "value": float(number)}],
        "masses": [],
        "storeys": [],
        "assumptions": "none",
    }
    return {"analysisId": str(uuid.uuid4()), "planId": plan, "results": results, "recommendations": []}
