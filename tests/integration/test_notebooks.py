"""The notebooks, each run afresh, and what they show as they are kept."""

import importlib.util
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
LONG = ("2", "4", "5", "7")  # which take more than ten seconds, so that CI does without
LARGEST = 300 << 10  # bytes
PLACES = re.compile(r"/(?:tmp|home|root|Users|work)/|[A-Z]:\\")


def pictures(notebook):
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return [o for o in outputs if "image/png" in o.get("data", {})]


def test_there_are_seven():
    assert [file.name[0] for file in NOTEBOOKS] == list("1234567")


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_kept_with_what_it_shows_and_nothing_of_where_it_ran(file):
    text = file.read_text("utf-8")
    assert len(text) < LARGEST
    shown = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not PLACES.search(shown)
    notebook = nbformat.reads(text, as_version=4)
    assert len(pictures(notebook)) == 1
    assert pictures(notebook)[0] in notebook.cells[-1].outputs
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    imports = re.findall(r"from (gollum\S*) import", "\n".join(cell.source for cell in code))
    assert set(imports) == {"gollum"}  # the public face alone


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, marks=[pytest.mark.slow] * (file.name[0] in LONG), id=file.stem)
        for file in NOTEBOOKS
    ],
)
def test_a_notebook_runs_afresh(file, tmp_path):
    place = ROOT / "scripts" / "notebooks.py"
    spec = importlib.util.spec_from_file_location("notebooks", place)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    now = script.executed(file, tmp_path)
    assert len(pictures(now)) == 1
    assert "Traceback" not in str(now)
