"""A whole analysis of a small case, and the pictures and pages that are made of it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gollum.analysis.learned.cases import Case, Round
from gollum.analysis.learned.study import chosen_rounds, understand
from gollum.analysis.learned.success import complete_runs, predictors
from gollum.data.outcomes import Scale
from gollum.data.pool import Pool
from gollum.errors import ConfigError, DataError
from gollum.features.problem import Problem
from gollum.listener import Listener
from gollum.report.analysis import pictures
from gollum.report.analysis.exhibits import exchange_words, exhibits, of_records
from gollum.report.analysis.page import lead_of, shown_of, write_analysis
from gollum.settings import ModelSettings, OptimizerSettings, Settings
from gollum.text.template import Template
from helpers import CPU, build_surrogate
from pages import Page
from synthetic import judged

N, TRAIN = 48, 16
HOSTILE = "<script>alert(1)</script>"


class Stages(Listener):
    def __init__(self):
        self.said = []

    def stage(self, words):
        self.said.append(words)


@pytest.fixture(scope="module")
def case(model_folder):
    """Four ligands and three halides in four amounts; the yield is theirs."""
    i = np.arange(N)
    table = pd.DataFrame(
        {
            "ligand": [f"w{n % 4}" for n in i],
            "aryl halide": [("iodo", "bromo", "chloro")[n % 3] for n in i],
            "amount": (i // 12).astype(float),
        },
        index=pd.Index([f"c{n}" for n in i], name="id"),
    )
    rng = np.random.default_rng(0)
    values = 40 + 10.0 * (i % 4) - 8.0 * (i % 3) + i // 12 + rng.normal(size=N)
    pool = Pool("demo", table, "yield", "maximize", values)
    template = Template("w9 {ligand} w8 {aryl halide} w7 {amount}")
    problem = Problem(pool, tuple(template.texts(pool)), template)
    settings = Settings(
        model=ModelSettings(name=str(model_folder("bert")), pooling="mean"),
        optimizer=OptimizerSettings(max_evaluations=40, rel_tol=-1.0),
    )
    order = rng.permutation(N)
    rounds = tuple(
        Round(k, tuple(pool.ids[order[:n]]), pool.utility[order[:n]], (0, k))
        for k, n in enumerate((8, 12, TRAIN), start=1)
    )
    models = {
        name: lambda changed, name=name: build_surrogate(changed, name, settings, CPU)
        for name in ("pllm", "one_hot")
    }
    selected = {str(pool.ids[row]): k // 4 for k, row in enumerate(order[:TRAIN])}
    return Case("A demo", "%", problem, Scale(), rounds, models, selected)


@pytest.fixture(scope="module")
def found(case):
    return understand(case, rounds=3, umap=False)


def test_rounds_are_spread_evenly():
    assert chosen_rounds(51, 3) == [0, 25, 50]
    assert chosen_rounds(2, 5) == [0, 1]
    assert chosen_rounds(4, 1) == [3]  # the one that knows everything


def test_geometry_before_during_and_after(found):
    table = found.geometry[found.geometry["model"] == "pllm"]
    last = table[(table["round"] == 3) & (table["scope"] == "unmeasured")]
    assert last["stage"].tolist() == ["initial", "training", "training", "training", "trained"]
    assert last["evaluations"].tolist() == [1, 3, 10, 30, 40]
    assert (last["points"] == N - TRAIN).all()
    assert table[table["stage"] == "trained"]["measured"].unique().tolist() == [8, 12, TRAIN]
    assert (table[table["stage"] == "pretrained"]["lengthscale"]).isna().all()
    static = found.geometry[found.geometry["model"] == "one_hot"]
    assert static.groupby("scope")["mean_distance"].nunique()["all"] == 1  # nothing is trained


def test_each_model_is_judged_in_both_ways(found):
    table = found.calibration.set_index(["model", "scheme"])
    assert table.loc[("pllm", "held out"), "points"] == N - TRAIN
    assert table.loc[("one_hot", "left one out"), "points"] == TRAIN
    assert len(found.reliability) == 2 * 2 * 10
    assert len(found.pairs) == 2 * TRAIN * (TRAIN - 1) / 2
    assert set(found.gradients["stage"]) == {"initial", "training", "trained"}


def test_chemistry_of_the_best_and_the_most_promising(found, case):
    asked = found.neighbours["id"].unique()
    best = max(case.rounds[-1].ids, key=lambda i: case.pool.values[case.pool.positions([i])[0]])
    assert asked[0] == best
    assert len(asked) == 3
    assert set(found.effects["column"]) == {"ligand", "aryl halide", "amount"}
    assert set(found.phrases["phrase"]) >= {"w9", "w8", "w7"}
    assert found.trends["data"].tolist() == ["agrees", "agrees"]
    assert found.candidates.columns.tolist() == [
        "id", "outcome", "selected", "ligand", "aryl halide", "amount",
    ]  # fmt: skip
    assert found.notes == ()


def test_the_same_case_gives_the_same_tables(case):
    single = replace(case, models={"pllm": case.models["pllm"]})
    once, again = (understand(single, rounds=1, umap=False).tables() for _ in range(2))
    for name, table in once.items():
        pd.testing.assert_frame_equal(table, again[name])


def test_what_cannot_be_looked_into_is_refused(case):
    few = replace(case, rounds=(replace(case.rounds[0], ids=("c0",) * 8),))
    with pytest.raises(DataError, match="1 different experiments have a result"):
        understand(few)
    with pytest.raises(DataError, match="0 different"):
        understand(replace(case, rounds=()))
    with pytest.raises(ConfigError, match="no candidate 'c99'"):
        understand(case, rounds=1, explain=["c99"], umap=False)


def test_a_model_that_fails_is_told_and_the_others_stay(case):
    def broken(problem):
        raise DataError("it needs SMILES.")

    stages = Stages()
    models = {"one_hot": case.models["one_hot"], "morgan": broken}
    found = understand(replace(case, models=models), rounds=1, umap=False, listener=stages)
    assert [str(n) for n in found.notes] == ["No comparison with morgan: it needs SMILES."]
    assert found.calibration["model"].unique().tolist() == ["one_hot"]
    assert "Looking into one_hot" in stages.said
    assert found.phrases.empty
    with pytest.raises(DataError, match="SMILES"):
        understand(replace(case, models={"morgan": broken}))


def test_a_campaign_knows_the_measured_outcomes_alone(case):
    known = np.isin(case.pool.ids, case.rounds[-1].ids)
    pool = replace(case.pool, values=np.where(known, case.pool.values, np.nan))
    part = replace(case, problem=replace(case.problem, pool=pool))
    found = understand(replace(part, models={"pllm": case.models["pllm"]}), rounds=2, umap=False)
    assert found.calibration["scheme"].tolist() == ["left one out"]
    assert "unmeasured" not in set(found.geometry[found.geometry["round"] == 3]["scope"])
    assert found.effects["observed"].isna().all()
    names = [exhibit.name for exhibit in exhibits(found)]
    assert {"training", "reliability", "effects", "replacements"} <= set(names)


# --- pictures -------------------------------------------------------------------------------------


def axes_of(figure):
    return [a for a in figure.axes if a.get_label() != "<colorbar>"]


def points(axes):
    return sum(len(c.get_offsets()) for c in axes.collections)


def test_pictures_hold_what_the_tables_do(found):
    drawn = {e.name: e.draw() for e in exhibits(found)}
    assert set(drawn) == {
        "training", "rounds", "likelihood", "map-pca", "map-components", "map-selected",
        "map-rounds", "reliability", "effects", "replacements", "phrases", "trends",
    }  # fmt: skip
    (training,) = axes_of(drawn["training"])
    assert [t.get_text() for t in training.get_xticklabels()] == ["1", "3", "10", "30", "40"]
    assert training.get_ylabel() == "distance / mean distance"
    assert [t.get_text() for t in training.get_legend().get_texts()] == list(
        pictures.PAIRS.values()
    )
    maps = axes_of(drawn["map-pca"])
    assert [a.get_title(loc="left") for a in maps] == ["before any result", f"{TRAIN} results"]
    assert [points(a) for a in maps] == [N, N + TRAIN]  # circles around what was measured
    assert maps[0].get_xlabel() == "PC 1"
    assert [points(a) for a in axes_of(drawn["map-components"])] == [N] * 3
    (selected,) = axes_of(drawn["map-selected"])
    assert points(selected) == N
    assert len(axes_of(drawn["map-rounds"])) == 3
    held, left = axes_of(drawn["reliability"])
    assert (held.get_xlabel(), held.get_ylabel()) == ("promised", "found inside")
    assert [len(line.get_xdata()) for line in held.lines[1:]] == [10, 10]
    assert left.get_title(loc="left") == "left one out"
    (effects,) = axes_of(drawn["effects"])
    assert effects.get_xlabel() == "effect on yield (%)"
    assert len(effects.get_yticks()) == len(found.effects)
    gradient, share = axes_of(drawn["likelihood"])
    assert len(gradient.lines) == 4  # three stages and zero
    assert share.get_ylabel() == "pairs pulled together"


def test_sentences_are_computed(found):
    told = {e.name: e.sentence for e in exhibits(found)}
    inside = found.calibration.iloc[0]["inside_95"]
    assert (
        f"Of {N - TRAIN} experiments that were not measured, {100 * inside:.0f} %"
        in (told["reliability"])
    )
    assert "results agree with 2 and pllm with" in told["trends"]
    assert "nan" not in " ".join(told.values())


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((62, 9, 41, 12), "62.0 ± 9.0 → 41 ± 12"),
        ((-0.581, 6.4, 1, 0.05), "−0.6 ± 6.4 → 1.000 ± 0.050"),
    ],
)
def test_exchanges_in_words(numbers, words):
    names = ("mean", "deviation", "mean_instead", "deviation_instead")
    row = pd.Series(dict(zip(names, numbers, strict=True)) | {"instead": "b", "value": "a"})
    assert exchange_words(row) == f"With b instead of a: {words}"


def test_records_are_drawn_by_task_and_method():
    runs = complete_runs(judged())
    shown = of_records(runs, predictors(runs))
    left, right = axes_of(shown[0].draw())
    assert (left.get_xlabel(), right.get_xlabel()) == ("ℓ/d̄", "R²")
    assert sum(len(line.get_xdata()) for line in left.lines) == 8 * 4 + 4
    assert "Within tasks" in shown[1].sentence
    assert "chance alone goes beyond 0.95" in shown[1].sentence  # four methods
    (forest,) = axes_of(shown[1].draw())
    assert forest.get_yticklabels()[0].get_text() == "runs"


def test_the_folder_holds_a_page_pictures_and_data(found, tmp_path):
    case = replace(found.case, title=HOSTILE)
    table = found.candidates.rename(columns={"ligand": HOSTILE})
    hostile = replace(found, case=case, candidates=table,
                      effects=found.effects.assign(value=HOSTILE))  # fmt: skip
    names = ("effects", "reliability", "trends")
    shown = [exhibit for exhibit in exhibits(hostile) if exhibit.name in names]
    page = write_analysis(
        tmp_path / "a", "What it has learned", lead_of(hostile), shown, notes=[HOSTILE],
        tables=hostile.tables(), shown=shown_of(hostile),
    )  # fmt: skip
    text = page.read_text("utf-8")
    read = Page(text)
    assert "script" not in read.tags
    assert HOSTILE in read.text
    assert all(link.startswith("data:image/svg+xml") for link in read.links)
    assert "default-src 'none'" in text
    for exhibit in shown:
        assert (tmp_path / f"a/figures/{exhibit.name}.svg").read_text("utf-8").startswith("<?xml")
        assert (tmp_path / f"a/figures/{exhibit.name}.pdf").read_bytes().startswith(b"%PDF")
        written = pd.read_csv(tmp_path / f"a/data/{exhibit.name}.csv")
        assert len(written) == len(exhibit.data)
    assert len(pd.read_csv(tmp_path / "a/data/geometry.csv")) == len(found.geometry)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    write_analysis(tmp_path / "a", "What it has learned", lead_of(hostile), shown, notes=[HOSTILE],
                   tables=hostile.tables(), shown=shown_of(hostile))  # fmt: skip
    assert before == {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be written"):
        write_analysis(tmp_path / "file", "t", "l", shown)


def test_interactive_maps_need_no_network_and_run_no_names(found):
    pytest.importorskip("plotly")
    from gollum.report.analysis.interactive import maps_page

    table = found.candidates.assign(ligand=HOSTILE)
    text = maps_page(replace(found, candidates=table, case=replace(found.case, title=HOSTILE)))
    assert HOSTILE not in text
    assert "<script src" not in text
    assert text.count("Plotly.newPlot") >= 4  # by outcome, selection and three components
    assert "PCA, by yield" in text
