"""Steps that other distributions bring: found, run, and to blame when they break."""

import base64
import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.transform.sample import Make, message

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.errors import Poison, Unavailable
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for
from linkspan.kernel.steps import StepContext
from linkspan.transform import InvalidTransform, Transform


def test_a_step_that_is_not_installed_is_an_error_with_those_that_are(make: Make) -> None:
    with pytest.raises(
        InvalidTransform, match=r"transform\[0\].step: no step 'nothing' is installed; there are .*extract"
    ):
        make(step="nothing")


async def noted(payload: dict[str, Any], context: StepContext) -> dict[str, Any]:
    content = await context.content(payload["document"])
    return payload | {"note": f"{context.flow} {context.header['source']} {len(content)}"}


async def broken(payload: dict[str, Any], _: StepContext) -> dict[str, Any]:
    return {"x": payload["no such field"]}


async def away(payload: dict[str, Any], _: StepContext) -> dict[str, Any]:
    raise Unavailable("no room for another process")


async def odd(payload: dict[str, Any], _: StepContext) -> Any:
    return {"id": object()} if payload["gift"] else "text"


@dataclass
class Installed:
    folder: Path

    def add(self, **steps: str) -> None:
        info = self.folder / "order_steps-1.2.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: order-steps\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in steps.items()]
        (info / "entry_points.txt").write_text("[linkspan.steps]\n" + "\n".join(lines) + "\n")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This file's steps as an installed distribution brings them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    here = __name__
    Installed(tmp_path).add(
        noted=f"{here}:noted", broken=f"{here}:broken", away=f"{here}:away", odd=f"{here}:odd", gone="no_such_module:x"
    )
    importlib.invalidate_caches()


@pytest.mark.usefixtures("installed")
async def test_a_named_step_gets_content_and_the_next_expression_its_result(make: Make, blobs: BlobStore) -> None:
    transform = make('{"id": orderId, "state": note, "document": document}', step="noted")
    given = message(document=await blobs.put(b"12345"))
    assert not transform.is_sync
    assert transform.apply_now(given) is None
    made = await transform.apply(given)
    assert (made["state"], made["document"]) == ("order-placed shop 5", base64.b64encode(b"12345").decode())


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("step", "gift", "said"),
    [
        ("broken", False, "the step broken failed: KeyError: 'no such field'"),
        ("odd", False, "the step odd gave str, not a payload"),
        ("odd", True, "a step gave what JSON cannot say: "),
    ],
)
async def test_a_step_that_breaks_makes_poison(make: Make, step: str, gift: bool, said: str) -> None:
    with pytest.raises(Poison) as raised:
        await make("$", step=step).apply(message(gift=gift))
    assert said in raised.value.reason


@pytest.mark.usefixtures("installed")
async def test_a_step_says_itself_when_it_is_not_the_message_s_fault(make: Make) -> None:
    with pytest.raises(Unavailable, match="no room"):
        await make("$", step="away").apply(message())


@pytest.mark.usefixtures("installed")
def test_a_step_that_cannot_be_loaded_says_why(make: Make) -> None:
    with pytest.raises(InvalidTransform, match="the step gone cannot be loaded: No module named 'no_such_module'"):
        make(step="gone")


@pytest.mark.usefixtures("installed")
def test_the_hash_changes_with_whatever_decides_the_result(make: Make, orders: Integration, blobs: BlobStore) -> None:
    one = make('{"id": orderId, "state": $value("state", status)}')
    assert one.hash == hashlib.sha256(one.text.encode()).hexdigest()[:16]
    assert json.loads(one.text)["values"] == {"state": {"open": "NEW", "paid": "READY", "sent": "GONE"}}
    assert json.loads(make(step="noted").text)["steps"][0]["version"].endswith(":noted@1.2")
    assert one.hash != make('{"id": orderId,  "state": $value("state", status)}').hash
    other = orders.model_copy(update={"values": {"state": {**orders.values["state"], "lost": "LOST"}}})
    flows = [Transform(spec, "order-placed", catalog_for(spec), blobs) for spec in (orders, other)]
    assert flows[0].hash != flows[1].hash
    unused = [Transform(spec, "order-returned", catalog_for(spec), blobs) for spec in (orders, other)]
    assert unused[0].hash == unused[1].hash
