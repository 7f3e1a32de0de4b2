import os
import shlex
import subprocess
import sys
import time
import types
from pathlib import Path

import pandas as pd
import pytest

import gollum
from gollum.benchmark.config import keys, load_config
from gollum.benchmark.record import read_trace
from gollum.cli import _parser, main
from gollum.commands.benchmarks import overrides
from gollum.commands.guide import GUIDES
from gollum.data.catalog import all_tasks, task_names

ROOT = Path(__file__).parents[2]
HELP_SECONDS = 1.0


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "400")


@pytest.fixture
def gollum_says(capsys):
    """Run a command that must succeed and return what it prints."""

    def check(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 0, err
        assert err == ""
        return out

    return check


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        **options,
    )


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_is_quick_and_names_the_commands(words):
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        shown = process("-m", "gollum.cli", *words).stdout
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < HELP_SECONDS
    assert all(command in shown for command in ("run", "demo", "tasks", "models"))


def test_help_imports_nothing_heavy():
    imported = process("-X", "importtime", "-m", "gollum.cli", "--help").stderr
    names = {line.rsplit("|", 1)[-1].strip() for line in imported.splitlines()}
    assert "gollum.errors" in names
    assert not names & {
        "torch",
        "transformers",
        "pandas",
        "numpy",
        "matplotlib",
        "rich",
        "pydantic",
    }


@pytest.mark.parametrize("command", ["run", "demo"])
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_a_command_lists_every_key(gollum_says, command, flag):
    lines = gollum_says(command, flag).splitlines()
    assert f"gollum {command}" in lines[0]
    for key, (about, _) in keys().items():
        (line,) = [line for line in lines if line.split()[:1] == [f"--{key}"]]
        assert about in line


def test_every_command_is_listed_once_below_its_group(gollum_says):
    shown = gollum_says()
    groups = dict.fromkeys(guide.group for guide in GUIDES.values())
    places = [shown.index(f"\n{group}:\n") for group in groups]
    assert places == sorted(places)
    for name, guide in GUIDES.items():
        assert shown.count(f"\n  {name:<9} {guide.about}\n") == 1
    assert set(GUIDES) == set(_parser()._subparsers._group_actions[0].choices)


@pytest.mark.parametrize("name", GUIDES)
def test_examples_of_a_command_are_understood(name):
    for typed, _ in GUIDES[name].examples:
        known, rest = _parser().parse_known_args([name, *shlex.split(typed)])
        assert known.command == name
        assert {key for key, _ in overrides(rest)} <= set(keys())
    told = _parser()._subparsers._group_actions[0].choices[name].format_help()
    assert told.endswith(f"      {GUIDES[name].examples[-1][1]}\n")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("gollum sug", {"suggest"}),
        ("gollum tasks bh-eth", {"bh-ethyl"}),
        ("gollum run --data.ta", {"--data.task"}),
        ("gollum run --data.task bh-eth", {"bh-ethyl"}),
        ("gollum init my.gollum --model mini", {"minilm"}),
        ("gollum bench x.yaml --surrogate wordl", {"wordless"}),
        ("gollum export my.gollum --what h", {"history"}),
    ],
)
def test_a_shell_is_told_what_may_come_next(typed, offered, tmp_path):
    told = tmp_path / "told"
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    asked |= {"_ARGCOMPLETE_SHELL": "fish", "_ARGCOMPLETE_STDOUT_FILENAME": str(told)}
    process("-m", "gollum.cli", env=os.environ | asked)
    assert {line.split("\t")[0].strip() for line in told.read_text().splitlines()} == offered


def test_version():
    shown = process("-m", "gollum.cli", "--version").stdout
    assert shown.strip() == f"gollum {gollum.__version__}"


# --- tasks ---------------------------------------------------------------------------------------


def test_tasks_are_listed_with_rows_and_where_they_are(gollum_says):
    lines = [line.split() for line in gollum_says("tasks").splitlines()]
    cells = {row[0]: row for row in lines if row and row[0] in task_names()}
    assert set(cells) == set(task_names())
    for task in all_tasks():
        row = cells[task.name]
        assert row[1] == str(task.rows)
        assert (row[-1] == "bundled") == task.is_bundled
        assert task.direction in row


def test_a_task_that_is_elsewhere_is_not_called_here(gollum_says, monkeypatch, tmp_path):
    monkeypatch.delenv("GOLLUM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (line,) = [line for line in gollum_says("tasks").splitlines() if line.startswith(" oer ")]
    assert line.split()[-1] == "no"
    assert "bundled" in gollum_says("tasks", "bh-cf3")


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.name)
def test_a_task_is_shown_in_full(gollum_says, monkeypatch, task):
    monkeypatch.setenv("COLUMNS", "1000")
    shown = gollum_says("tasks", task.name)
    for part in (task.title, task.template, task.citation, task.sha256, task.licence, task.source):
        assert part in shown
    assert (task.reaction or "") in shown


def test_downloading_a_bundled_task_shows_its_file(gollum_says):
    assert gollum_says("tasks", "--download", "esol").strip().endswith("esol.csv.gz")


# --- configurations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["--data.task", "esol"],
        ["--config", ROOT / "configs" / "llm_phi.yaml", "--seed", "3", "--lora.rank=8"],
        ["--data.path", "a b.csv", "--data.objective", "yield: %", "--data.template", "{a}: {b}"],
        ["--benchmark=esol", "--preset=fast", "--optimizer.rel_tol", "-1e-7"],
    ],
)
def test_print_config_gives_a_file_that_means_the_same(gollum_says, tmp_path, words):
    shown = gollum_says("run", *words, "--print_config")
    file = tmp_path / "shown.yaml"
    file.write_text(shown)
    assert gollum_says("run", "--config", file, "--print_config") == shown
    assert load_config(file).to_yaml() == shown
    assert list(tmp_path.iterdir()) == [file]


def test_values_may_follow_a_space_or_an_equals_sign(gollum_says):
    spaced = gollum_says(
        "run",
        "--data.task",
        "esol",
        "--data.template",
        "a=b {smiles}",
        "--seed",
        2,
        "--print_config",
    )
    joined = gollum_says(
        "run", "--seed=2", "--data.template=a=b {smiles}", "--data.task=esol", "--print_config"
    )
    assert spaced == joined
    assert "a=b {smiles}" in spaced


def test_train_py_is_gollum_run(gollum_says):
    words = ["--config=configs/pllm_phi.yaml", "--seed", "3", "--print_config"]
    shown = process("train.py", *words, cwd=ROOT).stdout
    assert shown == gollum_says("run", f"--config={ROOT}/configs/pllm_phi.yaml", *words[1:])
    assert "surrogate: pllm_phi" in shown


def test_train_py_passes_the_exit_code_on():
    done = subprocess.run(
        [sys.executable, "train.py", "--sede", "1"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Did you mean 'seed'?" in done.stderr


def test_the_demo_takes_keys(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "gollum.cli._execute", lambda config, quiet: seen.append((config, quiet)) or 0
    )
    own = ["--data.objective", "y", "--data.path", "t.csv"]
    assert main(["demo"]) == 0
    assert main(["demo", "--quiet", "--seed", "4", "--data.task", "esol"]) == 0
    assert main(["demo", *own]) == 0
    (first, _), (second, quiet), (third, _) = seen
    assert (first.data.task, first.model.name, first.seed) == ("bh-ethyl", "minilm", 0)
    assert (second.data.task, second.seed, quiet) == ("esol", 4, True)
    assert (third.data.task, third.data.path, third.n_iters) == (None, "t.csv", first.n_iters)


# --- what a run prints ---------------------------------------------------------------------------

ONE_HOT = ("run", "--surrogate", "one_hot", "--threads", "1")
TASK = (*ONE_HOT, "--data.task", "bh-ethyl", "--n_iters", "3", "--output", "out")


def test_a_quiet_run_prints_its_result_alone(gollum_says):
    shown = gollum_says(*TASK, "--quiet")
    assert "iteration " not in shown
    assert "random search" in shown
    assert str(Path("out", "progress.png")) in shown


def test_plain_lines_where_there_is_no_terminal(gollum_says):
    shown = gollum_says(*TASK)
    assert "\x1b" not in shown
    assert "\r" not in shown
    lines = shown.splitlines()
    assert lines[0].startswith("Buchwald–Hartwig amination of 1-ethyl-4-halobenzenes")
    assert "790 candidates, maximize yield_pct" in lines[0]
    progress = [line.split(" · ")[0] for line in lines if line.startswith("iteration ")]
    assert progress == [f"iteration {i}/3" for i in range(4)]
    best = read_trace(Path("out", "trace.csv"))["best_so_far"].iloc[-1]
    assert f"best {best:.4g} %" in shown
    assert "random search" in shown
    assert str(Path("out", "progress.png")) in shown


def test_a_run_goes_to_a_folder_of_its_name(gollum_says):
    gollum_says(*TASK[:-2])
    assert Path("runs/bh-ethyl-one_hot-default-seed0/trace.csv").is_file()


def test_remarks_on_the_table_are_printed(gollum_says):
    rows = [(f"L{i % 6}", i // 6, float(i)) for i in range(24)]
    table = pd.DataFrame([*rows, ("L0", 0, 9.0)], columns=["ligand", "batch", "y"])
    table.to_csv("own.csv", index=False)
    words = ["--data.path", "own.csv", "--data.objective", "y", "--data.template", "{ligand}"]
    shown = gollum_says(*ONE_HOT, *words, "--n_iters", 1)
    assert "Note: own.csv: 1 of 25 rows repeat" in shown
    assert "Note: own.csv: 18 candidates share their text" in shown
    assert "does not mention 'batch'" in shown


def test_brackets_of_the_table_are_printed_as_they_are(gollum_says):
    molecules = ["c1cc[nH]c1", "[n+]1ccccc1", "[o-]c1ccccc1", "[#6]", "[/x]", "[bold]"]
    rows = [(molecules[i % 6], i // 6, float(i)) for i in range(24)]
    columns = ["molecule [a]", "pressure [bar]", "output [g/h]"]
    pd.DataFrame(rows, columns=columns).to_csv("[b]own.csv", index=False)
    words = ["--data.path", "[b]own.csv", "--data.objective", columns[2], "--n_init", 10]
    shown = gollum_says(*ONE_HOT, *words, "--n_iters", 14)
    for text in (*columns, "[b]own.csv, one_hot", "best output [g/h]"):
        assert text in shown
    best = sorted(rows, key=lambda row: -row[2])[:5]
    for molecule, *_ in best:
        assert f" {molecule} " in shown


# --- Weights & Biases ----------------------------------------------------------------------------


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in that remembers what it was told."""
    module = types.ModuleType("wandb")
    module.calls = []
    for name in ("init", "log", "finish"):
        setattr(
            module, name, lambda *args, _name=name, **kw: module.calls.append((_name, args, kw))
        )
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_wandb_receives_each_row(gollum_says, wandb):
    gollum_says(*TASK, "--logger", "wandb")
    names = [name for name, _, _ in wandb.calls]
    assert names == ["init", *["log"] * 13, "finish"]
    settings = wandb.calls[0][2]["config"]
    assert settings["data"]["task"] == "bh-ethyl"
    trace = read_trace(Path("out", "trace.csv"))
    for (_, (logged,), _), row in zip(wandb.calls[1:-1], trace.to_dict("records"), strict=True):
        assert logged == {key: value for key, value in row.items() if not pd.isna(value)}


def test_wandb_is_closed_when_the_pool_is_exhausted(gollum_says, wandb):
    rows = [(f"L{i}", float(i)) for i in range(12)]
    pd.DataFrame(rows, columns=["ligand", "y"]).to_csv("own.csv", index=False)
    words = ["--data.path", "own.csv", "--data.objective", "y", "--n_init", 4, "--n_iters", 50]
    gollum_says(*ONE_HOT, *words, "--logger", "wandb")
    names = [name for name, _, _ in wandb.calls]
    assert names == ["init", *["log"] * 12, "finish"]


def test_wandb_that_is_not_installed_is_asked_for(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main([*TASK, "--logger", "wandb"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("gollum: Weights & Biases")
    assert "pip install wandb" in message
    assert len(message.splitlines()) == 1
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["init", "a.gollum", "--table", "a", "--table", "b"],
            "--table is given twice",
        ),
        (["suggest", "a.gollum", "-n", "3", "-n", "4"], "-n is given twice, as '3' and as '4'"),
        (["run", "--config", "a", "--config", "b"], "--config is given twice"),
    ],
)
def test_an_option_that_would_replace_itself_is_refused(words, told, capsys):
    assert main(words) == 2
    assert told in capsys.readouterr().err


def test_a_run_reads_a_table_as_a_campaign_does(tmp_path, capsys):
    inputs = [(ligand, t) for ligand in ("XPhos", "SPhos", "dppf") for t in (40, 60, 80)]
    rows = [
        [f"JD-{i:03}", *both, "", "failed" if i == 2 else 10.0 * i] for i, both in enumerate(inputs)
    ]
    frame = pd.DataFrame(rows, columns=["id", "ligand", "T", "notes", "yield"])
    frame.loc[3, "notes"] = "cloudy"
    frame.loc[4, "yield"] = "PENDING"
    frame["yield"] = [y if isinstance(y, str) else f"{y} %" for y in frame["yield"]]
    file = tmp_path / "t.csv"
    frame.to_csv(file, index=False)
    words = ["run", "--data.path", str(file), "--data.objective", "yield", "--surrogate", "one_hot",
             "--preset", "fast", "--n_iters", "2", "--n_init", "3", "--initial", "random",
             "--output", str(tmp_path / "run")]  # fmt: skip
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "t.csv: column 'id' names the rows." in out
    assert "no input: 'notes'" in out
    assert "rows without a result: 1 failed, 1 pending" in out
    trace = read_trace(tmp_path / "run" / "trace.csv")
    assert all(name.startswith("JD-") for name in trace["id"])
    frame.assign(purity=1.0).to_csv(file, index=False)
    assert main(words) == 2
    assert "--data.remark purity" in capsys.readouterr().err
