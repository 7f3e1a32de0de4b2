import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gollum.campaign import grid
from gollum.campaign.grid import Bound, EntangledError, Grid


@st.composite
def grids(draw):
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    limits = st.none() | st.integers(-6, 6)
    bounds = []
    for _ in range(draw(st.integers(0, 3))):
        places = draw(st.sets(st.integers(0, len(sizes) - 1), min_size=1))
        adds = {
            p: np.array(draw(st.lists(st.integers(-4, 4), min_size=sizes[p], max_size=sizes[p])))
            for p in places
        }
        bounds.append(Bound.of(adds, draw(limits), draw(limits)))
    return sizes, bounds


def kept(sizes, bounds):
    return [
        codes
        for codes in itertools.product(*map(range, sizes))
        if all(b.low <= sum(a[codes[p]] for p, a in b.adds.items()) <= b.high for b in bounds)
    ]


@given(grids(), st.sampled_from([0, 3, 8, 100]))
def test_what_keeps_the_bounds_is_counted_listed_in_order_and_drawn(case, small):
    """As a table, as a diagram, and as a diagram of tables and sums."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "SMALL", small)
        check(*case)


def check(sizes, bounds):
    expected, found = kept(sizes, bounds), Grid(sizes).within(*bounds)
    assert found.total == len(expected)
    assert list(map(tuple, found.all())) == expected
    n = (len(expected) + 2) // 3
    drawn = list(map(tuple, found.draw(n, seed=1)))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == n
    assert set(drawn) <= set(expected)


@given(grids(), st.data())
def test_a_part_is_what_lies_between(case, data):
    sizes, bounds = case
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n - 1)] * 2))) for n in sizes]
    part = Grid(sizes).within(*bounds).part([slice(low, high + 1) for low, high in ends])
    lows = [low for low, _ in ends]
    expected = [
        tuple(c - low for c, low in zip(codes, lows, strict=True))
        for codes in kept(sizes, bounds)
        if all(low <= c <= high for c, (low, high) in zip(codes, ends, strict=True))
    ]
    assert list(map(tuple, part.all())) == expected


def test_draws_are_uniform_over_what_stays(monkeypatch):
    monkeypatch.setattr(grid, "SMALL", 0)
    found = Grid([4, 4, 3]).within(Bound.of({0: np.arange(4), 1: np.arange(4)}, low=2, high=3))
    often = Counter(tuple(found.draw(1, seed)[0]) for seed in range(1050))
    assert len(often) == found.total == 21
    assert sum((n - 50) ** 2 / 50 for n in often.values()) < 45.3  # chi², 20 degrees, p = 0.001


def test_more_than_can_be_listed_are_counted_and_drawn():
    amounts = {place: np.arange(101) for place in range(10)}
    found = Grid([101] * 10).within(Bound.of(amounts, low=100, high=100))
    assert found.total == 4263421511271  # 109 choose 9
    drawn = found.draw(1000, seed=2)
    assert drawn.shape == (1000, 10)
    assert (drawn.sum(axis=1) == 100).all()
    assert (drawn == found.draw(1000, seed=2)).all()
    assert (drawn != found.draw(1000, seed=3)).any()


def test_sums_that_allow_the_same_are_one_state():
    """Otherwise 601 × 601 different sums would meet 601 options: 217 million."""
    x = np.arange(601)
    found = Grid([601] * 3).within(Bound.of({0: 237 * x, 1: 100 * x, 2: -100 * x}, high=0))
    assert found.total == sum(max(0, 601 - -(-(237 * a + 100 * b) // 100)) for a in x for b in x)


def test_bounds_lose_nothing_where_others_imply_them():
    less = [Bound.of({0: np.arange(4), 1: np.arange(4)}, high=high) for high in (2, 3, 6)]
    found = Grid([4, 4, 4]).within(less[0])
    assert not found.loses(less[1])
    assert Grid([4, 4, 4]).loses(less[1])
    assert not Grid([4, 4, 4]).loses(less[2])


def test_hundreds_of_exclusions_among_millions_are_quick():
    """As 435 sums instead of 28 tables they would take minutes."""
    rng = np.random.default_rng(0)
    met = [{int(p): np.eye(8, dtype=int)[rng.integers(8)] for p in rng.choice(8, 2, replace=False)}
           for _ in range(435)]  # fmt: skip
    found = Grid([8] * 8).within(*(Bound.of(each, high=1) for each in met))
    drawn = found.draw(min(100, found.total), seed=0)
    assert all((sum(a[drawn[:, p]] for p, a in each.items()) <= 1).all() for each in met)


def test_what_is_too_entangled_is_refused(monkeypatch):
    monkeypatch.setattr(grid, "MOST_LINKS", 11)
    monkeypatch.setattr(grid, "SMALL", 0)
    found = Grid([3, 3]).within(Bound.of({0: np.arange(3), 1: np.arange(3)}, low=2, high=2))
    with pytest.raises(EntangledError):
        _ = found.total
