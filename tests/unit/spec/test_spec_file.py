"""An integration file is read with its environment; every mistake is said at once, with its line and field."""

import json
from pathlib import Path

import pytest

from linkspan.kernel.config import Settings
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.spec import Integration
from linkspan.kernel.spec_export import json_schema
from linkspan.kernel.spec_file import InvalidIntegration, catalog_for, load_integration
from linkspan.kernel.tls.plain import check_production

ORDERS = Path(__file__).parents[1] / "transform/orders/integration.yaml"
SMALL = """\
integration: small
systems:
  a: {kind: rest, url: "https://a.test"}
  b: {kind: websocket, url: "wss://b.test"}
flows:
  f:
    from: a
    to: b
    type: Thing
"""


def load(tmp_path: Path, text: str, **environ: str) -> Integration:
    path = tmp_path / "integration.yaml"
    path.write_text(text, encoding="utf-8")
    return load_integration(path, environ)


def mistakes(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidIntegration) as raised:
        load(tmp_path, text, **environ)
    return [f"{fault.line} {fault.field}: {fault.error}" for fault in raised.value.faults]


def test_a_file_is_read_with_durations_rates_and_defaults(tmp_path: Path) -> None:
    text = SMALL.replace('"https://a.test"', '"https://a.test", heartbeat: 1m, throttle: {rate: 600/m}, timeout: 500ms')
    system = load(tmp_path, text).systems["a"]
    assert (system.heartbeat, system.throttle.rate, system.timeout, system.retry.attempts) == (60, 10, 0.5, 3)


def test_the_environment_fills_text_and_numbers_in_quotes(tmp_path: Path) -> None:
    text = SMALL.replace(
        '"https://a.test"', '"${URL}/x-$${NOT}", retry: {attempts: "${N:-7}", first: "${F:-4}", cap: "${C}"}'
    )
    system = load(tmp_path, text, URL="https://env.test", C="90s").systems["a"]
    assert (system.url, system.retry.attempts) == ("https://env.test/x-${NOT}", 7)
    assert (system.retry.first, system.retry.cap) == (4, 90)


def test_jsonata_keeps_its_dollars(tmp_path: Path) -> None:
    text = SMALL + '    transform: [{jsonata: \'{"a": $value("t", x), "b": ${c: $sum(d)}}\'}]\n'
    assert load(tmp_path, text).flows["f"].transform[0].jsonata == '{"a": $value("t", x), "b": ${c: $sum(d)}}'


def test_a_missing_variable_is_named_with_line_and_field(tmp_path: Path) -> None:
    said = mistakes(tmp_path, SMALL.replace("https://a.test", "${A_URL}"))
    assert said == ["3 systems.a.url: the environment variable A_URL is not set, and the file has no ${A_URL:-default}"]


def test_a_variable_that_is_not_written_right_is_a_mistake(tmp_path: Path) -> None:
    assert "expected ${NAME}" in mistakes(tmp_path, SMALL.replace("https://a.test", "${lower}"))[0]


def test_the_environment_wins_over_literals() -> None:
    environ = {
        "SYSTEM_A_ENDPOINT": "https://other.test",
        "SYSTEM_A_CLIENT_ID": "me",
        "SYSTEM_A_CLIENT_SECRET": "sesame",
        "SYSTEM_B_ENDPOINT": "wss://there.test",
        "SYSTEM_B_API_KEY": "open",
        "RETRY_ATTEMPTS": "9",
    }
    shop, warehouse = load_integration(ORDERS, environ).systems.values()
    assert shop.auth is not None
    assert shop.auth.oauth2 is not None
    assert (shop.url, shop.auth.oauth2.client_id) == ("https://other.test", "me")
    assert shop.auth.oauth2.client_secret.get_secret_value() == "sesame"
    assert warehouse.auth is not None
    assert warehouse.auth.api_key is not None
    assert (warehouse.url, warehouse.auth.api_key.get_secret_value()) == ("wss://there.test", "open")
    assert [shop.retry.attempts, warehouse.retry.attempts] == [9, 9]


def test_a_bad_value_says_which_variable_it_came_from() -> None:
    with pytest.raises(InvalidIntegration) as raised:
        load_integration(ORDERS, {"SYSTEM_A_ENDPOINT": "shop.test", "RETRY_ATTEMPTS": "0"})
    text = str(raised.value)
    assert f"{ORDERS}:6: systems.shop.url: expected http://host… or https://host… for a rest system" in text
    assert text.count("(the value is from SYSTEM_A_ENDPOINT)") == 1
    assert text.count("retry.attempts: must be greater than or equal to 1 (the value is from RETRY_ATTEMPTS)") == 2


def test_a_credential_of_the_other_kind_is_refused_not_ignored(tmp_path: Path) -> None:
    said = mistakes(tmp_path, SMALL, SYSTEM_A_CLIENT_ID="x")
    assert said == ["3 systems.a.auth: SYSTEM_A_CLIENT_ID is set, but the system has no auth, not auth.oauth2"]


def test_all_mistakes_are_said_at_once_each_with_its_line(tmp_path: Path) -> None:
    said = mistakes(
        tmp_path,
        """\
integration: Small
systems:
  a: {kind: rest, url: "ws://a.test", heartbeet: 30s}
  b: {kind: websocket, url: "wss://b.test", heartbeat: 30q}
flows:
  f:
    from: a
    type: thing
    partitions: many
    deliver: {method: GET}
    transform:
      - {step: x, jsonata: y}
values:
  t: {on: yes, x: 5}
""",
    )
    assert [line.split(":")[0] for line in said] == [
        "1 integration",
        "3 systems.a.url",
        "3 systems.a.heartbeet",
        "4 systems.b.heartbeat",
        "6 flows.f.to",
        "8 flows.f.type",
        "9 flows.f.partitions",
        "10 flows.f.deliver.method",
        "12 flows.f.transform[0]",
        "14 values.t.x",
    ]
    assert "did you mean heartbeat?" in said[2]


def test_parts_must_fit_together(tmp_path: Path) -> None:
    text = SMALL + "  g: {from: a, to: c, type: Thing}\nvalues:\n  t: {x: A, y: A}\n"
    assert mistakes(tmp_path, text) == [
        "10 flows.g.to: no system 'c'; there are a, b",
        "10 flows.g.type: flow f takes Thing from a already",
        "12 values.t.y: 'A' stands for 'x' already; tables go both ways",
    ]


def test_polls_and_lookups_must_fit_the_systems(tmp_path: Path) -> None:
    text = SMALL.replace('"https://a.test"', '"https://a.test", poll: {path: /changes, every: 1m, limit: "${L:-7}"}')
    found = load(tmp_path, text)
    assert found.sources() == ["a"]
    assert found.systems["a"].poll
    assert (found.systems["a"].poll.every, found.systems["a"].poll.limit) == (60, 7)
    wrong = (
        SMALL.replace('"wss://b.test"', '"wss://b.test", poll: {path: /changes}')
        + """\
    transform:
      - lookup: {system: b, path: "/x/{id}", key: id, into: found}
      - lookup: {system: c, path: "/x/{id}", key: id, into: found, missing: null}
"""
    )
    assert mistakes(tmp_path, wrong) == [
        "4 systems.b.poll: only a rest system is polled, and this is a websocket system",
        "11 flows.f.transform[0].lookup.system: a lookup asks a rest system, and this is a websocket system",
        "12 flows.f.transform[1].lookup.system: no system 'c'; there are a, b",
    ]
    unused = SMALL.replace('websocket, url: "wss://b.test"', 'rest, url: "https://b.test", poll: {path: /c}')
    assert mistakes(tmp_path, unused) == ["4 systems.b.poll: no flow comes from b: nothing of it would be taken"]
    no_key = SMALL + "    transform: [{lookup: {system: a, path: /x, key: id, into: found}}]\n"
    assert mistakes(tmp_path, no_key) == [
        "10 flows.f.transform[0].lookup: the path does not have the key: write {id} into it"
    ]


def test_batches_have_defaults_and_the_environment_sets_their_size(tmp_path: Path) -> None:
    rest = SMALL.replace('websocket, url: "wss://b.test"', 'rest, url: "https://b.test"')
    batch = load(tmp_path, rest + "    deliver: {path: /all, batch: {}}\n").flows["f"].deliver.batch
    assert batch is not None
    assert (batch.size, batch.wait, batch.path) == (100, 1.0, None)
    text = rest + '    deliver: {path: "/x/{id}", batch: {size: 20, wait: 250ms, path: /x:batch}}\n'
    batch = load(tmp_path, text, BATCH_SIZE="500").flows["f"].deliver.batch
    assert batch is not None
    assert (batch.size, batch.wait, batch.path) == (500, 0.25, "/x:batch")
    assert load(tmp_path, rest, BATCH_SIZE="500").flows["f"].deliver.batch is None
    assert mistakes(tmp_path, text, BATCH_SIZE="0") == [
        "10 flows.f.deliver.batch.size: must be greater than or equal to 1 (the value is from BATCH_SIZE)"
    ]


def test_batches_that_cannot_be_are_refused_with_what_to_do(tmp_path: Path) -> None:
    rest = SMALL.replace('websocket, url: "wss://b.test"', 'rest, url: "https://b.test"')
    assert mistakes(tmp_path, rest + '    deliver: {path: "/x/{id}", batch: {}}\n') == [
        "10 flows.f.deliver.batch.path: say where batches go: /x/{id} names fields of one message"
    ]
    assert mistakes(tmp_path, SMALL + "    deliver: {batch: {}}\n    refusal: {batch: {}}\n") == [
        (
            "10 flows.f.deliver.batch: only a rest system takes batches, and this is a websocket system: "
            "its frames wait for no answer anyway"
        ),
        "11 flows.f.refusal.batch: refusals are told one by one; remove it",
    ]


def test_words_stay_words(tmp_path: Path) -> None:
    text = SMALL + "values:\n  country: {norway: NO, off: ON, time: 12:30, day: 2026-01-31}\n"
    assert load(tmp_path, text).values["country"] == {
        "norway": "NO",
        "off": "ON",
        "time": "12:30",
        "day": "2026-01-31",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("integration: a\nintegration: b\n", "2 integration: is given twice, first in line 1"),
        (
            "integration: !!python/name:os.system x\n",
            "1 integration: the tag !!python/name:os.system is not taken here",
        ),
        ("a: [1, 2\nb: 3\n", "2 : not YAML: while parsing a flow sequence"),
        ("systems: {a: {url: ${X}}}\n", 'must be quoted: "${NAME}"'),
        ("- a\n- b\n", "expected integration:, systems: and flows:"),
        ("", "expected integration:, systems: and flows:"),
        ("? [a]\n: b\n", "a field's name must be text"),
        ("a: &x [*x]\n", "values more than 50 deep"),
        ("[" * 3000, "deep"),
        ("a: \x01\n", "not YAML"),
    ],
)
def test_what_is_no_such_file_is_said_with_the_line(tmp_path: Path, text: str, said: str) -> None:
    assert any(said in line for line in mistakes(tmp_path, text))


def test_aliases_cannot_multiply(tmp_path: Path) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9))
    assert "more than 50000 values" in mistakes(tmp_path, f"l0: &l0 x\n{levels}\n")[0]


def test_secrets_do_not_appear_in_errors() -> None:
    with pytest.raises(InvalidIntegration) as raised:
        load_integration(ORDERS, {"SYSTEM_A_CLIENT_SECRET": "hush", "SYSTEM_A_API_KEY": "quiet", "ATTEMPTS": "x"})
    assert not {word for word in ("hush", "quiet", "s3cret", "k3y") if word in str(raised.value)}
    assert "hush" not in repr(load_integration(ORDERS, {"SYSTEM_A_CLIENT_SECRET": "hush"}))


def test_an_address_with_credentials_is_refused(tmp_path: Path) -> None:
    said = mistakes(tmp_path, SMALL.replace("https://a.test", "https://me:pass@a.test"))
    assert said == ["3 systems.a.url: an address holds no credentials; give them in auth"]


def test_production_refuses_plain_text_to_the_systems() -> None:
    with pytest.raises(InvalidIntegration) as raised:
        load_integration(ORDERS, {"INTEGRATION_MODE": "production"})
    assert [(fault.line, fault.field) for fault in raised.value.faults] == [
        (6, "systems.shop.url"),
        (12, "systems.warehouse.url"),
    ]


def test_production_refuses_plain_text_to_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"SYSTEM_A_ENDPOINT": "https://a.test", "SYSTEM_B_ENDPOINT": "wss://b.test"}
    integration = load_integration(ORDERS, environ)
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT")
    monkeypatch.setenv("INTEGRATION_MODE", "production")
    monkeypatch.setenv("MESSAGE_QUEUE_URL", "kafka://k:9092")
    with pytest.raises(UserMistake, match=r"MESSAGE_QUEUE_URL.*use kafka\+ssl://"):
        check_production(Settings(), integration)
    monkeypatch.setenv("MESSAGE_QUEUE_URL", "kafka+ssl://k:9092")
    check_production(Settings(), integration)


def test_schemas_lie_beside_the_file() -> None:
    catalog = catalog_for(load_integration(ORDERS, {}))
    assert {("linkspan", "Header"), ("orders", "OrderPlaced")} <= set(catalog.parts())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "10 schemas: there is no folder" in mistakes(tmp_path, SMALL + "schemas: nowhere\n")[0]


def test_editors_get_a_schema_that_takes_variables_and_durations() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema))["$id"].startswith("urn:")
    attempts = schema["$defs"]["Retry"]["properties"]["attempts"]
    assert {"integer", "string"} == {option["type"] for option in attempts["anyOf"]}
    assert attempts["description"].startswith("Tries of one message")
    heartbeat = schema["$defs"]["System"]["properties"]["heartbeat"]
    assert {"type": "string"} in heartbeat["anyOf"]
    fields = [(name, field) for part in schema["$defs"].values() for name, field in part["properties"].items()]
    assert not [name for name, field in fields if "description" not in field]
