"""Correlations of figures with success over records."""

import numpy as np
import pytest

from gollum.analysis.learned.success import LEVELS, complete_runs, predictors
from gollum.errors import DataError
from synthetic import judged as records


def test_each_level_against_pandas():
    runs = complete_runs(records())
    figures = ("latent_distance_ratio", "r2")
    found = predictors(runs, figures).set_index(["over", "figure"])
    means = runs.groupby(["task", "method"])[[*figures, "top5_coverage"]].mean()
    within = means - means.groupby("task").transform("mean")
    methods = means.groupby("method").mean()
    tables = dict(zip(LEVELS, (runs, means, within, methods), strict=True))
    for level, table in tables.items():
        for figure in figures:
            expected = table[figure].corr(table["top5_coverage"])
            assert found.loc[(level, figure), "r"] == pytest.approx(expected)
            assert found.loc[(level, figure), "points"] == len(table)
    ratio = found.loc[("within tasks", "latent_distance_ratio")]
    assert ratio["low"] <= ratio["r"] <= ratio["high"]
    assert ratio["r"] > 0.9
    assert ratio["lead_low"] > 0  # here R² does not tell methods apart
    assert found.loc[("runs", "r2"), "lead"] == 0


def test_methods_are_compared_on_the_tasks_of_all():
    table = records()
    part = table[~((table["surrogate"] == "d") & (table["task"] == "t0"))]
    found = predictors(complete_runs(part)[["task", "method", "r2", "latent_distance_ratio",
                                            "top5_coverage"]], ("r2",))  # fmt: skip
    assert found.set_index("over").loc["methods", "tasks"] == 7


def test_few_tasks_have_no_interval():
    found = predictors(complete_runs(records(tasks=2)), ("r2",))
    assert found["r"].notna().all()
    assert found[["low", "high"]].isna().all(axis=None)


def test_records_without_these_figures_are_refused():
    with pytest.raises(DataError, match="0 of 128 runs of these records have ℓ/d̄"):
        complete_runs(records().assign(r2=np.nan))
