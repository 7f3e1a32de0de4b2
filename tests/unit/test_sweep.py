"""Specs of sweeps, their cells, the folders of these, and records."""

import importlib.util
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from gollum.benchmark.config import keys, load_config
from gollum.benchmark.controls import CONTROLS
from gollum.benchmark.record import RunFolder
from gollum.benchmark.sweeps.cells import Cell, Outcome, keep_failure, read_failure
from gollum.benchmark.sweeps.engines import Event
from gollum.benchmark.sweeps.records import (
    COLUMNS,
    TRACE,
    collect,
    failures,
    read_records,
    write_records,
)
from gollum.benchmark.sweeps.settings import OTHERS, usual_settings
from gollum.benchmark.sweeps.shelf import Shelf
from gollum.benchmark.sweeps.spec import PAPER19, SweepSpec, expand, load_spec
from gollum.data.catalog import all_tasks, get_task, task_names
from gollum.errors import BusyError, ConfigError, DataError, UserError
from gollum.features.base import FixedFeatures
from gollum.features.representations import Setup
from gollum.report.sweep import SweepDisplay, spoken, state_table, time_left
from gollum.runtime import commit

ROOT = Path(__file__).parents[2]
SMALL = {
    "name": "small", "tasks": ["esol"], "surrogates": ["one_hot"], "presets": ["paper"], "seeds": 2,
}  # fmt: skip


def spec(**fields):
    return SweepSpec.model_validate({**SMALL, **fields})


def labels(**fields):
    return [cell.label for cell in expand(spec(**fields)).cells]


# --- cells ---------------------------------------------------------------------------------------


def test_cells_are_named_by_what_they_are_and_come_seed_by_seed():
    assert labels(tasks=["bh-cf3", "esol"], surrogates=["one_hot", "pllm"], presets="fast") == [
        f"{task}/{method}/seed{seed}"
        for seed in (0, 1)
        for task in ("bh-cf3", "esol")
        for method in ("one_hot-fast", "pllm-minilm-fast")
    ]


def test_a_cell_is_the_run_of_its_keys_in_its_folder():
    (cell,) = expand(
        spec(surrogates="pllm", models="e5-small", controls="random_embeddings", seeds=[3],
             keys={"n_iters": 7, "optimizer": {"max_evaluations": 9}}, output="somewhere"),
    ).cells  # fmt: skip
    folder = Path("somewhere/esol/pllm-e5-small-paper-random_embeddings/seed3")
    assert cell.config == load_config(
        None,
        {
            "data.task": "esol", "surrogate": "pllm", "model.name": "e5-small", "preset": "paper",
            "control": "random_embeddings", "seed": 3, "n_iters": 7,
            "optimizer.max_evaluations": 9, "output": str(folder),
        }.items(),
    )  # fmt: skip
    assert cell.folder.path == folder


def test_models_matter_only_to_surrogates_that_use_one():
    found = labels(surrogates=["one_hot", "static", "random"], models=["minilm", "a/b"], seeds=1)
    assert found == [
        f"esol/{method}-paper/seed0"
        for method in ("one_hot", "static-minilm", "static-a-b", "random")
    ]


def test_the_folder_is_runs_and_the_name_unless_it_is_given():
    assert spec().folder == Path("runs/small")
    assert spec(output="x").folder == Path("x")


def test_further_blocks_replace_fields_and_keys_and_repeat_nothing():
    found = expand(
        spec(
            keys={"n_iters": 5, "lora": {"rank": 2}},
            also=[
                {"surrogates": ["random"], "seeds": [0], "keys": {"n_iters": 9}},
                {"seeds": 3},
            ],
        )
    ).cells
    assert [cell.label for cell in found] == [
        "esol/one_hot-paper/seed0",
        "esol/random-paper/seed0",
        "esol/one_hot-paper/seed1",
        "esol/one_hot-paper/seed2",
    ]
    assert [cell.config.n_iters for cell in found] == [5, 9, 5, 5]
    assert {cell.config.lora.rank for cell in found} == {2}


def test_blocks_may_differ_in_settings_alone_and_are_named_after_them():
    keys = {"acquisition": "ucb", "lora": {"rank": 2}}
    found = expand(
        spec(
            seeds=1,
            keys=keys | {"n_iters": 5},
            also=[
                {"keys": {"acquisition": "ei"}},  # as the preset has it, and not as above
                {"keys": {"lora": {"rank": 2}, "data": {"template": "a {smiles}, with a comma"}}},
                {
                    "surrogates": "pllm",
                    "controls": "permuted_labels",
                    "keys": {"initial": "random"},
                },
                {"seeds": 2, "keys": {"acquisition": "ucb"}},
            ],
        )
    ).cells
    assert [re.sub(r"\b[0-9a-f]{8}\b", "HASH", cell.label) for cell in found] == [
        "esol/one_hot-paper/seed0",
        "esol/one_hot-paper-acquisition-ei/seed0",
        "esol/one_hot-paper-data.template-HASH/seed0",
        "esol/pllm-minilm-paper-permuted_labels-initial-random/seed0",
        "esol/one_hot-paper/seed1",
    ]
    rank = "lora.rank=2"
    assert [re.sub(r"\b[0-9a-f]{8}\b", "HASH", cell.names()["settings"]) for cell in found] == [
        f"{rank}+acquisition=ucb",
        rank,
        f"{rank}+data.template=HASH+acquisition=ucb",
        f"{rank}+acquisition=ucb+initial=random",
        f"{rank}+acquisition=ucb",
    ]


@pytest.mark.parametrize(
    ("keys", "settings"),
    [
        ({}, ""),
        ({"n_iters": 3, "batch_size": 2, "memory_gb": 3.0, "quality": True, "threads": 2}, ""),
        ({"preset": "fast"}, ""),
        ({"preset": "fast", "acquisition": "log_ei"}, ""),
        ({"preset": "fast", "acquisition": "ei"}, "acquisition=ei"),
        ({"preset": "fast", "optimizer.fine_tuning": "null"}, "optimizer.fine_tuning=null"),
        ({"data.texts": "authors", "model.normalize": True},
         "model.normalize=true+data.texts=authors"),
    ],
)  # fmt: skip
def test_settings_are_what_differs_from_the_preset_and_are_read_from_a_folder(
    tmp_path, keys, settings
):
    figures = {"iterations": 3, "evaluations": 3, "quality": {}}
    one = finish(cell(tmp_path / "run", surrogate="static", **keys), **figures)
    assert one.names()["settings"] == settings
    (row,) = collect(tmp_path).table.to_dict("records")
    assert row["settings"] == settings
    assert set(collect(tmp_path).traces["settings"]) == {settings}


def test_every_key_of_a_run_is_a_setting_or_something_else():
    assert usual_settings("paper").keys() == usual_settings("fast").keys()
    assert usual_settings("paper").keys() | OTHERS == keys().keys()


def test_records_without_settings_are_read_with_their_traces():
    records = read_records(ROOT / "benchmarks" / "results" / "models.csv")
    assert set(records.table["settings"]) == {""}
    assert set(records.traces["settings"]) == {""}
    assert len(records.traces)


def test_the_command_line_replaces_what_every_block_says():
    changed = spec(also=[{"surrogates": "random", "seeds": 9, "keys": {"n_iters": 3}}]).overridden(
        "there", (1, 4), {"n_iters": "2", "batch_size": "5"}
    )
    cells = expand(changed).cells
    assert [cell.label for cell in cells] == [
        f"esol/{method}-paper/seed{seed}" for seed in (1, 4) for method in ("one_hot", "random")
    ]
    assert {(cell.config.n_iters, cell.config.batch_size) for cell in cells} == {(2, 5)}
    assert {cell.folder.path.parts[0] for cell in cells} == {"there"}


def test_the_copy_of_a_spec_means_the_same(tmp_path):
    file = tmp_path / "spec.yaml"
    original = spec(keys={"lora": {"rank": 2}}, also=[{"surrogates": "random"}], seeds=[1, 5])
    file.write_text(original.overridden("there", None, {"n_iters": "3"}).to_yaml())
    assert expand(load_spec(file)) == expand(original.overridden("there", None, {"n_iters": "3"}))


def test_groups_stand_for_their_tasks():
    def tasks(*words):
        found = expand(spec(tasks=words, surrogates="random", seeds=1)).cells
        return [cell.config.data.task for cell in found]

    assert tasks("all") == list(task_names())
    assert tasks("paper19") == list(PAPER19)
    assert len(set(PAPER19)) == 19
    molecules = [task.name for task in all_tasks() if task.group == "molecules"]
    assert tasks("molecules", "esol") == molecules
    assert tasks("esol", "molecules") == ["esol", *(m for m in molecules if m != "esol")]


@pytest.mark.parametrize(
    ("surrogate", "lacking", "word"),
    [
        ("morgan", ["hplc", "oer"], "SMILES"),
        ("descriptors", ["hplc", "oer"], "SMILES"),
        ("baybe_chem", ["hplc", "oer"], "SMILES"),
        ("drfp", ["hplc", "oer", "esol"], "reaction SMILES"),
        ("rxnfp", ["hplc", "oer", "esol"], "reaction SMILES"),
    ],
)
def test_what_a_task_cannot_have_is_left_out_and_said(surrogate, lacking, word):
    tasks = ["hplc", "bh-cf3", "oer", "esol"]
    found = expand(spec(tasks=tasks, surrogates=[surrogate, "one_hot"], seeds=1))
    with_it = [c.config.data.task for c in found.cells if c.config.surrogate == surrogate]
    assert with_it == [task for task in tasks if task not in lacking]
    (note,) = found.notes
    assert f"'{surrogate}' needs" in note
    assert word in note
    assert ", ".join(lacking) in note
    for task in lacking:
        missing = get_task(task).reaction if "reaction" in word else get_task(task).structures
        assert not missing


def test_nothing_left_is_an_error_that_says_why():
    with pytest.raises(ConfigError, match=r"nothing to run.*morgan.*hplc lacks"):
        expand(spec(tasks="hplc", surrogates="morgan"))


# --- tables of one's own -------------------------------------------------------------------------

OWN = {"path": "mine.csv", "objective": "yield"}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A table beside the working directory, which is empty."""
    file = tmp_path / "mine.csv"
    file.write_text("ligand_smiles,heat,yield\n" + "".join(f"{'C' * i},{i},{i}\n" for i in (1, 2)))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return file


def loaded(folder, **fields):
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump({**SMALL, **fields}))
    return load_spec(file)


def test_a_table_stands_beside_tasks_and_is_called_by_its_file(mine):
    found = loaded(mine.parent, tasks=["esol", OWN | {"direction": "minimize"}], seeds=1)
    one, other = expand(found).cells
    assert [one.label, other.label] == ["esol/one_hot-paper/seed0", "mine/one_hot-paper/seed0"]
    assert other.config.data.model_dump(exclude_none=True) == {
        "path": str(mine), "name": "mine", "objective": "yield", "direction": "minimize",
    }  # fmt: skip
    assert other.names()["task"] == "mine"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.csv", "a"),
        ("a b (2).xlsx", "a-b-2"),
        ("screen.v1.csv.gz", "screen-v1"),
        ("x/y.parquet", "y"),
    ],
)
def test_a_file_gives_a_name_that_is_a_folder(file, name):
    (table,) = spec(tasks={**OWN, "path": file}).tasks
    assert table.name == name


def test_paths_are_seen_from_the_spec_and_else_from_the_working_directory(mine):
    def path(folder, **keys):
        (table,) = loaded(folder, tasks=OWN | keys).tasks
        return Path(table.path)

    here, elsewhere = Path("mine.csv").absolute(), mine.parent / "specs"
    elsewhere.mkdir()
    assert path(mine.parent) == mine
    assert path(elsewhere, path="../mine.csv") == mine
    assert path(elsewhere) == elsewhere / "mine.csv"  # it is nowhere: where it was to be
    here.touch()
    assert path(elsewhere) == here
    assert path(mine.parent) == mine
    assert path(elsewhere, path=str(mine)) == mine


def test_the_copy_of_a_spec_with_tables_means_the_same(mine, tmp_path):
    more = OWN | {"name": "again", "inputs": ["heat"], "template": "{heat}"}
    original = loaded(
        mine.parent, tasks=[OWN, more], also=[{"tasks": [more, "esol"], "surrogates": "random"}]
    ).overridden("there", (1, 2), {"n_iters": "3"})
    file = tmp_path / "here" / "copy.yaml"
    file.write_text(original.to_yaml())
    assert expand(load_spec(file)) == expand(original)
    assert {cell.label for cell in expand(original).cells} == {
        f"{method}-paper/seed{seed}"
        for seed in (1, 2)
        for method in (
            "mine/one_hot", "again/one_hot", "again/random", "esol/random",
        )
    }  # fmt: skip
    assert len(set(expand(original).cells)) == 8  # lists of columns among the keys hinder nothing


def test_what_a_table_lacks_is_left_out_and_said(mine):
    numbers = OWN | {"name": "numbers", "inputs": ["heat"]}
    reactions = OWN | {"name": "reactions", "reaction": "{ligand_smiles}>>C"}
    chosen = numbers | {"name": "chosen", "inputs": ["ligand_smiles"]}
    found = expand(
        loaded(
            mine.parent,
            tasks=[OWN, numbers, reactions, chosen, "hplc"],
            surrogates=["morgan", "drfp"],
            seeds=1,
        )
    )
    assert [cell.label.removesuffix("-paper/seed0") for cell in found.cells] == [
        "mine/morgan", "reactions/morgan", "reactions/drfp", "chosen/morgan"
    ]  # fmt: skip
    assert found.notes == (
        "surrogate 'drfp' needs reaction SMILES, which mine, numbers, chosen, hplc lack; left out.",
        "surrogate 'morgan' needs columns with SMILES, which numbers, hplc lack; left out.",
    )


def test_texts_of_a_named_table_are_no_settings_and_read_back_from_its_folder(mine, tmp_path):
    entry = OWN | {"template": "{heat}", "reaction": "{ligand_smiles}>>C"}
    (one,) = expand(loaded(mine.parent, tasks=entry, seeds=1, output="out")).cells
    finish(one, iterations=50, evaluations=3)
    (row,) = collect(Path("out")).table.to_dict("records")
    assert (row["task"], row["group"], row["settings"]) == ("mine", "", "")
    named = {"path": "data.path", "objective": "data.objective", "template": "data.template"}
    keys = {key: entry[name] for name, key in named.items()}
    unnamed = Cell(load_config(None, {**keys, "surrogate": "one_hot"}.items()), "x")
    assert unnamed.names()["task"] == "mine.csv"
    assert unnamed.names()["settings"] == "data.template=" + unnamed.names()["settings"][-8:]


def test_a_named_table_may_move_but_not_change(mine, tmp_path):
    (one,) = expand(loaded(mine.parent, tasks=OWN, seeds=1, output="out")).cells
    finish(one)
    moved = one.config.data.model_copy(update={"path": "elsewhere.csv"})
    config = one.config.model_copy(update={"data": moved})
    assert len(one.folder.earlier_rows(config, "f00")) == 3
    with pytest.raises(ConfigError, match="earlier version of this table"):
        one.folder.earlier_rows(config, "f11")
    unnamed = config.model_copy(update={"data": moved.model_copy(update={"name": None})})
    with pytest.raises(ConfigError, match=r"data\.path = "):
        one.folder.earlier_rows(unnamed, "f00")


# --- bad specs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tasks": None}, "key 'tasks'"),
        ({"seeds": None}, "key 'seeds'"),
        ({"seeds": -1}, "key 'seeds'"),
        ({"seeds": [0, -2]}, "key 'seeds'"),
        ({"seeds": True}, "key 'seeds'"),
        ({"seeds": "many"}, "key 'seeds': expected how many"),
        ({"seeds": []}, "key 'seeds'"),
        ({"tasks": []}, "key 'tasks'"),
        ({"task": ["esol"]}, "there is no key 'task'. Did you mean 'tasks'?"),
        ({"n_iters": 5}, "'n_iters' is a key of a run; write it below 'keys'"),
        ({"also": [{"surrogate": "x"}]}, "no key 'also.surrogate'. Did you mean 'surrogates'?"),
        ({"also": [{"batch_size": 2}]}, "'batch_size' is a key of a run"),
        ({"also": {"seeds": 1}}, "key 'also': input should be a list"),
        ({"keys": [1]}, "key 'keys'"),
        ({"tasks": ["esool"]}, "no task or group 'esool'. Did you mean 'esol'?"),
        ({"tasks": ["paper"]}, "Did you mean 'paper19'?"),
        ({"surrogates": ["onehot"]}, "'onehot' is unknown"),
        ({"presets": ["quick"]}, "preset 'quick' is unknown"),
        ({"controls": ["shuffled"]}, "key 'control'"),
        ({"keys": {"n_iter": 5}}, "there is no key 'n_iter'. Did you mean 'n_iters'?"),
        ({"keys": {"n_iters": "x"}}, "key 'n_iters'"),
        ({"keys": {"seed": 5}}, "use 'seeds'"),
        ({"keys": {"model": {"name": "x"}}}, "use 'models'"),
        ({"keys": {"benchmark": "esol"}}, "use 'tasks'"),
        ({"keys": {"threads": 2}}, "use --threads"),
        ({"also": [{"keys": {"n_iters": 3}}]}, "n_iters = 50 and with 3"),
        ({"keys": {"data": {"name": "x"}}}, "use 'tasks'"),
        ({"tasks": [3]}, "expected a name, or a table {path: FILE, objective: COLUMN}, got 3"),
        ({"tasks": {"objective": "y"}}, "expected a name, or a table"),
        ({"tasks": {**OWN, "path": 3}}, "expected a name, or a table"),
        ({"tasks": {"path": "a.csv"}}, "tasks: table 'a.csv': data.path needs data.objective"),
        ({"tasks": {**OWN, "objectiv": "y"}}, "no key 'objectiv'. Did you mean 'objective'?"),
        ({"tasks": {**OWN, "task": "esol"}}, "a table has no key 'task'"),
        ({"tasks": {**OWN, "direction": "maximise"}}, "key 'direction': input should be"),
        ({"tasks": {**OWN, "inputs": 3}}, "key 'inputs': input should be"),
        ({"tasks": {**OWN, "name": "a/b"}}, "data.name 'a/b' can't name a folder"),
        ({"tasks": {**OWN, "name": ".."}}, "data.name '..' can't name a folder"),
        ({"tasks": {**OWN, "name": "ESOL"}}, "is called 'ESOL', as a benchmark task is"),
        ({"tasks": [OWN, {**OWN, "objective": "ee"}]}, "is called 'mine', as another table is"),
        ({"also": [{"tasks": OWN}, {"tasks": {**OWN, "path": "x/Mine.csv"}}]},
         "is called 'Mine', as another table is; give it a 'name' of its own"),
        ({"also": [{"tasks": {"path": "a.csv"}}]}, "data.path needs data.objective"),
        ({"tasks": OWN, "keys": {"data": {"template": "x"}}},
         "'data.template' can't be a key beside tables; write it into their entries"),
        ({"tasks": OWN, "surrogates": "morgan"}, "There is no file"),
        ({"surrogates": {"a": 1}}, "key 'surrogates': input should be a valid string"),
        ({"surrogates": ["pllm"], "models": ["a/b", "a-b"]}, "model.name = a/b and with a-b"),
    ],
)  # fmt: skip
def test_a_bad_spec_is_one_sentence(tmp_path, change, words):
    file = tmp_path / "spec.yaml"
    values = {k: v for k, v in {**SMALL, **change}.items() if v is not None}
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError) as error:
        expand(load_spec(file))
    sentence = str(error.value)
    assert words in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("content", "words"),
    [("a: [", "is not valid YAML"), ("", "holds no keys"), ("just words", "holds no keys")],
)
def test_a_file_that_is_no_spec_is_one_sentence(tmp_path, content, words):
    file = tmp_path / "spec.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=rf"^spec '.*spec.yaml' {words}"):
        load_spec(file)


def test_a_spec_that_is_not_there_names_the_nearest(tmp_path):
    (tmp_path / "paper19.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"does not exist. Did you mean 'paper19.yaml'\?"):
        load_spec(tmp_path / "paper9.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks" / "specs").glob("*.yaml")))
def test_specs_of_the_project_leave_nothing_out(file):
    found = expand(load_spec(file))
    assert found.notes == ()
    assert load_spec(file).name == file.stem
    conditions = ("starts-random", "starts-random-5", "starts-random-1", "batches-24")
    unjudged = (*conditions, "transfer-baybe")
    assert all(cell.config.quality for cell in found.cells) == (file.stem not in unjudged)
    labels = (cell.label.split("/")[1].replace("-fast", "") for cell in found.cells)
    methods = {re.split("(?:-protocol)?-transfer", label)[0] for label in labels}
    assert (len(found.cells), methods) == {
        "smoke": (12, {"random", "one_hot", "morgan"}),
        "buchwald-hartwig": (
            5 * 6 * 10 + 5 * 5,
            {"random", "one_hot", "drfp", "baybe"}
            | {"static-minilm", "pllm-minilm", "pllm_phi-minilm"},
        ),
        "paper19": (
            19 * 4 * 5, {"random", "static-minilm", "pllm-minilm", "one_hot", "morgan"}
        ),
        "further": (
            26 * 4 * 5, {"random", "static-minilm", "pllm-minilm", "one_hot", "morgan"}
        ),
        "controls": (
            5 * 5 * (10 + 2 + 1 + 2),
            {"random", "one_hot", "one_hot-permuted_labels"}
            | {
                f"{surrogate}-minilm{control}"
                for surrogate in ("static", "pllm")
                for control in ("", *(f"-{control}" for control in CONTROLS))
            },
        ),
        "averaged": (
            10 * 2 * 5,
            {"one_hot", "morgan", "averaged", "averaged-representations-7f43fba8"},
        ),
        "default": (
            2 * 45 * 5 + 5 * 5,
            {"combined-minilm-default", "combined-minilm-default-representations-wordless"},
        ),
        "realistic": (2 * 10 * 5, {"combined-minilm-default", "one_hot", "morgan"}),
        "transfer": (5 + 5 * (5 * 6 + 4 + 3), {"combined-minilm-default", "averaged-default"}),
        "transfer-baybe": (5 + 5 * 5, {"baybe"}),
        "transfer-more": (
            5 * (5 + 2 * 5 + 2 * 5 + 4 + 1 + 3 + 7 + 5 + 2 * 5),
            {"combined-minilm-default", "ranked-minilm-default", "pooled-minilm-default"},
        ),
        "minimol": (8 * 5, {"combined-minilm-default"}),
        "encoders": (2 * 9 * 5, {"combined-mpnet-default", "combined-smollm2-default"}),
        **dict.fromkeys(
            conditions, (2 * 10 * 5, {"combined-minilm-default", "one_hot", "morgan"})
        ),
    }[file.stem]  # fmt: skip


def test_molecules_only_tasks_of_the_paper_get_morgan_and_the_others_one_hot():
    for cell in expand(load_spec(ROOT / "benchmarks" / "specs" / "paper19.yaml")).cells:
        task = get_task(cell.config.data.task)
        only_structures = set(task.inputs) == set(task.structures)
        if cell.config.surrogate in ("morgan", "one_hot"):
            assert (cell.config.surrogate == "morgan") == only_structures, task.name


# --- the lock of a folder ------------------------------------------------------------------------


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    with folder.locked():
        assert folder.is_locked()
        with pytest.raises(BusyError, match="in use by another run"), folder.locked():
            pass
        assert folder.is_locked()
    assert not folder.is_locked()
    assert list(tmp_path.iterdir()) == []  # it made these folders, and they are empty


def test_a_folder_with_something_in_it_stays(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b")
    with folder.locked():
        (folder.path / "trace.csv").touch()
    assert [p.name for p in folder.path.iterdir()] == ["trace.csv"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_the_system_lets_go_when_the_process_is_killed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    program = (
        "import sys, time; from pathlib import Path\n"
        "from gollum.benchmark.record import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(folder.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        assert folder.is_locked()
        process.kill()
    assert folder.lock_file.exists()
    assert not folder.is_locked()
    assert folder.earlier_rows(load_config(None, [("data.task", "esol")]), "") == []


# --- what became of a cell -----------------------------------------------------------------------


def cell(folder, seed=0, **keys):
    values = {"data.task": "esol", "surrogate": "one_hot", "preset": "paper", "n_iters": 2}
    values["output"] = str(folder)
    return Cell(load_config(None, {**values, "seed": seed, **keys}.items()), f"esol/x/seed{seed}")


def rows(count, start=0.0):
    return [
        {"iteration": i, "id": f"r{i}", "objective": start - i, "best_so_far": start - i,
         "top5_found": i, "top5_coverage": i / 10}
        for i in range(count)
    ]  # fmt: skip


def summary(iterations=2, **figures):
    return {
        "status": "finished", "iterations": iterations, "evaluations": iterations + 1,
        "candidates": 99, "top5_coverage": 0.2, "top5_found": 2, "best": -2.0, "auc": 0.125,
        "seconds": 1.5,
        "provenance": {"gollum": "1.2", "commit": "abc", "data_sha256": "f00",
                       "precision": "float32", "model_revision": ""},
        **figures,
    }  # fmt: skip


def finish(cell, **figures):
    cell.folder.create(cell.config)
    cell.folder.save(rows(3), summary(**figures))
    return cell


def test_states_of_a_cell(tmp_path):
    one = cell(tmp_path / "one")
    assert one.state() == "missing"
    keep_failure(one, "went\nwrong", "Traceback")
    assert one.state() == "failed"
    finish(one, status="running")
    assert one.state() == "failed"
    finish(one)
    assert one.state() == "finished"


@pytest.mark.parametrize(
    ("keys", "figures", "state"),
    [
        ({}, {}, "finished"),
        ({"n_iters": 3}, {}, "missing"),  # more was asked for since
        ({"n_iters": 3}, {"candidates": 3}, "finished"),  # there are no more
        ({"quality": "true"}, {}, "missing"),
        ({"quality": "true"}, {"quality": {"r2": 0.5}}, "finished"),
        ({}, {"evaluations": 4}, "missing"),  # killed between summary and trace
        ({}, {"status": "running"}, "missing"),
    ],
)
def test_a_cell_is_finished_when_all_that_it_asks_for_is_there(tmp_path, keys, figures, state):
    finish(cell(tmp_path / "run"), **figures)
    assert cell(tmp_path / "run", **keys).state() == state


def test_why_a_cell_failed_is_kept(tmp_path):
    one = cell(tmp_path / "one", seed=4)
    keep_failure(one, "two\nlines", "where")
    failure = read_failure(one.folder)
    assert (failure.message, failure.traceback) == ("two lines", "where")
    table = failures(tmp_path)
    assert table[["task", "surrogate", "seed", "message", "folder"]].to_numpy().tolist() == [
        ["esol", "one_hot", 4, "two lines", "one"]
    ]
    one.folder.failure_file.write_text("{")
    assert "can't be read" in failures(tmp_path)["message"].item()


# --- records -------------------------------------------------------------------------------------


@pytest.fixture
def swept(tmp_path):
    """A folder with two finished runs, one that runs and one that failed."""
    quality = {"r2": 0.1 + 0.2, "nlpd": None, "msll": -1.0, "calibration_error": 0.0}
    finish(cell(tmp_path / "b", seed=1, surrogate="pllm"), quality=quality, seconds=0.1 + 0.7)
    finish(cell(tmp_path / "a", seed=10, batch_size=2))
    finish(cell(tmp_path / "c", seed=2), status="running")
    keep_failure(cell(tmp_path / "d", seed=3), "no", "")
    return tmp_path


def test_records_have_a_row_per_finished_run(swept):
    table = collect(swept).table
    assert tuple(table.columns) == COLUMNS
    assert table["surrogate"].tolist() == ["one_hot", "pllm"]
    first, second = table.to_dict("records")
    assert (first["task"], first["group"], first["model"]) == ("esol", "molecules", "")
    assert (second["model"], second["control"], second["preset"]) == ("minilm", "none", "paper")
    assert (first["batch_size"], first["n_init"], first["n_iters"], first["seed"]) == (2, 10, 2, 10)
    assert (second["r2"], second["msll"], second["seconds"]) == (0.1 + 0.2, -1.0, 0.1 + 0.7)
    assert np.isnan(second["nlpd"])
    assert np.isnan(first["r2"])
    assert (first["version"], first["commit"], first["data_sha256"]) == ("1.2", "abc", "f00")


@pytest.mark.parametrize("more", [{"n_iters": 6}, {"quality": "true"}])
def test_a_run_that_failed_at_what_was_asked_for_since_counts_as_failed(tmp_path, more):
    finish(cell(tmp_path / "run"))
    asked = cell(tmp_path / "run", **more)
    asked.folder.create(asked.config)
    keep_failure(asked, "no fit", "")
    assert asked.state() == "failed"
    assert collect(tmp_path).table.empty
    assert failures(tmp_path)["message"].tolist() == ["no fit"]
    assert collect(tmp_path).traces.empty
    finish(asked, iterations=6, evaluations=3, quality={})
    assert asked.state() == "finished"
    assert len(collect(tmp_path).table) == 1
    assert failures(tmp_path).empty


def test_precision_is_told_of_language_models_only(tmp_path):
    known = summary()["provenance"]
    for surrogate, revision in {"pllm": "1f2e", "baybe": "baybe 0.15.0", "one_hot": ""}.items():
        run = cell(tmp_path / surrogate, surrogate=surrogate)
        finish(run, provenance={**known, "model_revision": revision})
    table = collect(tmp_path).table.set_index("surrogate")
    assert table["precision"].to_dict() == {"pllm": "float32", "baybe": "", "one_hot": ""}
    assert table.loc["baybe", "model_revision"] == "baybe 0.15.0"


def test_the_page_says_which_runs_are_of_a_changed_checkout(monkeypatch):
    spec = importlib.util.spec_from_file_location("page", ROOT / "scripts" / "benchmark_page.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    commits = ["0123456789", "0123456789+changes", "", "89abcdef01"]
    monkeypatch.setattr(page, "ranking_sentence", lambda found: "")
    found = SimpleNamespace(runs=pd.DataFrame({"commit": commits}), notes=())
    assert page._runs(found) == "4 runs, commit 0123456, 0123456+changes, 89abcde."


def test_traces_have_a_row_per_run_and_iteration(swept):
    run = finish(cell(swept / "e", seed=0, batch_size=2))
    batches = [{**row, "iteration": (i + 1) // 2} for i, row in enumerate(rows(5, 9.0))]
    run.folder.save(batches, summary(evaluations=5))
    traces = collect(swept).traces
    assert tuple(traces.columns) == TRACE
    mine = traces[traces["seed"] == 0]
    assert mine["iteration"].tolist() == [0, 1, 2]
    assert mine["best_so_far"].tolist() == [9.0, 7.0, 5.0]  # as they stand after each batch
    assert mine["top5_coverage"].tolist() == [0.0, 0.2, 0.4]
    assert len(traces) == 9


@pytest.mark.parametrize("name", ["records.csv", "records.parquet", "records.csv.gz"])
def test_records_are_read_as_they_were_written(swept, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    records = collect(swept)
    write_records(records, tmp_path / name)
    again = read_records(tmp_path / name)
    pd.testing.assert_frame_equal(again.table, records.table, check_exact=True)
    pd.testing.assert_frame_equal(again.traces, records.traces, check_exact=True)
    before = {file.name: file.read_bytes() for file in tmp_path.glob("records*")}
    assert len(before) == 2
    write_records(read_records(swept), tmp_path / name)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("records*")} == before


@pytest.mark.parametrize("content", [None, "", "a: [", "seed: 1\n", "\xff"])
def test_a_finished_run_without_its_configuration_is_named(swept, content):
    file = swept / "a" / "config.yaml"
    file.unlink()
    if content is not None:
        file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"config.yaml' is missing or damaged.*restore it") as error:
        collect(swept)
    assert f"'{file}'" in str(error.value)


@pytest.mark.parametrize("content", ["{", "", "[1]"])
def test_a_run_with_a_damaged_summary_is_not_finished(swept, content):
    (swept / "a" / "summary.json").write_text(content)
    assert cell(swept / "a", seed=10, batch_size=2).state() == "missing"
    assert collect(swept).table["surrogate"].tolist() == ["pllm"]


def test_a_sweep_without_finished_runs_has_empty_records(tmp_path):
    write_records(collect(tmp_path), tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv").table.empty
    assert tuple(read_records(tmp_path / "records.csv").traces.columns) == TRACE


def test_an_older_table_has_blanks_where_it_lacks_columns():
    records = read_records(ROOT / "benchmarks" / "results" / "buchwald_hartwig.csv")
    assert tuple(records.table.columns) == COLUMNS
    assert records.table["top5_coverage"].between(0, 1).all()
    assert (records.table["commit"] == "").all()
    assert records.traces.empty


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.csv", None, "there are no records"),
        ("other.csv", b"a,b\n1,2\n", "no column 'task'"),
        ("empty.csv", b"", "is no table of records"),
        ("words.csv", b"task,surrogate,seed,top5_coverage\nesol,x,one,0.5\n", "'one'"),
        ("bytes.csv", b"\xff\xfe\x00", "is no table of records"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "is no table of records"),
        ("broken.parquet", b"PAR1", "is no table of records"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, name, content, words):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read_records(tmp_path / name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_table_is_refused(swept):
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        write_records(collect(swept), swept / "records.txt")


# --- commit, kept surrogates, progress -----------------------------------------------------------


def test_the_commit_is_that_of_the_checkout_and_blank_elsewhere(tmp_path, monkeypatch):
    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        command = ["git", "-C", tmp_path, *identity, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "src" / "gollum" / "runtime.py"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr("gollum.runtime.__file__", str(file))
    assert commit.__wrapped__() == ""
    git("init", "-q")
    assert commit.__wrapped__() == ""  # nothing was committed yet
    git("add", ".")
    git("commit", "-q", "-m", "x")
    assert commit.__wrapped__() == git("rev-parse", "HEAD")
    file.write_text("changed")
    assert commit.__wrapped__() == git("rev-parse", "HEAD") + "+changes"
    monkeypatch.setenv("PATH", "")
    assert commit.__wrapped__() == ""


def test_surrogates_are_kept_for_other_seeds_only_and_within_bounds(monkeypatch):
    built = []

    def build(setup):
        built.append(setup.settings)
        matrix = np.zeros((10, setup.settings.n_init))
        return SimpleNamespace(representation=FixedFeatures(matrix))

    monkeypatch.setattr("gollum.benchmark.sweeps.shelf.SIZE", 10 * 8 * 5)
    shelf, problem = Shelf(), SimpleNamespace(fingerprint="a")

    def get(problem=problem, n_init=2, **keys):
        config = load_config(None, {"data.task": "esol", "n_init": n_init, **keys}.items())
        return shelf.build(build, Setup(problem, config, "cpu"))

    first = get()
    assert get(seed=1, output="elsewhere") is first
    assert get(n_init=3) is not first
    assert get() is first
    assert len(built) == 2
    assert get(SimpleNamespace(fingerprint="b")) is not first  # 3 of them goes to make room
    assert get() is first
    assert len(built) == 3
    get(n_init=3)
    assert len(built) == 4
    assert get(n_init=6) is not get(n_init=6)  # larger than all that may be kept


def test_time_left_counts_unknown_kinds_with_the_mean_of_known_ones():
    a, b, c = ("a", "", "fast"), ("b", "", "fast"), ("c", "", "fast")
    known = {a: [1.0, 3.0], b: [10.0]}
    assert time_left({a: 4, b: 0.5}, known, 1) == pytest.approx(4 * 2 + 0.5 * 10)
    assert time_left({a: 4, c: 2}, known, 2) == pytest.approx((4 * 2 + 2 * 6) / 2)
    assert time_left({a: 4}, {}, 2) is None
    assert [spoken(s) for s in (5.2, 600, 9000)] == ["5 s", "10 min", "2.5 h"]


def test_plain_lines_say_what_came_of_each_cell(tmp_path, capsys):
    done, good, bad = (cell(tmp_path / str(seed), seed=seed) for seed in range(3))
    states = {finish(done): "finished", good: "missing", bad: "missing"}
    with SweepDisplay(Console(width=200), states, jobs=1) as display:
        display.happened(Event(good))
        display.happened(Event(good, iteration=1))
        display.happened(Event(good, Outcome("finished", 2.5, "top 5 % found 20 %")))
        display.happened(Event(bad, Outcome("locked")))
        display.happened(Event(bad, Outcome("failed", 1.0, "[no] luck")))
        display.waiting(1)
    assert capsys.readouterr().out.splitlines() == [
        "[2/3] esol/x/seed1 · top 5 % found 20 % · 2.5 s · 2 s left",
        "[3/3] esol/x/seed2 · failed: [no] luck · 1.0 s",
        "Waiting for a cell that another process runs.",
    ]
    assert display.failed == 1


def test_the_last_cells_leave_processes_without_work(tmp_path):
    done, *rest = (cell(tmp_path / str(seed), seed=seed) for seed in range(4))
    states = {finish(done): "finished"} | dict.fromkeys(rest, "missing")
    with SweepDisplay(Console(quiet=True), states, jobs=2) as display:
        assert display._time_left() == "2 s left"  # three at 1.5 s, the fits of an earlier one
        display.happened(Event(rest[0], Outcome("finished", 10.0)))
        assert display._time_left() == "10 s left"  # two in two processes, at what it took now
        display.happened(Event(rest[1], Outcome("finished", 10.0)))
        assert display._time_left() == "10 s left"  # one, and nothing for the other process
        display.happened(Event(rest[2], Outcome("finished", 10.0)))
        assert display._time_left() == ""


def test_live_progress_counts_and_estimates(tmp_path):
    states = {cell(tmp_path / str(seed), seed=seed): "missing" for seed in range(4)}
    console = Console(force_terminal=True, width=120, record=True)
    with SweepDisplay(console, states, jobs=1) as display:
        one, two, three, _ = states
        display.happened(Event(one))
        display.happened(Event(one, Outcome("finished", 10.0)))
        display.happened(Event(two))
        display.happened(Event(two, iteration=1))  # of two
        (bar,) = [task for task in display._progress.tasks if task.description == "Sweep"]
        assert (bar.completed, bar.fields["status"]) == (1, "1 running · 25 s left")
        display.happened(Event(two, Outcome("failed", 1.0, "no luck")))
        display.happened(Event(three))
        assert (bar.completed, bar.fields["status"]) == (2, "1 running · 1 failed · 20 s left")
    assert "esol/x/seed1 · failed: no luck" in console.export_text()


def test_the_table_of_states_counts(tmp_path):
    cells = [cell(tmp_path / str(seed), seed=seed) for seed in (0, 1, 2, 7)]
    states = dict(zip(cells, ["finished", "missing", "failed", "missing"], strict=True))
    console = Console(width=120, record=True)
    console.print(state_table(states))
    row = [part.strip() for part in console.export_text().splitlines()[3].split("│")[1:-1]]
    assert row == ["esol/x", "0-2, 7", "1", "2", "1"]
