"""An integration of one flow, with any payload schema, and what ingress and egress make of its messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from linkspan.ingress.flows import flow_intakes
from linkspan.ingress.seal import Sealing
from linkspan.ingress.validate import Message, Origin, Validator, encode
from linkspan.kernel.codec import Decoder, Encoded
from linkspan.kernel.crypto.sealed import Opener
from linkspan.kernel.crypto.vault import Vault
from linkspan.kernel.spec_file import catalog_for, load_integration

ID = "01980000-0000-7000-8000-0000000000a1"
SPEC = """
integration: shop
schemas: schemas
systems:
  web: {kind: rest, url: "http://web.test"}
  store: {kind: rest, url: "http://store.test"}
flows:
  orders: {from: web, to: store, type: Order}
"""


class Shop:
    """``versions``: of the payload's fields."""

    def __init__(self, folder: Path, *versions: list[dict[str, Any]]) -> None:
        schemas = folder / "schemas" / "shop"
        schemas.mkdir(parents=True, exist_ok=True)
        for number, fields in enumerate(versions, 1):
            schema = {"type": "record", "namespace": "shop.payload", "name": "Order", "fields": fields}
            (schemas / f"Order.{number}.avsc").write_text(json.dumps(schema))
        self.file = folder / "integration.yaml"
        self.file.write_text(SPEC)
        self.integration = load_integration(self.file, {})
        self.catalog = catalog_for(self.integration)
        self.validator = Validator(flow_intakes(self.integration, self.catalog), self.catalog)
        self.decoder = Decoder.of_events(self.catalog, "shop", ["Order"])

    def message(self, payload: Any, message_id: str = ID) -> Message:
        header = {"messageId": message_id, "type": "Order", "timestamp": "2026-01-31T12:00:00Z"}
        raw = msgspec.json.encode({"header": header, "payload": payload, "metadata": {"correlationId": ID}})
        return self.validator.validate(raw, Origin())

    def plain(self, payload: Any, message_id: str = ID) -> Encoded:
        return encode(self.message(payload, message_id))

    async def sealed(self, vault: Vault, payload: Any, message_id: str = ID) -> Encoded:
        sealing, message = Sealing(vault, self.catalog), self.message(payload, message_id)
        await sealing.ready(message.key)
        return sealing.event(message)

    def opener(self, vault: Vault | None) -> Opener:
        return Opener(self.decoder, vault)
