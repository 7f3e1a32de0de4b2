"""The examples of docs/extending.md, each run as it stands."""

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

import gollum
from gollum.acquisition.criteria import CRITERIA
from gollum.acquisition.strategy import STRATEGIES
from gollum.errors import ConfigError
from gollum.features.representations import REPRESENTATIONS
from gollum.registry import Registry
from gollum.surrogates.kernels import KERNELS
from gollum.surrogates.specs import SURROGATES

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
REGISTRIES = (REPRESENTATIONS, KERNELS, SURROGATES, CRITERIA, STRATEGIES)


@pytest.fixture
def registries():
    """Left as they were."""
    known = [dict(registry._known) for registry in REGISTRIES if list(registry)]
    yield
    for registry, entries in zip(REGISTRIES, known, strict=True):
        registry._known = entries


def test_every_example_runs(registries, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 8
    session = {"__name__": "example"}  # one after the other, as a reader would
    module = type(sys)("example")
    monkeypatch.setitem(sys.modules, "example", module)  # for dataclasses
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), session)  # noqa: S102 (it is our own page)
    assert {"runs/trend", "runs/size", "runs/in_order"} == {
        f"runs/{folder.name}" for folder in Path("runs").iterdir()
    }


def test_every_public_name_is_there_and_nothing_else():
    for name in gollum.__all__:
        assert getattr(gollum, name) is not None
    assert set(dir(gollum)) >= {"Campaign", "run", "load_config", "errors"}
    with pytest.raises(AttributeError, match="no attribute 'Campain'"):
        gollum.Campain  # noqa: B018 (looking it up is the test)
    stub = (Path(gollum.__file__).with_suffix(".pyi")).read_text()
    assert {name for name in gollum.__all__ if f" as {name}\n" not in stub} == {"__version__"}


class Point:
    """An entry point of a package that is not installed."""

    def __init__(self, name, value, group):
        self.point = metadata.EntryPoint(name, value, group)


def test_packages_announce_entries_by_entry_points(monkeypatch):
    points = [
        metadata.EntryPoint("forest", "collections:OrderedDict", "gollum.things"),
        metadata.EntryPoint("broken", "no_such_package:Thing", "gollum.things"),
        metadata.EntryPoint("built_in", "collections:deque", "gollum.things"),
    ]
    asked = []

    def entry_points(group):
        asked.append(group)
        return points

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    registry = Registry("thing", "things", {"built_in": "collections:Counter"})
    assert list(registry) == ["built_in", "forest", "broken"]
    assert registry["forest"].__name__ == "OrderedDict"
    assert registry["built_in"].__name__ == "Counter"  # our own names can't be taken
    assert asked == ["gollum.things"]
    assert registry.fact("broken", "about", "not asked") == "not asked"
    with pytest.raises(ConfigError, match=r"thing 'broken' of a package can't be loaded \(No mod"):
        registry["broken"]
    with pytest.raises(ConfigError, match=r"thing 'forst' is unknown.*Did you mean 'forest'\?"):
        registry["forst"]


def test_objects_are_known_by_their_names_and_take_no_other_ones():
    registry = Registry("thing", "things", {"built_in": "collections:Counter"})

    def mine():
        """A thing."""

    assert registry.adopt("anything") == "anything"
    assert registry.adopt(mine) == registry.adopt(mine) == "mine"
    assert registry["mine"] is mine
    mine.name = "built_in"
    with pytest.raises(ConfigError, match="there is another thing 'built_in'"):
        registry.adopt(mine)
    with pytest.raises(ConfigError, match="needs a name by which it is recorded"):
        registry.adopt(lambda: None)
