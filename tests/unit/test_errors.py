import inspect
import shlex

import pytest

from gollum import errors
from gollum.errors import (
    BusyError,
    ConfigError,
    DataError,
    FitError,
    GollumError,
    MissingExtraError,
    ModelError,
    TemplateError,
    UserError,
    nearest,
    quoted,
)

USER_ERRORS = (BusyError, ConfigError, DataError, MissingExtraError, ModelError, TemplateError)


def test_nearest_suggests_the_closest_option():
    assert nearest("yeild", ["ligand", "yield", "base"]) == " Did you mean 'yield'?"
    assert nearest("solvnt", iter(["solvent", "solute"])) == " Did you mean 'solvent'?"


@pytest.mark.parametrize("options", [[], ["temperature", "ligand"]])
def test_nearest_is_silent_when_nothing_is_close(options):
    assert nearest("qqqq", options) == ""


@pytest.mark.parametrize(
    "word", ["my.gollum", "yield=none", "Yield (%)=none", "a b.csv", "A&B", "$HOME", "x>1", 'a"b']
)
def test_words_of_commands_are_quoted_for_a_shell(word):
    assert shlex.split(quoted(word)) == [word]
    assert (quoted(word) == word) == (word in ("my.gollum", "yield=none"))


def test_an_exact_match_wins_over_a_longer_one():
    assert "'base'" in nearest("base", ["bases", "base", "basel"])


@pytest.mark.parametrize("kind", USER_ERRORS)
def test_mistakes_of_the_user_exit_with_2(kind):
    assert issubclass(kind, UserError)
    assert kind.exit_code == 2


def test_other_failures_exit_with_1():
    assert GollumError.exit_code == 1
    assert FitError.exit_code == 1
    assert not issubclass(FitError, UserError)


def test_every_exception_of_the_module_belongs_to_the_tree():
    found = {
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, BaseException)
    }
    assert found == {GollumError, UserError, FitError, *USER_ERRORS}
    assert all(issubclass(cls, GollumError) for cls in found)


def test_a_missing_extra_names_the_feature_and_the_command():
    message = str(MissingExtraError("the Morgan fingerprint", "chem"))
    assert message.startswith("the Morgan fingerprint ")
    assert "pip install rdkit" in message
    assert message.endswith(".")
