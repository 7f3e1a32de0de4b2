"""The texts of the paper's authors go to the experiments that they describe, or nowhere."""

import gzip
import hashlib
import os
import re
from pathlib import Path

import pytest

from gollum.benchmark.config import load_config
from gollum.benchmark.problem import load_problem
from gollum.benchmark.spec import DataConfig
from gollum.data.authors import authors_texts
from gollum.data.catalog import AuthorsTexts, all_tasks, download, get_task
from gollum.errors import ConfigError, DataError
from helpers import make_task

OURS = b"ligand,SMILES,hours,y\na,C,1,1\nb,CC,2,2.5\nb,CC,2,3\na,CC,0.1,2\n"
THEIRS = (
    ",L,h,objective,procedure\n0,PA,1.0,0.01,first\n1,PB,2.0,0.025,second\n2,PB,2.0,0.03,again\n"
    '3,PA,0.1000000000000001,0.02,"last,\nwith lines"\n'
)
TEXTS = AuthorsTexts(
    url="http://127.0.0.1:9/theirs.csv",
    sha256=hashlib.sha256(THEIRS.encode()).hexdigest(),
    local="gollum19/theirs.csv",
    scale=100,
    columns={"ligand": "L", "hours": "h"},
)
TASK = make_task(rows=4, inputs=("ligand", "SMILES", "hours"), authors_texts=TEXTS)
WITH_TEXTS = [task.name for task in all_tasks() if task.authors_texts]

needs_published = pytest.mark.skipif(
    not Path(os.environ.get("GOLLUM_DATA", "nowhere"), "gollum19").is_dir(),
    reason="GOLLUM_DATA names no folder that holds gollum19",
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What GOLLUM_DATA names: our toy table, and not yet theirs."""
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache" / "gollum"))
    (tmp_path / "gollum19").mkdir()
    (tmp_path / TASK.local).write_bytes(gzip.compress(OURS))
    return tmp_path


@pytest.fixture
def texts(folder):
    """What is found in their file."""

    def found(theirs):
        (folder / TEXTS.local).write_text(theirs)
        return authors_texts(TASK, TASK.load())

    return found


def test_each_candidate_gets_the_text_of_its_row(texts):
    assert texts(THEIRS) == ("first", "second", "last,\nwith lines")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("0.025", "0.026", r"row 3 .*'y' differs"),
        ("PB,2.0,0.03", "PA,2.0,0.03", r"row 4 .*'ligand' differs"),
        ("PB", "PA", r"row 3 .*'ligand' differs"),
        ("3,PA", "3,PC", r"row 5 .*'ligand' differs"),
        ("0.1000000000000001", "0.2", r"row 5 .*'hours' differs"),
        ("PB,2.0,0.03,again\n", "PB,2.0,0.03,again\n9,PB,2,3,more\n", "4 rows .* got 5 rows"),
        (",procedure", ",text", "no column 'procedure'"),
        (",L,", ",ligand,", "no column 'L'"),
    ],
)
def test_another_file_is_refused(texts, old, new, says):
    with pytest.raises(DataError, match=says) as caught:
        texts(THEIRS.replace(old, new))
    assert "\n" not in str(caught.value)


def test_texts_that_are_not_here_are_asked_for(folder):
    with pytest.raises(DataError, match=r"--download toy`, or set GOLLUM_DATA .*theirs\.csv\.$"):
        authors_texts(TASK, TASK.load())


def test_tasks_without_texts():
    with pytest.raises(DataError, match=r"gave no texts for 'esol'"):
        load_problem(DataConfig(task="esol", texts="authors"))


def test_a_download_brings_the_texts_too(folder):
    served = folder / "theirs.csv"
    served.write_text(THEIRS)
    own = TEXTS.model_copy(update={"url": served.as_uri()})
    task = get_task("bh-cf3").model_copy(update={"authors_texts": own})
    assert download(task) == (task.path(), own.path())
    assert own.path().read_text() == THEIRS
    assert own.path().is_relative_to(folder / "cache")
    served.write_text("other")
    with pytest.raises(DataError, match="sha256 differs"):
        download(task)


def test_one_file_that_holds_both_is_fetched_once(folder):
    served = folder / "both.csv"
    served.write_bytes(OURS)
    both = {"url": served.as_uri(), "sha256": hashlib.sha256(OURS).hexdigest()}
    task = make_task(authors_texts=TEXTS.model_copy(update=both), **both)
    assert [path.name for path in download(task)] == ["both.csv"]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"data.path": "x.csv", "data.objective": "y"}, "data.texts needs data.task"),
        (
            {"data.task": "oer", "data.template": "{ni_load}"},
            "data.template contradicts data.texts",
        ),
        ({"data.task": "oer", "data.text_column": "a"}, "data.text_column contradicts data.texts"),
    ],
)
def test_contradictions(keys, says):
    with pytest.raises(ConfigError, match=says):
        load_config(None, {**keys, "data.texts": "authors"}.items())


def test_our_own_texts_can_be_named():
    named, default = (load_problem(DataConfig(task="esol", texts=t)) for t in ("ours", None))
    assert named.texts == default.texts
    with pytest.raises(ValueError, match=r"data\.texts needs data\.task"):
        DataConfig(path="x.csv", objective="y", texts="ours")


def test_the_command_line_replaces_a_template_of_the_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("data: {task: oer, template: '{ni_load}'}")
    data = load_config(file, [("data.texts", "authors")]).data
    assert (data.texts, data.template) == ("authors", None)


@needs_published
@pytest.mark.parametrize("name", WITH_TEXTS)
def test_the_authors_texts_of_every_task(name):
    ours = load_problem(DataConfig(task=name))
    theirs = load_problem(DataConfig(task=name, texts="authors"))
    assert ours.pool.fingerprint == theirs.pool.fingerprint
    assert ours.fingerprint != theirs.fingerprint
    assert theirs.template is None
    assert len(set(theirs.texts)) == len(theirs.texts) == len(ours.texts)
    assert not any("mention" in note for note in theirs.notes)


@needs_published
@pytest.mark.parametrize("name", WITH_TEXTS[:5])
def test_texts_of_couplings_name_the_compounds_of_their_row(name):
    chem = pytest.importorskip("rdkit.Chem")
    problem = load_problem(DataConfig(task=name, texts="authors"))

    def canonical(smiles):
        return chem.CanonSmiles(smiles, useChiral=0)

    for label, column in {
        "Ligand": "ligand_smiles",
        "Aryl halide": "aryl_halide_smiles",
        "Additive": "additive_smiles",
        "Base": "base_smiles",
    }.items():
        written = [re.search(rf"- {label}: (\S+)", text)[1] for text in problem.texts]
        known = {smiles: canonical(smiles) for smiles in {*written, *problem.pool.table[column]}}
        assert [known[w] for w in written] == [known[s] for s in problem.pool.table[column]]


@needs_published
@pytest.mark.parametrize("name", WITH_TEXTS[6:])
def test_texts_of_processes_hold_the_numbers_of_their_row(name):
    problem = load_problem(DataConfig(task=name, texts="authors"))
    numbers = problem.pool.table[problem.pool.numeric_columns()].to_numpy()
    for row, text in zip(numbers, problem.texts, strict=True):
        written = [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)]
        for number in row[row != 0]:  # a metal that is not there is not mentioned
            assert any(abs(number - w) <= 1e-9 * abs(number) for w in written), (number, text)
