"""A message that the orders integration takes."""

from collections.abc import Callable
from typing import Any

from linkspan.transform import Transform

ID = "0190b3a0-7b1e-7c3a-9f00-1234567890ab"
Make = Callable[..., Transform]


def message(**payload: Any) -> dict[str, Any]:
    base = {
        "orderId": ID,
        "status": "paid",
        "total": 1200,
        "weight": None,
        "placedAt": "2026-01-31T12:00:00Z",
        "lines": [{"sku": "A-1", "count": 2}],
        "tags": {},
        "gift": False,
        "firstLine": None,
        "document": None,
    }
    header = {"messageId": ID, "timestamp": "2026-01-31T12:00:00Z", "source": "shop"}
    return {"header": header, "payload": base | payload, "metadata": {"priority": "normal", "correlationId": ID}}
