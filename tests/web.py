"""The page as a test opens it: no port, no process, and forms as a browser would send them."""

import queue
import re
import threading
from html.parser import HTMLParser
from types import SimpleNamespace

import pandas as pd
from starlette.testclient import TestClient

from gollum.api import Campaign
from gollum.web import jobs, work
from gollum.web.app import make_app
from gollum.web.folder import Folder
from gollum.web.keys import Keys

HOST = "http://127.0.0.1:8765"


def grid():
    rows = [(x, b, t) for x in "ABCD" for b in "KLM" for t in (40, 60, 80)]
    return pd.DataFrame(rows, columns=["ligand", "base", "temperature_C"])


def make(folder, name="demo", **options):
    """A campaign that learns in no time."""
    given = {"table": grid(), "objective": "yield", "surrogate": "one_hot"} | options
    return Campaign.create(folder / f"{name}.gollum", **given)[0]


class Fields(HTMLParser):
    """The fields of all forms of a page, by the address that each form is sent to."""

    def __init__(self, text):
        super().__init__()
        self.forms, self._form, self._select = {}, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        if tag == "form":
            self._form = self.forms.setdefault(said.get("action", ""), {})
        elif self._form is None:
            return
        elif tag == "select":
            self._select = said["name"]
        elif tag == "option" and self._select:
            if "selected" in said or self._select not in self._form:
                self._form[self._select] = said.get("value")
            self._text = ""
        elif tag == "input" and said.get("type") == "checkbox" and "checked" not in said:
            return
        elif tag == "input" and "name" in said and said.get("type") != "file":
            self._form[said["name"]] = said.get("value", "")

    def handle_data(self, data):
        if self._form is not None and self._select and self._form.get(self._select) is None:
            self._form[self._select] = data

    def handle_endtag(self, tag):
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None


class Browser:
    """A session of somebody who has opened the printed address."""

    def __init__(self, app):
        self.client = TestClient(app, base_url=HOST)
        self.client.get(f"/enter?token={app.keys.token}")

    def get(self, path, **options):
        return self.client.get(path, **options)

    def fields(self, path, action=None):
        """The fields of the form on a page that goes to an address (that of the page)."""
        return Fields(self.get(path).text).forms[action or path]

    def send(self, path, action=None, files=None, **fields):
        """Fill in a form of a page and send it."""
        action = action or path
        return self.client.post(action, data=self.fields(path, action) | fields, files=files)


def robot(app, **headers):
    """A client that says the token."""
    headers |= {"authorization": f"Bearer {app.keys.token}"}
    return TestClient(app, base_url=HOST, headers=headers)


def threads(monkeypatch):
    """Let jobs work in threads, which need not import PyTorch first."""

    class End:
        """Both ends of a pipe."""

        def __init__(self):
            self.words = queue.SimpleQueue()

        def send(self, word):
            self.words.put(word)

        def recv(self):
            word = self.words.get()
            if word is None:
                raise EOFError
            return word

        def close(self):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    class Thread(threading.Thread):
        def run(self):
            super_run, pipe = super().run, self._args[-1]
            super_run()
            pipe.send(None)

        def kill(self):
            pass

        def close(self):
            pass

    def pipe(duplex):
        end = End()
        return end, end

    context = SimpleNamespace(Process=Thread, Pipe=pipe, get_start_method=lambda: "thread")
    monkeypatch.setattr(work, "apart", work.work)
    made = jobs.Jobs.__init__

    def init(self):
        made(self)
        self._context = context

    monkeypatch.setattr(jobs.Jobs, "__init__", init)


def app_of(path, keys=None, house=None):
    return make_app(Folder(path), keys or Keys(), house)


def jobs_of(app):
    return inner(app).state.jobs


def inner(app):
    """The application behind the guard."""
    return app.app


def finish(app):
    """Wait for all work."""
    for job in list(jobs_of(app)._jobs.values()):
        assert job.ended.wait(60)


def visible(text):
    """The words of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text))


def state_of(app, name="demo"):
    """What is known of a campaign that is served."""
    return Campaign(inner(app).state.folder.file(name)).state()
