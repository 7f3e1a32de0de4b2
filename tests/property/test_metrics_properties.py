import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gollum.analysis.metrics import (
    auc_best_so_far,
    best_so_far,
    coverage_trace,
    quantile_counts,
    top_k_found,
)

values = st.one_of(st.integers(-5, 5), st.floats(-1e6, 1e6)).map(float)
pools = st.lists(values, min_size=2, max_size=60).map(np.array)


@st.composite
def runs(draw):
    """A pool with all its candidates in some order."""
    utility = draw(pools)
    return utility, np.array(draw(st.permutations(range(len(utility)))))


@given(runs(), st.floats(0.01, 0.99))
def test_coverage_grows_from_nothing_to_everything(run, fraction):
    share = coverage_trace(*run, fraction).share
    assert (np.diff(share) >= 0).all()
    assert share[0] >= 0
    assert share[-1] == 1


@given(runs(), st.data())
def test_coverage_stays_below_one_when_candidates_are_repeated(run, data):
    utility, order = run
    positions = data.draw(st.lists(st.sampled_from(order.tolist()), min_size=1, max_size=90))
    assert coverage_trace(utility, np.array(positions)).share[-1] <= 1


@given(runs(), st.data())
def test_the_order_of_the_rows_does_not_matter(run, data):
    utility, order = run
    shuffle = np.array(data.draw(st.permutations(range(len(utility)))))
    place = np.argsort(shuffle)  # row i of the pool is row place[i] of the shuffled one
    here, there = coverage_trace(utility, order), coverage_trace(utility[shuffle], place[order])
    assert here.total == there.total
    assert here.found.tolist() == there.found.tolist()


@given(pools)
def test_best_so_far_only_rises_and_ends_at_the_best(utility):
    best = best_so_far(utility)
    assert (np.diff(best) >= 0).all()
    assert (best >= utility).all()
    assert best[-1] == utility.max()


@given(runs(), st.integers(1, 60))
def test_counts_are_bounded_by_what_was_evaluated(run, length):
    utility, order = run
    order = order[:length]
    for k, found in top_k_found(utility, order).items():
        assert 0 <= found <= min(k, len(order))
    counts = list(quantile_counts(utility, order).values())
    assert counts == sorted(counts, reverse=True)
    if np.ptp(utility) > 1e-3:
        assert 0 <= auc_best_so_far(utility, order) <= 1
