import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gollum import Campaign, analyze
from gollum.benchmark.learned import case_of_run
from gollum.benchmark.sweeps.records import write_table
from gollum.campaign.learned import case_of_campaign
from gollum.errors import ConfigError
from pages import Page
from synthetic import judged

KEYS = {
    "data.path": "t.csv", "data.objective": "yield", "surrogate": "one_hot", "preset": "fast",
    "n_init": 8, "n_iters": 4, "seed": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rows = list(itertools.product(("XPhos", "SPhos", "PPh3"), ("Br", "I"), range(20, 100, 10)))
    table = pd.DataFrame(rows, columns=["ligand", "halide", "t"])
    noise = np.random.default_rng(0).normal(size=len(table))
    table["yield"] = 40 + 9 * (table["ligand"] == "XPhos") + table["t"] / 5 + noise
    table.to_csv("t.csv", index=False)


@pytest.fixture
def say(gollum):
    """Run a command, `analyze` by default; exit code, output and the error's sentence."""
    return lambda *words, command="analyze": gollum(command, *words)


@pytest.fixture
def refused(say):
    """Run a command that must be refused in one sentence, and return it."""

    def check(*words):
        code, out, err = say(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return check


def run(say, folder="r", **changed):
    keys = KEYS | changed | {"output": folder}
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    assert say(*words, "--quiet", command="run")[0] == 0


def test_a_run(say, tmp_path):
    run(say)
    before = {f: f.read_bytes() for f in (tmp_path / "r").iterdir() if f.is_file()}
    code, out, err = say("r", "--models", "one_hot", "--rounds", 2, "--no-umap", "--quiet")
    assert (code, err) == (0, "")
    assert "good and bad experiments" in out
    assert "r/analysis/report.html is written" in out
    page = Page((tmp_path / "r/analysis/report.html").read_text("utf-8"))
    assert "What one_hot has learned" in page.text
    assert before == {f: f.read_bytes() for f in before}
    table = pd.read_csv("r/analysis/data/geometry.csv")
    assert sorted(table["measured"].unique()) == [0, 8, 12]


@pytest.mark.slow
def test_a_run_goes_on_and_is_looked_into_again(say, tmp_path):
    pytest.importorskip("umap")
    pytest.importorskip("plotly")
    run(say)
    for _ in range(2):
        assert say("r", "--models", "one_hot,static", "--interactive")[0] == 0
        run(say, n_iters=5)
    assert "UMAP" in (tmp_path / "r/analysis/maps.html").read_text("utf-8")
    assert "maps.html" in (tmp_path / "r/analysis/report.html").read_text("utf-8")
    assert (tmp_path / "r/analysis/figures/map-umap.pdf").is_file()


def test_a_run_is_replayed_as_it_was(say, tmp_path):
    """The fit of each round is the one that chose the next experiment."""
    run(say)
    case = case_of_run(tmp_path / "r", ["one_hot"])
    trace = pd.read_csv("r/trace.csv")
    assert [len(r.ids) for r in case.rounds] == [8, 9, 10, 11, 12]
    one = case.rounds[2]
    fitted = case.models["one_hot"](case.problem).fit(one.ids, one.utility, one.stream)
    row = trace[trace["iteration"] == one.number].iloc[0]
    mean, variance = fitted.posterior([row["id"]])
    assert mean.item() == pytest.approx(row["predicted_mean"])
    assert variance.sqrt().item() == pytest.approx(row["predicted_sd"])
    assert fitted.report.loss == pytest.approx(row["loss"])
    assert case.selected[row["id"]] == one.number


def test_late_and_failed_results_are_not_known(say, tmp_path):
    run(say, protocol="campaign", n_init=8, batch_size=8, n_iters=2, seed=3)
    trace = pd.read_csv("r/trace.csv")
    first, second, last = case_of_run(tmp_path / "r", ["one_hot"]).rounds
    for one, number in ((first, 1), (second, 2)):
        there = trace[(trace["arrives"] < number) & (trace["failed"] == 0)]
        assert list(one.ids) == there["id"].tolist()
    assert len(last.ids) == (trace["failed"] == 0).sum()
    assert len(first.ids) < 8


def test_a_campaign(say, tmp_path):
    rows = [(a, b) for a in ("XPhos", "SPhos", "PPh3") for b in (20, 40, 60, 80)]
    table = pd.DataFrame(rows, columns=["ligand", "t"])
    table["yield"] = [5.0 * i if i < 7 else None for i in range(len(table))]
    campaign, _ = Campaign.create(
        "my.gollum", table=table, objective="yield", surrogate="one_hot", bounds={"yield": "0:100"}
    )
    campaign.suggest(2)
    code, out, _ = say("my.gollum", "--models", "one_hot", "--no-umap", "--quiet")
    assert code == 0
    assert "my-analysis/report.html is written" in out
    found = analyze("my.gollum", ["one_hot"], umap=False)
    assert found.case.pool.objective == "yield"
    assert found.calibration["points"].tolist() == [7]
    assert set(found.effects["column"]) == {"ligand", "t"}


def test_records(say):
    write_table(judged(), Path("records.csv"))
    code, out, _ = say("records.csv")
    assert code == 0
    assert "success goes with ℓ/d̄ by r = " in out
    table = pd.read_csv("records-analysis/data/predictors.csv")
    assert set(table["over"]) == {"runs", "tasks and methods", "within tasks", "methods"}
    assert say("records.csv", "--join", "ab=a,b", "-o", "joined")[0] == 2  # both on every task


def test_what_is_no_run_is_refused(say, refused, tmp_path):
    assert "there is no 'nothing'" in refused("nothing")
    (tmp_path / "empty").mkdir()
    assert "folder 'empty' holds no run" in refused("empty")
    Path("note.txt").write_text("hello")
    assert "note.txt" in refused("note.txt")
    Path("table.csv").write_text("a,b\n1,2\n")
    assert "no table of records" in refused("table.csv")
    assert "name the folder of a run" in refused("r", "q")
    assert "'--nope' is not an option" in refused("empty", "--nope")


def test_runs_that_cannot_be_looked_into_are_refused(say, refused, tmp_path):
    run(say, "chance", surrogate="random")
    assert "chosen by 'random', which has no model" in refused("chance")
    run(say)
    assert "only records can be several" in refused("r", "chance")
    assert "--join is for records" in refused("r", "--join", "a=b")
    assert "surrogate 'nope' is unknown" in refused("r", "--models", "nope", "--quiet")
    assert "no candidate 'x1'" in refused("r", "--models", "one_hot", "--explain", "x1", "--quiet")
    Path("taken").mkdir()
    Path("taken/mine.txt").write_text("")
    assert "'taken' holds something else" in refused("r", "-o", "taken")
    assert not (tmp_path / "r/analysis").exists()
    summary = json.loads(Path("r/summary.json").read_text())
    summary["provenance"]["data_sha256"] = "0"
    Path("r/summary.json").write_text(json.dumps(summary))
    assert "an earlier version of this table" in refused("r", "--quiet")
    Path("r/trace.csv").unlink()
    assert "has measured nothing yet" in refused("r", "--quiet")


def test_few_results_are_refused(say, refused):
    run(say, n_init=3, n_iters=1)
    told = refused("r", "--models", "one_hot", "--quiet")
    assert "4 different experiments have a result" in told
    with pytest.raises(ConfigError, match="holds no run"):
        analyze(".")


def test_a_result_that_was_corrected_is_looked_into_as_it_is_now(tmp_path):
    table = pd.DataFrame([(a, t) for a in "abc" for t in range(4)], columns=["base", "hours"])
    campaign, _ = Campaign.create(
        tmp_path / "c.gollum", table=table, objective="yield_pct", surrogate="one_hot"
    )
    asked = campaign.suggest(6)
    campaign.record(asked.assign(yield_pct=["<5", 20, 30, 40, 50, "60 ± 4"]))
    campaign.suggest(2)
    campaign.record(asked.assign(yield_pct=["<5", 99, 30, 40, 50, "60 ± 4"]), correct=True)
    log, store = campaign.log(), campaign._store
    last = case_of_campaign(log, store.table, ["one_hot"]).rounds[-1]
    assert 99 in last.utility
    assert 20 not in last.utility
    assert last.extents.error.tolist() == [0, 0, 0, 0, 0, 4]
