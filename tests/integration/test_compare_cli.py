import re

import pandas as pd
import pytest

from gollum.analysis.comparison import LADDER, compare
from gollum.benchmark.sweeps.records import Records, write_records
from gollum.cli import main
from gollum.report.comparison import curves as curve_pictures
from gollum.report.comparison import pictures
from gollum.report.drawing import as_svg
from pages import Page
from synthetic import sweep

HOSTILE = '<script>alert("x")</script>'
FORMULA = "=HYPERLINK(1)"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def say(capsys):
    """Run a command; returns its exit code and what it printed."""

    def call(*words):
        code = main(["compare", *map(str, words)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def refused(say):
    """Run a command that must be refused in one sentence, and return it."""

    def check(*words):
        code, out, err = say(*words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        return err

    return check


def written(path, **options):
    table, traces = sweep(**{"tasks": ("alpha", "beta", "gamma"), "seeds": 3} | options)
    write_records(Records(table, traces), path)
    return path


# --- what it prints ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["records.csv", "records.parquet"])
def test_prints_tables_from_a_file(tmp_path, say, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    code, out, err = say(written(tmp_path / name))
    assert (code, err) == (0, "")
    assert "27 runs: 3 methods, 3 tasks, up to 3 seeds" in out
    assert "Gain over one_hot, paired by task and seed" in out
    assert "Iterations saved" in out
    assert "Surrogate quality" in out
    assert "Friedman" in out
    assert "auc: mean area under best-so-far, 0 to 1." in out


def test_methods_on_tasks_of_their_own_are_joined(tmp_path, say, refused):
    table, traces = sweep(("alpha", "beta"), seeds=3)
    parts = [
        part.assign(surrogate=part["surrogate"].mask(
            (part["task"] == "beta") & (part["surrogate"] == "one_hot"), "morgan"
        ))
        for part in (table, traces)
    ]  # fmt: skip
    write_records(Records(*parts), tmp_path / "records.csv")
    code, out, _ = say(tmp_path / "records.csv", "--join", "plain=one_hot,morgan")
    assert code == 0
    assert "Gain over plain, paired by task and seed" in out
    assert "plain: morgan on beta; one_hot on alpha." in out
    assert out.count("one_hot") == 1
    for word in ("plain", "plain=", "=one_hot"):
        assert "write a new name and its methods" in refused(
            tmp_path / "records.csv", "--join", word
        )


def test_a_folder_of_runs_and_a_file_are_compared_together(tmp_path, say, capsys):
    for seed in (0, 1):
        keys = {
            "data.task": "bh-ethyl", "surrogate": "one_hot", "preset": "fast", "n_iters": 2,
            "seed": seed, "output": f"runs/{seed}",
        }  # fmt: skip
        words = [word for key, value in keys.items() for word in (f"--{key}", str(value))]
        assert main(["run", "--quiet", *words]) == 0
    capsys.readouterr()
    code, out, _ = say("runs")
    assert code == 0
    assert "2 runs: 1 methods, 1 tasks" in out
    code, out, _ = say("runs", written(tmp_path / "records.csv"))
    assert code == 0
    assert "29 runs: 3 methods, 4 tasks" in out
    assert "7 of 36 runs are missing" in out


def test_reference_and_metric_can_be_chosen(tmp_path, say):
    file = written(tmp_path / "records.csv", minimize=("beta",))
    assert "Gain over pllm" in say(file, "--reference", "pllm")[1]
    code, out, _ = say(file, "--metric", "best", "--html", "best.html")
    assert code == 0
    assert "Best value found" in out
    assert "not averaged" in (tmp_path / "best.html").read_text("utf-8")


def test_steps_are_printed_and_drawn(tmp_path, say, refused):
    file, page = written(tmp_path / "records.csv"), tmp_path / "page.html"
    assert "What each step adds" not in say(file)[1]
    code, out, _ = say(
        file, "--steps", "random, one_hot,pllm", "--html", page, "--csv", tmp_path / "csv"
    )
    assert code == 0
    assert "What each step adds" in out
    steps = pd.read_csv(tmp_path / "csv" / "steps.csv")
    assert steps["before"].tolist() == ["random", "one_hot"]
    text = page.read_text("utf-8")
    assert "What each step adds" in text
    assert "What each step adds; the table below holds the figures." in text
    assert "has more parts than the one before it" not in text
    assert "Did you mean 'pllm'?" in refused(file, "--steps", "random,plm")


def test_the_help_lists_the_steps_that_are_shown_unless_others_are_chosen(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    assert f"those of {','.join(LADDER)} that are there" in capsys.readouterr().out


def test_one_method_one_task_one_seed(tmp_path, say):
    file = written(tmp_path / "r.csv", tasks=("alpha",), methods={"random": 0.0}, seeds=1)
    code, out, _ = say(file, "--html", "page.html", "--csv", "tables")
    assert code == 0
    assert "No ranks" in out
    assert "nan" not in out
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "nan" not in Page(text).text
    assert len(pd.read_csv(tmp_path / "tables" / "overall.csv")) == 1


def test_records_without_traces_or_newer_columns(tmp_path, say):
    table, _ = sweep(seeds=2)
    kept = ["task", "surrogate", "preset", "seed", "top5_coverage", "best", "auc", "seconds"]
    table[kept].to_csv(tmp_path / "old.csv", index=False)
    code, out, err = say(tmp_path / "old.csv", "--html", "old.html")
    assert (code, err) == (0, "")
    assert "Iterations saved" not in out
    Page((tmp_path / "old.html").read_text("utf-8"))


# --- the files -----------------------------------------------------------------------------------


def test_tables_are_tidy_and_formulas_are_neutralised(tmp_path, say):
    methods = {"one_hot": 1.0, "pllm": 2.0, FORMULA: 0.5}
    file = written(tmp_path / "records.csv", methods=methods, tasks=("+1", "@beta"))
    assert say(file, "--csv", "tables")[0] == 0
    folder = tmp_path / "tables"
    for path in folder.iterdir():
        cells = pd.read_csv(path, dtype=str, keep_default_na=False)
        text = cells.select_dtypes(exclude="number")
        for column in text.columns.intersection(["task", "method", "other", "reference"]):
            assert not text[column].str.match(r"[=+\-@]").any(), path
    overall = pd.read_csv(folder / "overall.csv")
    assert f"'{FORMULA}" in set(overall["method"])
    gains = pd.read_csv(folder / "gains-tasks.csv")
    assert set(gains["task"]) == {"'+1", "'@beta"}
    assert (gains["mean"] < 0).any()  # a negative number stays a number


def test_the_page_needs_nothing_else_and_escapes_what_it_shows(tmp_path, say):
    methods = {"one_hot": 1.0, "pllm": 2.0, HOSTILE: 0.5, "cost_$x_{": 0.1}
    file = written(tmp_path / "records.csv", methods=methods, tasks=(HOSTILE, "b&b", "c"))
    (tmp_path / "spec.yaml").write_text(f"name: '{HOSTILE}'\n", encoding="utf-8")
    assert say(file, "--html", "out/page.html")[0] == 0
    text = (tmp_path / "out" / "page.html").read_text("utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 5
    assert page.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert not re.search(r"https?://|url\(|@import", text)
    assert f"name: '{HOSTILE}'" in page.text
    assert "0.1.0" in page.text
    assert "abc1234 (36 runs)" in page.text


def test_the_same_records_give_the_same_page(tmp_path, say):
    file = written(tmp_path / "records.csv", tasks=("alpha", "beta"))
    pages = []
    for _ in range(2):
        assert say(file, "--html", "page.html")[0] == 0
        pages.append((tmp_path / "page.html").read_bytes())
    assert pages[0] == pages[1]


@pytest.fixture
def sticking_out(monkeypatch):
    """How far what is drawn sticks out of each picture that was made, in inches."""
    found = []

    def drawn(figure):
        svg = as_svg(figure)
        inside, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
        found.append(max(-inside.x0, -inside.y0, inside.x1 - width, inside.y1 - height))
        return svg

    for module in (pictures, curve_pictures):
        monkeypatch.setattr(module, "as_svg", drawn)
    return found


@pytest.mark.parametrize("ending", ["", " with a name that does not end soon"])
def test_many_methods_and_tasks_fit_into_pictures(sticking_out, ending):
    methods = {f"method {i}{ending}": i / 8 for i in range(11)}
    found = compare(*sweep([f"task {i}{ending}" for i in range(13)], methods, seeds=2, n_iters=3))
    svg = [*pictures.tasks(found), pictures.critical_difference(found.ranking, found.methods)]
    svg += [pictures.means(found), pictures.gains(found)]
    svg += [pictures.gains_of(found, found.methods[-1]), curve_pictures.legend(found.methods)]
    assert len(svg) == 7
    assert all(picture.startswith("<?xml") for picture in svg)
    assert len(sticking_out) == 7
    assert max(sticking_out) < 0.02


# --- mistakes ------------------------------------------------------------------------------------


def test_bad_files_are_refused_in_one_sentence(tmp_path, refused):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    (tmp_path / "folder").mkdir()
    assert "nowhere.csv" in refused("nowhere.csv")
    assert "empty.csv" in refused("empty.csv")
    assert "no column" in refused("other.csv")
    assert "binary.csv" in refused("binary.csv")
    assert "no finished run" in refused("folder")


def test_bad_words_are_refused_in_one_sentence(tmp_path, refused):
    file = written(tmp_path / "records.csv", seeds=2, n_iters=3)
    assert "RESULTS" in refused()
    assert "'--colour' is not an option" in refused(file, "--colour", "red")
    assert "Did you mean 'one_hot'?" in refused(file, "--reference", "onehot")
    assert "Did you mean 'auc'?" in refused(file, "--metric", "aucc")


def test_places_that_cannot_be_written_are_refused(tmp_path, refused):
    file = written(tmp_path / "records.csv", seeds=2, n_iters=3)
    (tmp_path / "folder").mkdir()
    assert "--html" in refused(file, "--html", "folder")
    assert "--csv" in refused(file, "--csv", file)
    assert list((tmp_path / "folder").iterdir()) == []
