from pathlib import Path

import pytest
import yaml

from gollum.benchmark.config import REFERENCE_KEYS, flatten, keys, load_config
from gollum.cli import DEMO
from gollum.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
TASK = ("data.task", "bh-ethyl")
OWN = (("data.path", "t.csv"), ("data.objective", "y"))


@pytest.fixture
def written(tmp_path):
    """Write a configuration file from text or nested keys."""

    def write(content, name="run.yaml"):
        file = tmp_path / name
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        file.write_text(text, "utf-8")
        return file

    return write


def flat(config):
    return dict(flatten(config.model_dump(exclude_none=True)))


def refusal(file=None, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(file, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith((".", "?"))
    assert caught.value.exit_code == 2
    return message


# --- numbers -------------------------------------------------------------------------------------

# The settings of arXiv 2504.06265 as its public code runs them.
PAPER = {
    "data.task": "bh-ethyl",
    "surrogate": "pllm_phi",
    "preset": "paper",
    "acquisition": "ei",
    "protocol": "replay",
    "campaign.failed": 0.1,
    "campaign.late": 0.25,
    "transfer.results": 60,
    "transfer.control": "none",
    "transfer.form": "results",
    "initial": "below_median",
    "n_init": 10,
    "n_iters": 50,
    "batch_size": 1,
    "seed": 0,
    "control": "none",
    "quality": False,
    "device": "auto",
    "logger": "none",
    "noise_floor": 1e-4,
    "memory_gb": 8.0,
    "model.name": "minilm",
    "model.normalize": False,
    "model.max_tokens": 512,
    "model.allow_truncation": False,
    "model.precision": "auto",
    "model.trust_remote_code": False,
    "remote.confirm": False,
    "remote.batch": 64,
    "remote.timeout": 60.0,
    "remote.attempts": 6,
    "lora.rank": 4,
    "lora.alpha": 16.0,
    "lora.dropout": 0.2,
    "lora.fraction": 0.25,
    "lora.shared_masks": False,
    "lora.checkpointing": False,
    "projection.size": 64,
    "projection.bias": 0.01,
    "optimizer.lr_model": 0.002,
    "optimizer.lr_gp": 0.2,
    "optimizer.weight_decay": 1e-3,
    "optimizer.decay": 0.95,
    "optimizer.max_evaluations": 10_000,
    "optimizer.window": 10,
    "optimizer.eta": 1.0,
    "optimizer.rel_tol": 1e-5,
    "lbfgs.max_iterations": 2000,
    "lbfgs.prior": "none",
    "averaging.particles": 48,
    "averaging.moves": 5,
}
FAST = {
    "preset": "fast",
    "acquisition": "q_log_ei",
    "lora.shared_masks": True,
    "optimizer.max_evaluations": 90,
    "optimizer.fine_tuning": 8,
    "lbfgs.prior": "dimension_scaled",
}


def test_the_paper_preset_holds_the_numbers_of_the_paper():
    assert flat(load_config(None, [TASK, ("preset", "paper")])) == PAPER


def test_the_fast_preset_changes_what_it_says_and_nothing_else():
    assert flat(load_config(None, [TASK, ("preset", "fast")])) == {**PAPER, **FAST}


def test_the_default_preset_has_a_surrogate_of_its_own_and_the_numbers_of_fast():
    usual = {**PAPER, **FAST, "surrogate": "combined", "preset": "default"}
    assert flat(load_config(None, [TASK])) == usual
    shown = {key: default for key, (_, default) in keys().items() if default is not None}
    assert shown == {key: value for key, value in usual.items() if key != "data.task"}


def test_every_key_is_described():
    assert [key for key, (about, _) in keys().items() if not about.strip()] == []


# --- precedence ----------------------------------------------------------------------------------


def test_the_command_line_wins_over_the_file_and_the_file_over_the_preset(written):
    file = written(
        {
            "preset": "fast",
            "data": {"task": "bh-cf3"},
            "optimizer": {"max_evaluations": 33, "window": 5},
            "seed": 4,
        }
    )
    config = load_config(file, [("seed", 9), ("optimizer.window", 7)])
    assert config.seed == 9
    assert config.optimizer.window == 7
    assert config.optimizer.max_evaluations == 33
    assert config.acquisition == "q_log_ei"
    assert config.lora.rank == 4


def test_a_preset_on_the_command_line_moves_no_number_of_the_file(written):
    file = written({"preset": "paper", "data": {"task": "bh-cf3"}, "acquisition": "ucb"})
    config = load_config(file, [("preset", "fast")])
    assert (config.preset, config.acquisition) == ("fast", "ucb")
    assert config.optimizer.max_evaluations == 90


def test_the_later_of_two_equal_keys_wins():
    assert load_config(None, [TASK, ("seed", 1), ("seed", 2)]).seed == 2


def test_dotted_and_nested_keys_are_the_same(written):
    nested = written({"data": {"task": "esol"}, "lora": {"rank": 8}})
    dotted = written({"data.task": "esol", "lora.rank": 8}, "dotted.yaml")
    assert load_config(nested) == load_config(dotted)


def test_benchmark_is_another_name_of_the_task(written):
    expected = load_config(None, [("data.task", "esol")])
    assert load_config(None, [("benchmark", "esol")]) == expected
    assert load_config(written({"benchmark": "esol"})) == expected
    file = written({"benchmark": "bh-cf3"})
    assert load_config(file, [("benchmark", "esol")]) == expected
    assert load_config(file, [("data.task", "esol")]) == expected


@pytest.mark.parametrize("nothing", [None, "null"])
def test_none_takes_a_key_of_the_file_back_and_only_that(nothing, written):
    file = written({"data": {"task": "esol", "template": "{smiles}"}})
    assert load_config(file, [("data.template", nothing)]).data.template is None
    file = written({"data": {**TABLE, "task": "esol"}})
    assert load_config(file, [("data.task", nothing)]).data.model_dump(exclude_none=True) == TABLE


def test_the_folder_is_named_after_the_run():
    config = load_config(None, [TASK, ("surrogate", "one_hot"), ("seed", 3)])
    assert config.folder == Path("runs/bh-ethyl-one_hot-default-seed3")
    own = load_config(None, [("data.path", "a/b/mine.csv.gz"), ("data.objective", "y")])
    assert own.folder == Path("runs/mine-combined-default-seed0")
    named = load_config(None, [*OWN, ("data.name", "mine")])
    assert named.folder == Path("runs/mine-combined-default-seed0")
    assert load_config(None, [TASK, ("output", "here/x")]).folder == Path("here/x")


# --- text as typed on a command line -------------------------------------------------------------


def test_numbers_and_switches_may_be_typed():
    typed = [
        ("seed", "3"),
        ("n_iters", "0"),
        ("lora.dropout", "0"),
        ("optimizer.rel_tol", "1e-7"),
        ("noise_floor", "1.5E-5"),
        ("model.trust_remote_code", "true"),
        ("threads", "null"),
    ]
    values = [3, 0, 0.0, 1e-7, 1.5e-5, True, None]
    meant = [(key, value) for (key, _), value in zip(typed, values, strict=True)]
    assert load_config(None, [TASK, *typed]) == load_config(None, [TASK, *meant])


@pytest.mark.parametrize(
    "text",
    ["{a}", "a: {a}", "[{a}]", "#{a}", "yes", "007", "1e5", "2024-01-01", "- {a}", "'{a}'", "a\nb"],
)
def test_text_is_taken_as_typed(text):
    words = [("data.template", text), ("data.objective", text), ("data.path", text)]
    data = load_config(None, words[::-1]).data
    assert (data.template, data.objective, data.path) == (text, text, text)


@pytest.mark.parametrize(
    ("typed", "columns"),
    [
        ("a", ["a"]),
        ("a,b c, d", ["a", "b c", "d"]),
        ("[a, b c]", ["a", "b c"]),
        ("['a, b', c]", ["a, b", "c"]),
        ("[no, 007, 1.50]", ["no", "007", "1.50"]),
    ],
)
def test_columns_may_be_listed_with_commas_or_in_brackets(typed, columns):
    config = load_config(None, [*OWN, ("data.inputs", typed), ("data.structures", typed)])
    assert config.data.inputs == columns
    assert config.data.structures == columns


@pytest.mark.parametrize("typed", ["[a", "[a]]", "[a, 'b]", "[{x: 1}]"])
def test_a_broken_list_is_refused(typed):
    assert "data.inputs" in refusal(None, [*OWN, ("data.inputs", typed)])


# --- a task or a table replaces the other --------------------------------------------------------

TABLE = {
    "path": "t.xlsx",
    "sheet": "2nd",
    "objective": "y",
    "direction": "minimize",
    "inputs": ["a", "b"],
    "id_column": "id",
    "structures": ["smiles"],
    "reaction": "rxn",
    "template": "{a}",
}


def test_a_task_replaces_the_table_with_all_that_belongs_to_it(written):
    config = load_config(written({"data": TABLE, "seed": 3}), [TASK])
    assert config == load_config(None, [TASK, ("seed", 3)])


def test_a_table_replaces_the_task_with_all_that_belongs_to_it(written):
    file = written({"data": {"task": "esol", "template": "{smiles}", "reaction": "rxn"}})
    assert load_config(file, OWN) == load_config(None, OWN)


def test_a_text_column_replaces_a_template_and_the_other_way_round(written):
    file = written({"data": {"task": "esol", "template": "{smiles}"}})
    data = load_config(file, [("data.text_column", "smiles")]).data
    assert (data.text_column, data.template) == ("smiles", None)
    file = written({"data": {"task": "esol", "text_column": "smiles"}})
    data = load_config(file, [("data.template", "x {smiles}")]).data
    assert (data.text_column, data.template) == (None, "x {smiles}")


@pytest.mark.parametrize("turn", [1, -1])
def test_the_order_of_words_on_the_command_line_does_not_matter(turn):
    words = [("data.path", "t.csv"), ("data.objective", "y"), ("data.template", "{a}"), ("seed", 1)]
    config = load_config(None, words[::turn])
    assert config.data.model_dump(exclude_none=True) == {
        "path": "t.csv",
        "objective": "y",
        "template": "{a}",
    }


@pytest.mark.parametrize("turn", [1, -1])
def test_a_template_beside_a_task_is_kept_in_either_order(turn):
    words = [("data.task", "esol"), ("data.template", "The molecule {smiles}")]
    assert load_config(None, words[::turn]).data.template == "The molecule {smiles}"


# --- contradictions ------------------------------------------------------------------------------

CONTRADICTIONS = {
    "nothing": ({}, ["data.task", "data.path"]),
    "both": ({"task": "esol", "path": "t.csv", "objective": "y"}, ["data.task", "data.path"]),
    "no objective": ({"path": "t.csv"}, ["data.path", "data.objective"]),
    "objective": ({"task": "esol", "objective": "y"}, ["data.objective", "data.task"]),
    "direction": ({"task": "esol", "direction": "minimize"}, ["data.direction", "data.task"]),
    "inputs": ({"task": "esol", "inputs": ["smiles"]}, ["data.inputs", "data.task"]),
    "ids": ({"task": "esol", "id_column": "smiles"}, ["data.id_column", "data.task"]),
    "name": ({"task": "esol", "name": "mine"}, ["data.name", "data.task"]),
    "smiles": ({"task": "esol", "structures": ["smiles"]}, ["data.structures", "data.task"]),
    "text": (
        {"task": "esol", "text_column": "smiles", "template": "{smiles}"},
        ["data.text_column", "data.template"],
    ),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_in_a_file_name_both_keys(case, written):
    data, named = CONTRADICTIONS[case]
    message = refusal(written({"data": data, "seed": 1}))
    assert all(key in message for key in named)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("case", [c for c in CONTRADICTIONS if c != "nothing"])
def test_contradictions_on_the_command_line_name_both_keys(case, turn):
    data, named = CONTRADICTIONS[case]
    message = refusal(None, [(f"data.{key}", value) for key, value in data.items()][::turn])
    assert all(key in message for key in named)


# --- surrogates with a model of their own, and controls ------------------------------------------


def test_rxnfp_brings_its_model_in_every_preset(written):
    for preset in ("paper", "fast"):
        config = load_config(None, [TASK, ("surrogate", "rxnfp"), ("preset", preset)])
        assert config.model.name == "rxnfp"
        assert load_config(written(config.to_yaml())) == config
    kept = load_config(None, [TASK, ("surrogate", "rxnfp"), ("model.precision", "float32")])
    assert (kept.model.name, kept.model.precision) == ("rxnfp", "float32")


def test_rxnfp_with_another_model_is_refused():
    message = refusal(None, [TASK, ("surrogate", "rxnfp"), ("model.name", "minilm")])
    assert "--surrogate static for --model.name minilm" in message
    remote = [("remote.url", "http://x/v1"), ("remote.model", "m")]
    assert "is a local model" in refusal(None, [TASK, ("surrogate", "rxnfp"), *remote])


@pytest.mark.parametrize("surrogate", ["random", "baybe", "baybe_chem"])
def test_what_is_no_process_of_this_package_is_a_surrogate_too(surrogate):
    assert load_config(None, [TASK, ("surrogate", surrogate)]).surrogate == surrogate


@pytest.mark.parametrize(
    ("control", "surrogate", "accepted"),
    [
        ("permuted_labels", "random", True),
        ("permuted_labels", "pllm_phi", True),
        ("shuffled_columns", "llm_phi", True),
        ("shuffled_columns", "one_hot", False),
        ("shuffled_columns", "rxnfp", False),
        ("shuffled_columns", "baybe", False),
        ("swapped_names", "pllm", True),
        ("swapped_names", "one_hot", False),
        ("random_embeddings", "static", True),
        ("random_embeddings", "pllm", True),
        ("random_embeddings", "pllm_phi", False),
        ("random_embeddings", "one_hot", False),
    ],
)
def test_controls_that_would_change_nothing_are_refused(control, surrogate, accepted):
    keys = [TASK, ("surrogate", surrogate), ("control", control)]
    if accepted:
        assert load_config(None, keys).control == control
    else:
        assert refusal(None, keys).startswith(f"control '{control}'")


def test_controls_that_the_model_decides_about():
    static = [TASK, ("surrogate", "static")]
    message = refusal(None, [*static, ("control", "shuffled_columns"), ("model.name", "rxnfp")])
    assert "does not read" in message
    remote = [("remote.url", "http://x/v1"), ("remote.model", "m")]
    assert load_config(None, [*static, *remote, ("control", "shuffled_columns")]).control
    message = refusal(None, [*static, *remote, ("control", "random_embeddings")])
    assert "without --remote.url" in message


@pytest.mark.parametrize("control", ["shuffled_columns", "swapped_names"])
def test_texts_of_others_can_not_be_written_anew(control):
    static = [("data.task", "bh-cf3"), ("surrogate", "static"), ("data.texts", "authors")]
    message = refusal(None, [*static, ("control", control)])
    assert message.startswith(f"control '{control}' needs texts that a template writes")
    assert load_config(None, [*static, ("control", "permuted_labels")]).data.texts == "authors"


def test_an_unknown_control_is_named():
    message = refusal(None, [TASK, ("control", "permuted_label")])
    assert "key 'control'" in message
    assert "Did you mean 'permuted_labels'?" in message


# --- unknown keys and wrong values ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("n_iter", "n_iters"),
        ("sed", "seed"),
        ("model.nam", "model.name"),
        ("lora.rnak", "lora.rank"),
        ("data.tasks", "data.task"),
        ("optimiser.window", "optimizer.window"),
        ("weight_decay", "optimizer.weight_decay"),
        ("rank", "lora.rank"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest(key, near, written):
    for message in (refusal(None, [TASK, (key, 1)]), refusal(written({key: 1}))):
        assert f"'{key}'" in message
        assert f"Did you mean '{near}'?" in message


def test_a_key_like_no_other_points_to_the_list():
    message = refusal(None, [TASK, ("zzzzzz", 1)])
    assert "'zzzzzz'" in message
    assert "gollum run --help" in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_iters", "many"),
        ("n_iters", -1),
        ("n_iters", 2.5),
        ("n_init", 0),
        ("batch_size", 0),
        ("seed", -1),
        ("threads", 0),
        ("acquisition", "eii"),
        ("logger", "tensorboard"),
        ("lora.dropout", 1.0),
        ("lora.fraction", 0),
        ("lora.rank", 0),
        ("projection.size", "wide"),
        ("optimizer.decay", 1.5),
        ("optimizer.lr_gp", 0),
        ("noise_floor", 0.0),
        ("lbfgs.prior", "gamma"),
        ("model.pooling", "max"),
        ("model.precision", "float16"),
        ("model.trust_remote_code", "perhaps"),
        ("model.name", 3),
        ("data.template", [1]),
    ],
)
def test_wrong_values_are_refused_with_key_and_value(key, value):
    message = refusal(None, [TASK, (key, value)])
    names = {"acquisition": "acquisition 'eii'", "lbfgs.prior": "prior 'gamma'"}
    assert names.get(key, f"'{key}'") in message
    assert repr(value) in message


def test_wrong_values_of_a_table_are_refused_too():
    message = refusal(None, [*OWN, ("data.direction", "maximise")])
    assert "'data.direction'" in message
    assert "'maximize'" in message
    assert "'data.inputs'" in refusal(None, [*OWN, ("data.inputs", 3)])


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".a", "-a", "a b", "a\n"])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(ConfigError, match=r"can't name a folder; use letters, digits"):
        load_config(None, [*OWN, ("data.name", name)])


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("surrogate", "onehot", "one_hot"),
        ("surrogate", "pllmphi", "pllm_phi"),
        ("initial", "kmedoids", "k_medoids"),
        ("preset", "papr", "paper"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_and_all(key, value, near):
    message = refusal(None, [TASK, (key, value)])
    assert f"{key} '{value}' is unknown" in message
    assert f"Did you mean '{near}'?" in message
    assert "choose from" in message


@pytest.mark.parametrize("value", [["paper"], {"name": "paper"}, 3])
def test_a_preset_of_the_wrong_kind_is_refused(value, written):
    assert "preset" in refusal(written({"preset": value, "data": {"task": "esol"}}))


def test_a_configuration_is_frozen():
    config = load_config(None, [TASK])
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        config.lora.rank = 3


# --- round trip ----------------------------------------------------------------------------------

# A value for every key that is not its default.
OTHER = {
    "data.task": "esol",
    "data.path": "tables/µ table.csv",
    "data.name": "µ_table-2",
    "data.sheet": "10",
    "data.encoding": "mac_roman",
    "data.objective": "yield: %",
    "data.direction": "minimize",
    "data.inputs": ["a", "no", "3"],
    "data.category": ["no"],
    "data.number": ["3"],
    "data.remark": ["said by"],
    "data.id_column": "yes",
    "data.structures": ["smiles"],
    "data.reaction": "{a}>>{b}",
    "data.text_column": "007",
    "data.template": "Ligand: {a}\n[[x]] # [{b:.2f} °C] 'quoted' \"twice\"",
    "data.texts": "ours",
    "surrogate": "static",
    "preset": "fast",
    "representations": ["text", "one_hot"],
    "kernel": "slot_ard(text, one_hot:no)",
    "acquisition": "ucb",
    "protocol": "campaign",
    "campaign.failed": 0.0,
    "campaign.late": 1.0,
    "transfer.sources": ["ocm-c2", "freesolv"],
    "transfer.results": 0,
    "transfer.unseen": "ligand",
    "transfer.control": "inverted_labels",
    "transfer.controlled": ["freesolv"],
    "transfer.form": "rankings",
    "initial": "farthest_point",
    "n_init": 3,
    "n_iters": 0,
    "batch_size": 4,
    "seed": 2**40,
    "control": "permuted_labels",
    "quality": True,
    "device": "cpu",
    "threads": 1,
    "output": "no",
    "logger": "wandb",
    "noise_floor": 1.2345678901234567e-05,
    "memory_gb": 0.5,
    "model.name": "1e5",
    "model.pooling": "weighted_mean",
    "model.prefix": "query: ",
    "model.normalize": True,
    "model.max_tokens": 64,
    "model.allow_truncation": True,
    "model.precision": "bfloat16",
    "model.bits": 4,
    "model.trust_remote_code": True,
    "remote.url": "https://api.example.com/v1",
    "remote.model": "embedder",
    "remote.confirm": True,
    "remote.dimensions": 256,
    "remote.batch": 8,
    "remote.requests_per_minute": 30.5,
    "remote.tokens_per_minute": 1e6,
    "remote.price_per_million": 0.02,
    "remote.timeout": 5.5,
    "remote.attempts": 2,
    "lora.rank": 2,
    "lora.alpha": 0.1,
    "lora.dropout": 0.0,
    "lora.fraction": 1.0,
    "lora.shared_masks": False,
    "lora.checkpointing": True,
    "projection.size": 3,
    "projection.bias": -1e-300,
    "optimizer.lr_model": 0.1,
    "optimizer.lr_gp": 0.30000000000000004,
    "optimizer.weight_decay": 0.0,
    "optimizer.decay": 1.0,
    "optimizer.max_evaluations": 7,
    "optimizer.window": 2,
    "optimizer.fine_tuning": 3,
    "optimizer.eta": 0.5,
    "optimizer.rel_tol": -1.0,
    "lbfgs.max_iterations": 5,
    "lbfgs.prior": "none",
    "averaging.particles": 16,
    "averaging.moves": 2,
}
OF_TABLES = {
    "data.path", "data.name", "data.sheet", "data.encoding", "data.objective", "data.direction",
    "data.inputs", "data.category", "data.number", "data.remark", "data.id_column",
    "data.structures",
}  # fmt: skip


def test_the_values_below_cover_every_key():
    assert OTHER.keys() == keys().keys()
    defaults = {key: default for key, (_, default) in keys().items()}
    assert [key for key, value in OTHER.items() if value == defaults[key]] == []


@pytest.mark.parametrize("key", OTHER)
def test_every_key_survives_its_own_yaml(key, written):
    table = key in OF_TABLES
    base = dict(OWN) if table else dict([TASK])
    if key.startswith("remote."):
        base |= {k: OTHER[k] for k in ("surrogate", "remote.url", "remote.model")}
    if key == "kernel":
        base["surrogate"] = "one_hot"
    config = load_config(None, {**base, key: OTHER[key]}.items())
    again = load_config(written(config.to_yaml()))
    assert again == config
    assert flat(again)[key] == OTHER[key]


@pytest.mark.parametrize("left_out", ["task", "table"])
def test_all_keys_at_once_survive_their_yaml(left_out, written):
    drop = {"data.task", "data.texts"} if left_out == "task" else OF_TABLES
    values = {k: v for k, v in OTHER.items() if k not in drop | {"data.text_column"}}
    config = load_config(None, values.items())
    assert flat(config) == values
    assert load_config(written(config.to_yaml())) == config


def test_a_blank_that_the_preset_would_fill_survives_its_yaml(written):
    config = load_config(None, [TASK, ("preset", "fast"), ("optimizer.fine_tuning", "null")])
    assert config.optimizer.fine_tuning is None
    assert load_config(written(config.to_yaml())) == config


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_presets_survive_their_yaml(preset, written):
    config = load_config(None, [TASK, ("preset", preset)])
    assert load_config(written(config.to_yaml())) == config
    assert config.to_yaml() == load_config(written(config.to_yaml())).to_yaml()


# --- files ---------------------------------------------------------------------------------------


def test_a_missing_file_suggests_its_neighbour(written):
    near = written({"seed": 1}, "pllm_phi.yaml").with_name("pllm_fi.yaml")
    message = refusal(near)
    assert str(near) in message
    assert "Did you mean 'pllm_phi.yaml'?" in message


def test_a_missing_folder_is_named(tmp_path):
    assert "nowhere/run.yaml" in refusal(tmp_path / "nowhere" / "run.yaml")


@pytest.mark.parametrize("text", ["seed: [1", "a: b: c", "seed: 1\n\tn_iters: 2", "key: 'open"])
def test_broken_yaml_is_refused_with_its_place(text, written):
    file = written(text)
    message = refusal(file)
    assert f"'{file}' is not valid YAML" in message
    assert "line" in message


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_bytes(b"seed: \xff\xfe")
    assert "not valid YAML" in refusal(file)


@pytest.mark.parametrize("text", ["- seed\n- 1\n", "", "# nothing\n", "seed", "3"])
def test_yaml_without_keys_is_refused(text, written):
    file = written(text)
    assert f"'{file}' holds no keys" in refusal(file)


# The configuration style of the published code, with every key that it knows.
REFERENCE_STYLE = """
seed_everything: 1
group: plates
data:
  class_path: gollum.data.module.BaseDataModule
  init_args:
    data_path: data/reactions/bh_reaction_1.csv
    input_column: procedure
    target_column: objective
    maximize: true
    init_sample_size: 10
    exclude_top: true
    normalize_input: original
    initializer:
      class_path: gollum.initialization.initializers.BOInitializer
      init_args: {method: true_random, n_clusters: 10}
    featurizer:
      class_path: gollum.featurization.base.Featurizer
      init_args: {representation: get_huggingface_embeddings, model_name: t5-base,
                  pooling_method: average}
surrogate_model:
  class_path: gollum.surrogate_models.gp.DeepGP
  init_args:
    ft_lr: 0.002
    gp_lr: 0.2
    gp_step_lr: 0.95
    wd: 0.001
    wd_llm: 0.001
    noise_constraint: 0.0001
    finetuning_model:
      class_path: gollum.featurization.text.LLMFeaturizer
      init_args: {model_name: t5-base, trainable: true}
acquisition:
  class_path: botorch.acquisition.ExpectedImprovement
bo:
  class_path: gollum.bo.optimizer.BotorchOptimizer
  init_args: {batch_strategy: cl_min, batch_size: 1}
"""
NEW_KEYS = {
    "group": "output",
    "data.init_args.data_path": "data.path",
    "data.init_args.input_column": "data.text_column",
    "data.init_args.target_column": "data.objective",
    "data.init_args.maximize": "data.direction",
    "data.init_args.init_sample_size": "n_init",
    "data.init_args.exclude_top": "initial",
    "data.init_args.normalize_input": "surrogate",
    "data.init_args.initializer": "initial",
    "data.init_args.featurizer.init_args.representation": "surrogate",
    "data.init_args.featurizer.init_args.model_name": "model.name",
    "data.init_args.featurizer.init_args.pooling_method": "model.pooling",
    "surrogate_model.class_path": "surrogate",
    "surrogate_model.init_args.ft_lr": "optimizer.lr_model",
    "surrogate_model.init_args.gp_lr": "optimizer.lr_gp",
    "surrogate_model.init_args.gp_step_lr": "optimizer.decay",
    "surrogate_model.init_args.wd": "optimizer.weight_decay",
    "surrogate_model.init_args.wd_llm": "optimizer.weight_decay",
    "surrogate_model.init_args.noise_constraint": "noise_floor",
    "surrogate_model.init_args.finetuning_model": "surrogate",
    "acquisition.class_path": "acquisition",
    "bo.init_args.batch_strategy": "batch_size",
    "bo.init_args.batch_size": "batch_size",
}


def test_a_class_path_configuration_is_refused_with_the_new_key_of_each_old_one(written):
    message = refusal(written(REFERENCE_STYLE))
    assert "class_path" in message
    for old, new in NEW_KEYS.items():
        assert f"{old} → {new}" in message
        assert new in keys()


def test_old_keys_that_are_not_in_the_file_are_not_mentioned(written):
    message = refusal(written("surrogate_model:\n  class_path: a.B\n  init_args: {gp_lr: 0.2}\n"))
    assert "surrogate_model.init_args.gp_lr → optimizer.lr_gp" in message
    assert message.count("→") == 2


def test_every_new_key_of_the_translation_exists():
    assert set(REFERENCE_KEYS.values()) <= keys().keys()
    assert set(REFERENCE_KEYS) == {"benchmark", *NEW_KEYS}


# --- the files that come with the code -----------------------------------------------------------

SHIPPED = {
    "bochemian": ("static", "t5-base", "bh-ethyl"),
    "pllm": ("pllm", "t5-base", "bh-ethyl"),
    "llm_phi": ("llm_phi", "t5-base", "bh-ethyl"),
    "pllm_phi": ("pllm_phi", "t5-base", "bh-ethyl"),
    "drfp": ("drfp", "minilm", "bh-ethyl"),
    "fp": ("morgan", "minilm", "photoswitch"),
}


def test_every_shipped_file_is_known():
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == {
        *SHIPPED, "quickstart", "quickstart-tuned"
    }  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_is_the_paper_with_the_surrogate_of_its_name(name):
    surrogate, model, task = SHIPPED[name]
    assert flat(load_config(CONFIGS / f"{name}.yaml")) == {
        **PAPER,
        "surrogate": surrogate,
        "model.name": model,
        "data.task": task,
    }


def test_the_quickstart_file_is_the_demo():
    quickstart = flat(load_config(CONFIGS / "quickstart.yaml"))
    demo = flat(load_config(None, DEMO.items()))
    assert quickstart.pop("output") == "runs/quickstart"
    demo.pop("output", None)
    assert quickstart == demo
    assert quickstart["preset"] == "default"
    assert quickstart["surrogate"] == "combined"
    assert quickstart["model.name"] == "minilm"


def test_the_second_quickstart_begins_as_the_first():
    first, second = (
        flat(load_config(CONFIGS / f"quickstart{name}.yaml")) for name in ("", "-tuned")
    )
    assert second["surrogate"] == "pllm_phi_levels"
    same = ("data.task", "n_init", "seed", "model.name")
    assert {key: second[key] for key in same} == {key: first[key] for key in same}
