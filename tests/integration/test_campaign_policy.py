"""How a campaign chooses: said at its beginning and later, kept, replayed; and old files."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.events import Configured
from gollum.cli import main
from gollum.errors import ConfigError, UserError

OLD = Path(__file__).parents[1] / "golden" / "campaigns"


def table(count=24):
    return pd.DataFrame(
        {
            "ligand": [("XPhos", "SPhos", "dppf")[i % 3] for i in range(count)],
            "hours": [1.0 + i // 3 for i in range(count)],
            "yield": [20.0 * (i % 3) + i if i < 8 else np.nan for i in range(count)],
        }
    )


@pytest.fixture
def campaign(tmp_path):
    return Campaign.create(
        tmp_path / "my.gollum", table=table(), objective="yield", surrogate="one_hot", seed=2
    )[0]


@pytest.mark.parametrize("name", ["maximize", "target"])
def test_files_of_version_0_1_open_fold_and_replay(name, tmp_path):
    file = Path(shutil.copy(OLD / f"{name}.gollum", tmp_path))
    campaign = Campaign(file)
    state = campaign.state()
    assert (len(state.table), state.batch, len(state.measured())) == (48, 5, 22)
    assert (state.policy.acquisition, state.policy.surrogate) == ("q_log_ei", "one_hot")
    replays = campaign.replay()
    assert [r.batch for r in replays] == [1, 2, 3, 4, 5]
    assert all(r.agrees for r in replays)
    campaign.configure({"kernel": "slot_ard"})
    campaign.suggest(2, fresh=True)
    assert all(r.agrees for r in campaign.replay())


def test_what_is_said_at_the_beginning_is_kept(tmp_path):
    campaign, start = Campaign.create(
        tmp_path / "my.gollum", table=table(), objective="yield", surrogate="one_hot",
        preset="paper", acquisition="ucb", keys={"kernel": "slot_ard", "lora.rank": "8"},
    )  # fmt: skip
    assert start.created.keys == {"kernel": "slot_ard", "lora.rank": 8}
    policy = campaign.state().policy
    assert (policy.preset, policy.acquisition, policy.kernel) == ("paper", "ucb", "slot_ard")
    assert policy.lora.rank == 8
    campaign.suggest(2)
    event = campaign.state().batches[-1]
    assert {"lengthscale 1", "lengthscale 2"} <= set(event.fit)
    assert campaign.replay()[0].agrees


def test_a_campaign_of_today_chooses_as_its_preset_says(campaign):
    assert campaign.state().policy.acquisition == "q_log_ei"


def test_changes_are_events_and_count_from_then_on(campaign):
    first = campaign.suggest(2)
    before = campaign.state()
    policy = campaign.configure({"acquisition": "ucb", "lbfgs.max_iterations": "77"})
    assert (policy.acquisition, policy.lbfgs.max_iterations) == ("ucb", 77)
    state = campaign.state()
    assert state.sequence == before.sequence + 1
    event = campaign._store.log()[-1].event
    assert event == Configured(keys={"acquisition": "ucb", "lbfgs.max_iterations": 77})
    campaign.configure({"acquisition": "ucb"})  # no change, no event
    assert campaign.state().sequence == state.sequence
    second = campaign.suggest(2, fresh=True)
    assert len(first) == len(second) == 2
    campaign.configure({"acquisition": None})
    assert campaign.state().policy.acquisition == "q_log_ei"
    assert [r.agrees for r in campaign.replay()] == [True, True]
    assert "from now on: acquisition ucb" in campaign.report(
        campaign.path.with_suffix(".html")
    ).read_text("utf-8")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kerel": "ard"}, "no key 'kerel'. Did you mean 'kernel'"),
        ({"kernel": "adr"}, "kernel 'adr' is unknown.*'ard'"),
        ({"surrogate": "one_hott"}, "surrogate 'one_hott' is unknown.*'one_hot'"),
        ({"surrogate": "morgan"}, "surrogate 'morgan' needs columns with SMILES"),
        ({"surrogate": "drfp"}, "needs reaction SMILES"),
        ({"acquisition": "eii"}, "acquisition 'eii' is unknown.*'ei'"),
        ({"preset": "fats"}, "preset 'fats' is unknown.*'fast'"),
        ({"lora.rank": "many"}, "key 'lora.rank'.*got 'many'"),
        ({"n_iters": 3}, "no key 'n_iters'"),
        ({"surrogate": "random", "kernel": "ard"}, "'random' has neither kernel nor"),
        ({"representations": "one_hot,txt"}, "representation 'txt' is unknown.*'text'"),
        ({"model.name": "minilmm", "surrogate": "pllm"}, "no model 'minilmm'.*'minilm'"),
    ],
)
def test_what_can_not_be_used_changes_nothing(campaign, keys, message):
    before = campaign.path.read_bytes()
    with pytest.raises(UserError, match=message):
        campaign.configure(keys)
    assert campaign.path.read_bytes() == before


def test_a_target_needs_an_acquisition_that_knows_one(tmp_path):
    with pytest.raises(ConfigError, match="'ucb' has no target; use log_ei or q_log_ei"):
        Campaign.create(
            tmp_path / "t.gollum", table=table(), objective="yield", goal="target", target=30.0,
            acquisition="ucb",
        )  # fmt: skip
    assert not (tmp_path / "t.gollum").exists()


def test_chance_may_choose_within_limits(campaign):
    sheet = campaign.suggest(6, at_most={"ligand": 2}, policy={"surrogate": "random"})
    assert len(sheet) == 6
    assert sheet["ligand"].value_counts().max() == 2
    assert campaign.state().batches[-1].surrogate == "random"
    assert campaign.replay()[0].same_experiments
    assert campaign.insights() is None


def test_commands_say_it_too(campaign, capsys):
    file = str(campaign.path)
    assert main(["init", file, "--kernel", "additive", "--acquisition", "log_ei"]) == 0
    assert "from now on surrogate one_hot, preset default, kernel additive, acquisition log_ei" in (
        capsys.readouterr().out.replace("\n", " ")
    )
    assert main(["init", file, "--kernel", "null", "--surrogate", "pllm"]) == 0
    policy = campaign.state().policy
    assert (policy.kernel, policy.surrogate) == (None, "pllm")
    assert main(["init", file, "--kernel", "adr"]) == 2
    assert main(["init", file]) == 2
    assert "give --table FILE" in capsys.readouterr().err


def test_an_object_is_needed_again_in_another_process(campaign):
    campaign._store.append(Configured(keys={"surrogate": "forest"}))
    with pytest.raises(ConfigError, match=r"surrogate 'forest' is unknown.*give it to Campaign"):
        campaign.suggest(1)


def test_keys_may_say_what_options_say_and_not_something_else(tmp_path):
    keys = {"surrogate": "one_hot", "preset": "paper", "model.name": "minilm"}
    campaign, start = Campaign.create(
        tmp_path / "a.gollum", table=table(), objective="yield", keys=keys
    )
    created = start.created
    assert (created.surrogate, created.preset, created.keys) == ("one_hot", "paper", {})
    assert campaign.state().policy.acquisition == "ei"
    with pytest.raises(ConfigError, match="'surrogate' is given as 'pllm' and as 'one_hot'"):
        Campaign.create(
            tmp_path / "b.gollum", table=table(), objective="yield", surrogate="pllm", keys=keys
        )
    assert not (tmp_path / "b.gollum").exists()


def test_a_target_is_for_an_acquisition_that_knows_one_unless_said(tmp_path):
    campaign, _ = Campaign.create(
        tmp_path / "t.gollum", table=table(), objective="yield", goal="target", target=30.0,
        surrogate="one_hot", preset="paper",
    )  # fmt: skip
    assert campaign.state().policy.acquisition == "q_log_ei"
    assert len(campaign.suggest(2)) == 2


def test_another_preset_brings_its_acquisition_unless_one_was_said(campaign):
    campaign.configure({"preset": "paper"})
    assert campaign.state().policy.acquisition == "ei"
    assert campaign.configure({"preset": None}).preset == "default"
    campaign.configure({"acquisition": "log_ei", "preset": "fast"})
    assert campaign.state().policy.acquisition == "log_ei"


def test_another_surrogate_comes_without_the_representations_of_the_last(campaign):
    campaign.configure({"representations": ["one_hot", "text_levels"], "kernel": "slot_ard"})
    assert campaign.state().policy.representations == ["one_hot", "text_levels"]
    policy = campaign.configure({"surrogate": "static"})
    assert (policy.representations, policy.kernel) == (None, "slot_ard")
    with pytest.raises(ConfigError, match="a campaign has a surrogate"):
        campaign.configure({"surrogate": None})


def test_slots_that_are_not_there_are_refused_before_anything_is_written(campaign, tmp_path):
    before = campaign.path.read_bytes()
    with pytest.raises(ConfigError, match=r"no slot 'nope'.*There are one_hot:ligand, one_hot:h"):
        campaign.configure({"kernel": "additive(nope)"})
    assert campaign.path.read_bytes() == before
    with pytest.raises(ConfigError, match="no slot 'nope'"):
        Campaign.create(
            tmp_path / "n.gollum", table=table(), objective="yield", surrogate="one_hot",
            kernel="additive(nope)",
        )  # fmt: skip
    assert not (tmp_path / "n.gollum").exists()


def test_chance_chooses_anew_when_it_is_asked_to(campaign):
    campaign.configure({"surrogate": "random"})
    first, second = campaign.suggest(5), campaign.suggest(5, fresh=True)
    assert first["id"].tolist() != second["id"].tolist()
    assert all(r.same_experiments for r in campaign.replay())


def test_the_language_model_is_judged_where_it_is_a_part(campaign):
    assert campaign.insights().trust.language is None
    campaign.configure({"representations": ["one_hot", "text_levels"]})
    found = campaign.insights()
    assert found.trust.language == "one_hot (one_hot, text_levels)"
    assert set(found.trust.gains["other"]) == {"one_hot", "random"}
    assert list(found.learned[0].weights) == [
        "one_hot:ligand", "one_hot:hours", "text_levels:ligand",
    ]  # fmt: skip
