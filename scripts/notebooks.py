"""Run the notebooks and keep what they show: python scripts/notebooks.py [FILE …]."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "notebooks"
SECONDS = 300  # that a cell may take


def executed(file: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with what its cells show now, without times and places.

    Args:
        file: the notebook.
        folder: where it works.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(file, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=where).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", ()):
            output.get("metadata", {}).clear()
        kept = [o for o in cell.get("outputs", ()) if o.get("name") != "stderr"]
        if cell.cell_type == "code":
            cell.outputs = kept
    return notebook


def main(files: list[Path]) -> None:
    """Run notebooks in empty folders and write them back."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for file in files:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = executed(file, Path(folder))
        nbformat.write(notebook, file)
        print(f"{file.name}: {time.perf_counter() - began:.1f} s, {file.stat().st_size >> 10} kB")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")))
