import os
import struct

import numpy as np
import pandas as pd
import pytest
import yaml

from gollum.benchmark.config import load_config
from gollum.benchmark.record import TIMING_COLUMNS, TRACE_COLUMNS, RunFolder, read_trace
from gollum.errors import ConfigError, DataError
from gollum.files import write_text

HASH = "a" * 64


def config(**overrides):
    return load_config(None, [("data.task", "esol"), ("preset", "paper"), *overrides.items()])


def row(iteration=1, candidate="r1", value=1.0, **details):
    return {
        "iteration": iteration,
        "id": candidate,
        "objective": value,
        "best_so_far": value,
        "top5_found": 0,
        "top5_coverage": 0.0,
        **details,
    }


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "one")


@pytest.fixture
def used(folder):
    """The folder of a run of two evaluations."""
    folder.create(config())
    folder.save([row(0), row(1, "r2", 2.5)], {"provenance": {"data_sha256": HASH}})
    return folder


# --- writing -------------------------------------------------------------------------------------


def test_write_text_writes_and_replaces(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "one\nµ\n")
    assert file.read_bytes() == "one\nµ\n".encode()
    write_text(file, "two")
    assert file.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def failing(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace", "encode"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    file = tmp_path / "a.txt"
    write_text(file, "old")
    text = "new"
    if step == "encode":
        text = "new \ud800"
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", failing)
    else:
        monkeypatch.setattr("pathlib.Path.replace", failing)
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_text(file, text)
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_on_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    file, seen = tmp_path / "a.txt", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(file.exists()))
    write_text(file, "new")
    assert seen == [False]


def test_create_writes_every_key(folder):
    folder.create(config(seed=3))
    assert load_config(folder.config_file) == config(seed=3)
    assert [p.name for p in folder.path.iterdir()] == ["config.yaml"]


def test_a_folder_that_can_not_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="can't be written") as caught:
        RunFolder(tmp_path / "file" / "run").create(config())
    assert str(tmp_path / "file" / "run") in str(caught.value)
    assert "--output" in str(caught.value)


def test_a_full_disk_is_said_in_a_sentence(used, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(ConfigError, match=r"can't be written \(No space left") as caught:
        used.save([row(0)], {"provenance": {"data_sha256": HASH}})
    assert f"'{used.path}'" in str(caught.value)
    assert len(used.trace()) == 2


# --- reading back --------------------------------------------------------------------------------

FLOATS = [0.1 + 0.2, 1e-300, 5e-324, 1.7976931348623157e308, -1 / 3, 2.0**53 + 2, 1e23, 66.68]


def bits(values):
    return [struct.pack(">d", value) for value in values]


def test_floats_come_back_bit_for_bit(used):
    random = np.random.default_rng(0).integers(0, 2**62, 300, dtype=np.int64).view(np.float64)
    values = [*FLOATS, *random[np.isfinite(random)].tolist()]
    rows = [
        row(i, f"r{i}", v, loss=-v, predicted_mean=v, evaluations=3) for i, v in enumerate(values)
    ]
    used.save(rows, {})
    trace = read_trace(used.trace_file)
    assert bits(trace["objective"]) == bits(values)
    assert bits(trace["predicted_mean"]) == bits(values)
    assert bits(-trace["loss"]) == bits(values)


def test_columns_are_written_in_their_order_and_blanks_come_back_as_none(used):
    rows = [row(0), row(1, "r2", loss=0.5, evaluations=17, fit_seconds=0.1)]
    used.save(rows, {"provenance": {"data_sha256": HASH}})
    header = used.trace_file.read_text().splitlines()[0]
    assert header == ",".join(TRACE_COLUMNS)
    assert set(TIMING_COLUMNS) <= set(TRACE_COLUMNS)
    first, second = used.earlier_rows(config(), HASH)
    assert first == {**dict.fromkeys(TRACE_COLUMNS), **rows[0]}
    assert second == {**dict.fromkeys(TRACE_COLUMNS), **rows[1]}


def test_saving_what_was_read_changes_no_byte(used):
    rows = [row(0, "007", 0.1 + 0.2), row(1, "r,\"2'", 1e23, loss=-1 / 3, evaluations=42)]
    used.save(rows, {"provenance": {"data_sha256": HASH}})
    before = used.trace_file.read_bytes()
    used.save(used.earlier_rows(config(), HASH), {})
    assert used.trace_file.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["007", "1.0", "1e5", "NA", "None", "null", "nan", "", "a b", "µ", "True"]
)
def test_ids_come_back_as_they_were(used, name):
    used.save([row(0, name)], {"provenance": {"data_sha256": HASH}})
    assert used.earlier_rows(config(), HASH)[0]["id"] == name
    assert read_trace(used.trace_file)["id"].tolist() == [name]


def test_summary_comes_back(used):
    figures = {"best": 1 / 3, "name": "µ", "provenance": {"data_sha256": HASH}}
    used.save([row()], figures)
    assert used.summary() == figures
    assert "µ" in used.summary_file.read_text("utf-8")


# --- whose folder it is --------------------------------------------------------------------------


def refusal(folder, config_, pool_hash=HASH):
    before = sorted((p.name, p.read_bytes()) for p in folder.path.iterdir() if p.is_file())
    with pytest.raises(ConfigError) as caught:
        folder.earlier_rows(config_, pool_hash)
    after = sorted((p.name, p.read_bytes()) for p in folder.path.iterdir() if p.is_file())
    assert before == after
    message = str(caught.value)
    assert f"'{folder.path}'" in message
    assert "--output" in message
    return message


def test_a_new_or_an_empty_folder_holds_no_rows_and_nothing_is_written(folder):
    assert folder.earlier_rows(config(), HASH) == []
    assert not folder.path.exists()
    folder.path.mkdir(parents=True)
    assert folder.earlier_rows(config(), HASH) == []
    assert list(folder.path.iterdir()) == []


def test_a_folder_with_a_configuration_only_goes_on_from_the_start(folder):
    folder.create(config())
    assert folder.earlier_rows(config(), HASH) == []


def test_the_same_run_goes_on(used):
    rows = used.earlier_rows(config(), HASH)
    assert [r["id"] for r in rows] == ["r1", "r2"]
    assert rows[1]["objective"] == 2.5


def test_a_folder_of_something_else_is_refused(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "notes.txt").write_text("mine")
    assert "something else" in refusal(folder, config())


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        RunFolder(file).earlier_rows(config(), HASH)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words\n", "", "a: [1\n", "\xff"])
def test_a_configuration_of_something_else_is_refused(folder, content):
    folder.path.mkdir(parents=True)
    folder.config_file.write_bytes(content.encode("latin-1"))
    refusal(folder, config())


def test_a_configuration_of_another_program_is_refused(folder):
    folder.path.mkdir(parents=True)
    folder.config_file.write_text(yaml.safe_dump({"server": {"port": 80}}))
    refusal(folder, config())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 5),
        ("surrogate", "one_hot"),
        ("data.task", "freesolv"),
        ("lora.rank", 8),
        ("n_init", 3),
        ("batch_size", 2),
        ("acquisition", "log_ei"),
        ("model.pooling", "cls"),
        ("data.template", "{smiles}!"),
        ("optimizer.rel_tol", 1.0000001e-5),
    ],
)
def test_another_configuration_is_refused_with_the_key_that_differs(used, key, value):
    message = refusal(used, config(**{key: value}))
    assert f"{key} = " in message
    assert str(value) in message


def test_a_key_that_the_earlier_run_had_and_this_one_lacks_is_named(folder):
    folder.create(config(**{"data.template": "{smiles}!"}))
    assert "data.template" in refusal(folder, config())


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_iters", 80), ("n_iters", 1), ("threads", 1), ("logger", "wandb"), ("output", "x")],
)
def test_keys_that_change_no_choice_may_differ(used, key, value):
    assert len(used.earlier_rows(config(**{key: value}), HASH)) == 2


def test_another_version_of_the_table_is_refused(used):
    assert "earlier version" in refusal(used, config(), "b" * 64)


@pytest.mark.parametrize("content", ["{", "", "[1]", "{}", "\xff"])
def test_a_damaged_summary_is_named(used, content):
    used.summary_file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"summary.json' is damaged; remove it"):
        used.earlier_rows(config(), HASH)
    used.summary_file.unlink()
    assert len(used.earlier_rows(config(), HASH)) == 2


@pytest.mark.parametrize("content", ["", "iter", "iteration,id\none,r1\n", "\xff"])
def test_a_damaged_trace_is_named(used, content):
    used.trace_file.write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"trace.csv' is damaged"):
        used.earlier_rows(config(), HASH)


def test_a_trace_is_a_table_of_its_columns(used):
    trace = used.trace()
    assert tuple(trace.columns) == TRACE_COLUMNS
    assert isinstance(trace, pd.DataFrame)
    assert trace["iteration"].tolist() == [0, 1]
