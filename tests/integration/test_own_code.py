"""Somebody's own kernels, surrogates and the rest, broken in many ways: one sentence each."""

import numpy as np
import pandas as pd
import pytest
import torch
from gpytorch.kernels import RBFKernel

from gollum import Blocks, Campaign, FitReport, Fitted, Layout, Slot, Standardised, run
from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.strategy import STRATEGIES
from gollum.errors import ConfigError, DataError, FitError, GollumError
from gollum.features.representations import REPRESENTATIONS
from gollum.surrogates.kernels import KERNELS
from gollum.surrogates.specs import SURROGATES, SurrogateSpec

REGISTRIES = (REPRESENTATIONS, KERNELS, SURROGATES, CRITERIA, STRATEGIES)


@pytest.fixture(autouse=True)
def registries():
    known = [(r, dict(r._known)) for r in REGISTRIES if list(r)]
    yield
    for registry, entries in known:
        registry._known = entries


@pytest.fixture
def table():
    rows = [(a, float(b)) for a in ("XPhos", "SPhos", "dppf") for b in range(8)]
    return pd.DataFrame(rows, columns=["ligand", "hours"])


@pytest.fixture
def keys(table, tmp_path):
    table.assign(y=np.arange(24) % 7.0).to_csv(tmp_path / "t.csv", index=False)
    return {
        "data.path": str(tmp_path / "t.csv"), "data.objective": "y", "surrogate": "one_hot",
        "preset": "fast", "n_init": 4, "n_iters": 2, "output": str(tmp_path / "run"),
    }  # fmt: skip


@pytest.fixture
def campaign(table, tmp_path):
    results = table.assign(y=[float(i) if i < 6 else np.nan for i in range(24)])
    return Campaign.create(
        tmp_path / "c.gollum", table=results, objective="y", surrogate="one_hot"
    )[0]


def raising(layout):
    raise KeyError("missing")


def one_row_short(setup):
    matrix = np.ones((len(setup.problem.pool) - 1, 1))
    return Blocks(matrix, Layout((Slot("short", ("ligand",), 1),)), lambda table: matrix)


def not_finite(setup):
    matrix = np.ones((len(setup.problem.pool), 1))
    matrix[3] = np.nan
    return Blocks(matrix, Layout((Slot("odd", ("ligand",), 1),)), lambda table: matrix)


def needs_structures(setup):
    return not_finite(setup)


def misspelt_needs(setup):
    return not_finite(setup)


needs_structures.needs, misspelt_needs.needs = ("structures",), ("structure",)


def nothing(model, best_f):
    return None


class FittedNonsense(Fitted):
    noise = 0.1

    def standardised(self, rows):
        return torch.full((len(rows),), torch.nan).double(), torch.ones(len(rows)).double()

    def covariance(self, a, b):
        return torch.zeros(len(a), len(b)).double()


class Own:
    notes, revision = (), ""

    def __init__(self, setup):
        self.pool = setup.problem.pool

    def fit(self, ids, utility, seed):
        seen = Standardised.of(self.pool, ids, utility)
        return FittedNonsense(self.pool, **seen.attributes(), report=FitReport("own"))


class Raising(Own):
    def fit(self, ids, utility, seed):
        raise ValueError("no idea")


class Empty(Own):
    def fit(self, ids, utility, seed):
        return None


class Broken(Own):
    def __init__(self, setup):
        raise OSError("no disk")


class Chooser:
    """No surrogate."""

    def __init__(self, setup):
        self.setup = setup

    def choose(self, ids, utility, request, stream):
        return None


CASES = [
    ({"kernel": raising}, ConfigError, r"kernel 'raising' failed \(KeyError: 'missing'\); mend it"),
    ({"kernel": RBFKernel}, ConfigError, "kernel 'RBFKernel' failed"),
    ({"kernel": lambda layout: None}, ConfigError, "a kernel needs a name"),
    ({"representations": [one_row_short]}, ConfigError, "of 23 rows, but there are 24 cand"),
    ({"representations": ["one_hot", one_row_short]}, ConfigError, "of 23 rows, but there are 24"),
    ({"representations": [not_finite]}, DataError, "'r4', column 'ligand': a feature of 'odd'"),
    ({"representations": [needs_structures]}, DataError, "needs (structures|columns)"),
    ({"representations": [misspelt_needs]}, ConfigError, "needs 'structure'.*mean 'structures'"),
    ({"representations": [raising]}, ConfigError, r"representation 'raising' failed \(KeyError"),
    ({"acquisition": nothing}, ConfigError, r"'nothing' failed \(TypeError"),
    ({"surrogate": Raising}, ConfigError, r"fitting Raising failed \(ValueError: no idea\)"),
    ({"surrogate": Broken}, ConfigError, r"surrogate 'Broken' failed \(OSError: no disk\)"),
    ({"surrogate": Empty}, ConfigError, "NoneType is not a Fitted: it lacks covariance, noise, s"),
    ({"surrogate": Own}, FitError, "Own predicts what is no number, such as for 'r"),
    ({"surrogate": Chooser}, ConfigError, "Chooser is a Strategy and no Surrogate"),
    ({"surrogate": type("random", (Own,), {})}, ConfigError, "another surrogate 'random'"),
    ({"surrogate": type("morgan", (Own,), {})}, ConfigError, "another surrogate 'morgan'"),
]


@pytest.mark.parametrize(("objects", "kind", "message"), CASES)
def test_a_run_says_what_is_wrong(objects, kind, message, keys):
    with pytest.raises(kind, match=message):
        run(keys, **objects)


@pytest.mark.parametrize(("objects", "kind", "message"), CASES)
def test_a_campaign_says_it_and_stays_as_it_was(objects, kind, message, campaign):
    before = campaign.path.read_bytes()
    with pytest.raises(GollumError, match=message):
        campaign.suggest(2, policy=objects)
    assert campaign.path.read_bytes() == before
    assert len(campaign.suggest(2)) == 2


def test_what_is_wrong_before_anything_is_measured_leaves_no_folder(keys, tmp_path):
    for objects in ({"representations": [not_finite]}, {"kernel": raising}, {"surrogate": Broken}):
        with pytest.raises(GollumError):
            run(keys, **objects)
        assert not (tmp_path / "run").exists()


def test_slots_are_for_kernels_that_take_them(keys):
    def plain(layout):
        return RBFKernel()

    KERNELS.adopt(plain)
    with pytest.raises(ConfigError, match="kernel 'plain' takes no slots"):
        run({**keys, "kernel": "plain(one_hot:ligand)"})


def test_a_cell_that_runs_again_takes_its_own_place():
    def make(value):
        def kernel(layout):
            return value

        return kernel

    assert KERNELS.adopt(make(1)) == "kernel"
    assert KERNELS.adopt(make(2)) == "kernel"
    assert KERNELS["kernel"](None) == 2
    with pytest.raises(ConfigError, match="there is another kernel 'isotropic'"):
        KERNELS.adopt(type("isotropic", (), {}))


def test_a_surrogate_with_a_model_of_its_own_works_in_a_campaign(campaign):
    spec = SurrogateSpec(("one_hot",), name="mine", model="mpnet")
    policy = campaign.configure({"surrogate": spec})
    assert (policy.surrogate, policy.model.name) == ("mine", "mpnet")
    assert len(campaign.suggest(2)) == 2


def test_options_that_are_not_there_are_named(table, tmp_path):
    with pytest.raises(GollumError, match=r"no option 'kernl'. Did you mean 'kernel'"):
        Campaign.create(tmp_path / "x.gollum", table=table, objective="y", kernl="ard")


def test_a_run_of_a_config_is_that_run(keys, tmp_path):
    from gollum import load_config

    given = {**keys, "optimizer.fine_tuning": None, "n_iters": 0}
    config = load_config(None, given.items())
    assert run(config).config == config
