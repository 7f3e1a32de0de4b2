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


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The page of a folder with one campaign, 'demo'; long work is done in threads."""
    import web

    web.threads(monkeypatch)
    web.make(tmp_path)
    made = web.app_of(tmp_path)
    yield made
    web.jobs_of(made).close()


@pytest.fixture
def browser(app):
    """Somebody who has opened the page."""
    import web

    return web.Browser(app)


@pytest.fixture
def robot(app):
    """Somebody who says the token."""
    import web

    return web.robot(app)
