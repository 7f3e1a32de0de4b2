"""Sweeps from the command line: finished, interrupted, killed, shared, failing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gollum.benchmark.record import TIMING_COLUMNS, RunFolder, read_trace
from gollum.benchmark.sweeps import conduct
from gollum.benchmark.sweeps.cells import execute, read_failure
from gollum.benchmark.sweeps.engines import Event, on_processes
from gollum.benchmark.sweeps.records import collect, read_records
from gollum.benchmark.sweeps.spec import SweepSpec, expand
from gollum.cli import main

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds that a process may take on a busy machine
posix = pytest.mark.skipif(os.name != "posix", reason="signals and process groups of POSIX")


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")


def write_spec(folder, **fields):
    """A sweep of cells that take a moment each."""
    fields = {
        "name": "cheap", "tasks": "freesolv", "surrogates": "one_hot", "seeds": 2,
        "keys": {"n_iters": 6}, **fields,
    }  # fmt: skip
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(fields))
    return file


def cells_of(file, output):
    return expand(SweepSpec(**{**yaml.safe_load(file.read_text()), "output": str(output)})).cells


def assert_same_records(folder, other):
    """All but the timings are the same, in the tables and in the traces of the runs."""
    one, two = collect(Path(folder)), collect(Path(other))
    drop = ["seconds", "commit"]  # files of the checkout may change while tests run
    pd.testing.assert_frame_equal(
        one.table.drop(columns=drop), two.table.drop(columns=drop), check_exact=True
    )
    pd.testing.assert_frame_equal(one.traces, two.traces, check_exact=True)
    traces = sorted(path.relative_to(folder) for path in Path(folder).rglob("trace.csv"))
    assert traces == sorted(path.relative_to(other) for path in Path(other).rglob("trace.csv"))
    for trace in traces:
        pd.testing.assert_frame_equal(
            *(
                read_trace(base / trace).drop(columns=list(TIMING_COLUMNS))
                for base in (folder, other)
            ),
            check_exact=True,
        )


def assert_nothing_passing(folder):
    """No locks, no halves of files."""
    assert list(Path(folder).rglob(".*")) == []


def build(factory, setup):
    """A new surrogate for every cell."""
    return factory(setup)


def alone(file, output):
    """The cells one after the other in this process, none of them broken."""
    for cell in cells_of(file, output):
        single = replace(cell, config=cell.config.model_copy(update={"threads": 1}))
        assert execute(single, build).kind == "finished"


def in_this_process(cells, jobs=1, threads=None):
    """An engine that starts no process, for what does not depend on that."""
    for cell in cells:
        yield Event(cell)
        yield Event(cell, execute(cell, build))


@pytest.fixture
def no_processes(monkeypatch):
    monkeypatch.setattr("gollum.benchmark.sweeps.engines.on_processes", in_this_process)


def started(*words):
    """`gollum bench` in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "gollum.cli", "bench", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background, Ctrl-C is ignored, and so it would be there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def measured(folder):
    """Rows in all traces below a folder."""
    return sum(len(read_trace(path)) for path in Path(folder).rglob("trace.csv"))


def wait_until(condition, process=None):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


class Told:
    """Keeps what happens in a sweep, and may do something about it."""

    def __init__(self, react=lambda event: None):
        self.events, self.waits, self._react = [], 0, react

    def happened(self, event):
        self.events.append(event)
        self._react(event)

    def waiting(self, count):
        self.waits += 1

    def ended(self):
        return {e.cell.label: e.outcome for e in self.events if e.outcome is not None}


# --- from spec to records ------------------------------------------------------------------------


def test_the_smoke_sweep_gives_records_that_agree_with_single_runs(tmp_path, capsys):
    words = ["bench", str(ROOT / "benchmarks" / "specs" / "smoke.yaml"), "--output", "out"]
    assert main([*words, "--jobs", "2"]) == 0
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert "[12/12]" in shown
    assert "Top 5 % found" in shown
    assert {p.name for p in Path("out").iterdir()} == {
        "bh-ethyl", "freesolv", "spec.yaml", "records.csv", "records-traces.csv.gz",
        "failures.csv",
    }  # fmt: skip
    assert_nothing_passing("out")
    records = read_records(Path("out/records.csv"))
    assert (len(records.table), len(records.traces)) == (12, 12 * 6)
    assert len(pd.read_csv("out/failures.csv")) == 0

    run = ["run", "--data.task", "freesolv", "--surrogate", "one_hot", "--preset", "fast",
           "--n_iters", "5", "--seed", "1", "--quality", "true", "--output", "single"]  # fmt: skip
    assert main([*run, "--threads", "1", "--quiet"]) == 0
    single = json.loads(Path("single/summary.json").read_text())
    table = records.table
    chosen = (
        (table["task"] == "freesolv") & (table["surrogate"] == "one_hot") & (table["seed"] == 1)
    )
    (row,) = table[chosen].to_dict("records")
    for column in ("top5_coverage", "top5_found", "best", "auc"):
        assert row[column] == single[column]
    assert row["r2"] == single["quality"]["r2"]
    one, other = (
        read_trace(folder / "trace.csv").drop(columns=list(TIMING_COLUMNS))
        for folder in (Path("single"), Path("out/freesolv/one_hot-fast/seed1"))
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)

    capsys.readouterr()
    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("summary.json")}
    assert main(words) == 0
    assert "[" not in capsys.readouterr().out.split("Top 5 %")[0]  # no line about any cell
    assert {p: p.stat().st_mtime_ns for p in Path("out").rglob("summary.json")} == before
    assert main([*words, "--seeds", "3", "--dry-run"]) == 0
    assert "0-2" in capsys.readouterr().out


def test_a_table_of_ones_own_is_swept_resumed_and_compared(tmp_path, capsys):
    amounts = [(base, heat) for base in "abcd" for heat in range(20, 100, 10)]
    lines = [f"B{base},{heat},{ord(base) * heat % 47}" for base, heat in amounts]
    (tmp_path / "first screen.csv").write_text("\n".join(["base,heat,yield", *lines, ""]))
    own = {"path": "first screen.csv", "objective": "yield", "template": "{base} at {heat}"}
    spec = write_spec(
        tmp_path,
        tasks=["freesolv", own],
        surrogates=["random", "one_hot", "morgan"],
        keys={"n_iters": 3, "n_init": 4},
    )
    words = ["bench", str(spec), "--jobs", "2", "--output", "out"]
    assert main([*words, "--dry-run"]) == 0
    assert "first-screen/one_hot-default" in capsys.readouterr().out
    assert main(words) == 0
    shown, errors = capsys.readouterr()
    assert errors == ""
    assert "needs columns with SMILES, which first-screen lacks; left out." in shown
    assert "[10/10]" in shown
    records = read_records(Path("out/records.csv"))
    mine = records.table[records.table["task"] == "first-screen"]
    assert mine["surrogate"].tolist() == ["one_hot", "one_hot", "random", "random"]
    assert (set(mine["group"]), set(mine["settings"])) == ({""}, {""})
    assert (records.traces["task"] == "first-screen").sum() == 4 * 4

    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("summary.json")}
    for again in (str(spec), "out/spec.yaml"):
        assert main(["bench", again, *words[2:]]) == 0
        assert "[" not in capsys.readouterr().out.split("Top 5 %")[0]
    assert {p: p.stat().st_mtime_ns for p in Path("out").rglob("summary.json")} == before
    assert main(["compare", "out", "--csv", "compared"]) == 0
    assert "first-screen" in capsys.readouterr().out
    (tmp_path / "first screen.csv").write_text("\n".join(["base,heat,yield", *lines[1:], ""]))
    assert main(words) == 2
    assert "an earlier version of this table" in capsys.readouterr().err


def test_more_iterations_go_on_where_the_sweep_was(tmp_path, capsys, no_processes):
    alone(write_spec(tmp_path, keys={"n_iters": 2}), "grown")
    spec = write_spec(tmp_path)
    assert main(["bench", str(spec), "--jobs", "1", "--output", "grown"]) == 0
    alone(spec, "whole")
    assert_same_records("grown", "whole")


def test_the_kept_spec_describes_the_records(tmp_path, capsys, no_processes):
    def kept(*words):
        """What the folder says after a sweep, and what was noted."""
        assert main(["bench", str(spec), "--jobs", "1", "--output", "out", *words]) == 0
        notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note")]
        return yaml.safe_load(Path("out/spec.yaml").read_text()), notes

    spec = write_spec(tmp_path, surrogates="random", keys={"n_iters": 2})
    before, notes = kept()
    assert (before["seeds"], before["keys"], notes) == ([0, 1], {"n_iters": 2}, [])
    after, (note,) = kept("--seeds", "1")
    assert after == before
    assert "'out/spec.yaml' asks for runs that this command leaves out" in note.replace("\\", "/")
    assert kept("--seeds", "3") == ({**before, "seeds": [0, 1, 2]}, [])
    Path("out/spec.yaml").write_text("no spec")
    assert kept() == (before, [])


# --- failures ------------------------------------------------------------------------------------


def test_a_failing_cell_is_kept_shown_and_left_alone_until_asked(tmp_path, capsys, no_processes):
    # 350 starting points below the median: bh-ethyl has 395 such candidates, freesolv 321.
    keys = {"n_iters": 1, "n_init": 350}
    spec = write_spec(tmp_path, tasks=["bh-ethyl", "freesolv"], seeds=1, keys=keys)
    words = ["bench", str(spec), "--jobs", "1", "--output", "out"]
    assert main(words) == 1
    shown = capsys.readouterr().out
    assert "freesolv/one_hot-default/seed0 · failed: " in shown
    assert "Failed: freesolv/one_hot-default/seed0: " in shown
    assert read_records(Path("out")).table["task"].tolist() == ["bh-ethyl"]
    (failure,) = pd.read_csv("out/failures.csv").to_dict("records")
    assert (failure["task"], failure["seed"]) == ("freesolv", 0)
    file = Path("out/freesolv/one_hot-default/seed0/failure.json")
    assert "Traceback" in json.loads(file.read_text())["traceback"]

    first = file.stat().st_mtime_ns
    assert main(words) == 1
    assert file.stat().st_mtime_ns == first
    assert "Failed: freesolv/one_hot-default/seed0" in capsys.readouterr().out
    assert main([*words, "--retry-failed"]) == 1
    assert file.stat().st_mtime_ns > first
    assert main([*words, "--retry-failed", "--n_init", "300"]) == 2  # bh-ethyl has others
    assert "n_init = 350, not 300" in capsys.readouterr().err


def test_a_cell_that_failed_once_can_end_well(tmp_path, capsys, no_processes):
    spec = write_spec(tmp_path, seeds=1)
    words = ["bench", str(spec), "--jobs", "1", "--output", "out"]
    assert main([*words, "--n_init", "600"]) == 1
    assert main([*words, "--retry-failed"]) == 0
    assert len(collect(Path("out")).table) == 1
    assert len(pd.read_csv("out/failures.csv")) == 0


@posix
def test_a_process_that_dies_costs_its_cell_only(tmp_path):
    spec = write_spec(tmp_path, seeds=4)
    cells = cells_of(spec, "out")
    deaths = {cells[1].label: signal.SIGKILL, cells[2].label: signal.SIGSEGV}

    def kill(event):
        if event.iteration == 2 and event.cell.label in deaths:
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid, deaths[event.cell.label])

    told = Told(kill)
    conduct.run_sweep(cells, partial(on_processes, jobs=1, threads=1), told)
    assert multiprocessing.active_children() == []
    ended = told.ended()
    assert [ended[cell.label].kind for cell in cells] == [
        "finished", "failed", "failed", "finished"
    ]  # fmt: skip
    for cell in cells[1:3]:
        failure = read_failure(cell.folder)
        assert failure.message == ended[cell.label].message
        assert f"was ended by {deaths[cell.label].name}" in failure.message
    assert "Fatal Python error: Segmentation fault" in read_failure(cells[2].folder).traceback

    conduct.forget_failures(cells)
    alone(spec, "out")
    alone(spec, "unbroken")
    assert_same_records("out", "unbroken")


# --- what is refused before anything runs --------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "words", "said"),
    [
        ({"tasks": ["oer", "esol", "vapdiff"]}, [], "the tables of oer, vapdiff are"),
        ({"surrogates": "static", "models": "no/such-model"}, [], "model 'no/such-model'"),
        ({}, ["--seeds", "x"], "--seeds 'x'"),
        ({}, ["--seeds", "0"], "--seeds '0'"),
        ({}, ["--jobs", "0"], "'0' is not a number from 1 on"),
        ({}, ["--engine", "spark"], "invalid choice: 'spark'"),
        ({}, ["--gpus", "1"], "--gpus is for --engine ray"),
        ({}, ["--engine", "ray", "--gpus", "-1"], "'-1' is no number of GPUs"),
        ({}, ["--engine", "ray", "--gpus", "1.5"], "'1.5' is no number of GPUs"),
        ({}, ["--engine", "ray", "--gpus", "nan"], "'nan' is no number of GPUs"),
        ({}, ["--engine", "ray", "--gpus", "half"], "'half' is no number of GPUs"),
        ({}, ["--engine", "ray", "--jobs", "2"], "--jobs is for --engine local"),
        ({}, ["--surrogate", "random"], "use 'surrogates'"),
        ({}, ["word"], "'word' is not a key"),
        ({"tasks": "esool"}, [], "Did you mean 'esol'?"),
        ({"tasks": ["freesolv", {"path": "no.csv", "objective": "y"}]}, [], "There is no file"),
        ({"tasks": {"path": "spec.yaml", "objective": "y"}}, [], "cannot read '.yaml' files"),
        ({"tasks": {"path": "no.csv"}}, [], "data.path needs data.objective"),
        ({"tasks": {"path": "no.csv", "objectiv": "y"}}, [], "Did you mean 'objective'?"),
        ({"tasks": {"path": "no.csv", "objective": "y", "name": "a/b"}}, [], "can't name a folder"),
        ({"tasks": {"path": "esol.csv", "objective": "y"}}, [], "as a benchmark task is; give it"),
        ({"tasks": {"path": "no.csv", "objective": "y"}}, ["--data.objective", "z"], "'data.obj"),
        ({}, ["--output", "spec.yaml"], "'spec.yaml"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys, fields, words, said):
    monkeypatch.delenv("GOLLUM_DATA", raising=False)
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    spec = write_spec(tmp_path, **fields)
    assert main(["bench", str(spec), *words]) == 2
    shown, errors = capsys.readouterr()
    assert shown == ""
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert not Path("runs").exists()


def test_folders_of_other_runs_are_refused_before_anything_runs(tmp_path, capsys, no_processes):
    spec = str(write_spec(tmp_path, seeds=1, keys={"n_iters": 1}))
    assert main(["bench", spec, "--jobs", "1"]) == 0
    before = {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()}
    for words, said in (
        (["--noise_floor", "0.5"], "noise_floor = 0.0001, not 0.5"),
        (["--n_iters", "0"], "holds 1 iterations already"),
    ):
        assert main(["bench", spec, "--seeds", "2", *words]) == 2
        assert said in capsys.readouterr().err
    assert {p: p.read_bytes() for p in Path("runs").rglob("*") if p.is_file()} == before


def test_damaged_files_are_named_in_a_sentence(tmp_path, capsys, no_processes):
    spec = str(write_spec(tmp_path, seeds=1, surrogates="random", keys={"n_iters": 1}))
    assert main(["bench", spec, "--jobs", "1"]) == 0
    folder = Path("runs/cheap/freesolv/random-default/seed0")
    (folder / "summary.json").write_text("{")
    assert main(["bench", spec, "--jobs", "1"]) == 2
    assert "summary.json' is damaged; remove it" in capsys.readouterr().err
    (folder / "summary.json").unlink()
    assert main(["bench", spec, "--jobs", "1"]) == 0
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    (folder / "config.yaml").unlink()
    capsys.readouterr()
    assert main(["compare", "runs/cheap"]) == 2
    errors = capsys.readouterr().err
    assert "config.yaml' is missing or damaged" in errors
    assert len(errors.splitlines()) == 1


def test_a_run_is_refused_while_another_has_the_folder(tmp_path, capsys):
    words = ["run", "--data.task", "freesolv", "--surrogate", "random", "--n_iters", "1"]
    with RunFolder(Path("mine")).locked():
        assert main([*words, "--output", "mine"]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("gollum: folder 'mine' is in use by another run")
        assert len(errors.splitlines()) == 1
        assert not Path("mine/trace.csv").exists()
    assert main([*words, "--output", "mine", "--quiet"]) == 0


# --- interrupted, killed, shared -----------------------------------------------------------------


def test_a_locked_cell_is_left_for_later_and_taken_once_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr(conduct, "PAUSE", 0.2)
    cells = cells_of(write_spec(tmp_path, keys={"n_iters": 1}), "out")
    told = Told()
    lock = cells[0].folder.locked()
    lock.__enter__()
    told.waiting = lambda count: lock.__exit__(None, None, None)
    conduct.run_sweep(cells, in_this_process, told)
    ends = [(e.cell.label[-1], e.outcome.kind) for e in told.events if e.outcome is not None]
    assert ends == [("0", "locked"), ("1", "finished"), ("0", "finished")]


@pytest.mark.slow
@posix
def test_ctrl_c_ends_cleanly_and_the_sweep_goes_on(tmp_path, capsys):
    spec = write_spec(tmp_path, keys={"n_iters": 25})
    process = started(spec, "--output", "out", "--jobs", 2)
    wait_until(lambda: measured("out") > 12, process)
    os.killpg(process.pid, signal.SIGINT)  # to all of them, as a terminal sends it
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors == "gollum: interrupted; a run goes on with the same command.\n"
    assert {"records.csv", "failures.csv", "spec.yaml"} <= {p.name for p in Path("out").iterdir()}
    assert_nothing_passing("out")
    alone(spec, "out")
    alone(spec, "unbroken")
    assert_same_records("out", "unbroken")


@posix
@pytest.mark.slow
def test_a_sweep_killed_again_and_again_ends_as_an_unbroken_one(tmp_path):
    spec = write_spec(tmp_path, seeds=4, keys={"n_iters": 12, "quality": True})
    alone(spec, "unbroken")
    total, moments, kills = measured("unbroken"), np.random.default_rng(0), 0
    while (done := measured("out")) < total:
        process = started(spec, "--output", "out", "--jobs", 2)
        goal = min(total, done + int(moments.integers(1, total // 3)))
        while process.poll() is None and measured("out") < goal:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.2))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate(timeout=PATIENCE)
    assert kills >= 3
    assert main(["bench", str(spec), "--output", "out", "--jobs", "2"]) == 0
    assert_same_records("out", "unbroken")


@posix
@pytest.mark.slow
def test_two_processes_share_a_sweep(tmp_path):
    spec = write_spec(tmp_path, tasks=["freesolv", "bh-ethyl"], seeds=4)
    processes = [started(spec, "--output", "out", "--jobs", 1) for _ in range(2)]
    ran = []
    for process in processes:
        shown, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")
        assert "[8/8]" in shown
        ran.append({line.split()[1] for line in shown.splitlines() if "top 5 % found" in line})
    assert all(ran)
    assert len(ran[0] | ran[1]) == 8
    assert len(ran[0] & ran[1]) <= 1  # one may have ended between a look and the lock
    alone(spec, "alone")
    assert_same_records("out", "alone")


@pytest.mark.slow
def test_kept_embeddings_change_no_result(tmp_path, capsys):
    spec = write_spec(tmp_path, surrogates=["static", "pllm"], presets="fast", keys={"n_iters": 2})
    assert main(["bench", str(spec), "--output", "out", "--jobs", "1", "--threads", "1"]) == 0
    for surrogate in ("static", "pllm"):
        folder = f"single/freesolv/{surrogate}-minilm-fast/seed1"
        run = ["run", "--data.task", "freesolv", "--surrogate", surrogate, "--preset", "fast",
               "--n_iters", "2", "--seed", "1", "--output", folder, "--threads", "1"]  # fmt: skip
        assert main([*run, "--quiet"]) == 0
        one, other = (
            read_trace(Path(base, *Path(folder).parts[1:], "trace.csv")).drop(
                columns=list(TIMING_COLUMNS)
            )
            for base in ("single", "out")
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@posix
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_cluster_that_loses_a_machine_finishes_all_cells(tmp_path):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    from gollum.benchmark.sweeps.cluster import cluster_size, on_ray

    longer = {"seeds": [1, 2, 3], "keys": {"n_iters": 60}}
    spec = write_spec(tmp_path, seeds=[0], keys={"n_iters": 5}, also=[longer])
    cells = cells_of(spec, tmp_path / "out")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    lost = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        assert cluster_size(1, 0.0) == 2

        def cut(event):
            """Once a cell has ended and both machines are at one, take the second away."""
            nonlocal lost
            if event == Event(cells[2]) and lost is not None:
                wait_until(lambda: sum(c.folder.is_locked() for c in cells) == 2)
                cluster.remove_node(lost, allow_graceful=False)
                lost = None

        told = Told(cut)
        conduct.run_sweep(cells, partial(on_ray, threads=1, gpus=0.0), told)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert {outcome.kind for outcome in told.ended().values()} == {"finished"}
    assert lost is None
    alone(spec, "alone")
    assert_same_records(tmp_path / "out", "alone")
