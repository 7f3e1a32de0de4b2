"""The public names, and entries of registries from other packages."""

from importlib import metadata
from pathlib import Path

import pytest

import gollum
from gollum.errors import ConfigError
from gollum.registry import Registry


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
