import errno
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from gollum import cachefile
from gollum.cachefile import LIMIT, LIMIT_GIB, STALE, CacheFile, amount, cache_folder, free, trim
from gollum.errors import ConfigError

KEY = hashlib.sha256(b"a pool").hexdigest()
NAME = f"{KEY}.safetensors"
CONTENT = bytes(range(256)) * 3 + b"end"
SIZE = len(CONTENT)
FULL = OSError(errno.ENOSPC, "No space left on device")
PATIENCE = 60  # seconds that a process may take

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="where Linux keeps caches")
posix = pytest.mark.skipif(os.name == "nt", reason="calls of POSIX")


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def part_name(process, machine=None):
    return f".{KEY}.{machine or cachefile._machine()}.{process}.0a1b2c3d.part"


def cached(folder, number, size=100, age=0.0):
    file = folder / f"{number:064x}.safetensors"
    file.write_bytes(bytes(size))
    os.utime(file, (time.time() - age,) * 2)
    return file


def failing(monkeypatch, name, error=FULL):
    """Let a function of os fail."""

    def call(*_, **__):
        raise error

    monkeypatch.setattr(os, name, call)


def holds(file, content=CONTENT):
    """It can be read as a whole, and at any position."""
    assert file.size() == len(content)
    for start in (0, 1, len(content) // 2, len(content) - 1):
        buffer = bytearray(len(content) - start)
        file.read(memoryview(buffer), start)
        assert buffer == content[start:]


@pytest.fixture
def file():
    """Makes files that are closed in the end."""
    made = []

    def make():
        made.append(CacheFile())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def created(file, tmp_path):
    """Starts a file of the size of CONTENT."""

    def create(key=KEY, size=SIZE):
        new = file()
        new.create(tmp_path / f"{key}.safetensors", size)
        return new

    return create


@pytest.fixture
def published(created, tmp_path):
    """Makes a finished file."""

    def publish(key=KEY, content=CONTENT):
        new = created(key, len(content))
        new.write(memoryview(content), 0)
        new.publish(tmp_path / f"{key}.safetensors")
        return new

    return publish


# ---- where ----


@pytest.mark.parametrize("xdg", [None, "", "/elsewhere"])
def test_the_folder_that_gollum_cache_names(tmp_path, monkeypatch, xdg):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "own"))
    assert cache_folder("tasks") == tmp_path / "own" / "tasks"
    assert cache_folder("activations") == tmp_path / "own" / "activations"
    assert names(tmp_path) == []


@LINUX
@pytest.mark.parametrize("own", [None, ""])
def test_the_users_cache_folder(tmp_path, monkeypatch, own):
    monkeypatch.delenv("GOLLUM_CACHE", raising=False)
    if own is not None:
        monkeypatch.setenv("GOLLUM_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("tasks") == tmp_path / "xdg" / "gollum" / "tasks"
    assert names(tmp_path) == []


@LINUX
@pytest.mark.parametrize("empty", [False, True])
def test_a_cache_folder_in_the_users_home(tmp_path, monkeypatch, empty):
    for name in ("GOLLUM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
        if empty:
            monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("tasks") == tmp_path / ".cache" / "gollum" / "tasks"
    assert names(tmp_path) == []


# ---- written, read, published ----


def test_what_was_written_is_read(created, file, tmp_path):
    path = tmp_path / NAME
    first, view = created(), memoryview(CONTENT)
    first.write(view[100:], 100)
    first.write(view[:100], 0)
    holds(first)
    assert not path.exists()
    first.publish(path)
    assert names(tmp_path) == [NAME]
    assert path.read_bytes() == CONTENT
    second = file()
    second.open(path)
    for each in (first, second):
        holds(each)


def test_nothing_is_read_behind_the_end(published):
    buffer = bytearray(10)
    with pytest.raises(OSError, match="it ends too early") as caught:
        published().read(memoryview(buffer), len(CONTENT) - 9)
    assert caught.value.errno == errno.EIO
    published().read(memoryview(b""), len(CONTENT) + 9)


def test_files_without_positional_calls(published, file, tmp_path, monkeypatch):
    for name in ("preadv", "pwrite", "posix_fallocate"):
        monkeypatch.delattr(os, name, raising=False)
    holds(published())
    found = file()
    found.open(tmp_path / NAME)
    holds(found)
    with pytest.raises(OSError, match="it ends too early"):
        found.read(memoryview(bytearray(2)), len(CONTENT) - 1)


@posix
def test_calls_that_do_only_a_part(published, file, tmp_path, monkeypatch):
    preadv, pwrite = os.preadv, os.pwrite
    monkeypatch.setattr(os, "preadv", lambda d, b, at: preadv(d, [b[0][:13]], at))
    monkeypatch.setattr(os, "pwrite", lambda d, b, at: pwrite(d, b[:7], at))
    holds(published())
    found = file()
    found.open(tmp_path / NAME)
    holds(found)


def test_a_file_is_on_disk_before_it_has_its_name(created, tmp_path, monkeypatch):
    new, calls = created(), []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def call(*args, name=name, original=original, **options):
            calls.append(name)
            return original(*args, **options)

        monkeypatch.setattr(os, name, call)
    new.publish(tmp_path / NAME)
    assert calls == ["fsync", "replace"]


def test_a_new_file_replaces_an_old_one_which_stays_readable(published, tmp_path):
    old, new = published(), published(content=CONTENT[::-1])
    holds(old)
    holds(new, CONTENT[::-1])
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == CONTENT[::-1]


def test_a_folder_that_has_the_name_is_moved_aside(published, tmp_path):
    path = tmp_path / NAME
    path.mkdir()
    (path / "mine.txt").write_text("kept")
    holds(published())
    aside, name = names(tmp_path)
    assert name == NAME
    assert aside.startswith(f".{KEY}.")
    assert aside.endswith(".folder")
    assert (tmp_path / aside / "mine.txt").read_text() == "kept"


def test_where_an_open_file_cannot_be_renamed(created, tmp_path, monkeypatch):
    monkeypatch.setattr(cachefile, "os", SimpleNamespace(**{**vars(os), "name": "nt"}))
    (tmp_path / part_name(999_999_999)).touch()
    new, replace = created(), Path.replace

    def closed_before(path, target):
        with pytest.raises(OSError, match="Bad file descriptor"):
            new.size()
        replace(path, target)

    monkeypatch.setattr(Path, "replace", closed_before)
    new.write(memoryview(CONTENT), 0)
    new.publish(tmp_path / NAME)
    holds(new)
    assert names(tmp_path) == sorted([NAME, part_name(999_999_999)])  # can't ask who runs


# ---- room ----


@posix
def test_room_is_reserved_at_once(created, tmp_path):
    new = created(size=10_000)
    (part,) = tmp_path.iterdir()
    assert part.stat().st_size == 10_000
    assert part.name.startswith(f".{KEY}.")
    assert cachefile._PART.fullmatch(part.name)
    new.close()
    assert names(tmp_path) == []


@posix
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_reserves_nothing(published, monkeypatch, number):
    failing(monkeypatch, "posix_fallocate", OSError(number, os.strerror(number)))
    holds(published())


@posix
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_no_room_can_be_reserved(file, tmp_path, monkeypatch, number):
    failing(monkeypatch, "posix_fallocate", OSError(number, os.strerror(number)))
    new = file()
    with pytest.raises(OSError, match=os.strerror(number)):
        new.create(tmp_path / NAME, 100)
    new.close()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("size", "fits"), [(500, True), (501, False)])
def test_room_is_checked_where_none_can_be_reserved(file, tmp_path, monkeypatch, size, fits):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500))
    new = file()
    if fits:
        new.create(tmp_path / NAME, size)
    else:
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as caught:
            new.create(tmp_path / NAME, size)
        assert caught.value.errno == errno.ENOSPC
    new.close()
    assert names(tmp_path) == []


def test_the_folder_is_made(file, tmp_path):
    file().create(tmp_path / "new" / "cache" / NAME, 10)
    assert len(names(tmp_path / "new" / "cache")) == 1


def test_free_bytes_where_a_folder_is_or_would_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage._replace(free=500 if folder == tmp_path else 0)
    )
    for folder in (tmp_path, tmp_path / "a" / "b", tmp_path / "file", tmp_path / "file" / "cache"):
        assert free(folder) == 500


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0.0 MiB"), (150_000, "0.1 MiB"), (2**30 - 2**20, "1023.0 MiB"), (2**30, "1.0 GiB")],
)
def test_amounts_for_people(size, text):
    assert amount(size) == text


# ---- broken off ----


def test_a_file_closed_before_it_is_published_is_removed(created, published, tmp_path):
    new = created()
    new.write(memoryview(CONTENT), 0)
    for _ in range(2):
        new.close()
        assert names(tmp_path) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        new.read(memoryview(bytearray(1)), 0)
    finished = published()
    for _ in range(2):
        finished.close()
        assert names(tmp_path) == [NAME]
    CacheFile().close()


@posix
@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_file_that_could_not_be_published_is_removed(created, tmp_path, monkeypatch, name):
    (tmp_path / NAME).write_text("old")
    new = created()
    failing(monkeypatch, name)
    with pytest.raises(OSError, match="No space left"):
        new.publish(tmp_path / NAME)
    new.close()
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_text() == "old"


@posix
def test_only_parts_that_nobody_writes_are_removed(published, tmp_path):
    gone = 999_999_999  # more than any system counts to
    stale = [part_name(gone), part_name(gone, "feedbeef"), part_name(os.getpid())]
    fresh = [part_name(gone, "deadbeef"), part_name(1), ".trace.csv.999999999.part"]
    for name in (*stale, *fresh):
        (tmp_path / name).write_bytes(b"states")
    yesterday = time.time() - STALE - 60
    for name in (*stale[1:], fresh[-1]):
        os.utime(tmp_path / name, (yesterday, yesterday))
    published()
    assert names(tmp_path) == sorted([*fresh, NAME])


@posix
def test_a_part_that_another_user_writes_stays(published, tmp_path, monkeypatch):
    (tmp_path / part_name(12345)).write_bytes(b"states")
    failing(monkeypatch, "kill", PermissionError(errno.EPERM, "Operation not permitted"))
    published()
    assert part_name(12345) in names(tmp_path)


SCRIPT = """
import os, sys
from pathlib import Path
from gollum.cachefile import CacheFile
path = Path(sys.argv[1])
file = CacheFile()
file.create(path, 1000)
"""


def run(script, path):
    return subprocess.run([sys.executable, "-c", SCRIPT + script, path], timeout=PATIENCE)


@posix
def test_a_forked_process_leaves_its_parents_file_alone(tmp_path):
    fork = """
child = os.fork()
if child == 0:
    file.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
file.write(memoryview(b"states"), 0)
file.publish(path)
"""
    assert run(fork, tmp_path / NAME).returncode == 0
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"states" + bytes(994)


@posix
def test_after_a_kill_the_next_process_cleans_up(published, tmp_path):
    assert run("os.kill(os.getpid(), 9)", tmp_path / NAME).returncode == -9
    assert [name.endswith(".part") for name in names(tmp_path)] == [True]
    published(key=KEY[::-1])
    assert names(tmp_path) == [f"{KEY[::-1]}.safetensors"]


# ---- the cache is bounded ----


def test_trim_removes_the_files_used_least_recently(tmp_path):
    a, b, c, d = (cached(tmp_path, i, age=age) for i, age in enumerate([30, 50, 10, 40]))
    trim(tmp_path, 400, spare=KEY)
    assert all(file.exists() for file in (a, b, c, d))
    trim(tmp_path, 399, spare=KEY)
    assert [file.exists() for file in (a, b, c, d)] == [True, False, True, True]
    trim(tmp_path, 100, spare=KEY)
    assert [file.exists() for file in (a, b, c, d)] == [False, False, True, False]
    trim(tmp_path, 0, spare=KEY)
    assert names(tmp_path) == []


def test_trim_leaves_everything_else(tmp_path):
    spared = cached(tmp_path, 1, age=90)
    for name in ("model.safetensors", f"{KEY}.bin", part_name(1), f"{KEY[:-1]}.safetensors"):
        (tmp_path / name).write_bytes(bytes(500))
    (tmp_path / f"{2:064x}.safetensors").mkdir()
    before = names(tmp_path)
    trim(tmp_path, 0, spare=spared.stem)
    assert names(tmp_path) == before
    trim(tmp_path / "nowhere", 0, spare=KEY)


def test_trim_does_not_count_the_file_that_stays(tmp_path):
    spared, other = cached(tmp_path, 1, size=1000), cached(tmp_path, 2)
    trim(tmp_path, 100, spare=spared.stem)
    assert names(tmp_path) == [spared.name, other.name]


def test_trim_goes_on_behind_a_file_that_cannot_be_removed(tmp_path, monkeypatch):
    oldest, newer, newest = (cached(tmp_path, i, age=90 - i) for i in range(3))
    unlink = Path.unlink

    def refuse(path, *args, **kwargs):
        if path == oldest:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", refuse)
    trim(tmp_path, 200, spare=KEY)
    assert names(tmp_path) == [oldest.name, newest.name]
    assert not newer.exists()


def test_two_processes_that_trim_do_not_remove_twice_as_much(tmp_path, monkeypatch):
    oldest, newer, newest = (cached(tmp_path, i, age=90 - i) for i in range(3))
    unlink = Path.unlink

    def comes_second(path, *args, **kwargs):
        os.remove(path)
        unlink(path, *args, **kwargs)

    monkeypatch.setattr(Path, "unlink", comes_second)
    trim(tmp_path, 200, spare=KEY)
    assert names(tmp_path) == [newer.name, newest.name]
    assert not oldest.exists()


def test_room_for_a_new_file_is_made_first(created, published, tmp_path, monkeypatch):
    old, new = (cached(tmp_path, i, size=10_000, age=age) for i, age in enumerate([9, 8]))
    monkeypatch.setenv(LIMIT, str(20_000 / 2**30))
    created(size=0).close()
    assert names(tmp_path) == [old.name, new.name]
    published()
    assert names(tmp_path) == sorted([new.name, NAME])
    monkeypatch.setenv(LIMIT, "0")
    published()  # in place of the one there
    assert names(tmp_path) == [NAME]
    published(key=KEY[::-1])
    assert names(tmp_path) == [f"{KEY[::-1]}.safetensors"]


def test_a_limit_of_its_own(monkeypatch):
    monkeypatch.delenv(LIMIT, raising=False)
    assert cachefile._limit() == LIMIT_GIB * 2**30 == 20 * 2**30


@pytest.mark.parametrize("text", ["", "20", "inf", "0.5"])
def test_limits_of_the_cache(created, tmp_path, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    kept = cached(tmp_path, 1)
    created()
    assert kept.exists()


@pytest.mark.parametrize("text", ["-1", "nan", "20 GB", "much"])
def test_limits_that_are_none(created, tmp_path, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    kept = cached(tmp_path, 1)
    with pytest.raises(ConfigError, match=f"GOLLUM_CACHE_GB is '{text}'; give a number of GiB"):
        created()
    assert names(tmp_path) == [kept.name]
