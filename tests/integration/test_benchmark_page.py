"""The page of benchmark results says what the committed records say."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_page.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("benchmark_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_those_of_the_records(script, monkeypatch):
    pictures = {}
    monkeypatch.setattr(script, "write_text", pictures.__setitem__)
    page = script.PAGE.read_text("utf-8")
    marked = list(script.MARKED.finditer(page))
    assert [found["name"] for found in marked] == list(script.PARTS)
    for found in marked:
        assert script._part(found["name"]) == found[0]
    for path, svg in pictures.items():
        assert svg.startswith("<?xml")
        assert path.is_file()
        assert f"](pictures/{path.name})" in page
