"""Who may send, as far as no process is needed to know it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from linkspan.control.fold import ControlState
from linkspan.ingress.accept.request import request_id
from linkspan.ingress.admit.buckets import Bucket, Buckets
from linkspan.ingress.admit.client import flows_of, network_of
from linkspan.ingress.admit.door import Door
from linkspan.ingress.admit.settings import IntakeSettings
from linkspan.ingress.errors import NotAdmitted, NotNow, TooMany
from linkspan.kernel.commands import ISSUE_KEY, REVOKE_KEY, Command
from linkspan.kernel.errors import UserMistake
from linkspan.kernel.records.api_key import ApiKey, hash_of, new_key

HERE = "127.0.0.1"


def door(**settings: object) -> Door:
    return Door(IntakeSettings(**settings), lambda _id, _at: None)


def issued(state: ControlState, name: str = "shop", **more: object) -> str:
    key_id, text = new_key()
    key = ApiKey(key_id, name, hash_of(text), ("send:orders",), **more)  # type: ignore[arg-type]
    assert state.fold(Command(ISSUE_KEY, value=key_id, body=key)).effective
    return text


@given(st.floats(0.1, 1000), st.integers(1, 100), st.lists(st.tuples(st.floats(0, 5), st.integers(1, 50))))
def test_over_any_time_a_bucket_gives_no_more_than_its_rate_its_burst_and_one_batch(
    rate: float, burst: int, asked: list[tuple[float, int]]
) -> None:
    bucket, now, taken, largest = Bucket(rate, burst, 0.0), 0.0, 0, 0
    for later, count in asked:
        now += later
        if bucket.wait(now) == 0:
            bucket.take(count)
            taken, largest = taken + count, max(largest, count)
    assert taken <= burst + rate * now + largest + 1e-6


@given(st.floats(0.1, 1000), st.integers(1, 100), st.integers(1, 1000))
def test_whoever_waits_as_long_as_it_is_told_is_let_in(rate: float, burst: int, count: int) -> None:
    bucket = Bucket(rate, burst, 0.0)
    bucket.take(count)
    wait = bucket.wait(0.0)
    assert bucket.wait(wait * 1.001 + 1e-6) == 0
    assert wait == 0 or bucket.wait(wait * 0.5) > 0 or count < burst


def test_the_table_of_buckets_is_bounded_and_drops_who_was_silent_the_longest() -> None:
    table = Buckets(0.001, 1, most=3)
    for name in "abc":
        table.of(name, 0.0).take(1)
    table.of("a", 1.0)
    table.of("d", 1.0)
    assert table.of("a", 1.0).wait(1.0) > 0
    assert table.of("c", 1.0).wait(1.0) > 0
    assert table.of("b", 1.0).wait(1.0) == 0, "it was forgotten"


def test_an_address_stands_for_its_network() -> None:
    assert network_of("192.0.2.7") == "192.0.2.7"
    assert network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert network_of("2001:db8:1:3::9") != network_of("2001:db8:1:2::9")
    assert network_of("") == ""


def test_scopes_name_flows_and_nothing_else_does() -> None:
    assert flows_of(["send:a", "send:b", "read", "admin"]) == {"a", "b"}
    assert flows_of(["send:a", "send:*"]) is None
    assert flows_of([]) == frozenset()


async def test_the_door_is_closed_until_the_control_topic_was_read() -> None:
    made, state = door(), ControlState()
    key = issued(state).encode()
    assert made.trouble
    assert made.admit_now({}, HERE) is None
    assert made.admit_now({b"x-api-key": key}, HERE) is None
    for headers in ([], [(b"x-api-key", key)]):
        with pytest.raises(NotNow):
            await made.admit(headers, HERE)
    made.watch(state)
    assert made.trouble is None
    found = made.admit_now({b"x-api-key": key}, HERE)
    assert found is not None
    assert (found.name, found.kind, found.flows) == ("shop", "key", {"orders"})
    assert made.admit_now({}, HERE) is None


async def test_a_door_that_was_open_is_closed_by_the_first_key_for_good() -> None:
    made, state = door(), ControlState()
    made.watch(state)
    assert made.admit_now({}, HERE) is not None
    text = issued(state)
    assert made.admit_now({}, HERE) is None
    (key_id,) = state.keys.by_id
    state.fold(Command(REVOKE_KEY, value=key_id))
    assert made.admit_now({}, HERE) is None
    with pytest.raises(NotAdmitted) as refused:
        await made.admit([(b"x-api-key", text.encode())], HERE)
    assert refused.value.reason == "revoked"


async def test_a_wrong_credential_is_refused_where_nobody_is_asked() -> None:
    made = door()
    made.watch(ControlState())
    for header in ((b"x-api-key", b"lsk_0123456789ab_" + b"a" * 43), (b"authorization", b"Bearer x")):
        assert made.admit_now(dict([header]), HERE) is None
        with pytest.raises(NotAdmitted):
            await made.admit([header], HERE)


async def test_an_address_that_is_refused_too_often_waits_and_others_do_not() -> None:
    made, state = door(linkspan_intake_refusals=3), ControlState()
    key = issued(state).encode()
    made.watch(state)
    for _ in range(3):
        with pytest.raises(NotAdmitted):
            await made.admit([], HERE)
    with pytest.raises(TooMany) as refused:
        await made.admit([], HERE)
    assert 1 <= refused.value.retry_after <= 20
    with pytest.raises(NotAdmitted):
        await made.admit([], "127.0.0.2")
    assert (await made.admit([(b"x-api-key", key)], HERE)).name == "shop", "its neighbours with a key are heard"


async def test_a_key_counts_until_it_expires() -> None:
    made, state, now = door(), ControlState(), time.time()
    late, early = issued(state, "late", expires=int((now - 0.001) * 1e6)), issued(state, expires=int((now + 600) * 1e6))
    made.watch(state)
    assert made.admit_now({b"x-api-key": early.encode()}, HERE) is not None
    assert made.admit_now({b"x-api-key": late.encode()}, HERE) is None
    with pytest.raises(NotAdmitted) as refused:
        await made.admit([(b"x-api-key", late.encode())], HERE)
    assert refused.value.reason == "expired"


def test_production_asks_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LINKSPAN_PLAIN_TEXT")
    with pytest.raises(UserMistake, match="LINKSPAN_INTAKE=identified"):
        door(integration_mode="production")
    door(integration_mode="production", linkspan_intake="identified")
    with pytest.raises(UserMistake, match="plain text"):
        door(
            integration_mode="production",
            linkspan_intake_jwks="http://identity.test",
            linkspan_intake_jwt_issuer="i",
            linkspan_intake_jwt_audience="a",
        )
    with pytest.raises(UserMistake, match="JWT_AUDIENCE"):
        door(linkspan_intake_jwks="https://identity.test", linkspan_intake_jwt_issuer="i")
    with pytest.raises(ValidationError, match="HS256"):
        IntakeSettings(linkspan_intake_jwt_algorithms="HS256")


@given(st.binary(max_size=200))
def test_whatever_a_request_is_called_its_id_fits_a_header(given_id: bytes) -> None:
    made = request_id(given_id)
    assert made.isascii()
    assert made.isprintable()
    assert " " not in made
    assert 1 <= len(made) <= 128
