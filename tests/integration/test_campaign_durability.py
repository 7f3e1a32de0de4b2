"""The file of a campaign under kills, many writers, cuts and flipped bytes."""

import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress

import pandas as pd
import pytest

from gollum.campaign.events import Avoided, Created
from gollum.campaign.store import Store, recover, table_sha256
from gollum.errors import DataError

posix = pytest.mark.skipif(os.name == "nt", reason="signals and forks of POSIX")
PATIENCE = 900  # seconds that a script may take on a busy machine

TABLE = pd.DataFrame(
    {"ligand": [f"ligand {i}" for i in range(400)], "amount": [i / 7 for i in range(400)]},
    index=pd.Index([f"r{i}" for i in range(400)], name="id"),
)
CREATED = Created(
    name="demo",
    objective="yield",
    template="{ligand} {amount}",
    surrogate="pllm",
    preset="fast",
    model="minilm",
    candidates=table_sha256(TABLE),
)

# A process that appends until it is killed; each of its events holds its own number. Now and then
# the file is copied without its journal, as if it were moved at the moment of the kill.
KILLED = """
import os, random, shutil, signal, sys, time
from gollum.campaign.events import Avoided
from gollum.campaign.store import Store
from gollum.errors import DataError

path, kills = sys.argv[1], int(sys.argv[2])
rng = random.Random(kills)
journals = refused = 0

def check(log, least):
    assert len(log) >= least, (len(log), least)
    assert [e.sequence for e in log] == list(range(1, len(log) + 1))
    assert all(e.event.values == (str(e.sequence),) for e in log[1:])

for _ in range(kills):
    before = len(Store.open(path).log())
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        store = Store.open(path)
        for number in range(before + 1, 10**6):
            reason = "x" * rng.choice((1, 500, 20_000))
            entry = store.append(Avoided(values=(str(number),), reason=reason))
            os.write(writing, b"." * (entry.sequence == number))
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        least = before + len(stream.read(rng.randrange(4)))
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        least += len(stream.read())
    journals += os.path.exists(path + "-journal")
    shutil.copy(path, path + ".moved")
    try:
        check(Store.open(path + ".moved").log(), least)
    except DataError as error:
        assert "is damaged" in str(error)
        refused += 1
    log = Store.open(path).log()
    check(log, least)
    assert len(log) <= least + 1
print(len(log), journals, refused)
"""

WRITERS = """
import os, sys
from gollum.campaign.events import Avoided
from gollum.campaign.store import Store

path, count = sys.argv[1], int(sys.argv[2])
children = []
for writer in range(8):
    if (child := os.fork()) == 0:
        for number in range(count):
            Store.open(path).append(Avoided(values=(str(writer), str(number))))
        os._exit(0)
    children.append(child)
sys.exit(any(os.waitpid(child, 0)[1] for child in children))
"""

# A transaction so large that SQLite writes to the file before it ends, and then the kill.
HALF = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
for number in range(22, 200):
    connection.execute("INSERT INTO events VALUES (?, '', '', '', ?, '')", (number, "x" * 9000))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def store(tmp_path):
    """A campaign whose log takes several pages of the file."""
    store = Store.create(tmp_path / "my.gollum", CREATED, TABLE)
    for number in range(2, 22):
        store.append(Avoided(values=(str(number),), reason="y" * (6000 if number % 5 == 0 else 60)))
    return store


def run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def trials(few, many):
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.slow)])


def judge(path, log, saved):
    """Open a damaged file: it is refused, or what it says is true; it stays as it is.

    Returns:
        Whether it was refused, and how many events were saved from it.
    """
    before = path.read_bytes()
    refused = True
    with suppress(DataError):
        opened = Store.open(path)
        refused = False
        assert opened.log() == log
        pd.testing.assert_frame_equal(opened.table(CREATED.candidates), TABLE)
    events = 0
    with suppress(DataError):
        events = recover(path, saved)
        assert Store.open(saved).log() == log[:events]
        saved.unlink()
    assert path.read_bytes() == before
    assert {file.name for file in path.parent.iterdir()} == {"my.gollum", path.name}
    return refused, events


@posix
@trials(10, 200)
def test_no_kill_loses_or_halves_an_event(tmp_path, count):
    path = tmp_path / "my.gollum"
    Store.create(path, CREATED, TABLE)
    done = run(KILLED, path, count)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > count  # or nothing was tried


@posix
def test_a_half_written_transaction_is_undone(store, tmp_path):
    log, size = store.log(), store.path.stat().st_size
    assert run(HALF, store.path).returncode < 0
    assert store.path.stat().st_size > size
    assert (tmp_path / "my.gollum-journal").exists()
    moved = shutil.copy(store.path, tmp_path / "moved.gollum")
    with pytest.raises(DataError, match=r"is damaged .*'moved\.gollum-journal' was beside it"):
        Store.open(moved)
    assert Store.open(store.path).log() == log
    assert not (tmp_path / "my.gollum-journal").exists()
    assert store.append(Avoided(values=("22",))).sequence == 22


@posix
@trials(15, 250)
def test_eight_writers_at_once(tmp_path, count):
    path = tmp_path / "my.gollum"
    Store.create(path, CREATED, TABLE)
    done = run(WRITERS, path, count)
    assert done.returncode == 0, done.stderr
    log = Store.open(path).log()
    assert [entry.sequence for entry in log] == list(range(1, 8 * count + 2))
    for writer in range(8):
        own = [e.event.values[1] for e in log[1:] if e.event.values[0] == str(writer)]
        assert own == [str(number) for number in range(count)]


@trials(40, 2000)
def test_a_file_that_was_cut_is_refused_or_saved(store, tmp_path, count):
    log, whole = store.log(), store.path.read_bytes()
    rng = random.Random(count)  # noqa: S311
    path = tmp_path / "cut.gollum"
    saved = []
    for length in sorted(rng.sample(range(len(whole)), count)):
        path.write_bytes(whole[:length])
        refused, events = judge(path, log, tmp_path / "saved.gollum")
        assert refused or length > len(whole) - 4096  # what ends in zeros may lose them
        saved.append(events)
    assert saved == sorted(saved)  # the more is left, the more can be saved
    assert saved[0] == 0
    assert saved[-1] >= len(log) - 8


@trials(60, 4000)
def test_flipped_bytes_are_noticed_or_harmless(store, tmp_path, count):
    log, whole = store.log(), store.path.read_bytes()
    path = tmp_path / "bad.gollum"
    outcomes = []
    for seed in range(count):
        rng = random.Random(seed)  # noqa: S311
        damaged = bytearray(whole)
        header = 100 if seed % 3 == 0 else len(whole)  # the header is small and matters most
        for _ in range(rng.choice((1, 1, 4, 64))):
            damaged[rng.randrange(header)] ^= rng.randrange(1, 256)
        path.write_bytes(damaged)
        outcomes.append(judge(path, log, tmp_path / "saved.gollum")[0])
    assert any(outcomes)
