"""The engine for a Ray cluster, on a stand-in that runs its tasks in this process."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from gollum.benchmark.sweeps.cells import read_failure
from gollum.benchmark.sweeps.cluster import RETRIES, cluster_size, on_ray
from gollum.benchmark.sweeps.spec import SweepSpec, expand
from gollum.benchmark.sweeps.worker import bounds
from gollum.cli import main
from gollum.errors import MissingExtraError

SPEC = {"name": "cheap", "tasks": "freesolv", "surrogates": "random", "seeds": 5,
        "keys": {"n_iters": 1}}  # fmt: skip


class RayError(Exception):
    """What Ray raises where a task is lost."""


class StandIn:
    """As much of the package `ray` as the engine uses; of the tasks, the latest ends first."""

    exceptions = SimpleNamespace(RayError=RayError)

    def __init__(self, **resources):
        self.resources = resources
        self.connected, self.lost = 0, set()
        self.tasks, self.in_flight, self.most, self.cancelled = [], [], 0, []

    def is_initialized(self):
        return self.connected > 0

    def init(self, **_):
        self.connected += 1

    def cluster_resources(self):
        return self.resources

    def remote(self, function):
        def start(cell):
            self.tasks.append((function, cell))
            self.in_flight.append(len(self.tasks) - 1)
            self.most = max(self.most, len(self.in_flight))
            return self.in_flight[-1]

        def options(**chosen):
            self.options = chosen
            return SimpleNamespace(remote=start)

        return SimpleNamespace(options=options)

    def wait(self, tasks):
        assert sorted(tasks) == sorted(self.in_flight)
        return [tasks[-1]], tasks[:-1]

    def get(self, task):
        self.in_flight.remove(task)
        function, cell = self.tasks[task]
        if cell.label in self.lost:
            raise RayError("the machine has gone")
        return function(cell)

    def cancel(self, task, force):
        self.cancelled.append((task, force))


@pytest.fixture
def cluster(monkeypatch):
    """Two cells of two threads at a time."""
    ray = StandIn(CPU=5.0, GPU=1.0)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return ray


def cells(folder):
    return expand(SweepSpec.model_validate({**SPEC, "output": str(folder)})).cells


def seeds(events):
    """What happened, in short: a seed, and with it how the cell ended."""
    return [
        (event.cell.config.seed, "" if event.outcome is None else event.outcome.kind)
        for event in events
    ]


def test_as_many_cells_are_handed_out_as_run_at_a_time(cluster, tmp_path):
    assert seeds(on_ray(cells(tmp_path), threads=2, gpus=0.0)) == [
        (0, ""), (1, ""), (1, "finished"), (2, ""), (2, "finished"), (3, ""), (3, "finished"),
        (4, ""), (4, "finished"), (0, "finished"),
    ]  # fmt: skip
    assert (cluster.most, cluster.connected, cluster.cancelled) == (2, 1, [])
    assert [cell.state() for cell in cells(tmp_path)] == ["finished"] * 5


def test_a_cluster_that_grows_is_handed_more(cluster, tmp_path):
    events = on_ray(cells(tmp_path), threads=2, gpus=0.0)
    assert seeds(next(events) for _ in range(2)) == [(0, ""), (1, "")]
    cluster.resources = {"CPU": 6.0}
    assert seeds(next(events) for _ in range(2)) == [(2, ""), (2, "finished")]
    events.close()


def test_a_task_is_told_what_it_takes_and_how_to_find_data(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_CACHE", "there")
    monkeypatch.setenv("UNRELATED", "x")
    list(on_ray(cells(tmp_path)[:1], threads=2, gpus=0.5))
    variables = cluster.options.pop("runtime_env")["env_vars"]
    assert cluster.options == {"num_cpus": 2, "num_gpus": 0.5, "max_retries": RETRIES}
    assert variables.items() >= {**bounds(2), "GOLLUM_CACHE": "there"}.items()
    assert "UNRELATED" not in variables


def test_a_lost_cell_is_kept_as_a_failure_and_the_others_go_on(cluster, tmp_path):
    wanted = cells(tmp_path)
    cluster.lost = {wanted[1].label}
    ends = dict(pair for pair in seeds(on_ray(wanted, threads=2, gpus=0.0)) if pair[1])
    assert ends == {seed: "failed" if seed == 1 else "finished" for seed in range(5)}
    failure = read_failure(wanted[1].folder)
    assert failure.message == "the cluster gave it up: RayError."
    assert failure.traceback == "the machine has gone"


def test_what_is_under_way_is_cancelled_when_the_engine_is_closed(cluster, tmp_path):
    events = on_ray(cells(tmp_path), threads=2, gpus=0.0)
    assert seeds(next(events) for _ in range(3)) == [(0, ""), (1, ""), (1, "finished")]
    events.close()
    assert cluster.cancelled == [(0, True)]
    assert len(cluster.tasks) == 2


@pytest.mark.parametrize(
    ("resources", "threads", "gpus", "size"),
    [
        ({"CPU": 8.0}, 1, 0.0, 8),
        ({"CPU": 8.0}, 3, 0.0, 2),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 1.0, 2),
        ({"CPU": 8.0, "GPU": 2.0}, 1, 0.25, 8),
        ({"CPU": 8.0, "GPU": 3.0}, 1, 2.0, 1),
        ({"CPU": 8.0}, 1, 1.0, 1),
        ({}, 4, 0.0, 1),
    ],
)
def test_what_a_cell_takes_says_how_many_run_at_a_time(cluster, resources, threads, gpus, size):
    cluster.resources = resources
    assert cluster_size(threads, gpus) == size


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match="pip install ray"):
        cluster_size(1, 0.0)


def test_a_sweep_on_a_cluster_keeps_no_path_of_this_machine(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("cheap.yaml").write_text(yaml.safe_dump(SPEC))
    assert main(["bench", "cheap.yaml", "--engine", "ray"]) == 0
    assert "[5/5]" in capsys.readouterr().out
    assert all(cell.folder.path.is_absolute() for _, cell in cluster.tasks)
    assert Path("runs/cheap/records.csv").is_file()
    kept = yaml.safe_load(Path("runs/cheap/spec.yaml").read_text())
    assert "output" not in kept
    assert str(tmp_path) not in Path("runs/cheap/spec.yaml").read_text()
