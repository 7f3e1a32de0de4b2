import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from gollum.analysis.metrics import best_so_far, coverage_trace, random_search
from gollum.report.progress import plot_progress


def draw(path, direction="maximize", n_iters=20, **options):
    sign = 1 if direction == "maximize" else -1
    utility = np.random.default_rng(0).normal(size=80)
    order = np.random.default_rng(1).permutation(80)[: 10 + n_iters]
    search = random_search(utility, order[:10], n_iters, seed=0, repeats=20)
    trace = pd.DataFrame(
        {
            "objective": sign * utility[order],
            "best_so_far": sign * best_so_far(utility[order]),
            "top5_coverage": coverage_trace(utility, order).share,
        }
    )
    settings = {"objective": "yield", "unit": "%", "title": "demo"} | options
    return plot_progress(
        trace, sign * search.best, search.coverage,
        n_init=10, direction=direction, path=path, **settings,
    )  # fmt: skip


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_one_picture_of_1200_by_480_pixels(tmp_path, direction):
    path = tmp_path / "progress.png"
    path.write_text("an earlier picture")
    assert draw(path, direction) == path
    assert imread(path).shape[:2] == (480, 1200)
    assert list(tmp_path.iterdir()) == [path]


def test_the_directions_differ_and_repeats_do_not(tmp_path):
    up, again = (draw(tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert up == again
    assert up != draw(tmp_path / "c.png", "minimize").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "cost_$_per_$", "unit": None, "title": "$x_{"},
        {"objective": "a" * 200, "title": "word " * 100},
        {"n_iters": 0},
    ],
)
def test_awkward_names_and_short_runs(tmp_path, options):
    assert imread(draw(tmp_path / "p.png", **options)).shape[:2] == (480, 1200)


def test_no_state_outside_the_figure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert draw(tmp_path / "p.png").exists()
