"""Ids stay with their rows, whatever the rows hold and in whatever order they come."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from gollum.data.pool import Pool

cells = st.text(max_size=6)
numbers = st.floats(-1e6, 1e6) | st.just(np.nan)
rows = st.lists(st.tuples(cells, st.integers(-3, 3), numbers), min_size=1, max_size=25)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)


def frame(data):
    return pd.DataFrame(data, columns=["a", "b", "y"]).astype({"y": "float64"})


@settings(max_examples=80, deadline=None)
@given(data=rows, seed=st.integers(0, 2**32 - 1))
def test_positions_undo_ids(data, seed):
    pool = Pool.from_table(frame(data), "y")
    chosen = np.random.default_rng(seed).integers(0, len(pool), 2 * len(pool))
    assert pool.positions(pool.ids[chosen]).tolist() == chosen.tolist()
    assert pool.ids[pool.positions(pool.ids)].tolist() == pool.ids.tolist()


@settings(max_examples=80, deadline=None)
@given(data=rows)
def test_default_ids_count_the_rows_of_the_file(data):
    pool = Pool.from_table(frame(data), "y")
    for name, (_, row) in zip(pool.ids, pool.table.iterrows(), strict=True):
        source = data[int(name.removeprefix("r")) - 1]
        assert (row["a"], row["b"]) == source[:2]
        value = pool.values[pool.positions([name])[0]]
        assert np.array_equal(value, source[2], equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(data=rows)
def test_of_equal_rows_the_first_measured_one_is_kept(data):
    pool = Pool.from_table(frame(data), "y")
    firsts = {}
    for i, row in enumerate(data):
        if row[:2] not in firsts or (np.isnan(data[firsts[row[:2]]][2]) and not np.isnan(row[2])):
            firsts[row[:2]] = i
    assert list(pool.ids) == [f"r{i + 1}" for i in sorted(firsts.values())]
    assert bool(pool.notes) == (len(firsts) < len(data))


@settings(max_examples=80, deadline=None)
@given(data=st.data(), ids=st.lists(names, min_size=1, max_size=15, unique=True))
def test_permuting_rows_moves_no_id_to_another_row(data, ids):
    values = data.draw(st.lists(numbers, min_size=len(ids), max_size=len(ids)))
    table = pd.DataFrame({"id": ids, "n": range(len(ids)), "y": values}).astype({"y": "float64"})
    order = data.draw(st.permutations(range(len(ids))))
    here = Pool.from_table(table, "y", id_column="id")
    there = Pool.from_table(table.iloc[order], "y", id_column="id")
    assert list(there.ids) == [ids[i] for i in order]
    rows_here, rows_there = here.positions(ids), there.positions(ids)
    assert here.table["n"].iloc[rows_here].tolist() == there.table["n"].iloc[rows_there].tolist()
    assert np.array_equal(here.values[rows_here], there.values[rows_there], equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(data=rows, row=st.integers(0, 24), value=st.floats(-1e6, 1e6))
def test_fingerprint_is_equal_exactly_when_ids_and_values_are(data, row, value):
    table = frame(data)
    pool = Pool.from_table(table, "y")
    other = table.copy()
    other.loc[row % len(data), "y"] = value
    changed = Pool.from_table(other, "y")
    same_rows = list(pool.ids) == list(changed.ids)  # a measured row is kept before its twins
    same = same_rows and pool.values.tobytes() == changed.values.tobytes()
    assert (pool.fingerprint == changed.fingerprint) == same


@settings(max_examples=60, deadline=None)
@given(data=rows)
def test_utility_orders_candidates_by_what_is_wanted(data):
    up = Pool.from_table(frame(data), "y")
    down = Pool.from_table(frame(data), "y", "minimize")
    assert np.array_equal(up.utility, -down.utility, equal_nan=True)
    known = np.isfinite(down.values)
    if known.any():
        assert -down.utility[known].max() == down.values[known].min()
