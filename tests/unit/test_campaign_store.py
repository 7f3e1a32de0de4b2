import errno
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollum import __version__
from gollum.campaign import content, schema
from gollum.campaign.content import decode, encode
from gollum.campaign.events import (
    Avoided,
    Cells,
    Created,
    Effect,
    Neighbour,
    Recorded,
    Request,
    Result,
    Retold,
    Source,
    Suggested,
    Suggestion,
    parse,
)
from gollum.campaign.store import Moved, Store, recover, table_sha256
from gollum.errors import BusyError, DataError

TABLE = pd.DataFrame(
    {
        "ligand": ["XPhos", "", "µ-oxo 配体 'x'"],
        "temperature": [80, 90, 2**53 + 1],
        "loading": [0.1 + 0.2, np.nan, -0.0],
    },
    index=pd.Index(["r1", "r2", "r3"], name="id"),
)
CREATED = Created(
    name="demo",
    objective="yield",
    template="{ligand} {temperature} {loading}",
    surrogate="pllm",
    preset="fast",
    model="minilm",
    candidates=table_sha256(TABLE),
)
RECORDED = Recorded(
    source=Source(name="räume.xlsx", sha256="0" * 64),
    results=(Result(run="1-1", id="r1", status="measured", values={"yield": 0.1 + 0.2}, row=2),),
    joined=Cells(ids=("n1",), columns={"ligand": (None,), "temperature": (5,), "loading": (0.5,)}),
)
SUGGESTED = Suggested(
    batch=1,
    basis=1,
    request=Request(at_most={"ligand": 2}, same=("temperature",), cost_weight=0.5),
    asked=2,
    suggestions=(
        Suggestion(
            run="1-1",
            id="r1",
            mean=1 / 3,
            neighbours=(Neighbour(id="r2", value=5e-324, similarity=0.9),),
            effects=(Effect(column="ligand", value="XPhos", effect=-1e300),),
        ),
    ),
    surrogate="pllm",
    fit={"noise": 1e-7},
    provenance={"versions": {"torch": "2"}, "threads": [1, 2]},
)
LOCKED = Avoided(column="ligand", values=("XPhos",), reason="out of\nstock")
EVENTS = (SUGGESTED, RECORDED, Retold(template="{ligand}"), LOCKED)
FULL = OSError(errno.ENOSPC, "No space left on device")

posix = pytest.mark.skipif(os.name == "nt", reason="signals, limits and pipes of POSIX")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "my.gollum"


@pytest.fixture
def store(path):
    return Store.create(path, CREATED, TABLE)


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def tamper(path, *statements):
    """Write to the file past the package."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def avoided(number, reason=""):
    return Avoided(values=(str(number),), reason=reason)


# What is written comes back


def test_every_event_and_the_table_come_back(store, path, tmp_path):
    written = [store.append(event) for event in EVENTS]
    again = Store.open(path)
    log = again.log()
    assert [entry.event for entry in log] == [CREATED, *EVENTS]
    assert log[1:] == written
    assert [entry.sequence for entry in log] == [1, 2, 3, 4, 5]
    assert {entry.version for entry in log} == {__version__}
    pd.testing.assert_frame_equal(again.table(CREATED.candidates), TABLE, check_exact=True)
    state = again.state()
    assert (state.sequence, state.template, len(state.table)) == (5, "{ligand}", 4)
    assert state.measurements["1-1"].result == RECORDED.results[0]
    assert names(tmp_path) == ["my.gollum"]


def test_results_known_from_the_start_come_second(path):
    log = Store.create(path, CREATED, TABLE, RECORDED).log()
    assert [(entry.sequence, entry.event) for entry in log] == [(1, CREATED), (2, RECORDED)]


def bits(column):
    return [struct.pack("<d", x) for x in column] if column.dtype == "float64" else list(column)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("int64"), st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3)),
            st.tuples(st.just("float64"), st.lists(st.floats(allow_infinity=False), min_size=3)),
            st.tuples(st.just("str"), st.lists(st.text(st.characters(codec="utf-8")), min_size=3)),
        ),
        max_size=4,
    )
)
def test_any_table_comes_back_to_the_last_bit(columns):
    table = pd.DataFrame(
        {f"c{i}": pd.Series(cells[:3], dtype=kind) for i, (kind, cells) in enumerate(columns)},
        index=pd.RangeIndex(3),
    )
    table.index = pd.Index(["a", "b", "c"], name="id", dtype="str")
    again = decode(encode(table))
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    for column in table:
        if not table[column].isna().any():
            assert bits(again[column]) == bits(table[column])
    assert table_sha256(again) == table_sha256(table)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(codec="utf-8")))
def test_any_result_comes_back_to_the_last_bit(value, note):
    result = Result(run="1-1", id="r1", status="measured", values={"y": value}, note=note)
    event = Recorded(results=(result,))
    again = parse(content.new_row(2, event)["event"])
    assert again == event
    assert struct.pack("<d", again.results[0].values["y"]) == struct.pack("<d", value)


def test_the_hash_of_a_table_sees_ids_order_names_types_and_cells():
    variants = [
        TABLE,
        TABLE.rename(index={"r1": "r9"}),
        TABLE.iloc[::-1],
        TABLE[TABLE.columns[::-1]],
        TABLE.rename(columns={"loading": "amount"}),
        TABLE.astype({"temperature": "float64"}),
        TABLE.assign(loading=[0.3, np.nan, -0.0]),
        TABLE.assign(loading=[0.1 + 0.2, np.nan, 0.0]),
    ]
    assert len({table_sha256(table) for table in variants}) == len(variants)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([1.0, np.inf, 2.0], "column 'x' holds an infinite number"),
        ([True, False, True], "column 'x' holds values of the type bool"),
        (["a", 1, "b"], "column 'x' holds values of the type object"),
        (pd.to_datetime(["2024-01-01"] * 3), "column 'x' holds values of the type datetime64"),
    ],
)
def test_a_column_that_could_not_come_back_is_refused(cells, words):
    with pytest.raises(DataError, match=words):
        table_sha256(TABLE.assign(x=cells))


def test_ids_that_are_no_texts_are_refused():
    with pytest.raises(DataError, match="ids of the candidates must be texts"):
        table_sha256(TABLE.reset_index(drop=True))


def test_what_could_not_be_read_again_is_not_written(store):
    before = store.log()
    with pytest.raises(DataError, match="can't be kept in a campaign"):
        store.append(Retold(template="\udc80"))
    with pytest.raises(ValueError, match="begins once"):
        store.append(CREATED)
    unknown = RECORDED.results[0].model_copy(update={"values": {"yield": np.nan}})
    with pytest.raises(ValueError, match="valid number"):
        store.append(Recorded.model_construct(results=(unknown,)))
    assert store.log() == before


# Making the file


def test_an_existing_file_or_folder_is_left_alone(store, path, tmp_path):
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"my\.gollum' exists already; choose another name"):
        Store.create(path, CREATED, TABLE)
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="exists already"):
        Store.create(tmp_path, CREATED, TABLE)
    with pytest.raises(DataError, match="No such file or directory"):
        Store.create(tmp_path / "nowhere" / "my.gollum", CREATED, TABLE)
    assert names(tmp_path) == ["my.gollum"]


def test_the_table_must_be_the_one_that_the_first_event_names(path, tmp_path):
    with pytest.raises(ValueError, match="table_sha256"):
        Store.create(path, CREATED, TABLE.iloc[:2])
    assert names(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_one_of_many_creators_wins(path, tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    together = threading.Barrier(8)

    def make(number):
        together.wait()
        with suppress(DataError):
            Store.create(path, CREATED.model_copy(update={"seed": number}), TABLE)
            return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(make, range(8)) if number is not None]
    assert [Store.open(path).state().created.seed] == winners
    assert names(tmp_path) == ["my.gollum"]


def test_a_full_disk_leaves_nothing(path, tmp_path, monkeypatch):
    def full(_):
        raise FULL

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"can't be written \(No space left on device\)"):
        Store.create(path, CREATED, TABLE)
    assert names(tmp_path) == []


def test_what_a_dead_creator_left_is_removed(path, tmp_path):
    old, young = tmp_path / ".my.gollum.1.ab.part", tmp_path / ".my.gollum.2.cd.part"
    other = tmp_path / ".your.gollum.1.ab.part"
    for part in (old, young, other):
        part.touch()
    for part in (old, other):
        os.utime(part, (time.time() - 7200,) * 2)
    Store.create(path, CREATED, TABLE)
    assert names(tmp_path) == [young.name, other.name, "my.gollum"]


# The log only grows


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET event = '{}'",
        "DELETE FROM events WHERE sequence = 2",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE sequence = 1",
        "INSERT INTO events SELECT 4, time, version, kind, event, sha256 FROM events LIMIT 1",
        "UPDATE tables SET content = x''",
        "DELETE FROM tables",
        "INSERT OR REPLACE INTO tables SELECT sha256, x'' FROM tables",
    ],
)
def test_the_file_itself_refuses_changes(store, path, statement):
    store.append(LOCKED)
    before = store.log()
    with pytest.raises(sqlite3.IntegrityError, match=r"only added|follow one another"):
        tamper(path, statement)
    assert Store.open(path).log() == before


def test_an_append_that_expects_another_last_event_is_refused(store):
    store.append(avoided(2), expected=store.beginning)
    with pytest.raises(Moved, match="somebody else has just written"):
        store.append(avoided(3), expected=store.beginning)
    assert [entry.sequence for entry in store.log()] == [1, 2]


def test_an_append_that_expects_as_many_other_events_is_refused(store, path, tmp_path):
    copy = Store.open(shutil.copy(path, tmp_path / "copy.gollum"))
    copy.append(avoided(2))
    known = store.append(avoided(1)).sha256
    copy.path.replace(path)
    with pytest.raises(Moved):
        store.append(avoided(3), expected=known)
    assert [entry.event for entry in store.log()[1:]] == [avoided(2)]


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.log(),
        lambda store: store.state(),
        lambda store: store.table(CREATED.candidates),
        lambda store: store.append(avoided(1)),
        lambda store: store.deciding().__enter__(),
    ],
)
def test_another_campaign_in_its_place_is_refused_and_left_alone(store, path, tmp_path, use):
    other = Store.create(tmp_path / "other.gollum", CREATED.model_copy(update={"seed": 1}), TABLE)
    other.path.replace(path)
    with pytest.raises(DataError, match="was replaced by another campaign meanwhile"):
        use(store)
    assert len(Store.open(path).log()) == 1


def test_of_those_that_expect_the_same_one_wins(store):
    together = threading.Barrier(6)

    def write(number):
        together.wait()
        try:
            return store.append(avoided(number), expected=store.beginning)
        except Moved:
            return None

    with ThreadPoolExecutor(6) as pool:
        winners = [entry for entry in pool.map(write, range(6)) if entry is not None]
    assert store.log()[1:] == winners
    assert len(winners) == 1


def test_a_decision_is_taken_alone(store, path, monkeypatch):
    monkeypatch.setattr(schema, "PATIENCE", 0.05)
    with store.deciding() as ledger:
        assert ledger.state.sequence == 1
        with pytest.raises(BusyError, match=r"my\.gollum' is in use by another process; try again"):
            Store.open(path).append(avoided(2))
        assert ledger.append(LOCKED).sequence == 2
        assert ledger.state.avoided == {("ligand", "XPhos"): "out of\nstock"}
        assert store.state().sequence == 1  # others may look
    assert store.state().sequence == 2


def test_a_decision_that_fails_leaves_nothing(store):
    def decide():
        with store.deciding() as ledger:
            ledger.append(LOCKED)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decide()
    assert store.state().sequence == 1


def test_nothing_stays_open(store, path, monkeypatch):
    opened = []

    class Watched(sqlite3.Connection):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            opened.append(self)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **o, factory=Watched))
    Store.open(path).append(LOCKED)
    store.log(), store.state(), store.table(CREATED.candidates)
    with pytest.raises(Moved):
        store.append(LOCKED, expected="0" * 64)
    with store.deciding() as ledger:
        ledger.append(LOCKED)
    assert len(opened) >= 8
    for connection in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")


@pytest.mark.parametrize("name", ["a b#1?mode=ro%20.gollum", "été 配.gollum", "no_ending"])
def test_a_copy_is_the_campaign(store, path, tmp_path, name):
    store.append(LOCKED)
    folder = tmp_path / "ünder #1"
    folder.mkdir()
    moved = path.rename(folder / name)
    assert Store.open(moved).append(Retold(template="x")).sequence == 3
    assert names(folder) == [name]


# What is no campaign, or none for this version


def test_a_missing_file_is_named_with_the_nearest(store, tmp_path):
    with pytest.raises(DataError, match=r"there is no campaign .*Did you mean 'my\.gollum'\?"):
        Store.open(tmp_path / "may.gollum")
    with pytest.raises(DataError, match="there is no campaign"):
        Store.open(tmp_path / "nowhere" / "my.gollum")
    assert names(tmp_path) == ["my.gollum"]


def other_database(path):
    tamper(path, "CREATE TABLE events (sequence INTEGER)")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p.write_bytes(b""), "is empty and no campaign"),
        (lambda p: p.write_text("id,yield\n" * 100), "is no campaign; choose a file that"),
        (lambda p: p.write_bytes(b"SQLite format 3\0" + bytes(5000)), "my.gollum' is"),
        (other_database, "is a database of another program and no campaign"),
        (lambda p: p.mkdir(), "is a folder; give the campaign's file"),
        pytest.param(lambda p: os.mkfifo(p), "is not a regular file", marks=posix),
        (lambda p: p.symlink_to(p), "can't be opened"),
    ],
)
def test_other_files_are_refused_and_left_alone(path, tmp_path, make, words):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    for act in (Store.open, lambda p: recover(p, tmp_path / "saved.gollum")):
        with pytest.raises(DataError, match=words) as raised:
            act(path)
        assert "\n" not in str(raised.value)
    assert names(tmp_path) == ["my.gollum"]
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_file_of_a_newer_version_says_which_and_is_left_alone(store, path, monkeypatch):
    monkeypatch.setattr(content, "__version__", "7.1.0")
    store.append(LOCKED)
    tamper(path, "PRAGMA user_version = 2")
    before = path.read_bytes()
    words = rf"was written by gollum 7\.1\.0, and gollum {__version__} can't read it; upgrade"
    for act in (lambda: Store.open(path), store.log, lambda: store.append(LOCKED)):
        with pytest.raises(DataError, match=words):
            act()
    tamper(path, "DROP TABLE events")
    with pytest.raises(DataError, match="by gollum of a newer version"):
        Store.open(path)
    assert path.read_bytes() != before  # by the last step of this test only


def test_an_event_of_a_newer_version_is_named(store, monkeypatch):
    monkeypatch.setattr(content, "__version__", "7.1.0")
    monkeypatch.setattr(content, "parse", lambda _: None)

    class Frozen(Retold):
        kind: str = "frozen"

    store.append(Frozen(template="x"))
    words = rf"event 2 was written by gollum 7\.1\.0, and gollum {__version__} can't read it"
    with pytest.raises(DataError, match=words):
        store.state()


# Older files


@pytest.fixture
def older(store, path, monkeypatch):
    """A file of a version 0, which had no hashes."""
    store.append(LOCKED)
    tamper(
        path,
        "DROP TRIGGER events_no_update",
        "ALTER TABLE events DROP COLUMN sha256",
        "PRAGMA user_version = 0",
    )

    def add_hashes(connection):
        run = connection.exec_driver_sql
        run("ALTER TABLE events ADD COLUMN sha256 TEXT NOT NULL DEFAULT ''")
        for row in run("SELECT * FROM events").mappings().all():
            run("UPDATE events SET sha256 = ? WHERE sequence = ?",
                (content._seal(row), row["sequence"]))  # fmt: skip
        run("CREATE TRIGGER events_no_update BEFORE UPDATE ON events "
            "BEGIN SELECT RAISE(ABORT, 'events are only added'); END")  # fmt: skip

    monkeypatch.setitem(schema.MIGRATIONS, 0, add_hashes)
    return path


def test_an_older_file_is_renewed_after_a_copy(older, tmp_path):
    with closing(sqlite3.connect(older)) as connection:
        dump = list(connection.iterdump())
    log = Store.open(older).log()
    assert [entry.event for entry in log] == [CREATED, LOCKED]
    assert Store.open(older).append(LOCKED).sequence == 3
    assert names(tmp_path) == ["my.gollum", "my.gollum.v0.bak"]
    with closing(sqlite3.connect(tmp_path / "my.gollum.v0.bak")) as connection:
        assert list(connection.iterdump()) == dump
    shutil.copy(tmp_path / "my.gollum.v0.bak", older)  # once more, and the copy is still there
    assert Store.open(older).log() == log
    assert names(tmp_path) == ["my.gollum", "my.gollum.v0.bak"]


def test_a_renewal_that_fails_leaves_the_old_file(older, tmp_path, monkeypatch):
    before = older.read_bytes()
    half = schema.MIGRATIONS[0]

    def fail(connection):
        half(connection)
        raise KeyboardInterrupt

    monkeypatch.setitem(schema.MIGRATIONS, 0, fail)
    with pytest.raises(KeyboardInterrupt):
        Store.open(older)
    assert older.read_bytes() == before
    assert names(tmp_path) == ["my.gollum"]
    monkeypatch.setitem(schema.MIGRATIONS, 0, half)
    assert len(Store.open(older).log()) == 2


def test_an_older_copy_of_something_else_is_not_overwritten(older, tmp_path):
    backup = tmp_path / "my.gollum.v0.bak"
    backup.write_text("precious")
    before = older.read_bytes()
    with pytest.raises(DataError, match=r"no copy of it can be kept as 'my\.gollum\.v0\.bak'"):
        Store.open(older)
    assert backup.read_text() == "precious"
    assert older.read_bytes() == before


def test_several_that_renew_at_once_do_it_once(older):
    with ThreadPoolExecutor(4) as pool:
        logs = list(pool.map(lambda _: Store.open(older).log(), range(4)))
    assert all(log == logs[0] for log in logs)


@pytest.mark.parametrize("version", [0, -(2**31)])
def test_a_version_that_never_was_is_damage(store, path, version):
    tamper(path, f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    words = f"is damaged .there never was a format {version}.; its events 1 to 1 .* --to NEW"
    with pytest.raises(DataError, match=words):
        Store.open(path)
    assert path.read_bytes() == before


# Damage


def test_a_changed_event_is_found(store, path):
    for number in range(2, 6):
        store.append(avoided(number))
    tamper(path, "DROP TRIGGER events_no_update",
           "UPDATE events SET event = replace(event, '4', '9') WHERE sequence = 4")  # fmt: skip
    words = r"damaged \(event 4 is not what was written\); its events 1 to 3 \(until \d{4}-"
    with pytest.raises(DataError, match=words):
        Store.open(path)
    with pytest.raises(DataError, match=words):
        store.state()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM events WHERE sequence = 3", "event 3 is not"),
        ("DELETE FROM events WHERE sequence = 5", "4 of 5 events are there"),
        ("DELETE FROM events", "0 of 5 events are there"),
        ("UPDATE events SET sequence = 9 WHERE sequence = 5", "event 5 is not"),
        ("UPDATE events SET time = x'00' WHERE sequence = 1", "event 1 is not"),
        ("UPDATE tables SET content = 'x'", "the table of candidates is not"),
        ("UPDATE tables SET content = 10000000000000", "the table of candidates is not"),
        ("UPDATE tables SET content = zeroblob(10)", "the table of candidates is not"),
        ("DELETE FROM tables", "the table of candidates is not"),
        ("DROP TABLE events", "no such table"),
    ],
)
def test_what_is_lost_or_changed_is_found(store, path, statement, words):
    for number in range(2, 6):
        store.append(avoided(number))
    triggers = [
        f"DROP TRIGGER {t}_no_{v}" for t in ("events", "tables") for v in ("update", "delete")
    ]
    tamper(path, *triggers, statement)
    with pytest.raises(DataError, match=words):
        Store.open(path)


def test_recovery_saves_the_events_before_the_damage(store, path, tmp_path):
    for number in range(2, 9):
        store.append(avoided(number))
    log = store.log()
    tamper(path, "DROP TRIGGER events_no_update", "UPDATE events SET time = '' WHERE sequence = 6")
    before = path.read_bytes()
    assert recover(path, tmp_path / "saved.gollum") == 5
    saved = Store.open(tmp_path / "saved.gollum")
    assert saved.log() == log[:5]
    pd.testing.assert_frame_equal(saved.table(CREATED.candidates), TABLE)
    assert saved.append(LOCKED).sequence == 6
    assert path.read_bytes() == before
    with pytest.raises(DataError, match="exists already"):
        recover(path, tmp_path / "saved.gollum")


def test_recovery_of_a_whole_file_copies_it(store, tmp_path):
    store.append(LOCKED)
    assert recover(store.path, tmp_path / "saved.gollum") == 2
    assert Store.open(tmp_path / "saved.gollum").log() == store.log()


def test_without_a_beginning_there_is_no_recovery(store, path, tmp_path):
    tamper(path, "DROP TRIGGER tables_no_update", "UPDATE tables SET content = x'00'")
    with pytest.raises(DataError, match="its beginning can't be read"):
        Store.open(path)
    with pytest.raises(DataError, match="its beginning can't be read; go back to a copy"):
        recover(path, tmp_path / "saved.gollum")
    assert names(tmp_path) == ["my.gollum"]


# Disks and rights


LIMITED = """
import resource, signal, sys
from pathlib import Path
from gollum.campaign.events import Retold
from gollum.campaign.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size,) * 2)
try:
    Store.open(path).append(Retold(template="x" * 100_000))
except Exception as error:
    print(type(error).__name__, error)
"""


@posix
def test_a_file_that_cannot_grow_keeps_what_it_has(store, path, tmp_path):
    store.append(LOCKED)
    before = store.log()
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("DataError")
    assert "nothing was changed" in done.stdout
    assert Store.open(path).log() == before
    assert names(tmp_path) == ["my.gollum"]


def test_a_full_disk_is_named(store, monkeypatch):
    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    before = store.log()
    monkeypatch.setattr(content, "new_row", full)
    with pytest.raises(DataError, match="is full, and nothing was changed; free some space"):
        store.append(LOCKED)
    assert store.log() == before


def test_a_read_only_file_can_be_read(store, monkeypatch):
    connect = schema._connect
    monkeypatch.setattr(schema, "_connect", lambda path, _: connect(path, "ro"))
    assert Store.open(store.path).state().sequence == 1
    with pytest.raises(DataError, match=r"can't be read or written \(attempt to write a readonly"):
        store.append(LOCKED)


def test_a_file_that_went_away_is_not_made_anew(store, path, tmp_path):
    path.unlink()
    with pytest.raises(DataError, match=r"can't be read or written \(unable to open"):
        store.append(LOCKED)
    assert names(tmp_path) == []


def test_what_another_campaign_would_have_written_is_one_sentence(store):
    suggested = Suggested(
        batch=1, basis=1, asked=1, suggestions=(Suggestion(run="b1-1", id="x9"),), surrogate=None
    )
    store.append(suggested)
    with pytest.raises(DataError, match=r"demo: event 2 is about an experiment 'x9', which this"):
        store.state()


def test_the_beginning_is_read_alone(store):
    store.append(LOCKED)
    assert store.created() == CREATED == store.log()[0].event
