"""Effects, exchanges, neighbours, phrases and trends, against brute force on small pools."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from gollum.analysis.learned import chemistry
from gollum.analysis.learned.chemistry import Predicted
from gollum.analysis.learned.phrases import attributions, extended, spans_of
from gollum.analysis.learned.trends import BUCHWALD_HARTWIG, Trend, check_trends
from gollum.data.catalog import get_task
from gollum.data.pool import Pool
from gollum.features.base import FixedFeatures
from gollum.features.fixed.columns import one_hot
from gollum.features.problem import Problem
from gollum.settings import ModelSettings, Settings
from gollum.surrogates.averaged import Averaged
from gollum.surrogates.gaussian_process import GaussianProcess
from gollum.text.template import Template
from helpers import CPU, build_surrogate

WORTH = {"XPhos": 30.0, "SPhos": 10.0, "PPh3": 0.0, "Br": 5.0, "I": 12.0, "Cl": 0.0}
SMILES = {"XPhos": "CP", "SPhos": "CCP", "PPh3": "CCCP"}


@pytest.fixture(scope="module")
def pool():
    """Ligands with their SMILES, halides and temperatures; yields add up."""
    rows = list(itertools.product(("XPhos", "SPhos", "PPh3"), ("Cl", "Br", "I"), (40.0, 60.0)))
    table = pd.DataFrame(rows, columns=["ligand", "aryl halide", "t"])
    table.insert(1, "ligand_smiles", table["ligand"].map(SMILES))
    values = np.array([20 + WORTH[a] + WORTH[b] + t / 10 for a, b, t in rows])
    table.index = pd.Index([f"c{i}" for i in range(len(rows))], name="id")
    return Pool("demo", table, "yield", "maximize", values)


@pytest.fixture(scope="module")
def fitted(pool):
    made = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    return made.fit(pool.ids[::2], pool.utility[::2], (0, 1))


def every(fitted, sign=1.0):
    return Predicted(fitted, sign, np.arange(len(fitted.pool)))


def test_columns_that_rename_each_other_are_one_component(pool):
    assert chemistry.components(pool.table) == [
        ("ligand", "ligand_smiles"), ("aryl halide",), ("t",),
    ]  # fmt: skip
    numbered = pool.table.assign(batch=np.arange(len(pool)))
    assert ("batch",) not in chemistry.components(numbered)


def test_effects_are_means_of_predictions_with_intervals_of_the_posterior(pool, fitted):
    table = chemistry.effects(every(fitted), pool).set_index(["column", "value"])
    mean = fitted.marginals(np.arange(len(pool)))[0].numpy()
    of = pool.table["ligand"].to_numpy() == "XPhos"
    row = table.loc[("ligand", "XPhos")]
    assert row["effect"] == pytest.approx(mean[of].mean() - mean.mean())
    assert row["observed"] == pytest.approx(pool.values[of].mean() - pool.values.mean())
    assert (row["candidates"], row["measured"]) == (6, 3)
    # The same from draws of the joint posterior.
    rows = np.arange(len(pool))
    covariance = fitted.scale.item() ** 2 * fitted.covariance(rows, rows).numpy()
    draws = np.random.default_rng(0).multivariate_normal(
        mean, covariance, 40_000, check_valid="ignore"
    )
    spread = (draws[:, of].mean(1) - draws.mean(1)).std()
    assert row["high"] - row["effect"] == pytest.approx(1.96 * spread, rel=0.03)
    sums = table["effect"].mul(table["candidates"]).groupby("column").sum()
    assert np.allclose(sums, 0, atol=1e-8)


def test_exchanges_are_predictions_of_the_other_experiment(pool, fitted):
    table = chemistry.replacements(fitted, pool, ["c0"], 1.0)
    assert len(table) == 2 + 2 + 1
    row = table[(table["column"] == "ligand") & (table["instead"] == "SPhos")].iloc[0]
    assert (row["value"], row["observed"], row["observed_instead"]) == ("XPhos", 54.0, 34.0)
    rows = pool.positions(["c0", "c6"])
    mean, variance = fitted.marginals(rows)
    both = fitted.scale.item() ** 2 * fitted.covariance(rows, rows)
    assert row["mean_instead"] == pytest.approx(mean[1].item())
    assert row["deviation_instead"] == pytest.approx(variance[1].sqrt().item())
    assert row["change"] == pytest.approx((mean[1] - mean[0]).item())
    apart = both[0, 0] + both[1, 1] - 2 * both[0, 1]
    assert row["change_deviation"] == pytest.approx(apart.sqrt().item())


def test_an_exchange_that_is_no_candidate_is_read_by_the_model(pool, fitted):
    kept = np.array([i for i in range(len(pool)) if pool.ids[i] != "c6"])
    part = Pool("demo", pool.table.iloc[kept], "yield", "maximize", pool.values[kept])
    made = GaussianProcess(part, FixedFeatures(one_hot(part)), Settings(), CPU)
    smaller = made.fit(part.ids[::2], part.utility[::2], (0, 1))
    table = chemistry.replacements(smaller, part, ["c0"], 1.0)
    row = table[(table["column"] == "ligand") & (table["instead"] == "SPhos")].iloc[0]
    expected = smaller.posterior(pool.table.loc[["c6"]])[0].item()
    assert row["mean_instead"] == pytest.approx(expected)
    assert np.isnan(row["observed_instead"])
    assert len(table) == 5
    # Features that were given as numbers are those of the pool's rows only.
    dumb = GaussianProcess(part, FixedFeatures(one_hot(part).matrix), Settings(), CPU)
    read = dumb.fit(part.ids[::2], part.utility[::2], (0, 1))
    assert len(chemistry.replacements(read, part, ["c0"], 1.0)) == 4


def test_contributions_of_the_measurements_add_up_to_the_prediction(pool, fitted):
    table = chemistry.neighbours(fitted, ["c1", "c5"], 1.0, count=99)
    constant = fitted.process.gp.constant.item() * fitted.scale.item()
    for candidate, rows in table.groupby("id"):
        # μ = location + m + Σ w (y − location − m), in the objective's unit
        predicted = fitted.posterior([candidate])[0].item() - fitted.location.item()
        total = rows["contribution"].sum() + constant * (1 - rows["weight"].sum())
        assert total == pytest.approx(predicted, rel=1e-6)
        assert rows["contribution"].abs().is_monotonic_decreasing
    top = chemistry.neighbours(fitted, ["c1"], 1.0, count=3)
    assert len(top) == 3
    assert top["outcome"].isin(pool.values).all()


def test_models_without_one_space_tell_what_is_alike(pool):
    made = Averaged(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    average = made.fit(pool.ids[::2], pool.utility[::2], (0, 1))
    table = chemistry.neighbours(average, ["c1"], 1.0)
    assert table["weight"].isna().all()
    assert table["similarity"].is_monotonic_decreasing
    assert len(chemistry.effects(every(average), pool)) == 3 + 3 + 2


def test_less_is_better_turns_signs(pool):
    minimized = Pool("demo", pool.table, "waste", "minimize", pool.values)
    made = GaussianProcess(minimized, FixedFeatures(one_hot(minimized)), Settings(), CPU)
    fitted = made.fit(minimized.ids, minimized.utility, (0, 1))
    table = chemistry.effects(every(fitted, -1.0), minimized).set_index(["column", "value"])
    assert table.loc[("ligand", "XPhos"), "effect"] > 5  # it wastes most
    assert np.allclose(table["effect"], table["observed"], atol=1.0)
    claim = Trend("XPhos wastes more", "ligand", "XPhos", "SPhos", "us")
    row = check_trends(every(fitted, -1.0), minimized, [claim]).iloc[0]
    assert row["observed"] == pytest.approx(20.0)
    assert (row["model"], row["holds"]) == ("disagrees", 0.0)


def test_trends_are_differences_of_otherwise_equal_candidates(pool, fitted):
    table = check_trends(every(fitted), pool)
    assert table["column"].tolist() == ["aryl halide"] * 2
    assert table["claim"].str.startswith("aryl iodides").iloc[0]
    claims = [
        BUCHWALD_HARTWIG[0],
        Trend("none", "halide", "^none$", "^Br$", "us"),
        Trend("what nobody has", "halide", "^Br$", "^OTf$", "us"),
    ]
    row, missing = check_trends(every(fitted), pool, claims).itertuples()
    assert (row.sets, row.holds) == (6, 1.0)
    assert row.observed == pytest.approx(7.0)
    assert (row.data, row.model) == ("can't tell", "agrees")  # all sets alike: no interval
    assert row.predicted == pytest.approx(7.0, abs=2.0)
    assert (missing.data, missing.sets) == ("not in this table", 0)


def test_known_trends_sort_the_reagents_of_the_bundled_reactions():
    pool = get_task("bh-ethyl").load()
    made = GaussianProcess(pool, FixedFeatures(one_hot(pool)), Settings(), CPU)
    fitted = made.fit(pool.ids[:80], pool.utility[:80], (0, 1))
    table = check_trends(every(fitted), pool)
    assert len(table) == len(BUCHWALD_HARTWIG)
    assert table["sets"].iloc[0] > 250
    assert table["sets"].iloc[3] == 36  # halide x ligand x base
    assert table["data"].tolist() == ["agrees", "agrees", "not in this table", "agrees"]


def test_phrases_are_what_columns_wrote_and_the_words_around(pool):
    template = Template("Use {ligand} at {t} °C[ with {aryl halide}].")
    text = template.render_row(pool, 0)
    parts = [(column, text.text[start:end]) for column, start, end in spans_of(text)]
    assert parts == [
        ("", "Use "), ("ligand", "XPhos"), ("", " at "), ("t", "40"), ("", " °C with "),
        ("aryl halide", "Cl"),
    ]  # fmt: skip


def test_attribution_is_the_fall_without_the_phrase(pool, model_folder):
    words = {"XPhos": "w1", "SPhos": "w2", "PPh3": "w3"}
    table = pool.table.assign(ligand=pool.table["ligand"].map(words))
    worded = Pool("demo", table[["ligand", "t"]].drop_duplicates(), "y", "maximize",
                  np.arange(6.0))  # fmt: skip
    template = Template("w7 {ligand} w9 {t}")
    problem = Problem(worded, tuple(template.texts(worded)), template)
    settings = Settings(model=ModelSettings(name=str(model_folder("bert")), pooling="mean"))

    def build(changed):
        return build_surrogate(changed, "pllm", settings, CPU)

    args = (list(worded.ids[:5]), worded.utility[:5], (0, 1))
    found = attributions(build, problem, *args, [str(worded.ids[1])], 1.0)
    assert found["phrase"].tolist() == ["w7", "w1", "w9", "60"]
    assert found["column"].tolist() == ["", "ligand", "", "t"]
    other = extended(problem, [1], ["w7 w9 60"])
    assert other.pool.ids[-1] == "~0"
    assert len(other.texts) == len(other.pool) == 7
    fitted = build(other).fit(*args)
    with torch.no_grad():
        mean = fitted.marginals(np.array([1, 6]))[0]
    expected = (mean[0] - mean[1]).item()
    assert found.loc[1, "effect"] == pytest.approx(expected, rel=1e-6)
    assert (found["deviation"] >= 0).all()
