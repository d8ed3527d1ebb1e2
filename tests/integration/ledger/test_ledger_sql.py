"""What both databases have to do alike, without Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.integration.ledger.partition import Outcome, Partition, event_said, outcome_said

from linkspan.kernel.errors import UserMistake
from linkspan.kernel.message import now_micros
from linkspan.kernel.records.position import Position
from linkspan.kernel.topics import Headers
from linkspan.ledger.conversation import ConversationSaid
from linkspan.ledger.gather import Said
from linkspan.ledger.keep import dead_letters, remove_older
from linkspan.ledger.said import event_said as read_event
from linkspan.readmodel.away import DatabaseAway
from linkspan.readmodel.database import Database, open_database
from linkspan.readmodel.digest import digest_of
from linkspan.readmodel.queries import Queries
from linkspan.readmodel.rows import ConversationFilter, MessageFilter
from linkspan.readmodel.tables import CONVERSATIONS, metadata

HOUR = 3600 * 1_000_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = open_database(database_url)
    made.prepare("t")
    yield made
    made.close()


def delivered(outcome: int, event: int) -> Any:
    return outcome_said(outcome, Outcome("delivered", event, 0))


def test_the_migrations_make_the_tables_that_are_declared(database: Database) -> None:
    database.prepare("t")  # again: nothing happens
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert not compare_metadata(context, metadata)


def test_another_integrations_database_is_refused(database: Database) -> None:
    with pytest.raises(UserMistake, match="is the ledger of the integration t; u needs a database of its own"):
        database.prepare("u")


async def test_a_damaged_file_is_a_ledger_that_is_away_not_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database any more" * 1000)
    made = open_database(f"sqlite:///{tmp_path}/ledger.db")
    said = await made.check()
    with pytest.raises(DatabaseAway, match="file is not a database"):
        made.prepare("t")
    assert said is not None
    assert "file is not a database" in said
    made.close()


def test_a_file_that_is_put_in_the_place_of_another_is_read_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    made = open_database(f"sqlite:///{path}")
    made.prepare("t")
    for file in tmp_path.glob("ledger.db*"):
        file.rename(file.with_suffix(file.suffix + ".lost"))
    made.prepare("t")
    assert path.exists()
    made.close()


def test_an_address_that_is_none_is_refused() -> None:
    for url in ("mysql://a/b", "sqlite://", "no address", ""):
        with pytest.raises(UserMistake, match="LINKSPAN_DATABASE_URL"):
            open_database(url)


async def test_what_no_database_takes_is_cut_or_replaced(database: Database) -> None:
    made = Partition(database)
    headers = (
        (Headers.MESSAGE_ID, b"a\0b" * 9_000),
        (Headers.CORRELATION_ID, b"\xff\xfe"),
        (Headers.ACCEPTED_AT, b"9" * 40),
    )
    record = SimpleNamespace(offset=0, key=b"k" * 20_000, value=None, headers=headers, timestamp=5)
    made.fold([read_event(record)], [msgspec.structs.replace(delivered(0, 0), reason="r", failure="transient")])
    (row,), _ = await Queries(database).messages(MessageFilter(key="k" * 20_000), 10, "")
    assert row.message_id == ("a\ufffdb" * 9_000)[:500]
    assert (len(row.key or ""), row.correlation_id, row.accepted_at) == (500, "\ufffd\ufffd", 5_000)
    (same,) = await Queries(database).message(row.message_id or "")
    assert same == row


async def test_filters_find_what_they_say_page_by_page(database: Database) -> None:
    made = Partition(database)
    events = [
        msgspec.structs.replace(event_said(number), key=f"k{number % 2}", accepted_at=number // 4)
        for number in range(20)
    ]
    made.fold(events, [delivered(number, number) for number in range(10)])
    queries = Queries(database)
    seen: list[int] = []
    token = ""
    for _ in range(7):
        rows, token = await queries.messages(MessageFilter(flow="f", key="k1"), 3, token)
        seen += [row.offset for row in rows]
        if not token:
            break
    assert seen == list(range(19, 0, -2))
    rows, _ = await queries.messages(MessageFilter(status="in_flight", since=3, until=4), 100, "")
    assert [row.offset for row in rows] == [15, 14, 13, 12]
    assert await queries.messages(MessageFilter(flow="other"), 100, "") == ([], "")
    with pytest.raises(UserMistake, match="an earlier answer gave"):
        await queries.messages(MessageFilter(), 3, "nonsense!")
    with pytest.raises(UserMistake, match="status: there is no lost; there are in_flight, delivered"):
        await queries.messages(MessageFilter(status="lost"), 3, "")
    with pytest.raises(UserMistake, match="limit"):
        await queries.messages(MessageFilter(), 0, "")


async def test_an_event_below_the_position_without_an_outcome_is_unaccounted(database: Database) -> None:
    made = Partition(database)
    made.fold_said(
        Said([event_said(number) for number in range(4)], [delivered(0, 0)], Position(events=3, outcomes=2), 7)
    )
    queries = Queries(database)
    assert not await queries.unaccounted("f")  # an outcome that the position knew is not folded yet
    made.fold([], [delivered(1, 2)])
    (found,) = await queries.unaccounted(None)
    assert (found.flow, found.partition, found.offset, found.message_id) == ("f", made.name[1], 1, "m1")


async def test_dead_letters_that_wait_are_counted_and_the_oldest_is_known(database: Database) -> None:
    made = Partition(database)
    number = made.streams[made.name].number
    with database.reading() as connection:
        assert dead_letters(connection, [number]) == (0, None)
    events = [event_said(one) for one in range(4)]
    letters = [
        msgspec.structs.replace(outcome_said(at, Outcome("dead_lettered", at, 0)), at=1_000 + at) for at in (1, 2, 3)
    ]
    made.fold(events, [delivered(0, 0), *letters])
    with database.reading() as connection:
        assert dead_letters(connection, [number]) == (3, 1_001)
    made.fold([], [outcome_said(4, Outcome("redriven", 1, 0))])
    with database.reading() as connection:
        assert dead_letters(connection, [number]) == (2, 1_002)


async def test_what_is_old_and_done_with_goes_and_the_counters_go_with_it(database: Database) -> None:
    made = Partition(database)
    now = now_micros()
    ages = [msgspec.structs.replace(event_said(n), accepted_at=now - (9 - n) * HOUR) for n in range(9)]
    gone = msgspec.structs.replace(outcome_said(4, Outcome("expired", 20, 0, until=23)), at=now - 9 * HOUR)
    dead = outcome_said(3, Outcome("dead_lettered", 2, 0))
    made.fold(ages, [delivered(0, 0), delivered(1, 1), delivered(2, 6), dead, gone])
    assert made.counters() == {"delivered": 3, "dead_lettered": 1, "expired": 3, "in_flight": 5}
    stream = made.streams[made.name]
    with database.writing() as connection:
        assert remove_older(connection, stream, now - 5 * HOUR) == 2
    assert made.counters() == {"delivered": 1, "dead_lettered": 1, "in_flight": 5}
    assert sorted(made.rows()) == [2, 3, 4, 5, 6, 7, 8]
    assert not await Queries(database).timeline("f", made.name[1], 0)


async def test_a_conversation_only_goes_on(database: Database) -> None:
    made = Partition(database, CONVERSATIONS)

    def said(offset: int, name: str, state: str, answer_at: int | None = None) -> ConversationSaid:
        return ConversationSaid(offset, name, "ask", "m", 1_000, "answer", "n", answer_at, 2_000, state)

    made.fold_said(Said(conversations=[said(0, "c1", "waiting"), said(1, "c2", "overdue")], conversations_read=2))
    made.fold_said(
        Said(
            conversations=[said(2, "c1", "answered", 1_500), said(3, "c2", "waiting"), said(4, "c1", "overdue")],
            conversations_read=5,
        )
    )
    queries = Queries(database)
    rows, token = await queries.conversations(ConversationFilter(flow="ask"), 1, "")
    assert [(row.correlation_id, row.state) for row in rows] == [("c2", "overdue")]
    rows, token = await queries.conversations(ConversationFilter(flow="ask"), 1, token)
    assert [(row.correlation_id, row.state, row.between, token) for row in rows] == [("c1", "answered", 500, "")]
    assert made.streams[made.name].progress.events == 5
    assert not await queries.folded()
    assert not await queries.counts(None)


def test_the_digest_is_of_the_content(database: Database) -> None:
    made = Partition(database)
    made.fold([event_said(0)], [])

    def digest() -> str:
        with database.reading() as connection:
            return digest_of(connection, 1).digest

    before = digest()
    assert digest() == before
    made.fold([], [delivered(0, 0)])
    assert digest() != before


async def test_health_says_what_is_wrong_with_the_database(tmp_path: Any) -> None:
    missing = open_database(f"sqlite:///{tmp_path}/none.db")
    assert "there is no ledger at" in (await missing.check() or "")
    assert not list(tmp_path.iterdir())
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all" * 100)
    assert "not a database" in (await open_database(f"sqlite:///{broken}").check() or "")
    away = open_database("postgresql://user:secret@127.0.0.1:9/name")
    said = await away.check() or ""
    assert "127.0.0.1/name" in said
    assert "secret" not in said
