"""`gollum models`: the table, one model in full, and fetching one."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from gollum.cli import main
from gollum.language import obtain
from gollum.language.catalog import CATALOG, Hub, ModelCard
from gollum.language.embed import embed, tokenize
from helpers import LAYERS, WIDTH, load, load_backbone, make_texts

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEXTS = make_texts(4)
TABLE_SECONDS = 1.5


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """An empty models folder, no cache of the hub's, and a wide terminal."""
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


@pytest.fixture
def says(capsys):
    """Run a command and return its exit code and what it prints."""

    def run(*words):
        capsys.readouterr()  # what a fixture printed
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def shown(says):
    """Run a command that must succeed and return what it prints."""

    def run(*words):
        code, out, err = says(*words)
        assert (code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused(says, tmp_path):
    """Run a command that must be refused in one sentence; nothing may be left."""

    def run(*words):
        before = set(tmp_path.rglob("*"))
        code, _, err = says(*words)
        assert code == 2, err
        assert err.startswith("gollum: ")
        assert len(err.splitlines()) == 1
        assert err.rstrip("\n").endswith((".", "?"))
        assert set(tmp_path.rglob("*")) == before
        return err

    return run


def rows(table):
    lines = [line.split("  ") for line in table.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    return {row[0]: row[1:] for row in cells if len(row) > 1}


def details(shown_text):
    lines = [line.split("│") for line in shown_text.splitlines() if "│" in line]
    return {line[1].strip(): line[2].strip() for line in lines if line[1].strip()}


# --- the table -----------------------------------------------------------------------------------


def test_every_short_name_is_listed(shown, models):
    table = rows(shown("models"))
    for name, card in CATALOG.items():
        here, family, pooling, reads, licence, origin = table[name]
        assert (family, pooling, reads) == (card.family, card.pooling, card.reads)
        assert licence == card.licence
        assert origin == ("hub" if isinstance(card.origin, Hub) else "pip")
        assert (here == "no") == (name != "minilm")
    assert table["minilm"][0].endswith(" MiB")


def test_what_the_models_folder_holds_is_listed(shown, models, model_folder):
    shutil.copytree(model_folder("t5"), models / "t5-base")
    shutil.copytree(model_folder("gpt2"), models / "mine")
    size = sum(file.stat().st_size for file in (models / "mine").iterdir())
    table = rows(shown("models"))
    assert table["t5-base"][0] != "no"
    assert table["mine"] == [f"{size / 2**20:.1f} MiB", "gpt2"]
    assert str(models) in shown("models")


def test_a_model_in_the_hubs_cache_is_here(shown, tmp_path, model_folder):
    repository = tmp_path / "cache" / "models--google-t5--t5-base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(model_folder("t5"), repository / "snapshots" / COMMIT)
    assert rows(shown("models"))["t5-base"][0] != "no"
    found = details(shown("models", "t5-base"))
    assert found["revision"] == COMMIT
    assert found["here"] == str(repository / "snapshots" / COMMIT)


@pytest.mark.parametrize(("name", "found"), [("mpnet", False), ("t5-base", True)])
def test_a_local_folder_of_that_name_counts_where_it_would_be_loaded(
    shown, tmp_path, model_folder, name, found
):
    shutil.copytree(model_folder("t5"), tmp_path / name)
    assert (rows(shown("models"))[name][0] != "no") == found
    assert ("no: gollum models get" in shown("models", name)) != found


def test_the_table_is_quick_and_imports_no_torch(tmp_path):
    command = [sys.executable, "-X", "importtime", "-m", "gollum.cli", "models"]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
    names = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "gollum.report.models" in names
    assert not names & {"torch", "transformers", "numpy", "pandas"}
    assert min(seconds) < TABLE_SECONDS
    assert not (tmp_path / "models").exists()


# --- one model -----------------------------------------------------------------------------------


def test_one_model_in_full(shown):
    found = details(shown("models", "minilm"))
    card = CATALOG["minilm"]
    assert found["from"] == f"pip: {card.origin.requirement}"
    assert found["sha256"] == card.sha256
    assert found["hidden size"] == "384 (config.json)"
    assert found["layers"] == "6 (config.json)"
    assert found["pooling"] == "mean (catalog)"
    assert found["prefix"] == "none"
    assert found["reads"] == "text"
    assert Path(found["here"], "model.safetensors").is_file()
    assert card.about in shown("models", "minilm")


def test_a_model_that_is_not_here(shown):
    found = details(shown("models", "modernbert"))
    assert found["here"] == "no: gollum models get modernbert"
    assert found["from"] == "hub: nomic-ai/modernbert-embed-base"
    assert found["pooling"] == "cls (catalog)"
    assert found["prefix"] == "'search_document: '"
    assert "hidden size" not in found


def test_a_model_whose_package_is_absent(shown, monkeypatch):
    origin = replace(CATALOG["minilm"].origin, module="no_such_module")
    monkeypatch.setitem(CATALOG, "minilm", replace(CATALOG["minilm"], origin=origin))
    assert details(shown("models", "minilm"))["here"] == f"no: pip install {origin.requirement}"
    assert rows(shown("models"))["minilm"][0] == "no"


@pytest.mark.parametrize("family", ["distilbert", "t5", "gpt2"])
def test_sizes_are_read_from_the_models_files(shown, model_folder, family):
    found = details(shown("models", model_folder(family)))
    assert found["hidden size"] == f"{WIDTH} (config.json)"
    assert found["layers"] == f"{LAYERS} (config.json)"
    assert found["architecture"] == family
    assert found["pooling"].endswith(" (its family)")
    assert {"from", "licence", "reads", "revision", "sha256"}.isdisjoint(found)


def test_pooling_and_prefix_of_sentence_transformers_files(shown, models, model_folder):
    folder = Path(shutil.copytree(model_folder("bert"), models / "mine"))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    prompts = {"prompts": {"doc": "text: "}, "default_prompt_name": "doc"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    found = details(shown("models", "mine"))
    assert found["pooling"] == "mean (1_Pooling/config.json)"
    assert found["prefix"] == "'text: ' (config_sentence_transformers.json)"


@pytest.mark.parametrize(("name", "near"), [("mpent", "mpnet"), ("minne", "mine")])
def test_an_unknown_model(refused, models, model_folder, name, near):
    shutil.copytree(model_folder("bert"), models / "mine")
    assert f"Did you mean '{near}'?" in refused("models", name)


def test_an_unreadable_configuration(refused, models):
    (models / "mine").mkdir(parents=True)
    (models / "mine" / "config.json").write_text("{ not json")
    assert "config.json' is not readable" in refused("models", "mine")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get"], "name one model to fetch"),
        (["get", "a", "b"], "name one model to fetch"),
        (["a", "b"], "'b' is not an option"),
        (["--download", "a"], "'--download' is not an option"),
        (["--quiet"], "'--quiet' is not an option"),
        (["get", "mpent", "--yes"], "Did you mean 'mpnet'?"),
    ],
)
def test_words_that_mean_nothing(refused, words, said):
    assert said in refused("models", *words)


# --- fetching ------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch, model_folder):
    """A model in the catalog whose fetching copies a folder."""

    def fill(folder, scratch):
        shutil.copytree(model_folder("bert"), folder, dirs_exist_ok=True)

    card = ModelCard(Hub("a/b"), about="a tiny model", licence="MIT")
    order = obtain.Order("tiny", card, "parts", 5 * 2**20, 7 * 2**20, 1, fill, COMMIT)
    monkeypatch.setitem(CATALOG, "tiny", card)
    monkeypatch.setattr(obtain, "plan", lambda name: {"tiny": order}[name])


@pytest.fixture
def terminal(monkeypatch):
    """Somebody who answers."""

    def answer(text):
        def read(prompt):
            assert prompt.endswith("[y/N] ")
            if text is None:
                raise EOFError
            return text

        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", read)

    return answer


def test_what_will_be_fetched_is_said_and_done(shown, tiny, models):
    said = shown("models", "get", "tiny", "--yes").splitlines()
    assert said[0] == "tiny: a tiny model. Licence: MIT."
    assert said[1] == f"Fetches 5.0 MiB (parts) and makes {models / 'tiny'} (7.0 MiB)."
    assert said[2] == f"tiny is here now, checked: {models / 'tiny'}"
    assert details(shown("models", "tiny"))["revision"] == COMMIT


def test_a_model_that_is_here_is_not_fetched_again(shown, tiny, models, monkeypatch):
    shown("models", "get", "tiny", "--yes")
    monkeypatch.setattr(obtain, "plan", None)
    said = shown("models", "get", "tiny")
    assert said == f"tiny is here already, checked: {models / 'tiny'}\n"


def test_a_damaged_model_is_not_called_good(shown, refused, tiny, models):
    shown("models", "get", "tiny", "--yes")
    (models / "tiny" / "config.json").write_text("{}")
    said = refused("models", "get", "tiny", "--yes")
    assert "is not what was fetched; delete that folder" in said


@pytest.mark.parametrize("words", [["y"], ["Yes "]])
def test_yes_goes_on(shown, tiny, terminal, models, words):
    terminal(*words)
    shown("models", "get", "tiny")
    assert (models / "tiny" / "config.json").is_file()


@pytest.mark.parametrize("word", ["", "n", "no", "maybe", None])
def test_anything_else_does_not(shown, tiny, terminal, models, word):
    terminal(word)
    assert shown("models", "get", "tiny").splitlines()[-1] == "Nothing was fetched."
    assert not models.exists()


def test_without_a_terminal_yes_must_be_said_beforehand(refused, tiny):
    said = refused("models", "get", "tiny")
    assert "this is no terminal" in said
    assert "`gollum models get tiny --yes`" in said


# --- the model hub -------------------------------------------------------------------------------


class _Hub(BaseHTTPRequestHandler):
    """The few questions of the hub's client, about one folder."""

    folder, repository, damaged = Path(), "", False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        files = f"/{self.repository}/resolve/{COMMIT}/"
        about = f"/api/models/{self.repository}"
        if path.startswith(f"{about}/tree/"):
            self._send(json.dumps(self._tree()).encode(), "application/json")
        elif path.startswith(about):
            self._send(json.dumps(self._info()).encode(), "application/json")
        elif path.startswith(files) and (self.folder / path.removeprefix(files)).is_file():
            self._send((self.folder / path.removeprefix(files)).read_bytes())
        else:
            self.send_error(404)

    def _info(self):
        siblings = []
        for file in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            content = file.read_bytes()
            sibling = {"rfilename": file.relative_to(self.folder).as_posix(), "size": len(content)}
            if file.suffix in (".safetensors", ".bin"):
                digest = "0" * 64 if self.damaged else hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 1}
            siblings.append(sibling)
        return {"id": self.repository, "sha": COMMIT, "siblings": siblings, "private": False}

    def _tree(self):
        files = [(entry["rfilename"], entry["size"]) for entry in self._info()["siblings"]]
        return [{"type": "file", "path": path, "size": n, "oid": "0"} for path, n in files]

    def _send(self, content, kind="application/octet-stream"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """Serve a folder as a repository; returns the environment that finds it."""
    servers = []

    def serve(name, folder, damaged=False):
        kind = type("Handler", (_Hub,), {})
        kind.folder, kind.repository = folder, CATALOG[name].origin.id
        kind.damaged = damaged
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
        }

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def gollum(environment, *words):
    command = [sys.executable, "-m", "gollum.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(model_folder, tmp_path):
    """A tiny encoder-decoder, with more in it than a model needs."""
    folder = Path(shutil.copytree(model_folder("t5"), tmp_path / "repository"))
    for name in ("README.md", "onnx/model.safetensors", "run.py", "tf_model.h5"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not wanted")
    return folder


def same_vectors(name, folder):
    from helpers import CPU

    ours, theirs = load_backbone(name, CPU), load(folder)
    texts = tokenize(theirs, TEXTS)
    assert ours.pooling == "mean"
    return torch.equal(embed(ours, tokenize(ours, TEXTS)), embed(theirs, texts))


def test_a_model_of_the_hub(hub, repository, models, shown):
    done = gollum(hub("t5-base", repository), "models", "get", "t5-base", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"hub: google-t5/t5-base at commit {COMMIT[:12]}" in done.stdout
    assert {entry.name for entry in models.iterdir()} == {"t5-base"}
    found = {p.relative_to(models / "t5-base").as_posix() for p in models.rglob("t5-base/**/*")}
    assert found == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        obtain.RECORD,
    }
    assert same_vectors("t5-base", repository)
    about = details(shown("models", "t5-base"))
    assert about["revision"] == COMMIT
    assert about["sha256"].endswith(" (model.safetensors)")
    assert obtain.verified("t5-base") == models / "t5-base"


def test_pickled_weights_of_the_hub_become_safe_ones(hub, repository, models, model_folder):
    (repository / "model.safetensors").unlink()
    model = AutoModel.from_pretrained(model_folder("t5"))
    torch.save(model.state_dict(), repository / "pytorch_model.bin")
    done = gollum(hub("t5-chem", repository), "models", "get", "t5-chem", "--yes")
    assert done.returncode == 0, done.stderr
    assert not list(models.rglob("*.bin"))
    assert same_vectors("t5-chem", model_folder("t5"))


def test_a_damaged_file_of_the_hub(hub, repository, models):
    environment = hub("t5-base", repository, damaged=True)
    done = gollum(environment, "models", "get", "t5-base", "--yes")
    assert done.returncode == 2
    assert "'model.safetensors' came damaged from the hub" in done.stderr
    assert list(models.iterdir()) == []


def test_a_repository_without_weights(hub, repository, models):
    (repository / "model.safetensors").unlink()
    done = gollum(hub("t5-base", repository), "models", "get", "t5-base", "--yes")
    assert done.returncode == 2
    assert "google-t5/t5-base holds no weights that can be read." in done.stderr
    assert not models.exists()


def test_a_hub_that_lacks_the_model(hub, repository):
    done = gollum(hub("t5-chem", repository), "models", "get", "t5-base", "--yes")
    assert done.returncode == 2
    assert "model 't5-base' could not be had from the model hub" in done.stderr
    assert done.stderr.count("\n") == 1


def test_no_hub_in_reach(refused):
    said = refused("models", "get", "t5-base", "--yes")  # the tests run offline
    assert "could not be had from the model hub" in said
    assert "a local folder with the model's files" in said
