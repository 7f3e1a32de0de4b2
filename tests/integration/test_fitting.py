"""Fitted surrogates in files: they predict the same to the last bit; others are refused."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import safetensors
import safetensors.torch
import torch

import gollum
from gollum.errors import DataError, UserError

OTHER = pd.DataFrame({"ligand": ["w9", "w3"], "base": ["w5", "w6"], "temperature": [70.0, 90.0]})


@pytest.fixture(scope="module")
def table():
    rows = list(product(["w3", "w4", "001"], ["w5", "w6"], [60.0, 80.0, 100.0]))
    table = pd.DataFrame(rows, columns=["ligand", "base", "temperature"])
    table["yield"] = np.random.default_rng(0).uniform(0, 90, len(table))
    table.loc[::3, "yield"] = np.nan
    table.loc[4, "base"] = None
    return table


@pytest.fixture(scope="module")
def fitted(table):
    return gollum.fit(table, "yield", surrogate="one_hot")


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "surrogate",
    ["one_hot", "averaged", "text_levels", "pllm", "llm_phi", "pllm_phi", "pllm_phi_levels"],
)
def test_what_was_saved_predicts_the_same(surrogate, table, tmp_path, model_folder):
    keys = {"model_name": str(model_folder("bert")), "model_pooling": "mean", "lora_rank": 2,
            "averaging_particles": 8, "optimizer_max_evaluations": 6}  # fmt: skip
    fitted = gollum.fit(table, "yield", surrogate=surrogate, preset="paper", **keys)
    ids = fitted.pool.ids.tolist()
    before = fitted.posterior(ids), fitted.posterior(OTHER)
    file = fitted.save(tmp_path / "fitted.safetensors")
    again = gollum.load_fitted(file)
    assert same(again.posterior(ids), before[0])
    assert same(again.posterior(OTHER), before[1])
    assert again.report == fitted.report
    assert again.pool.table.equals(fitted.pool.table)
    more = again.condition(ids[:1], torch.tensor([50.0]))
    if type(more) is type(again):  # with a result more, and kept again
        more.save(file)
        assert same(gollum.load_fitted(file).posterior(ids), more.posterior(ids))


def test_saving_does_not_disturb_a_later_fit(table, tmp_path, model_folder):
    keys = {"model_name": str(model_folder("bert")), "model_pooling": "mean", "preset": "fast"}
    first = gollum.fit(table, "yield", surrogate="pllm", **keys)
    rest = first.representation
    with torch.no_grad():
        for parameter in rest.parameters():
            parameter.add_(1.0)  # as a later fit does
    then = [parameter.clone() for parameter in rest.parameters()]
    again = gollum.load_fitted(first.save(tmp_path / "first.safetensors"))
    assert all(map(torch.equal, then, rest.parameters()))
    assert same(again.posterior(OTHER), first.posterior(OTHER))


def changed(file, **head):
    with safetensors.safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        known = json.loads(opened.metadata()["gollum"]) | head
    safetensors.torch.save_file(tensors, file, {"gollum": json.dumps(known)})


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        (lambda file: file.write_bytes(b"pickle"), "is no fitted surrogate"),
        (lambda file: file.unlink(), "there is no file"),
        (lambda file: safetensors.torch.save_file({"a": torch.ones(1)}, file), "is no fitted"),
        (lambda file: changed(file, format=2), "later version of gollum .format 2, this one"),
        (lambda file: changed(file, revision="0" * 64), "has other weights than when it was saved"),
        (lambda file: changed(file, unknown=1), "is no fitted surrogate"),
    ],
)
def test_other_files_are_refused_in_one_sentence(fitted, tmp_path, what, sentence):
    file = fitted.save(tmp_path / "fitted.safetensors")
    what(file)
    with pytest.raises(UserError, match=sentence) as refused:
        gollum.load_fitted(file)
    assert "\n" not in str(refused.value)


def test_a_file_that_lacks_what_was_found_is_refused(fitted, tmp_path):
    file = fitted.save(tmp_path / "fitted.safetensors")
    with safetensors.safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        head = opened.metadata()
    tensors = {name: one for name, one in tensors.items() if not name.startswith("gp.")}
    safetensors.torch.save_file(tensors, file, head)
    with pytest.raises(UserError, match="does not hold what such a surrogate is made of"):
        gollum.load_fitted(file)


def test_what_can_not_be_kept_is_refused(fitted, tmp_path):
    few = fitted.over(np.arange(len(fitted.pool)), OTHER)
    with pytest.raises(UserError, match="not what it is over other rows"):
        few.save(tmp_path / "few.safetensors")
    with pytest.raises(UserError, match="can't be written"):
        fitted.save(tmp_path / "nowhere" / "fitted.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_fit_shows_itself_in_a_notebook(fitted):
    shown = fitted._repr_html_()
    assert "12 results of 18 experiments" in shown
    assert "one_hot:ligand" in shown


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        (
            {"ligand": "x-phos"},
            "row '0', column 'ligand': 'x-phos' is spelt otherwise than 'XPhos'",
        ),
        ({"ligand": None}, "row '0', column 'ligand' is blank"),
        ({"temperature": np.nan}, "row '0', column 'temperature' is blank"),
    ],
)
def test_slips_in_other_rows_are_refused(cells, sentence):
    rows = list(product(["XPhos", "c1ccccc1", "Co"], [60.0, 80.0]))
    table = pd.DataFrame(rows, columns=["ligand", "temperature"])
    fitted = gollum.fit(table.assign(y=range(6)), "y", surrogate="one_hot", preset="fast")
    other = {"ligand": "RuPhos", "temperature": 70.0}
    for new in ("RuPhos", "C1CCCCC1", "CO"):  # new ones, though some look alike
        fitted.posterior(pd.DataFrame([{**other, "ligand": new}]))
    with pytest.raises(DataError, match=sentence):
        fitted.posterior(pd.DataFrame([{**other, **cells}]))


def test_a_list_of_results_will_do(fitted):
    more = fitted.condition(["r1"], [99.0])
    assert same(
        more.posterior(["r2"]), fitted.condition(["r1"], torch.tensor([99.0])).posterior(["r2"])
    )


def test_cells_with_a_unit_are_numbers():
    table = pd.DataFrame({"T": ["60 °C", "80 °C", "90 °C"], "y": [1.0, 2.0, 4.0]})
    fitted = gollum.fit(table, "y", surrogate="one_hot", preset="fast")
    assert fitted.pool.table["T"].tolist() == [60.0, 80.0, 90.0]
    assert fitted.posterior(pd.DataFrame({"T": [70.0]}))[0].shape == (1,)
