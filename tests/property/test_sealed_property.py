"""Sealing takes confidential values out of any payload, and opening puts them back where they were."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.property.test_avro_property import fields
from tests.property.test_json_form_property import fitting
from tests.unit.crypto.shop import Shop
from tests.unit.crypto.vaults import vault

from linkspan.kernel.crypto.pointers import HIDDEN
from linkspan.kernel.schemas import expanded

MARKABLE = ("string", "bytes", ["null", "string"], ["null", "bytes"])


@st.composite
def marked(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Fields of which any that may be is perhaps confidential, however deep; one is in any case."""
    made = json.loads(json.dumps(draw(fields())))

    def mark(node: Any) -> None:
        if isinstance(node, dict):
            for item in node.get("fields", ()):
                if item["type"] in MARKABLE:
                    item["confidential"] = draw(st.booleans())
                mark(item["type"])
            for name in ("type", "items", "values"):
                mark(node.get(name))
        elif isinstance(node, list):
            for branch in node:
                mark(branch)

    mark({"fields": made})
    return [*made, {"name": "secret", "type": "string", "confidential": True}]


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


@settings(max_examples=60)
@given(st.data())
def test_what_is_sealed_and_opened_is_what_was_sent_whatever_is_marked(data: st.DataObject) -> None:
    made = data.draw(marked())
    schema = expanded({"type": "record", "name": "n.R", "fields": made})
    payload = data.draw(fitting(schema))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_round_trip(Path(folder), made, payload))


async def _round_trip(folder: Path, made: list[dict[str, Any]], payload: Any) -> None:
    shop = Shop(folder, made)
    ours = vault(folder)
    plain, sealed = shop.plain(payload), await shop.sealed(ours, payload)
    wanted = shop.decoder.json(plain.value)
    record = shop.decoder.sealed(sealed.value)
    assert record is not None
    assert len(record["pointers"]) >= 1
    opened = shop.opener(ours).now(sealed.value)
    assert opened is not None
    assert opened[0] == wanted
    # Everybody else sees the same message but for the values.
    hidden = shop.decoder.json(sealed.value)
    assert (hidden["header"], hidden["metadata"]) == (wanted["header"], wanted["metadata"])
    for pointer in record["pointers"]:
        where: Any = hidden["payload"]
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            where = where[int(name) if isinstance(where, list) else name]
        assert where in (HIDDEN, HIDDEN.encode())
    assert len(list(leaves(hidden))) == len(list(leaves(wanted)))
    # The digest is the message's, whatever nonce and key.
    assert (await shop.sealed(ours, payload)).digest == sealed.digest
