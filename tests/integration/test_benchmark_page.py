"""The pages of results say what the committed records say."""

import importlib.util
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module", params=["benchmark_page", "understanding_page"])
def script(request):
    spec = importlib.util.spec_from_file_location(request.param, SCRIPTS / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_of_the_page_are_those_of_the_records(script, monkeypatch):
    pictures = {}
    monkeypatch.setattr(script, "write_text", pictures.__setitem__)
    monkeypatch.setattr(script, "write_file", pictures.__setitem__, raising=False)
    page = "".join(page.read_text("utf-8") for page in script.PAGES)
    marked = list(script.MARKED.finditer(page))
    assert [found["name"] for found in marked] == list(script.PARTS)
    for found in marked:
        assert script._part(found["name"]) == found[0]
    for path, svg in pictures.items():
        assert svg.startswith(b"\x89PNG" if path.suffix == ".png" else "<?xml")
        assert path.is_file()
        assert f"]({path.relative_to(script.PAGES[0].parent).as_posix()})" in page
