import errno
import gc
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch.nn.utils.rnn import pad_sequence

from gollum.cachefile import LIMIT, trim
from gollum.errors import ConfigError, ModelError
from gollum.language.embed import Tokens
from gollum.language.engine import store
from gollum.language.engine.store import FileStates, MemoryStates, open_states, states_key

LENGTHS = np.array([3, 1, 7, 4, 7, 2, 1])
WIDTH = 5
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
CPU = torch.device("cpu")
KEY = hashlib.sha256(b"a pool").hexdigest()
FULL = OSError(errno.ENOSPC, "No space left on device")
PATIENCE = 60  # seconds that a process may take

posix = pytest.mark.skipif(os.name == "nt", reason="signals, limits and pipes of POSIX")


def make_texts(lengths=LENGTHS, width=WIDTH, dtype=torch.float32, seed=0):
    """What enters the layer for each text: any bits at all, infinities and NaNs included."""
    rng = np.random.default_rng(seed)
    size = width * dtype.itemsize
    rows = [torch.from_numpy(rng.integers(0, 256, (n, size), dtype=np.uint8)) for n in lengths]
    return [r.view(dtype) for r in rows]


def put(states, texts, order=None, batch=3):
    """Put texts in batches, with something behind their ends."""
    order = np.arange(len(texts)) if order is None else np.asarray(order)
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        hidden = pad_sequence([texts[i] for i in chosen], batch_first=True, padding_value=7.0)
        states.put(chosen, hidden)


def filled(states, texts):
    put(states, texts)
    states.finish()
    return states


def same(a, b):
    """Equal to the last bit."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def holds(states, texts):
    everything = np.arange(len(texts))
    same(states.padded(everything, CPU), pad_sequence(texts, batch_first=True))
    for i, text in enumerate(texts):
        same(states.padded(np.array([i]), CPU)[0], text)


def in_file(folder, lengths=LENGTHS, width=WIDTH, dtype=torch.float32, key=KEY):
    return FileStates(lengths, width, dtype, key=key, folder=folder)


def stored(folder, texts=None, **options):
    """A finished file, closed again."""
    states = filled(in_file(folder, **options), texts or make_texts())
    states.discard()
    return states.path


def names(folder):
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture(params=["memory", "file"])
def fresh(request, tmp_path):
    """Makes an empty store of either kind."""

    def make(lengths=LENGTHS, width=WIDTH, dtype=torch.float32):
        if request.param == "memory":
            return MemoryStates(lengths, width, dtype)
        return in_file(tmp_path, lengths, width, dtype)

    return make


# ---- both kinds ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_was_put_comes_back(fresh, dtype):
    texts = make_texts(dtype=dtype)
    states = fresh(dtype=dtype)
    assert not states.ready
    put(states, texts, order=[4, 2, 0, 6, 5, 1, 3])
    assert not states.ready
    states.finish()
    assert states.ready
    assert states.note == ""
    holds(states, texts)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "chosen", [[3, 0, 6, 2], [2, 2, 1, 2], [1, 6], [4, 2], [5], [], list(range(7)) * 3]
)
def test_padded_takes_any_order_and_repeats(fresh, dtype, chosen):
    texts = make_texts(dtype=dtype)
    hidden = filled(fresh(dtype=dtype), texts).padded(np.array(chosen, dtype=np.int64), CPU)
    longest = max((LENGTHS[i] for i in chosen), default=0)
    assert hidden.shape == (len(chosen), longest, WIDTH)
    for rows, i in zip(hidden, chosen, strict=True):
        same(rows[: LENGTHS[i]], texts[i])
        same(rows[LENGTHS[i] :], torch.zeros(longest - LENGTHS[i], WIDTH, dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chosen", [[3, 0, 6, 2], [2, 2, 1, 2], [1, 6], [5], []])
@pytest.mark.parametrize("more", [-7, -1, 0, 1, 20])
def test_padded_is_as_long_as_asked_for_if_that_is_longer(fresh, dtype, chosen, more):
    states = filled(fresh(dtype=dtype), make_texts(dtype=dtype))
    chosen = np.array(chosen, dtype=np.int64)
    short = states.padded(chosen, CPU)
    longest = short.shape[1]
    hidden = states.padded(chosen, CPU, max(0, longest + more))
    assert hidden.shape == (len(chosen), longest + max(0, more), WIDTH)
    same(hidden[:, :longest], short)
    same(hidden[:, longest:], torch.zeros(len(chosen), max(0, more), WIDTH, dtype=dtype))


def test_each_padded_tensor_is_its_own(fresh):
    texts = make_texts()
    states = filled(fresh(), texts)
    states.padded(np.arange(7), CPU).zero_()
    states.padded(np.arange(7), CPU, 9).fill_(1)
    holds(states, texts)
    assert not states.padded(np.arange(7), CPU, 9)[:, 7:].any()


def test_more_padding_than_needed_strides_and_gradients_do_not_matter(fresh):
    texts = make_texts()
    states = fresh()
    for i, text in enumerate(texts):
        wide = torch.full((WIDTH, len(text) + 4, 1), torch.nan)
        wide[:, : len(text), 0] = text.T
        states.put(np.array([i]), wide.requires_grad_().permute(2, 1, 0))
    states.finish()
    holds(states, texts)


def test_what_is_put_again_counts(fresh):
    states = fresh()
    put(states, make_texts(seed=1))
    holds(filled(states, make_texts(seed=2)), make_texts(seed=2))


def test_what_was_put_may_change_afterwards(fresh):
    states, texts = fresh(), make_texts()
    hidden = pad_sequence(texts, batch_first=True)
    states.put(np.arange(7), hidden)
    hidden.zero_()
    states.finish()
    holds(states, texts)


@pytest.mark.parametrize(
    "hidden",
    [
        torch.zeros(2, 7, WIDTH + 1),
        torch.zeros(2, 6, WIDTH),
        torch.zeros(3, 7, WIDTH),
        torch.zeros(7, WIDTH),
        torch.zeros(2, 7, WIDTH, dtype=torch.bfloat16),
    ],
)
def test_other_shapes_and_precisions_are_refused(fresh, hidden):
    with pytest.raises(ValueError, match=r"expected torch.float32 of shape .*7, 5\), got torch"):
        fresh().put(np.array([2, 0]), hidden)


def test_a_text_that_was_never_put_is_noticed(fresh):
    states = fresh()
    put(states, make_texts(), order=[0, 1, 2, 3, 5])
    with pytest.raises(ValueError, match="2 of 7 were never put"):
        states.finish()
    assert not states.ready


def test_the_order_of_calls_is_checked(fresh):
    states, texts = fresh(), make_texts()
    with pytest.raises(AssertionError, match="finish comes before padded"):
        states.padded(np.array([0]), CPU)
    filled(states, texts)
    with pytest.raises(AssertionError, match="nothing is left"):
        put(states, texts)
    with pytest.raises(AssertionError, match="nothing is left"):
        states.finish()
    states.discard()
    states.discard()
    with pytest.raises(AssertionError, match="finish comes before padded"):
        states.padded(np.array([0]), CPU)


def test_what_was_discarded_was_never_put(fresh):
    states = fresh()
    put(states, make_texts())
    states.discard()
    with pytest.raises(ValueError, match="7 of 7 were never put"):
        states.finish()
    assert not states.ready


def test_discarding_frees_the_memory():
    states = filled(MemoryStates(LENGTHS, WIDTH, torch.float32), make_texts())
    states.discard()
    assert states._rows.untyped_storage().nbytes() == 0


def test_no_texts_at_all(fresh):
    states = fresh(lengths=np.array([], dtype=np.int64))
    states.finish()
    nothing = np.array([], dtype=np.int64)
    assert states.padded(nothing, CPU).shape == (0, 0, WIDTH)
    assert states.padded(nothing, CPU, 4).shape == (0, 4, WIDTH)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.integers(1, 6),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32),
    st.integers(0, 12),
    st.data(),
)
def test_both_kinds_agree(lengths, width, dtype, seed, length, data):
    lengths = np.array(lengths)
    order = data.draw(st.permutations(range(len(lengths))))
    chosen = np.array(data.draw(st.lists(st.sampled_from(order), min_size=1, max_size=20)))
    texts = make_texts(lengths, width, dtype, seed)
    with tempfile.TemporaryDirectory() as folder:
        answers = []
        for budget in (10**6, 0):
            states = open_states(lengths, width, dtype, budget=budget, key=KEY, folder=Path(folder))
            put(states, texts, order)
            states.finish()
            answers.append(states.padded(chosen, CPU, length))
            states.discard()
    same(*answers)


# ---- which kind ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_up_to_the_budget_and_a_file_beyond(tmp_path, dtype):
    size = int(LENGTHS.sum()) * WIDTH * dtype.itemsize
    options = {"key": KEY, "folder": tmp_path / "new" / "cache"}
    inside = open_states(LENGTHS, WIDTH, dtype, budget=size, **options)
    assert isinstance(inside, MemoryStates)
    assert names(tmp_path) == []
    beyond = open_states(LENGTHS, WIDTH, dtype, budget=size - 1, **options)
    assert isinstance(beyond, FileStates)
    assert beyond.path == tmp_path / "new" / "cache" / f"{KEY}.safetensors"


def tokens_of(*texts, ids=np.int32, index=None, limit=64, read=()):
    return Tokens(
        np.array([token for text in texts for token in text], dtype=ids),
        np.array([len(text) for text in texts], dtype=np.int64),
        np.array(range(len(texts)) if index is None else index, dtype=np.int64),
        limit,
        dict(read),
    )


def test_the_key_tells_contents_apart(monkeypatch):
    tokens = tokens_of([1, 2], [3])
    base = states_key(tokens, "revision", 5, torch.float32)
    assert re.fullmatch("[0-9a-f]{64}", base)
    assert base == states_key(tokens_of([1, 2], [3]), "revision", 5, torch.float32)
    others = [
        states_key(tokens_of([1, 2], [4]), "revision", 5, torch.float32),
        states_key(tokens_of([1], [2, 3]), "revision", 5, torch.float32),
        states_key(tokens_of([1, 2, 3]), "revision", 5, torch.float32),
        states_key(tokens_of([3], [1, 2]), "revision", 5, torch.float32),
        states_key(tokens_of([1, 2], [3], [3]), "revision", 5, torch.float32),
        states_key(tokens_of([2, 1, 2], [3]), "revision", 5, torch.float32),
        states_key(tokens_of([2, 2, 1, 3]), "revision", 5, torch.float32),
        states_key(tokens, "other", 5, torch.float32),
        states_key(tokens, "revision", 6, torch.float32),
        states_key(tokens, "revision", 5, torch.bfloat16),
        states_key(tokens, "revision", 5),
        states_key(tokens, "revision5", torch.float32),
    ]
    monkeypatch.setattr(store.metadata, "version", lambda name: f"another {name}")
    others.append(states_key(tokens, "revision", 5, torch.float32))
    assert len({base, *others}) == 1 + len(others)
    assert re.fullmatch("[0-9a-f]{64}", states_key(tokens_of()))


def test_the_key_is_that_of_the_distinct_texts():
    base = states_key(tokens_of([1, 2], [3]), "revision")
    assert base == states_key(tokens_of([1, 2], [3], index=[1, 0, 1, 1]), "revision")
    assert base == states_key(tokens_of([1, 2], [3], read={0: 3}), "revision")
    assert base == states_key(tokens_of([1, 2], [3], ids=np.int64), "revision")


# ---- files: kept, found again, readable by others ----


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_finished_file_is_found_by_the_next(tmp_path, dtype):
    texts = make_texts(dtype=dtype)
    first = filled(in_file(tmp_path, dtype=dtype), texts)
    assert names(tmp_path) == [f"{KEY}.safetensors"]
    second = in_file(tmp_path, dtype=dtype)
    assert second.ready
    assert second.note == ""
    for states in (first, second):
        holds(states, texts)
    with pytest.raises(AssertionError, match="nothing is left"):
        put(second, texts)
    second.discard()
    assert in_file(tmp_path, dtype=dtype).ready
    holds(first, texts)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_file_is_a_safetensors_file(tmp_path, dtype):
    texts = make_texts(dtype=dtype)
    path = stored(tmp_path, texts, dtype=dtype)
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["states"]
        same(file.get_tensor("states"), torch.cat(texts))
        digest = hashlib.sha256(torch.cat(texts).view(torch.uint8).numpy().tobytes())
        assert file.metadata() == {
            "format": store.FORMAT,
            "key": KEY,
            "sha256": digest.hexdigest(),
        }
    assert (int.from_bytes(path.read_bytes()[:8], "little") + 8) % 64 == 0


def test_a_name_that_is_gone_or_replaced_does_not_matter_any_more(tmp_path):
    texts = make_texts()
    states = filled(in_file(tmp_path), texts)
    found = in_file(tmp_path)
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    junk.replace(states.path)
    holds(states, texts)
    holds(found, texts)
    states.path.unlink()
    holds(states, texts)
    holds(found, texts)


def test_where_nothing_can_be_reserved_or_done_at_a_position(tmp_path, monkeypatch):
    for name in ("preadv", "pwrite", "posix_fallocate"):
        monkeypatch.delattr(os, name, raising=False)
    texts, states = make_texts(), in_file(tmp_path)
    put(states, texts, order=[4, 2, 0, 6, 5, 1, 3])
    states.finish()
    holds(states, texts)
    holds(in_file(tmp_path), texts)


def test_a_hash_over_many_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "PIECE", 13)
    texts = make_texts()
    path = stored(tmp_path, texts)
    monkeypatch.undo()
    assert in_file(tmp_path).ready
    with safe_open(path, framework="pt") as file:
        same(file.get_tensor("states"), torch.cat(texts))


def test_a_file_in_a_folder_that_cannot_be_changed_is_used(tmp_path, monkeypatch):
    stored(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert in_file(tmp_path).ready


# ---- files that are not right ----


def cut(path):
    os.truncate(path, path.stat().st_size - 1)


def cut_to_the_header(path):
    os.truncate(path, int.from_bytes(path.read_bytes()[:8], "little") + 8)


def extend(path):
    path.write_bytes(path.read_bytes() + b"\0")


def flip(position, bit=1):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[position(content) if callable(position) else position] ^= bit
        path.write_bytes(content)

    return damage


def exchange(old, new):
    def damage(path):
        content = path.read_bytes()
        assert content.count(old) == 1
        path.write_bytes(content.replace(old, new))

    return damage


def huge_header(path):
    path.write_bytes((2**63).to_bytes(8, "little") + path.read_bytes()[8:])


def of(**options):
    """A right file, but of something else, under this name."""

    def damage(path):
        other = path.parent / "other"
        given = {"lengths": LENGTHS, "width": WIDTH, "dtype": torch.float32, **options}
        texts = make_texts(given["lengths"], given["width"], given["dtype"], seed=3)
        stored(other, texts, **given).replace(path)
        other.rmdir()

    return damage


def as_folder(inside):
    def damage(path):
        path.unlink()
        path.mkdir()
        if inside:
            (path / "mine.txt").write_text("kept")

    return damage


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_dangling_link(path):
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def unfinished(path):
    """All of the data, but a header that was not written yet."""
    content = path.read_bytes()
    start = int.from_bytes(content[:8], "little") + 8
    path.write_bytes(bytes(start) + content[start:])


DAMAGE = {
    "cut by a byte": cut,
    "cut to the header": cut_to_the_header,
    "one byte more": extend,
    "a flipped bit at the end": flip(-1),
    "a flipped bit at the start of the data": flip(
        lambda content: int.from_bytes(content[:8], "little") + 8, bit=128
    ),
    "a flipped bit in the length of the header": flip(0),
    "a flipped bit in the header": flip(20),
    "a flipped bit in the digest": flip(lambda content: content.index(b"sha256") + 20),
    "a flipped bit in the padding": flip(lambda c: int.from_bytes(c[:8], "little") + 7),
    "another key in the header": exchange(KEY.encode(), KEY[::-1].encode()),
    "an older format": exchange(store.FORMAT.encode(), b"gollum states 0"),
    "of another key": of(key=KEY[::-1]),
    "of another precision": of(dtype=torch.bfloat16),
    "of another precision, with as many bytes": of(dtype=torch.bfloat16, width=2 * WIDTH),
    "of more texts": of(lengths=np.append(LENGTHS, 2)),
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(b"abc"),
    "random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "random of the right size": lambda path: path.write_bytes(
        np.random.default_rng(0).bytes(path.stat().st_size)
    ),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a huge header": huge_header,
    "unfinished": unfinished,
    "an empty folder": as_folder(inside=False),
    "a folder": as_folder(inside=True),
    "a pipe": as_pipe,
    "a dangling link": as_dangling_link,
}


@posix
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_file_that_is_not_right_is_never_used(tmp_path, damage):
    path = stored(tmp_path, make_texts(seed=1))
    damage(path)
    states, texts = in_file(tmp_path), make_texts(seed=2)
    assert not states.ready
    assert states.note.startswith(f"'{path}' is damaged")
    assert states.note.endswith("computed anew.")
    assert os.path.lexists(path)  # until there is something better
    holds(filled(states, texts), texts)
    found = in_file(tmp_path)
    assert found.ready
    assert found.note == ""
    holds(found, texts)


@posix
def test_a_file_that_cannot_be_read_at_all_is_replaced(tmp_path, monkeypatch):
    stored(tmp_path, make_texts(seed=1))
    preadv = os.preadv

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    states = in_file(tmp_path)
    monkeypatch.setattr(os, "preadv", preadv)
    assert not states.ready
    assert "damaged" in states.note
    holds(filled(states, make_texts(seed=2)), make_texts(seed=2))


def test_a_file_that_shrinks_later_is_an_error_of_one_sentence(tmp_path):
    texts = make_texts()
    states = filled(in_file(tmp_path), texts)
    os.truncate(states.path, states.path.stat().st_size - 1)
    same(states.padded(np.arange(6), CPU), pad_sequence(texts[:6], batch_first=True))
    with pytest.raises(ModelError, match=r"can't be read any more \(it ends too early\)") as caught:
        states.padded(np.array([0, 6]), CPU)
    assert str(states.path) in str(caught.value)
    assert "start again" in str(caught.value)


@posix
def test_an_error_of_the_disk_later_is_an_error_of_one_sentence(tmp_path, monkeypatch):
    states = filled(in_file(tmp_path), make_texts())

    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(ModelError, match=r"can't be read any more \(Input/output error\)"):
        states.padded(np.array([0, 6]), CPU)


# ---- no room, no permission ----


def refused(caught, folder):
    message = str(caught.value)
    assert re.search(r"they need \d+\.\d [MG]iB in '", message)
    assert f"'{folder}'" in message
    assert re.search(r"where \d+\.\d [MG]iB are free", message)
    assert "GOLLUM_CACHE to another folder" in message
    assert "--memory_gb" in message
    assert "\n" not in message


def failing(monkeypatch, name, error=FULL, good=0):
    """Let a function of os fail after some good calls."""
    original, calls = getattr(os, name), []

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) > good:
            raise error
        return original(*args, **kwargs)

    monkeypatch.setattr(os, name, call)


@posix
@pytest.mark.parametrize("name", ["posix_fallocate", "open", "mkdir"])
def test_no_room_at_creation(tmp_path, monkeypatch, name):
    folder = tmp_path / "cache"
    failing(monkeypatch, name)
    with pytest.raises(ModelError, match="No space left") as caught:
        in_file(folder)
    monkeypatch.undo()
    refused(caught, folder)
    assert not folder.exists() or names(folder) == []


@posix
@pytest.mark.parametrize("good", [0, 3, 6])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_no_room_while_texts_are_put(tmp_path, monkeypatch, number, good):
    states = in_file(tmp_path)
    failing(monkeypatch, "pwrite", OSError(number, os.strerror(number)), good)
    with pytest.raises(ModelError, match=os.strerror(number)) as caught:
        put(states, make_texts())
    refused(caught, tmp_path)
    assert names(tmp_path) == []


@posix
@pytest.mark.parametrize("name", ["pwrite", "fsync", "replace", "preadv"])
def test_no_room_at_the_end(tmp_path, monkeypatch, name):
    states = in_file(tmp_path)
    put(states, make_texts())
    failing(monkeypatch, name)
    with pytest.raises(ModelError, match="No space left") as caught:
        states.finish()
    refused(caught, tmp_path)
    assert not states.ready
    assert names(tmp_path) == []


@posix
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = stored(tmp_path)
    flip(-1)(path)
    before = path.read_bytes()
    monkeypatch.setenv(LIMIT, "0")
    states = in_file(tmp_path)
    failing(monkeypatch, "pwrite", good=2)
    with pytest.raises(ModelError):
        put(states, make_texts())
    assert names(tmp_path) == [path.name]
    assert path.read_bytes() == before


def test_too_little_room_where_none_can_be_reserved(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=500))
    with pytest.raises(ModelError, match=r"where 0\.0 MiB are free") as caught:
        in_file(tmp_path)
    refused(caught, tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "cache"
    with pytest.raises(ModelError) as caught:
        in_file(folder)
    refused(caught, folder)


# ---- broken off ----


@posix
@pytest.mark.parametrize("name", ["posix_fallocate", "pwrite", "fsync", "replace"])
def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, name):
    failing(monkeypatch, name, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        filled(in_file(tmp_path), make_texts())
    assert names(tmp_path) == []


def test_an_interrupt_between_leaves_nothing_once_discarded(tmp_path):
    states = in_file(tmp_path)
    put(states, make_texts(), order=[0, 1, 2])
    assert len(names(tmp_path)) == 1
    states.discard()
    assert names(tmp_path) == []


def test_a_store_that_goes_away_unfinished_leaves_nothing(tmp_path):
    states = in_file(tmp_path)
    assert len(names(tmp_path)) == 1
    del states
    gc.collect()
    assert names(tmp_path) == []


@posix
def test_a_store_that_goes_away_closes_its_file(tmp_path):
    gc.collect()
    opened = len(os.listdir("/dev/fd"))
    states = filled(in_file(tmp_path), make_texts())
    found = in_file(tmp_path)
    assert len(os.listdir("/dev/fd")) == opened + 2
    del states, found
    gc.collect()
    assert len(os.listdir("/dev/fd")) == opened
    assert names(tmp_path) == [f"{KEY}.safetensors"]


def test_two_at_once_in_one_process(tmp_path):
    first, second, texts = in_file(tmp_path), in_file(tmp_path), make_texts()
    put(first, texts[:4], order=range(4))
    filled(second, texts)
    put(first, texts, order=range(4, 7))
    holds(second, texts)
    first.finish()
    for states in (first, second, in_file(tmp_path)):
        assert states.ready
        holds(states, texts)
    assert names(tmp_path) == [f"{KEY}.safetensors"]


# ---- other processes: forked from one that has imported the engine and nothing else ----

SCRIPT = """
import os, time
from pathlib import Path
import numpy as np, torch
from gollum.errors import ModelError
from gollum.language.engine.store import FileStates

def open_file(lengths, width):
    return FileStates(np.array(lengths), width, torch.float32, key=key, folder=Path(folder))

def text(i, length, width):
    return torch.full((1, length, width), float(i + 1))
"""


@pytest.fixture(scope="module")
def start():
    """Start a script in a process of its own, with some of its variables given."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gollum.language.engine.store"])
    started = []

    def run(script, folder, **variables):
        given = {"key": KEY, "folder": str(folder), **variables}
        process = context.Process(target=exec, args=(SCRIPT + script, given))
        process.start()
        started.append(process)
        return process

    run.context = context
    yield run
    for process in started:
        process.kill()
        process.join()


def succeeded(*processes):
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@posix
def test_after_a_kill_the_next_run_starts_over_and_cleans_up(tmp_path, start):
    endless = """
states = open_file([3] * 1000, 4)
for i in range(300_000):
    states.put(np.array([i % 500]), text(i, 3, 4))
    Path(folder, "going").touch()
    time.sleep(0.001)
"""
    going = tmp_path / "going"
    process = start(endless, tmp_path)
    until(going.exists)
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE)
    going.unlink()
    assert [name.endswith(".part") for name in names(tmp_path)] == [True]
    texts = make_texts()
    states = in_file(tmp_path)
    assert not states.ready
    assert states.note == ""
    holds(filled(states, texts), texts)
    assert names(tmp_path) == [f"{KEY}.safetensors"]


@posix
def test_an_interrupted_process_leaves_nothing(tmp_path, start):
    endless = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
states = open_file([3] * 1000, 4)
try:
    for i in range(300_000):
        states.put(np.array([i % 500]), text(i, 3, 4))
        Path(folder, "going").touch()
        time.sleep(0.001)
except KeyboardInterrupt:
    states.discard()
    sys.exit(130)
"""
    going = tmp_path / "going"
    process = start(endless, tmp_path)
    until(going.exists)
    os.kill(process.pid, signal.SIGINT)
    process.join(PATIENCE)
    assert process.exitcode == 130
    assert names(tmp_path) == ["going"]


@posix
@pytest.mark.parametrize("goes_away", [True, False])
def test_a_forked_process_leaves_its_parents_file_alone(tmp_path, start, goes_away):
    fork = """
import gc
states = open_file([2], 4)
child = os.fork()
if child == 0:
    if goes_away:
        del states
        gc.collect()
    else:
        states.discard()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
states.put(np.array([0]), text(0, 2, 4))
states.finish()
assert (states.padded(np.array([0]), torch.device("cpu")) == 1).all()
"""
    succeeded(start(fork, tmp_path, goes_away=goes_away))
    assert names(tmp_path) == [f"{KEY}.safetensors"]


@posix
def test_two_processes_at_once_both_succeed(tmp_path, start):
    make = """
states = open_file([1 + i % 7 for i in range(200)], 8)
assert not states.ready
barrier.wait(60)
for i in range(200):
    states.put(np.array([i]), text(i, 1 + i % 7, 8))
barrier.wait(60)
states.finish()
for i in range(200):
    assert torch.equal(states.padded(np.array([i]), torch.device("cpu")), text(i, 1 + i % 7, 8))
"""
    barrier = start.context.Barrier(2)
    succeeded(*[start(make, tmp_path, barrier=barrier) for _ in range(2)])
    assert names(tmp_path) == [f"{KEY}.safetensors"]
    found = in_file(tmp_path, np.array([1 + i % 7 for i in range(200)]), 8)
    assert found.ready
    assert found.note == ""
    assert (found.padded(np.array([0, 199]), CPU)[:, 0] == torch.tensor([[1.0], [200.0]])).all()


@posix
@pytest.mark.parametrize("reserve", [True, False])
def test_a_real_limit_on_the_size_of_files(tmp_path, start, reserve):
    limited = """
import errno, resource
if not reserve:
    del os.posix_fallocate
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # Python ignores SIGXFSZ
try:
    states = open_file([10] * 100, 4)
    reached = "put"
    for i in range(100):
        states.put(np.array([i]), text(i, 10, 4))
except ModelError as error:
    assert os.strerror(errno.EFBIG) in str(error), error
    assert ("reached" in globals()) != reserve
else:
    raise SystemExit("nothing happened")
assert os.listdir(folder) == []
"""
    succeeded(start(limited, tmp_path, reserve=reserve))


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc")
def test_resident_memory_stays_bounded(tmp_path, start):
    measured = """
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

lengths, width, cpu = [85 + i % 10 for i in range(1400)], 400, torch.device("cpu")
before = peak()
states = open_file(lengths, width)
for i, length in enumerate(lengths):
    states.put(np.array([i]), text(i, length, width))
states.finish()
assert states.path.stat().st_size > 190 * 2**20
for found in (states, open_file(lengths, width)):
    assert found.ready
    for start in range(0, 1400, 20):
        chosen = np.arange(start, min(start + 20, 1400))
        assert (found.padded(chosen, cpu)[:, 0, 0].numpy() == chosen + 1).all()
assert peak() - before < 50, (before, peak())
Path(folder, "grown").write_text(str(peak() - before))
"""
    succeeded(start(measured, tmp_path))
    assert float((tmp_path / "grown").read_text()) < 50


# ---- the cache is bounded ----


def cached(folder, number, size=100, age=0.0):
    file = folder / f"{number:064x}.safetensors"
    file.write_bytes(bytes(size))
    os.utime(file, (time.time() - age,) * 2)
    return file


def test_a_file_that_is_used_again_outlives_others(tmp_path):
    path = stored(tmp_path)
    os.utime(path, (1, 1))
    other = cached(tmp_path, 1, age=100)
    assert in_file(tmp_path).ready
    trim(tmp_path, path.stat().st_size, spare=KEY[::-1])
    assert path.exists()
    assert not other.exists()


def test_nothing_is_removed_for_a_file_that_is_there(tmp_path, monkeypatch):
    old, new = (cached(tmp_path, i, size=10_000, age=age) for i, age in enumerate([9, 8]))
    size = stored(tmp_path / "other").stat().st_size
    monkeypatch.setenv(LIMIT, str((10_000 + size) / 2**30))
    path = stored(tmp_path)
    assert not old.exists()
    monkeypatch.setenv(LIMIT, "0")
    assert in_file(tmp_path).ready
    assert names(tmp_path) == sorted([new.name, path.name, "other"])
    other = stored(tmp_path, key=KEY[::-1])
    assert names(tmp_path) == sorted([other.name, "other"])


@pytest.mark.parametrize("text", ["-1", "nan", "20 GB", "much"])
def test_a_limit_that_is_none_is_an_error_of_its_own(tmp_path, monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ConfigError, match=f"GOLLUM_CACHE_GB is '{text}'; give a number of GiB"):
        in_file(tmp_path)
    assert names(tmp_path) == []


def test_the_header_can_be_read_by_eye(tmp_path):
    content = stored(tmp_path).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    total = int(LENGTHS.sum())
    assert header["states"] == {
        "dtype": "F32",
        "shape": [total, WIDTH],
        "data_offsets": [0, total * WIDTH * 4],
    }
