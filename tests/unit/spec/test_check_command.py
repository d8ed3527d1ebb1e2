"""`linkspan check`: exit code 0 when all is well, 1 for an example that fails, 2 for a file that is not right."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from linkspan.cli.main import main

ORDERS = Path(__file__).parents[1] / "transform/orders"


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Check = Callable[..., Done]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """The console script, in this process."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["linkspan", "check", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        return Done(int(left.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ORDERS, tmp_path / "orders")) / "integration.yaml"


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_right_file_says_what_was_read_and_runs_its_examples(check: Check, orders: Path) -> None:
    done = check(str(orders))
    assert (done.returncode, done.stderr) == (0, "")
    assert "system A: shop, rest, http://shop.test, 4 attempts" in done.stdout
    assert "pass  order-placed: an order of two lines\n" in done.stdout
    assert "3 examples, 0 failed" in done.stdout
    assert "s3cret" not in done.stdout


def test_a_failing_example_shows_each_field_that_differs(check: Check, orders: Path) -> None:
    examples = orders.parent / "examples/order-placed.yaml"
    replace(examples, "state: READY\n    items: [{article: A-1, quantity: 2}", "state: NEW\n    items: [{article: A-1}")
    replace(examples, "is not a uuid", "is not a number")
    done = check(str(orders))
    assert done.returncode == 1
    assert "FAIL  order-placed: an order of two lines" in done.stdout
    assert "      state: expected 'NEW', got 'READY'\n" in done.stdout
    assert "      items[0].quantity: expected nothing, got 2\n" in done.stdout
    assert "      expected the error 'input.orderId: is not a number', got " in done.stdout


def test_everything_that_does_not_fit_is_said_with_its_line(check: Check, orders: Path) -> None:
    replace(orders, "key: payload.orderId", "key: payload.orderID")
    replace(orders, '{path: "/v1/orders/{orderId}"}', '{path: "/v1/orders/{number}"}')
    replace(orders, '$value("state", status)', '$value("status", $now())')
    replace(orders, "type: ShipmentOrder\n", "type: Shipment\n    transform: [{step: no_such_step}, {jsonata: '('}]\n")
    replace(orders, "key: payload.orderID", "key: payload.orderID\n    answer: {type: Nothing, within: 1m}")
    done = check(str(orders))
    assert done.returncode == 2
    said = [line.removeprefix(f"linkspan: {orders}:") for line in done.stderr.splitlines()]
    assert [re.split("; (?:there|the folder has) ", line)[0] for line in said] == [
        "20: flows.order-placed.key: the schema has no such field; did you mean orderId?",
        "21: flows.order-placed.answer.type: no flow brings Nothing from warehouse",
        "24: flows.order-placed.transform[0].jsonata: $now cannot be used in a transform: use $header.timestamp",
        "32: flows.order-placed.deliver.path: {number} is no field of OrderPlaced",
        "37: flows.order-returned.type: there is no schema orders/Shipment.1.avsc",
        "38: flows.order-returned.transform[0].step: no step 'no_such_step' is installed",
        "38: flows.order-returned.transform[1].jsonata: not a JSONata expression: Unexpected end of expression",
    ]


EXAMPLE = """\
- name: the customer is looked up
  input: {orderId: 0190b3a0-7b1e-7c3a-9f00-1234567890ab, total: 1, placedAt: "2026-01-31T12:00:00Z"}
  lookups: {0190b3a0-7b1e-7c3a-9f00-1234567890ab: {name: Ada}}
  contains: {id: Ada}
- name: nobody is there
  input: {orderId: 0190b3a0-7b1e-7c3a-9f00-1234567890ab, total: 1, placedAt: "2026-01-31T12:00:00Z"}
  error: shop has nothing for orderId
"""
LOOKUP = """\
      - lookup: {system: shop, path: "/v1/customers/{orderId}", key: orderId, into: customer}
      - jsonata: |
          {
            "id": customer.name,
"""


def test_examples_with_lookups_run_without_the_system(check: Check, orders: Path) -> None:
    replace(orders, '      - jsonata: |\n          {\n            "id": orderId,\n', LOOKUP)
    done = check(str(orders))
    assert done.returncode == 1
    assert "the lookup of customer found nothing: shop has nothing for orderId" in done.stdout
    examples = orders.parent / "examples/order-placed.yaml"
    examples.write_text(EXAMPLE)
    done = check(str(orders))
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 examples, 0 failed" in done.stdout


def test_a_lookup_that_does_not_fit_the_payload_is_said_with_its_line(check: Check, orders: Path) -> None:
    replace(
        orders, '      - jsonata: |\n          {\n            "id": orderId,\n', LOOKUP.replace("orderId", "number")
    )
    replace(orders, "into: customer", "into: status")
    done = check(str(orders))
    assert done.returncode == 2
    said = [line.removeprefix(f"linkspan: {orders}:").split("; ")[0] for line in done.stderr.splitlines()]
    assert said == [
        "23: flows.order-placed.transform[0].lookup.path: {number} is no field of OrderPlaced",
        "23: flows.order-placed.transform[0].lookup.into: OrderPlaced has a field 'status' already",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("- name: only", "- nam: only", "order-placed.yaml:16: [1].name: required field missing"),
        ("  contains:", "  containing:", "give one of output, contains and error"),
        ("  error: ", "  input: {}\n  error: ", "[2].input: is given twice"),
        ("note.txt}\n  metadata", "no.txt}\n  metadata", "no.txt: cannot be read: No such file or directory"),
    ],
)
def test_an_example_file_that_is_not_right_is_a_mistake(
    check: Check, orders: Path, old: str, new: str, said: str
) -> None:
    replace(orders.parent / "examples/order-placed.yaml", old, new)
    done = check(str(orders))
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_one_line(check: Check, tmp_path: Path) -> None:
    done = check(str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stderr == f"linkspan: {tmp_path}/none.yaml: cannot be read: No such file or directory\n"


def test_the_json_schema_is_printed(check: Check) -> None:
    done = check("--json-schema")
    assert done.returncode == 0
    assert done.stdout.startswith('{\n  "$schema"')
