"""What tests of commands have in common."""

import pytest

from gollum.cli import main


@pytest.fixture
def gollum(capsys):
    """Run a command; returns exit code, output and the error's sentence."""

    def run(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return run
