from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gollum.language import embed as embed_module
from gollum.language.embed import (
    MULTIPLE,
    MULTIPLE_FLOAT32,
    START,
    TOKEN_BUDGET,
    Tokens,
    batches,
    embed,
    padded_length,
    tokenize,
)
from helpers import load, make_texts

TEXTS = make_texts(9, seed=4)
FRAME = {"bert": ([2], [3]), "t5": ([], [4]), "llama": ([2], []), "gpt2": ([], [])}


def word(i):
    return 5 + i


@pytest.mark.parametrize("name", FRAME)
def test_token_ids_with_the_familys_special_tokens(model_folder, name):
    before, after = FRAME[name]
    tokens = tokenize(load(model_folder(name)), ["w1 w2", "w7", "w1 strange"])
    expected = [
        [*before, word(1), word(2), *after],
        [*before, word(7), *after],
        [*before, word(1), 1, *after],
    ]
    assert [tokens.sequence(i) for i in range(3)] == expected
    assert tokens.index.tolist() == [0, 1, 2]
    assert tokens.lengths.tolist() == [len(s) for s in expected]
    assert tokens.truncated == 0


def test_identical_texts_are_tokenized_once(bert):
    tokens = tokenize(bert, ["w1", "w2 w3", "w1", "w1", "w4"])
    assert len(tokens) == 3
    assert tokens.index.tolist() == [0, 1, 0, 0, 2]


def test_truncated_texts_are_cut_and_counted_once_each(bert):
    long = " ".join(["w1"] * 20)
    tokens = tokenize(bert, ["w2", long, long, long + " w3", "w2 w3"], max_tokens=10)
    assert tokens.truncated == 2
    assert tokens.lengths.tolist() == [3, 10, 10, 4]
    assert tokens.sequence(1) == [2, *[word(1)] * 8, 3]


@pytest.mark.parametrize("name", FRAME)
def test_a_prefix_comes_before_every_text_and_counts(model_folder, name):
    backbone = load(model_folder(name), prefix="w9 w8 ")
    tokens = tokenize(backbone, ["w1", "", "w1"])
    plain = load(model_folder(name))
    expected = tokenize(plain, ["w9 w8 w1", "w9 w8 "])
    assert [tokens.sequence(i) for i in (0, 1)] == [expected.sequence(i) for i in (0, 1)]
    assert tokens.index.tolist() == [0, 1, 0]
    assert tokens.sequence(0) != tokenize(plain, ["w1"]).sequence(0)
    long = " ".join(["w1"] * 20)
    cut, same = tokenize(backbone, [long], max_tokens=10), tokenize(plain, ["w9 w8 " + long], 10)
    assert cut.truncated == 1
    assert cut.sequence(0) == same.sequence(0)


def test_a_text_of_exactly_the_limit_is_not_cut(bert):
    tokens = tokenize(bert, ["w1 w2 w3", "w1 w2 w3 w4"], max_tokens=5)
    assert tokens.truncated == 1
    assert tokens.lengths.tolist() == [5, 5]


def test_left_and_right_padding_of_a_decoders_last_token(model_folder):
    backbone = load(model_folder("llama"), pooling="last_token")
    together = embed(backbone, tokenize(backbone, TEXTS))
    for text, vector in zip(TEXTS, together, strict=True):
        ids = torch.tensor([tokenize(backbone, [text]).sequence(0)])
        with torch.no_grad():
            expected = backbone.model(input_ids=ids).last_hidden_state[0, -1]
        torch.testing.assert_close(vector, expected.double(), rtol=1e-4, atol=1e-5)


def test_identical_texts_are_embedded_once(bert, monkeypatch):
    rows = []
    bert.model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[0]]
    vectors = embed(bert, tokenize(bert, texts))
    assert rows == [3]
    assert torch.equal(vectors[0], vectors[2])
    assert torch.equal(vectors[1], vectors[4])
    assert not torch.equal(vectors[0], vectors[1])


def test_embedding_carries_no_graph_and_reports_progress(bert, monkeypatch):
    monkeypatch.setattr(embed_module, "batches", partial(batches, budget=30))
    seen = []
    vectors = embed(bert, tokenize(bert, TEXTS), lambda *step: seen.append(step))
    assert not vectors.requires_grad
    assert len(seen) > 1
    assert [total for _, total in seen] == [len(TEXTS)] * len(seen)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (len(TEXTS), len(TEXTS))


@given(
    st.lists(st.integers(1, 600), min_size=1, max_size=60),
    st.integers(1, 3000),
)
def test_batches_cover_every_position_once_within_the_budget(lengths, budget):
    lengths = np.array(lengths)
    parts = list(batches(lengths, budget))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * padded_length(lengths[part].max()) <= budget
    in_order = lengths[np.concatenate(parts)]
    assert (np.diff(in_order) <= 0).all()


@given(st.lists(st.integers(1, 200), min_size=2, max_size=40), st.integers(10, 4000))
def test_a_batch_ends_where_one_more_would_not_fit_or_cost_more_than_another_batch(lengths, budget):
    lengths = np.array(lengths)
    parts = list(batches(lengths, budget))
    for part, following in pairwise(parts):
        width = padded_length(lengths[part].max())
        padding = sum(width - padded_length(lengths[i]) for i in part)
        one_more = padding + width - padded_length(lengths[following[0]])
        assert padding <= START
        assert (len(part) + 1) * width > budget or one_more > START


@pytest.mark.parametrize(
    ("dtype", "multiple"), [(torch.float32, MULTIPLE_FLOAT32), (torch.bfloat16, MULTIPLE)]
)
def test_short_texts_are_padded_less_in_float32(model_folder, monkeypatch, dtype, multiple):
    backbone, widths = load(model_folder("bert"), dtype=dtype), list[int]()
    hidden = type(backbone).hidden

    def noting(self, ids, mask):
        widths.append(ids.shape[1])
        return hidden(self, ids, mask)

    monkeypatch.setattr(type(backbone), "hidden", noting)
    tokens = tokenize(backbone, ["w1 w2", "w3"])
    vectors = embed(backbone, tokens)
    assert widths == [multiple]
    monkeypatch.setattr(embed_module, "MULTIPLE_FLOAT32", 1)
    torch.testing.assert_close(vectors, embed(backbone, tokens), rtol=1e-5, atol=1e-5)


def test_batches_by_default_hold_the_token_budget():
    parts = list(batches(np.full(40, 512)))
    assert [len(part) for part in parts] == [TOKEN_BUDGET // 512] * 2 + [40 % 16]


def tokens_of(*sequences, limit=512):
    lengths = np.array([len(s) for s in sequences])
    return Tokens(
        np.concatenate(sequences).astype(np.int32), lengths, np.arange(len(lengths)), limit
    )


def test_padding_fills_on_the_right_up_to_a_multiple():
    ids, mask = tokens_of([5, 6], [7], [8, 9, 10]).padded(
        np.array([2, 0, 2, 1]), 1, torch.device("cpu")
    )
    assert ids.shape == mask.shape == (4, MULTIPLE)
    assert ids[:, :3].tolist() == [[8, 9, 10], [5, 6, 1], [8, 9, 10], [7, 1, 1]]
    assert mask[:, :3].tolist() == [[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]
    assert (ids[:, 3:] == 1).all()
    assert (mask[:, 3:] == 0).all()
    assert (ids.dtype, mask.dtype) == (torch.long, torch.long)


@pytest.mark.parametrize(("limit", "padded"), [(512, 32), (32, 32), (20, 20), (17, 17), (4, 17)])
def test_padding_never_exceeds_what_the_model_takes(limit, padded):
    ids, _ = tokens_of([7] * 17, [7], limit=limit).padded(np.arange(2), 0, torch.device("cpu"))
    assert ids.shape == (2, padded)


def test_padding_is_marked_by_position_not_by_its_token():
    _, mask = tokens_of([4, 4], [4, 4, 4]).padded(np.arange(2), 4, torch.device("cpu"))
    assert mask[:, :4].tolist() == [[1, 1, 0, 0], [1, 1, 1, 0]]
