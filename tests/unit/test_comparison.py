import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon

from gollum.acquisition.strategy import STRATEGIES
from gollum.analysis.bootstrap import further_interval, mean_interval
from gollum.analysis.comparison import LADDER, compare, over_tasks, paired
from gollum.analysis.ranking import rank_methods
from gollum.analysis.runs import PROTOCOL, baselines, directions, labelled
from gollum.analysis.savings import curves, iterations_saved, tasks_of_all
from gollum.errors import ConfigError, DataError
from gollum.report.comparison.tables import best_baselines
from helpers import NAMES
from synthetic import METHODS, sweep

NO_TRACES = pd.DataFrame()


def records(values, **columns):
    """A row per (task, surrogate, seed) with a coverage."""
    rows = [(*key, value) for key, value in values.items()]
    table = pd.DataFrame(rows, columns=["task", "surrogate", "seed", "top5_coverage"])
    return table.assign(**columns)


def traced(runs, task="t"):
    """Traces from {(surrogate, seed): best values}, and their records."""
    rows = [
        (task, surrogate, seed, i, value, 0.1 * i)
        for (surrogate, seed), best in runs.items()
        for i, value in enumerate(best)
    ]
    columns = ["task", "surrogate", "seed", "iteration", "best_so_far", "top5_coverage"]
    table = records({(task, s, seed): 0.5 + seed / 10 for s, seed in runs})
    return table, pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="module")
def made_up():
    table, traces = sweep(("alpha", "beta", "gamma"), minimize=("beta",))
    return compare(table, traces)


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(6,), (20,), (5, 8, 5, 10), (5,) * 8])
def test_intervals_hold_the_true_mean_as_often_as_they_say(sizes):
    rng = np.random.default_rng(len(sizes))
    hits = 0
    for i in range(400):
        strata = [rng.normal(j, 1 + j, size=n) for j, n in enumerate(sizes)]
        low, high = mean_interval(strata, seed=i)
        hits += low <= (len(sizes) - 1) / 2 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_the_second_interval_holds_the_mean_of_all_tasks_and_the_first_does_not():
    rng = np.random.default_rng(0)
    hits = np.zeros(2)
    for _ in range(150):
        runs = pd.DataFrame(
            [
                (task, "m", rng.normal(centre))
                for task, centre in enumerate(rng.normal(0, 3, size=10))
                for _ in range(5)
            ],
            columns=["task", "method", "value"],
        )
        (row,) = over_tasks(runs, "value").to_dict("records")
        hits += row["low"] <= 0 <= row["high"], row["wide_low"] <= 0 <= row["wide_high"]
    assert hits[0] / 150 < 0.6
    assert 0.88 <= hits[1] / 150 <= 0.99


def test_an_interval_is_that_of_the_mean_of_means_not_of_all_values():
    low, high = mean_interval([np.linspace(0, 0.1, 50), np.linspace(9.9, 10, 5)])
    assert low < 5 < high
    assert high - low < 0.2


@pytest.mark.parametrize("strata", [[], [[1.0]], [[1.0, 2.0], [3.0]], [[2.0, 2.0], [5.0] * 4]])
def test_no_interval_rather_than_a_wrong_one(strata):
    assert np.isnan(mean_interval([np.array(values) for values in strata])).all()


def test_intervals_can_be_repeated_and_narrow_with_the_level():
    values = [np.random.default_rng(0).normal(size=12)]
    assert mean_interval(values) == mean_interval(values)
    wide, narrow = mean_interval(values), mean_interval(values, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


# --- methods -------------------------------------------------------------------------------------


def labels(*keys):
    columns = ["surrogate", "model", "preset", "control"]
    table = pd.DataFrame(keys, columns=columns).assign(
        task="t", seed=range(len(keys)), top5_coverage=0.5
    )
    return labelled(table, NO_TRACES)[0]["method"].tolist()


def test_a_label_has_what_differs():
    assert labels(("one_hot", "", "fast", "none"), ("pllm", "minilm", "fast", "none")) == [
        "one_hot",
        "pllm",
    ]
    assert labels(
        ("one_hot", None, "fast", None),
        ("pllm", "minilm", "fast", "none"),
        ("pllm", "t5", "paper", "permuted_labels"),
    ) == ["one_hot-fast", "pllm-minilm-fast", "pllm-t5-paper-permuted_labels"]


def test_settings_tell_methods_apart_where_they_differ():
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    ours, other = {"settings": "acquisition=ei"}, {"settings": "acquisition=ucb"}
    assert "pllm" in set(labelled(table.assign(**ours), traces.assign(**ours))[0]["method"])
    first, second = table["seed"] == 0, traces["seed"] == 0
    runs, found = labelled(
        pd.concat([table[first].assign(**ours), table[~first].assign(**other)]),
        pd.concat([traces[second].assign(**ours), traces[~second].assign(**other)]),
    )
    assert set(runs["method"]) == set(found["method"])
    assert set(runs["method"]) == {
        f"{surrogate}-acquisition={name}" for surrogate in METHODS for name in ("ei", "ucb")
    }
    assert (runs.groupby("method").size() == 1).all()
    older = labelled(pd.concat([table, table.assign(**other)]), traces)[0]
    assert {"pllm", "pllm-acquisition=ucb"} <= set(older["method"])


def test_traces_get_the_labels_of_their_records():
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    other = table["surrogate"] == "pllm"
    both = pd.concat([table, table[other].assign(preset="paper")])
    runs, found = labelled(both, pd.concat([traces, traces[:1].assign(surrogate="unknown")]))
    assert set(runs["method"]) == {"random-fast", "one_hot-fast", "pllm-fast", "pllm-paper"}
    assert set(found["method"]) == {"random-fast", "one_hot-fast", "pllm-fast"}


def test_the_same_file_twice_is_one_and_another_result_is_refused():
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    runs, found = labelled(pd.concat([table, table]), pd.concat([traces, traces]))
    assert (len(runs), len(found)) == (len(table), 6 * 4)
    again = pd.concat([table, table.assign(seconds=9.0)])  # the same run, and a busier machine
    assert labelled(again, traces)[0]["seconds"].tolist() == table["seconds"].tolist()
    with pytest.raises(DataError, match="task 'alpha', method 'random', seed 0 occurs twice"):
        labelled(pd.concat([table, table.assign(top5_coverage=1.0)]), traces)


@pytest.mark.parametrize("column", ["n_init", "n_iters", "batch_size", "data_sha256", "precision"])
def test_equal_figures_of_another_protocol_or_of_other_data_are_no_repetition(column):
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    other = table.assign(**{column: 99 if column in PROTOCOL else "other"})
    with pytest.raises(DataError, match=f"seed 0 occurs twice with different {column}; compare"):
        labelled(pd.concat([table, other]), traces)
    moved = table.assign(version="0.2.0", commit="def5678", seconds=9.0)
    assert len(labelled(pd.concat([table, moved]), traces)[0]) == len(table)


def split(part):
    """What was one_hot is called morgan on task beta."""
    beta = (part["task"] == "beta") & (part["surrogate"] == "one_hot")
    return part.assign(surrogate=part["surrogate"].mask(beta, "morgan"))


def test_methods_that_are_joined_compare_like_one():
    table, traces = sweep(("alpha", "beta", "gamma"), seeds=5, n_iters=6)
    found = compare(split(table), split(traces), joined={"plain": ["one_hot", "morgan"]})
    whole = compare(table, traces)
    assert found.reference == "plain"
    assert found.methods == tuple(m.replace("one_hot", "plain") for m in whole.methods)
    for part in ("overall", "gains", "saved", "quality", "per_task"):
        pd.testing.assert_frame_equal(
            getattr(found, part), getattr(whole, part).replace("one_hot", "plain")
        )
    pd.testing.assert_series_equal(
        found.ranking.ranks, whole.ranking.ranks.rename({"one_hot": "plain"})
    )
    assert {"one_hot", "morgan"} <= set(compare(split(table), split(traces)).methods)
    assert "plain: morgan on beta; one_hot on alpha, gamma." in found.notes


def test_many_tasks_of_a_joined_method_are_counted():
    tasks = ("alpha", "beta", *(f"task {i}" for i in range(4)))
    table, traces = sweep(tasks, seeds=1, n_iters=2)
    found = compare(split(table), split(traces), joined={"one_hot": ["one_hot", "morgan"]})
    assert "one_hot: morgan on beta; one_hot on 5 tasks." in found.notes


@pytest.mark.parametrize(
    ("joined", "error", "message"),
    [
        ({"plain": ["one_hot", "morgen"]}, ConfigError, "called 'morgen'. Did you mean 'morgan'"),
        ({"pllm": ["one_hot", "morgan"]}, ConfigError, "'pllm' is a method of these records"),
        ({"a": ["one_hot"], "b": ["one_hot"]}, ConfigError, "'one_hot' can join only one name"),
        ({"a": ["one_hot", "pllm"]}, DataError, "task 'alpha' has runs of one_hot and pllm;"),
    ],
)
def test_what_cannot_be_joined_is_refused(joined, error, message):
    table, traces = sweep(("alpha", "beta"), seeds=2, n_iters=3)
    with pytest.raises(error, match=message):
        labelled(split(table), split(traces), joined)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.iloc[:0], "no finished run"),
        (lambda t: t.drop(columns="seed"), "no column 'seed'"),
        (lambda t: t.assign(seed=pd.array([None] * len(t), dtype="Int64")), "no seed"),
        (lambda t: t.assign(top5_coverage=np.inf), "no run has a finite top5_coverage"),
    ],
)
def test_records_that_cannot_be_used(change, message):
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    with pytest.raises(DataError, match=message):
        compare(change(table), traces)


def test_unknown_names_get_the_nearest():
    table, traces = sweep(("alpha",), seeds=2, n_iters=3)
    with pytest.raises(ConfigError, match=r"Did you mean 'top5_coverage'\? There are top5"):
        compare(table, traces, metric="top5_covrage")
    with pytest.raises(ConfigError, match="Did you mean 'one_hot'"):
        compare(table, traces, reference="one-hot")


# --- means and gains -----------------------------------------------------------------------------


def test_tasks_weigh_the_same_however_many_seeds_they_have():
    values = {("a", "m", s): 0.2 for s in range(8)} | {("b", "m", s): 0.6 for s in range(2)}
    found = compare(records(values), NO_TRACES)
    assert found.overall["mean"].item() == pytest.approx(0.4)
    assert found.per_task["mean"].tolist() == pytest.approx([0.2, 0.6])
    assert found.methods == ("m",)
    assert found.gains.empty
    assert found.gains_per_task.empty
    assert found.ranking is None


def test_pairing_detects_a_shift_that_the_seeds_hide():
    rng = np.random.default_rng(0)
    luck = rng.normal(0.5, 0.2, size=8)
    values = {("a", "base", s): v for s, v in enumerate(luck)}
    values |= {("a", "better", s): v + rng.normal(0.05, 0.01) for s, v in enumerate(luck)}
    found = compare(records(values), NO_TRACES, reference="base")
    means = found.overall.set_index("method")
    assert means.loc["better", "low"] < means.loc["base", "high"]  # unpaired: nothing to see
    (gain,) = found.gains.to_dict("records")
    assert gain["low"] > 0
    assert gain["win"] == 1
    differences = paired(found.runs, "base")["gain"]
    assert wilcoxon(differences).pvalue < 0.05
    assert gain["mean"] == pytest.approx(differences.mean())


def test_pairs_are_what_both_have_and_ties_are_half_a_win():
    values = {("a", "ref", s): 0.5 for s in range(4)} | {("b", "ref", 0): 0.5}
    values |= {("a", "m", 1): 0.5, ("a", "m", 2): 0.7, ("a", "m", 9): 0.1, ("b", "m", 0): 0.4}
    found = compare(records(values), NO_TRACES, reference="ref")
    (gain,) = found.gains.to_dict("records")
    assert (gain["tasks"], gain["pairs"]) == (2, 3)
    assert gain["win"] == pytest.approx((0.75 + 0) / 2)
    assert gain["mean"] == pytest.approx((0.1 - 0.1) / 2)
    assert np.isnan(gain["low"])  # task b has a single pair
    assert found.gains_per_task["pairs"].tolist() == [2, 1]


def test_smaller_is_better_for_losses_and_for_tasks_that_minimize():
    table, traces = sweep(("alpha", "beta"), minimize=("beta",))
    assert directions(labelled(table, traces)[1]) == {"alpha": 1, "beta": -1}
    losses = compare(table, traces, metric="nlpd", reference="one_hot")
    assert losses.methods == ("pllm", "one_hot")
    assert losses.gains["mean"].item() == pytest.approx(1.0)
    assert "No run of random has a nlpd; left out." in losses.notes
    best = compare(table, traces, metric="best", reference="random")
    assert best.methods[-1] == "random"
    assert (best.gains_per_task["mean"] >= 0).all()
    assert best.overall["mean"].isna().all()  # two units
    assert (best.gains["win"] > 0.5).all()
    with pytest.raises(ConfigError, match="whether a large or a small value of task 'alpha'"):
        compare(table, NO_TRACES, metric="best")


def test_a_task_on_which_nothing_was_found_stops_no_others():
    table, traces = sweep(("alpha", "beta"))
    still = traces["task"] == "alpha"
    traces["best_so_far"] = traces["best_so_far"].mask(still, 3.0)
    found = compare(table, traces, metric="best")
    assert found.tasks == ("beta",)
    assert found.overall["mean"].notna().all()  # one task, one unit
    (note,) = found.notes
    assert note.startswith("alpha: no run ever found a better value than it began with")
    with pytest.raises(DataError, match=r"nothing to compare\. alpha: no run ever found"):
        compare(table[table["task"] == "alpha"], traces[still], metric="best")
    assert set(compare(table, traces).tasks) == {"alpha", "beta"}


def test_the_area_under_best_so_far_is_there_for_every_metric():
    table, traces = sweep(("alpha", "beta"))
    areas = compare(table, traces, metric="auc").overall.set_index("method")
    assert "auc" not in areas
    for metric in ("top5_coverage", "best"):
        means = compare(table, traces, metric=metric).overall.set_index("method")
        pd.testing.assert_series_equal(
            means["auc"], areas["mean"], check_names=False, check_like=True
        )
    assert "auc" not in compare(table.drop(columns="auc"), traces).overall


def test_the_reference_is_the_best_baseline(made_up):
    assert made_up.methods == ("pllm", "one_hot", "random")
    assert made_up.reference == "one_hot"
    table, traces = sweep(methods={"pllm": 2.0, "llm_phi": 0.0}, seeds=2)
    assert compare(table, traces).reference == "pllm"
    control = table.assign(surrogate="one_hot", control="permuted_labels", top5_coverage=1.0)
    both = pd.concat([sweep(seeds=2)[0], control.drop_duplicates(["task", "seed"])])
    assert compare(both, traces).reference == "one_hot"


def test_baselines_train_nothing_but_the_gaussian_process():
    names = [*NAMES, *STRATEGIES]
    runs = records({("t", name, 0): 0.5 for name in names}, method=names)
    honest = baselines(runs)
    assert set(names) - set(honest) == {"pllm", "llm_phi", "pllm_phi"}


# --- incomplete ----------------------------------------------------------------------------------


def test_missing_runs_are_counted_and_said():
    table, traces = sweep(("alpha", "beta"), seeds=5)
    gone = (table["surrogate"] == "pllm") & (table["seed"] > 0) & (table["task"] == "beta")
    gone |= (table["surrogate"] == "random") & (table["seed"] > 2)
    found = compare(table[~gone], traces)
    assert found.missing == 4 + 2 * 2
    assert found.counts.loc["beta", "pllm"] == 1
    means = found.overall.set_index("method")
    assert np.isnan(means.loc["pllm", "low"])
    assert means.loc["one_hot", "low"] < means.loc["one_hot", "high"]
    notes = " ".join(found.notes)
    assert "1 of 6 means are of a single seed" in notes
    assert "2 of 6 means are of 2 to 4 seeds" in notes


def test_unequal_protocols_are_said():
    table, traces = sweep(("alpha",), seeds=2)
    table.loc[table["surrogate"] == "pllm", "n_iters"] = 99
    assert any(
        "alpha: runs with different n_iters (12, 99)" in n for n in compare(table, traces).notes
    )


# --- ranks ---------------------------------------------------------------------------------------

# Demšar 2006, table 5(a): two-tailed Nemenyi test at 0.05, for 2 to 10 methods.
PUBLISHED = dict(
    zip(range(2, 11), (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164), strict=True)
)


@pytest.mark.parametrize("k", PUBLISHED)
def test_the_critical_difference_is_the_published_one(k):
    scores = pd.DataFrame(np.random.default_rng(k).normal(size=(10, k)))
    ranking = rank_methods(scores)
    assert ranking.critical_difference == pytest.approx(
        PUBLISHED[k] * np.sqrt(k * (k + 1) / (6 * 10)), abs=2e-3
    )


def test_pairs_are_tested_as_another_library_does():
    scikit_posthocs = pytest.importorskip("scikit_posthocs")
    scores = pd.DataFrame(np.random.default_rng(1).normal(np.arange(5), 2, (12, 5)))
    found = rank_methods(scores).p_values
    expected = scikit_posthocs.posthoc_nemenyi_friedman(scores)
    pd.testing.assert_frame_equal(
        found, expected.loc[found.index, found.columns], check_names=False, atol=1e-10
    )


def test_ranks_by_hand_with_ties():
    scores = pd.DataFrame(
        {"a": [0.9, 0.5, 0.3], "b": [0.5, 0.5, 0.3], "c": [0.1, 0.1, 0.3]}, index=["x", "y", "z"]
    )
    ranking = rank_methods(scores)
    assert ranking.ranks.to_dict() == pytest.approx(
        {"a": (1 + 1.5 + 2) / 3, "b": (2 + 1.5 + 2) / 3, "c": (3 + 3 + 2) / 3}
    )
    assert list(ranking.ranks.index) == ["a", "b", "c"]
    assert ranking.tasks == ("x", "y", "z")


def test_friedman_by_its_formula():
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(12, 4)), columns=list("abcd"))
    n, k = scores.shape
    means = rankdata(-scores.to_numpy(), axis=1).mean(axis=0)
    expected = 12 * n / (k * (k + 1)) * (np.sum(means**2) - k * (k + 1) ** 2 / 4)
    assert rank_methods(scores).statistic == pytest.approx(expected)


def test_pairs_that_differ_are_further_apart_than_the_critical_difference():
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.normal(np.arange(6) * 0.6, 1, size=(15, 6)), columns=list("abcdef"))
    ranking = rank_methods(scores)
    joined = set()
    order = list(ranking.ranks.index)
    for best, worst in ranking.cliques():
        members = order[order.index(best) : order.index(worst) + 1]
        joined |= set(itertools.combinations(members, 2))
    for pair in itertools.combinations(order, 2):
        apart = abs(ranking.ranks[pair[0]] - ranking.ranks[pair[1]])
        same = apart <= ranking.critical_difference
        assert (ranking.p_values.loc[pair] >= 0.05) == same
        assert (pair in joined) == same


def test_only_tasks_that_all_have_are_ranked():
    scores = pd.DataFrame(
        {"a": [1, 2, 3, 4.0], "b": [0, 1, np.nan, 5], "rare": [9, np.nan, np.nan, np.nan]},
        index=list("wxyz"),
    )
    ranking = rank_methods(scores)
    assert ranking.tasks == ("w", "x", "z")
    assert ranking.left_out == ("rare",)
    assert np.isnan(ranking.p_value)  # two methods
    assert rank_methods(scores[["a"]]) is None
    assert rank_methods(scores[:1]) is None


def test_the_rarest_methods_are_left_out_where_no_tasks_would_be_left():
    scores = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 5)), columns=list("abcxy"))
    scores.loc[:9, "x"] = np.nan
    scores.loc[10:, "y"] = np.nan
    ranking = rank_methods(scores)
    assert ranking.left_out == ("x", "y")
    assert len(ranking.tasks) == 20
    pd.testing.assert_series_equal(ranking.ranks, rank_methods(scores[list("abc")]).ranks)
    assert rank_methods(scores[["x", "y"]]) is None


def test_when_everything_ties_nothing_is_said_to_differ():
    ranking = rank_methods(pd.DataFrame(0.5, index=range(5), columns=list("abc")))
    assert ranking.ranks.tolist() == [2, 2, 2]
    assert np.isnan(ranking.p_value)
    assert ranking.cliques() == [("a", "c")]


# --- iterations saved ----------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
def test_iterations_saved_by_hand(sign):
    base = {
        ("one_hot", 0): [1, 2, 2, 5, 5],  # reaches its 5 at 3
        ("one_hot", 1): [1, 1, 4, 4, 4],  # its 4 at 2
        ("one_hot", 2): [0, 1, 2, 3, 4],  # its 4 at 4
    }
    ours = {
        ("pllm", 0): [1, 6, 6, 6, 6],  # at 1: saves 2
        ("pllm", 1): [1, 1, 1, 4, 4],  # at 3: saves −1
        ("pllm", 2): [0, 1, 2, 3, 3],  # never
    }
    weak = {("random", seed): [1, 1, 1, 1, 1] for seed in range(3)}
    runs = {key: sign * np.array(best) for key, best in (base | ours | weak).items()}
    found = compare(*traced(runs))
    saved = found.saved_per_task.set_index("method")
    assert saved["baseline"].unique().tolist() == ["one_hot"]
    assert saved.loc["pllm", ["pairs", "reached", "baseline_iterations"]].tolist() == [3, 2, 3]
    assert saved.loc["pllm", ["iterations", "saved"]].tolist() == [3, -1]
    assert saved.loc["random", "reached"] == 0
    assert np.isnan(saved.loc["random", "saved"])
    over = found.saved.set_index("method")
    assert over.loc["pllm", ["tasks", "reached", "saved"]].tolist() == [1, 1, -1]
    assert best_baselines(found).startswith("The best baseline is one_hot on 1 task; where a")


def test_a_baseline_that_ends_where_it_began_saves_no_percent():
    table, traces = traced({("one_hot", 0): [3, 3], ("pllm", 0): [3, 4]})
    _, traces = labelled(table, traces)
    (row,) = iterations_saved(traces, directions(traces), ["one_hot"]).to_dict("records")
    assert row["saved"] == 0
    assert np.isnan(row["saved_percent"])
    assert compare(table, traces.drop(columns="method")).saved["saved_percent"].isna().all()


def test_runs_on_permuted_labels_save_nothing():
    table, traces = traced({("one_hot", 0): [1, 2, 3], ("pllm", 0): [1, 3, 3]})
    other, others = traced({("pllm", 0): [5, 6, 7]})
    control = {"control": "permuted_labels"}
    both = pd.concat([table.assign(control="none"), other.assign(**control)])
    found = compare(both, pd.concat([traces.assign(control="none"), others.assign(**control)]))
    assert "pllm-permuted_labels" in found.methods
    assert found.saved["method"].tolist() == ["pllm"]


def test_common_tasks_are_those_with_curves_of_every_method():
    _, one = traced({("m", 0): [1, 2], ("n", 0): [1, 2]}, "one")
    _, two = traced({("m", 0): [1, 2]}, "two")
    drawn = curves(pd.concat([one, two]).rename(columns={"surrogate": "method"}), "best_so_far")
    assert tasks_of_all(drawn, ["two", "one", "three"], ["n", "m"]) == ["one"]


def test_curves_end_where_the_first_seed_ends_and_batches_are_one_step():
    _, traces = traced({("m", 0): [1, 2, 3], ("m", 1): [1, 2]})
    extra = traces[traces["iteration"] == 1].assign(best_so_far=2.5)
    runs = pd.concat([traces, extra]).assign(method="m")
    table = curves(runs, "best_so_far")["t", "m"]
    assert table.to_numpy().tolist() == [[1, 1], [2.5, 2.5]]


def test_a_trace_that_rises_and_falls_is_refused():
    table, traces = traced({("m", 0): [1, 2, 1]})
    with pytest.raises(DataError, match="task 't' rises and falls"):
        compare(table, traces)


# --- steps ---------------------------------------------------------------------------------------


def test_steps_add_up_on_the_runs_that_all_of_them_have():
    values = {
        ("t", "random", 0): 0.1, ("t", "static", 0): 0.2, ("t", "pllm", 0): 0.5,
        ("t", "random", 1): 0.1, ("t", "static", 1): 0.4, ("t", "pllm", 1): 0.3,
        ("u", "random", 0): 0.0, ("u", "static", 0): 0.0, ("u", "pllm", 0): 0.4,
        ("u", "random", 1): 0.9, ("u", "pllm", 1): 0.0, ("v", "pllm", 0): 1.0,
    }  # fmt: skip
    steps = compare(records(values), NO_TRACES).steps
    assert steps[["before", "method", "runs"]].to_numpy().tolist() == [
        ["random", "static", 3],
        ["static", "pllm", 3],
    ]
    assert steps["mean"].tolist() == pytest.approx([(0.2 + 0.0) / 2, (0.1 + 0.4) / 2])
    assert steps["share"].tolist() == pytest.approx([0.1 / 0.35, 0.25 / 0.35])


def test_steps_can_be_chosen():
    table, traces = sweep(("alpha", "beta"), seeds=5)
    assert compare(table, traces).steps.empty  # of the ladder only two are there
    found = compare(table, traces, ladder=["pllm", "random", "one_hot"])
    gains = {
        (pair, row["method"]): row["mean"]
        for pair in ("pllm", "random")
        for row in compare(table, traces, reference=pair).gains.to_dict("records")
    }
    assert found.steps["mean"].tolist() == pytest.approx(
        [gains["pllm", "random"], gains["random", "one_hot"]]
    )
    up = compare(table, traces, ladder=["random", "one_hot", "pllm"]).steps
    assert up["share"].sum() == pytest.approx(1)
    with pytest.raises(ConfigError, match=r"called 'onehot'\. Did you mean 'one_hot'"):
        compare(table, traces, ladder=["random", "onehot"])
    for ladder in (["pllm"], [], ["pllm", "random", "pllm"]):
        with pytest.raises(ConfigError, match="name at least two, each once"):
            compare(table, traces, ladder=ladder)


def test_what_is_no_gain_has_no_shares():
    table, traces = sweep(("alpha", "beta"), seeds=5)
    assert compare(table, traces, ladder=["pllm", "random", "one_hot"]).steps["share"].isna().all()
    luck = np.random.default_rng(0).normal(0.5, 0.1, size=(3, 6))
    luck[2] += 0.01  # a gain, and none for certain
    values = {
        ("t", method, seed): luck[i, seed]
        for i, method in enumerate(("random", "static", "pllm"))
        for seed in range(6)
    }
    steps = compare(records(values), NO_TRACES).steps
    assert steps["share"].isna().all()
    assert steps["mean"].notna().all()


def test_steps_of_the_ladder_are_told_from_chosen_ones():
    values = {
        (task, method, seed): 0.1 * i
        for i, method in enumerate((*LADDER, "one_hot"))
        for task in ("t", "u")
        for seed in (0, 1)
    }
    table = records(values)
    control = table["surrogate"] == "static-random_embeddings"
    table = table.assign(
        surrogate=table["surrogate"].mask(control, "static"),
        control=control.map({True: "random_embeddings", False: "none"}),
    )
    found = compare(table, NO_TRACES)
    assert ("random", *found.steps["method"]) == LADDER
    assert found.by_parts
    assert compare(table, NO_TRACES, ladder=["random", "static", "pllm_phi"]).by_parts
    for ladder in (["random", "one_hot", "pllm"], ["static", "random"]):
        assert not compare(table, NO_TRACES, ladder=ladder).by_parts


def test_without_steps_their_table_has_the_columns_that_it_has_with_them():
    table, traces = sweep(("alpha", "beta"), seeds=2)
    none = compare(table, traces).steps
    some = compare(table, traces, ladder=["random", "pllm"]).steps
    assert none.empty
    assert none.columns.tolist() == some.columns.tolist()


def test_steps_without_a_mean_have_no_share():
    table, traces = sweep(("alpha", "beta"), seeds=5)
    steps = compare(table, traces, "best", ladder=["random", "one_hot"]).steps
    assert steps[["mean", "share"]].isna().all(axis=None)
    lonely = table[(table["surrogate"] == "pllm") | (table["task"] == "alpha")]
    lonely = lonely[(lonely["surrogate"] != "pllm") | (lonely["task"] == "beta")]
    assert compare(lonely, NO_TRACES, ladder=["random", "pllm"]).steps.empty


# --- quality -------------------------------------------------------------------------------------


def test_quality_is_averaged_where_present(made_up):
    quality = made_up.quality.set_index("method")
    assert list(quality.index) == ["pllm", "one_hot"]
    assert quality["r2"].tolist() == pytest.approx([METHODS["pllm"] / 4, METHODS["one_hot"] / 4])
    assert list(quality.columns) == ["tasks", "r2", "nlpd"]
    assert quality["tasks"].tolist() == [3, 3]


def test_without_quality_and_traces_the_rest_is_there():
    table, _ = sweep(("alpha", "beta"), seeds=3)
    found = compare(table.drop(columns=["r2", "nlpd", "msll", "model", "control"]), NO_TRACES)
    assert found.quality.empty
    assert found.saved.empty
    assert len(found.overall) == 3


def test_an_interval_for_further_tasks_needs_five_and_is_wider_than_for_these():
    rng = np.random.default_rng(0)
    strata = [rng.normal(rng.normal(), 1.0, 5) for _ in range(6)]
    assert np.isnan(further_interval(strata[:4])).all()
    narrow, wide = mean_interval(strata), further_interval(strata)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_for_further_tasks_hold_their_mean():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(60):
        strata = [rng.normal(rng.normal(0, 1), 1.0, 4) for _ in range(6)]
        low, high = further_interval(strata)
        hits += low <= 0 <= high
    assert hits >= 54  # of 60, at 95 %
