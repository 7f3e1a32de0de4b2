"""Vectors kept between processes: the same as computed ones, or computed again."""

import errno
from dataclasses import replace

import numpy as np
import pytest
import torch

from gollum.cachefile import CacheFile, cache_folder
from gollum.features.problem import Problem
from gollum.features.representations import Setup
from gollum.features.texts import embedded
from gollum.language import loading, vectors
from gollum.language.embed import Tokens, embed, tokenize
from gollum.language.vectors import are_kept, kept_vectors
from gollum.settings import ModelSettings, Settings
from helpers import CPU, load, make_pool

TEXTS = ["w1 w2 w3", "w4", "w1 w2 w3", "w5 w6 w7 w8"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path))
    return cache_folder("vectors")


@pytest.fixture
def backbone(model_folder):
    return load(model_folder("bert"))


def test_kept_vectors_are_those_of_the_model(backbone, folder, monkeypatch):
    tokens = tokenize(backbone, TEXTS)
    expected = embed(backbone, tokens)
    assert torch.equal(kept_vectors(backbone, tokens), expected)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(vectors, "embed", lambda *_: pytest.fail("they were kept"))
    assert torch.equal(kept_vectors(backbone, tokens), expected)


def test_a_text_more_costs_one_block(backbone, folder, monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", 2)
    monkeypatch.setattr(vectors, "FEW", 1)
    told = []
    tokens = tokenize(backbone, TEXTS)
    first = kept_vectors(backbone, tokens, lambda *n: told.append(n))
    assert told == [(2, 3), (3, 3)]
    np.testing.assert_allclose(first, embed(backbone, tokens), rtol=1e-5, atol=1e-6)
    more = tokenize(backbone, [*TEXTS, "w9"])
    assert not are_kept(backbone, more)
    again = kept_vectors(backbone, more, lambda *n: told.append(n))
    assert told[2:] == [(4, 4)]
    assert torch.equal(again[:2], first[:2])
    assert are_kept(backbone, more)


def test_other_texts_are_other_files(backbone, folder):
    kept_vectors(backbone, tokenize(backbone, TEXTS))
    kept_vectors(backbone, tokenize(backbone, TEXTS[::-1]))
    kept_vectors(backbone, tokenize(backbone, TEXTS[:2]))
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("place", [5, 60, -3])
def test_a_damaged_file_is_made_anew(backbone, folder, place):
    tokens = tokenize(backbone, TEXTS)
    expected = kept_vectors(backbone, tokens)
    (file,) = folder.iterdir()
    sound = file.read_bytes()
    broken = bytearray(sound)
    broken[place] ^= 0x41
    file.write_bytes(broken)
    assert torch.equal(kept_vectors(backbone, tokens), expected)
    assert file.read_bytes() == sound
    file.write_bytes(sound[: len(sound) // 2])
    assert torch.equal(kept_vectors(backbone, tokens), expected)


def test_a_full_disk_costs_nothing_but_time(backbone, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(CacheFile, "write", full)
    tokens = tokenize(backbone, TEXTS)
    np.testing.assert_array_equal(kept_vectors(backbone, tokens), embed(backbone, tokens))
    assert [f for f in folder.iterdir() if f.suffix == ".safetensors"] == []


def test_the_last_pieces_are_smaller_and_smaller(monkeypatch):
    monkeypatch.setattr(vectors, "BLOCK", 16)
    monkeypatch.setattr(vectors, "FEW", 4)
    lengths = np.arange(1, 48)
    ids = np.arange(lengths.sum())
    tokens = Tokens(ids, lengths, np.arange(47), 64)
    pieces = list(vectors._blocks(tokens))
    assert [start for start, _ in pieces] == [0, 16, 32, 40, 44]
    assert [len(piece) for _, piece in pieces] == [16, 16, 8, 4, 3]
    assert np.concatenate([piece.ids for _, piece in pieces]).tolist() == ids.tolist()


def test_texts_of_an_earlier_process_need_no_model(folder, model_folder, monkeypatch):
    model = ModelSettings(name=str(model_folder("bert")), pooling="mean")
    pool = make_pool(len(TEXTS))
    setup = Setup(Problem(pool, tuple(TEXTS)), Settings(model=model), CPU, keep=True)
    first = embedded(setup)
    monkeypatch.setattr(loading, "load_backbone", lambda *_, **__: pytest.fail("it was kept"))
    again = embedded(setup)
    assert torch.equal(again.matrix, first.matrix)
    assert (again.notes, again.revision) == (first.notes, first.revision)
    assert again.notes[0].code == "model"
    cls = replace(setup, settings=Settings(model=model.model_copy(update={"pooling": "cls"})))
    with pytest.raises(pytest.fail.Exception):
        embedded(cls)


@pytest.mark.parametrize("which", ["recall", "vectors"])
def test_a_recall_that_is_damaged_is_made_anew(folder, model_folder, which):
    model = ModelSettings(name=str(model_folder("bert")), pooling="mean")
    setup = Setup(Problem(make_pool(4), tuple(TEXTS)), Settings(model=model), CPU, keep=True)
    first = embedded(setup)
    small, large = sorted(folder.iterdir(), key=lambda file: "blocks" not in str(file.read_bytes()))
    broken = bytearray((small if which == "recall" else large).read_bytes())
    broken[-3] ^= 0x41
    (small if which == "recall" else large).write_bytes(broken)
    assert torch.equal(embedded(setup).matrix, first.matrix)
