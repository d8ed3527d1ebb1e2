"""The spool's file after a fall: what it still has is the beginning of what was kept, whole and in order."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.ingress.append.store import Row, Store

GROUPS = st.lists(st.lists(st.binary(max_size=3000), min_size=1, max_size=6), min_size=1, max_size=8)


@contextmanager
def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def row(value: bytes) -> Row:
    return Row(0, "orders", b"key", [("message-id", b"m"), ("digest", value[:8])], 1_700_000_000_000, value)


def values(store: Store) -> list[bytes]:
    return [found.value for found in store.read(["orders"], 0, 10_000, 1 << 30)]


def fallen(groups: list[list[bytes]], folder: Path) -> Path:
    """A copy of the files as a kill would leave them: the log is not folded into the file."""
    (folder / "live").mkdir()
    store = Store(folder / "live")
    for group in groups:
        store.add([row(value) for value in group])
    copy = Path(shutil.copytree(folder / "live", folder / "fallen"))
    store.close()
    return copy


@given(GROUPS)
@settings(max_examples=20, deadline=None)
def test_after_a_kill_all_that_was_kept_is_there(groups: list[list[bytes]]) -> None:
    with scratch() as folder:
        store = Store(fallen(groups, folder))
        assert values(store) == [value for group in groups for value in group]
        store.close()


@given(GROUPS, st.floats(0, 1), st.integers(0, 255), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_torn_or_altered_log_gives_whole_groups_from_the_beginning(
    groups: list[list[bytes]], where: float, byte: int, tear: bool
) -> None:
    """A group is there as a whole or not at all, none is missing before one that is there, and it can be written on."""
    with scratch() as folder:
        copy = fallen(groups, folder)
        log = copy / "records.sqlite-wal"
        content = bytearray(log.read_bytes())
        at = int(where * (len(content) - 1))
        if tear:
            del content[at:]
        else:
            content[at] ^= byte
        log.write_bytes(content)
        store = Store(copy)
        store.contents()
        found = values(store)
        beginnings = [[value for group in groups[:count] for value in group] for count in range(len(groups) + 1)]
        assert found in beginnings
        store.add([row(b"later")])
        assert values(store) == [*found, b"later"]
        store.close()


@given(GROUPS, st.data())
@settings(max_examples=30, deadline=None)
def test_what_was_removed_stays_removed_and_the_rest_keeps_its_order(
    groups: list[list[bytes]], data: st.DataObject
) -> None:
    with scratch() as folder:
        store = Store(folder)
        for group in groups:
            store.add([row(value) for value in group])
        rows = store.read(["orders"], 0, 10_000, 1 << 30)
        gone = data.draw(st.sets(st.sampled_from([one.id for one in rows])))
        store.remove(gone)
        store.close()
        again = Store(folder)
        left = [one for one in rows if one.id not in gone]
        assert again.read(["orders"], 0, 10_000, 1 << 30) == left
        assert again.contents() == ({"orders": (len(left), sum(one.size for one in left))} if left else {})
        again.close()


def test_a_damaged_file_is_an_error_and_can_be_set_aside(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add([row(b"x" * 100)] * 50)
    store.close()
    (tmp_path / "records.sqlite").write_bytes(b"not a database, and long enough to be looked at" * 300)
    broken = Store(tmp_path)
    try:
        broken.contents()
    except sqlite3.DatabaseError:
        broken.set_aside("damaged-1")
    assert (tmp_path / "damaged-1-records.sqlite").exists()
    assert broken.contents() == {}
    broken.close()
