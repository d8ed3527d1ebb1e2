"""A transform of then gives what it gave then, whatever the integration says today, or says why it cannot."""

import json

import pytest
from tests.unit.transform.sample import Make, message

from linkspan.kernel.blobs import BlobStore
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_file import catalog_for
from linkspan.kernel.spec_transform import StepSpec
from linkspan.transform import NotAsThen, Transform


def as_of(text: str, orders: Integration, blobs: BlobStore) -> Transform:
    return Transform.as_of(text, orders, "order-placed", catalog_for(orders), blobs)


def test_the_steps_and_tables_of_then_are_used_and_not_today_s(orders: Integration, blobs: BlobStore) -> None:
    then = Transform(orders, "order-placed", catalog_for(orders), blobs)
    spec = orders.flows["order-placed"].model_copy(update={"transform": (StepSpec(jsonata='{"id": "another"}'),)})
    today = orders.model_copy(
        update={"values": {"state": {"paid": "ANOTHER"}}, "flows": orders.flows | {"order-placed": spec}}
    )
    again = as_of(then.text, today, blobs)
    assert again.apply_now(message()) == then.apply_now(message())
    assert (again.text, again.hash) == (then.text, then.hash)


def test_a_lookup_of_then_is_said_again_by_its_text(orders: Integration, blobs: BlobStore) -> None:
    lookup = {"system": "shop", "path": "/v1/orders/{orderId}", "key": "orderId", "into": "found", "missing": "null"}
    text = json.dumps({"steps": [{"lookup": lookup}, {"jsonata": '{"id": orderId, "state": "x"}'}], "values": {}})
    assert as_of(text, orders, blobs).text == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("not JSON", "cannot be read"),
        ('{"steps": [{"lookup": {"system": "shop"}}], "values": {}}', "cannot be read"),
        ('{"steps": [{"step": "nothing", "version": "1"}], "values": {}}', "step 0 .* no step 'nothing' is installed"),
        (
            '{"steps": [{"step": "extract_plan", "version": "x:y@0"}], "values": {}}',
            "is extract_plan x:y@0; installed is linkspan.reference",
        ),
        (
            '{"steps": [{"lookup": {"system": "gone", "path": "/{id}", "key": "id", "into": "x"}}], "values": {}}',
            "asks gone; there are",
        ),
    ],
)
def test_what_cannot_run_as_then_is_refused_with_what_is_missing(
    text: str, why: str, orders: Integration, blobs: BlobStore
) -> None:
    with pytest.raises(NotAsThen, match=why):
        as_of(text, orders, blobs)


def test_a_step_that_is_installed_in_the_version_of_then_is_taken(
    orders: Integration, blobs: BlobStore, make: Make
) -> None:
    then = make(step="extract_plan")
    again = as_of(then.text, orders, blobs)
    assert (again.hash, again.is_sync) == (then.hash, False)
