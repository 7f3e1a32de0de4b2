"""One language model for several outcomes: its loss and gradients are sums of those of one each."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gollum.acquisition.model_based import alongside, models_of
from gollum.acquisition.strategy import Observed
from gollum.data.outcomes import Outcome
from gollum.features.problem import Problem
from gollum.runtime import seeded
from gollum.settings import (
    LoraSettings,
    ModelSettings,
    OptimizerSettings,
    ProjectionSettings,
    Settings,
)
from gollum.surrogates.base import Standardised
from gollum.surrogates.gaussian_process import DeepKernelGP
from gollum.surrogates.shared import Alongside, SeveralKernelGPs, fit_together
from helpers import CPU, build_surrogate, make_pool, make_texts

N, TRAIN, SEED = 18, 9, (0, 3)
POOL = make_pool(N)
IDS = POOL.ids[:TRAIN].tolist()
RNG = np.random.default_rng(5)
FIRST, SECOND = RNG.normal(size=TRAIN), RNG.normal(size=TRAIN)


@pytest.fixture(scope="module")
def build(model_folder):
    made = {}

    def surrogate(name, dropout=0.2, fine_tuning=None):
        key = (name, dropout, fine_tuning)
        if key not in made:
            optimizer = OptimizerSettings(max_evaluations=12, fine_tuning=fine_tuning)
            settings = Settings(
                model=ModelSettings(name=str(model_folder("bert")), pooling="mean"),
                lora=LoraSettings(dropout=dropout),
                projection=ProjectionSettings(size=6),
                optimizer=optimizer,
            )
            problem = Problem(POOL, tuple(make_texts(N, seed=1)))
            runtime = replace(CPU, dtype=torch.float64)
            made[key] = build_surrogate(problem, name, settings, runtime)
        return made[key]

    return surrogate


def several(surrogate, count=2):
    model = SeveralKernelGPs(surrogate.representation, count, 1e-4, None, surrogate.kernel)
    with seeded(7):
        model.representation.reset()
        for parameter in model.parameters():  # B of the adapters starts at 0
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
    model.zero_grad()  # of what earlier tests left in the language model
    return model.train()


def split(representation):
    """Parameters of the adapters, and of what lies above them."""
    named = list(representation.named_parameters())
    trained = [(name, p) for name, p in named if p.requires_grad]
    return tuple([p for name, p in trained if ("lora" in name) is below] for below in (True, False))


def single(surrogate, one):
    """The model of one outcome alone, with the weights of one of several."""
    model = DeepKernelGP(surrogate.representation, kernel=surrogate.kernel)
    pairs = [(split(model.representation)[1], split(one.representation)[1]),
             (model.gp.parameters(), one.gp.parameters())]  # fmt: skip
    with torch.no_grad():
        for mine, theirs in pairs:
            for parameter, value in zip(mine, theirs, strict=True):
                parameter.copy_(value)
    return model.train()


def known(ids, values):
    one = Standardised.of(POOL, ids, values)
    return one.rows, one.targets


@pytest.mark.parametrize("name", ["llm_phi", "pllm_phi", "pllm_phi_levels"])
@pytest.mark.parametrize("missing", [0, 3])
def test_loss_and_gradients_are_sums_of_those_of_each_outcome(build, name, missing):
    surrogate = build(name, dropout=0.0)
    model = several(surrogate)
    data = [known(IDS, FIRST), known(IDS[missing:], SECOND[missing:])]
    rows, targets = zip(*data, strict=True)
    total = sum(map(len, targets))
    loss = model.loss(rows, targets)
    loss.backward()
    adapters, own = split(surrogate.representation)[0], [each.gp for each in model.each]
    below = [p.grad.clone() for p in adapters]
    above = [[p.grad.clone() for p in (*split(head.representation)[1], *gp.parameters())]
             for head, gp in zip(model.each, own, strict=True)]  # fmt: skip
    assert len(above[0]) == (4 if name == "llm_phi" else 6)
    expected, summed = 0.0, [torch.zeros_like(g) for g in below]
    for k, (places, values) in enumerate(data):
        alone = single(surrogate, model.each[k])
        alone.zero_grad()
        part = len(values) / total * alone.loss(places, values)
        part.backward()
        expected += part.item()
        summed = [s + p.grad for s, p in zip(summed, adapters, strict=True)]
        mine = [p.grad for p in (*split(alone.representation)[1], *alone.gp.parameters())]
        torch.testing.assert_close(mine, above[k], rtol=1e-8, atol=1e-12)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(summed, below, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("fine_tuning", [None, 4])
def test_one_outcome_is_fitted_as_by_itself(build, fine_tuning):
    surrogate = build("pllm_phi", fine_tuning=fine_tuning)
    alone = surrogate.fit(IDS, FIRST, SEED)
    (found,) = fit_together(surrogate, [(IDS, FIRST)], SEED)
    assert found.report.losses == alone.report.losses
    assert found.report.hyperparameters == alone.report.hyperparameters
    assert torch.equal(found.features, alone.features)
    for mine, theirs in zip(found.posterior(POOL.ids), alone.posterior(POOL.ids), strict=True):
        assert torch.equal(mine, theirs)


def test_what_is_missing_is_missing_for_its_outcome_alone(build):
    surrogate = build("pllm_phi")
    blank = SECOND.copy()
    blank[[1, 4]] = np.nan
    stay = np.isfinite(blank)
    ids = [name for name, kept in zip(IDS, stay, strict=True) if kept]
    one = fit_together(surrogate, [(IDS, FIRST), (IDS, blank)], SEED)
    other = fit_together(surrogate, [(IDS, FIRST), (ids, SECOND[stay])], SEED)
    assert [len(f.rows) for f in one] == [TRAIN, TRAIN - 2]
    for mine, theirs in zip(one, other, strict=True):
        assert torch.equal(mine.standardised(np.arange(N))[0],
                           theirs.standardised(np.arange(N))[0])  # fmt: skip


def test_outcomes_share_adapters_and_nothing_above(build):
    surrogate = build("pllm_phi")
    first, second = fit_together(surrogate, [(IDS, FIRST), (IDS, SECOND)], SEED)
    heads = [fitted.representation for fitted in (first, second)]
    below = [[id(p) for p in head.inner.inner.parameters()] for head in heads]
    assert below[0] == below[1]
    assert not torch.equal(heads[0].inner.linear.weight, heads[1].inner.linear.weight)
    assert not torch.equal(first.features, second.features)
    again = fit_together(surrogate, [(IDS, FIRST), (IDS, SECOND)], SEED)
    assert torch.equal(again[1].features, second.features)


def test_models_read_other_rows_as_they_were_fitted(build):
    surrogate = build("pllm_phi")
    fits = fit_together(surrogate, [(IDS, FIRST), (IDS, SECOND)], SEED)
    every = POOL.table
    surrogate.fit(IDS, SECOND, (9, 9))  # leaves other adapters behind
    texts = surrogate.representation.inner.inner.problem
    object.__setattr__(texts, "texts_of", lambda table: texts.texts)
    for fitted in fits:
        read, known = fitted._read(every), fitted.features
        torch.testing.assert_close(read, known, rtol=1e-5, atol=1e-5)


def observed(name, ids, values):
    outcome = Outcome(name=name)
    return Observed(outcome, ids, values, outcome.scale(values))


def test_campaigns_learn_ready_outcomes_together_and_others_as_before(build):
    outcomes = (
        observed("yield", IDS, FIRST),
        observed("ee", IDS[2:], SECOND[2:]),
        observed("cost", IDS[:1], SECOND[:1]),
    )
    surrogate = build("pllm_phi")
    fitted, others, untold = models_of(surrogate, outcomes, SEED)
    expected = fit_together(surrogate, [(IDS, FIRST), (IDS[2:], SECOND[2:])], SEED)
    assert [note.code for note in untold] == ["unknown-outcome"]
    assert list(others) == ["ee"]
    for mine, theirs in zip((fitted, others["ee"]), expected, strict=True):
        assert torch.equal(mine.features, theirs.features)
    first, rest, _ = models_of(surrogate, outcomes, SEED, apart=True)
    assert torch.equal(first.features, surrogate.fit(IDS, FIRST, SEED).features)
    assert torch.equal(rest["ee"].features,
                       surrogate.fit(IDS[2:], SECOND[2:], (*SEED, 1)).features)  # fmt: skip


def test_projections_of_a_frozen_model_have_nothing_to_share(build):
    outcomes = (observed("yield", IDS, FIRST), observed("ee", IDS, SECOND))
    surrogate = build("pllm")
    assert not surrogate.shares
    found = [models_of(surrogate, outcomes, SEED, apart=apart) for apart in (True, False)]
    assert torch.equal(found[0][1]["ee"].features, found[1][1]["ee"].features)
    assert alongside(surrogate, outcomes[0], outcomes) is surrogate


def test_experiments_are_left_out_of_all_outcomes(build):
    outcomes = (observed("yield", IDS, FIRST), observed("ee", IDS, SECOND))
    beside = alongside(build("pllm_phi"), outcomes[0], outcomes)
    assert isinstance(beside, Alongside)
    found = beside.fit(IDS[3:], FIRST[3:], SEED)
    rest = [(IDS[3:], FIRST[3:]), (IDS[3:], SECOND[3:])]
    assert torch.equal(found.features, fit_together(beside.surrogate, rest, SEED)[0].features)
