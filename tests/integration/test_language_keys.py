"""Keys of a run that concern the language model, through the command as users give it."""

import hashlib
import http.server
import io
import json
import re
import threading
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

from gollum.cli import main
from gollum.language import catalog
from gollum.language.embed import tokenize
from gollum.report.console import ConsoleListener

ROWS = 14
KEY = "secret-0123456789"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    for name in ("GOLLUM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def table(tmp_path):
    words = [f"w{i} w{i + 1}" for i in range(ROWS)]
    columns = {"first": words, "second": words[::-1], "yield": range(ROWS)}
    columns["reaction"] = [f"C{'C' * i}>>CO" for i in range(ROWS)]
    file = tmp_path / "table.csv"
    pd.DataFrame(columns).to_csv(file, index=False)
    return file


def run(table, folder, **keys):
    """Exit code of a short run."""
    given = {
        "data.path": table, "data.objective": "yield", "data.inputs": "[first, second, reaction]",
        "data.template": "{first} and {second}", "model.name": folder, "surrogate": "static",
        "n_init": 4, "n_iters": 2, "device": "cpu", "output": "out", **keys,
    }  # fmt: skip
    return main(["run", *(str(w) for key, value in given.items() for w in (f"--{key}", value))])


def refusal(capsys, *arguments, **keys):
    """The one sentence of a run that is refused before anything is written."""
    assert run(*arguments, **keys) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


# --- the model -----------------------------------------------------------------------------------


def test_prefix_and_length_are_told(table, model_folder, capsys):
    keys = {"model.prefix": "w9 ", "model.normalize": "true", "model.pooling": "mean"}
    assert run(table, model_folder("bert"), **keys) == 0
    assert (
        "'w9 ' before each text, mean pooling, 32 features of length 1" in capsys.readouterr().out
    )


@pytest.mark.parametrize("surrogate", ["llm_phi", "pllm_phi"])
def test_checkpointing_changes_no_choice(table, model_folder, capsys, surrogate):
    traces = []
    for checkpointing in ("false", "true"):
        keys = {"lora.checkpointing": checkpointing, "output": f"out-{checkpointing}"}
        keys |= {"optimizer.max_evaluations": 5, "model.precision": "float32"}
        assert run(table, model_folder("llama"), surrogate=surrogate, **keys) == 0
        traces.append(pd.read_csv(f"out-{checkpointing}/trace.csv")[["id", "loss"]])
    pd.testing.assert_frame_equal(*traces)


def test_a_model_that_can_not_fit_is_refused_before_it_is_read(
    table, model_folder, capsys, monkeypatch
):
    monkeypatch.setattr("gollum.language.loading.load_backbone", lambda *_, **__: 1 / 0)
    said = refusal(capsys, table, model_folder("bert"), memory_gb="0.00001")
    assert re.search(r"its weights take .* in \w+, but .* are allowed by --memory_gb", said)


# --- texts that are too long ---------------------------------------------------------------------


def test_a_text_that_loses_a_column_is_refused_with_row_and_column(table, model_folder, capsys):
    long = {"data.template": "{first} " + "w1 " * 12 + "{second}", "model.max_tokens": 12}
    said = refusal(capsys, table, model_folder("bert"), **long)
    assert re.search(r"the text of '\S+' is cut at 12 tokens and loses 'second';", said)
    assert "--model.allow_truncation true" in said
    assert run(table, model_folder("bert"), **long, **{"model.allow_truncation": "true"}) == 0
    assert f"{ROWS} of {ROWS} distinct texts were cut at 12 tokens" in capsys.readouterr().out


def test_a_cut_behind_the_last_column_loses_nothing(table, model_folder, capsys):
    long = {"data.template": "{first} {second}" + " w1" * 12, "model.max_tokens": 12}
    assert run(table, model_folder("bert"), **long) == 0
    assert "distinct texts were cut" in capsys.readouterr().out


def test_a_prefix_counts_but_is_no_column(table, model_folder, capsys):
    # [CLS], six words of the prefix, two columns of two words, [SEP]: the last word is cut off.
    long = {"data.template": "{first} {second}", "model.prefix": "w1 " * 6, "model.max_tokens": 11}
    assert "loses 'second';" in refusal(capsys, table, model_folder("bert"), **long)
    assert run(table, model_folder("bert"), **long | {"model.max_tokens": 12}) == 0


def test_of_a_text_column_cuts_are_only_counted(table, model_folder, capsys):
    data = pd.read_csv(table).assign(words="w1 " * 30)
    data.words += [f"w{i}" for i in range(ROWS)]
    data.to_csv(table, index=False)
    keys = {"data.inputs": "[words, first]", "data.text_column": "words", "data.template": "null"}
    assert run(table, model_folder("bert"), **keys, **{"model.max_tokens": 12}) == 0
    assert "distinct texts were cut" in capsys.readouterr().out


# --- models that read reactions ------------------------------------------------------------------


def test_a_model_of_reactions_reads_reactions(table, model_folder, capsys, monkeypatch):
    card = catalog.ModelCard(catalog.Hub("x"), reads="reaction SMILES")
    monkeypatch.setitem(catalog.CATALOG, str(model_folder("bert")), card)
    said = refusal(capsys, table, model_folder("bert"))
    assert "reads reaction SMILES" in said
    assert "--data.reaction" in said
    read = []

    def noting(backbone, texts, limit):
        read.append(texts)
        return tokenize(backbone, texts, limit)

    monkeypatch.setattr("gollum.features.texts.tokenize", noting)
    assert run(table, model_folder("bert"), **{"data.reaction": "reaction"}) == 0
    assert read == [tuple(pd.read_csv(table).reaction)]


# --- a model behind a server ---------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += body["input"]
        digests = [hashlib.sha256(text.encode()).digest() for text in body["input"]]
        data = [
            {"index": i, "embedding": [byte / 256 for byte in digest[:5]]}
            for i, digest in enumerate(digests)
        ]
        content = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    pytest.importorskip("httpx2")
    pytest.importorskip("tenacity")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.asked = []
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def remote(server, **keys):
    address = f"http://127.0.0.1:{server.server_port}/v1"
    return {"remote.url": address, "remote.model": "far", **keys}


@pytest.mark.parametrize("surrogate", ["static", "pllm"])
def test_vectors_of_a_server_are_asked_for_once(table, capsys, monkeypatch, server, surrogate):
    monkeypatch.setenv("GOLLUM_API_KEY", KEY)
    keys = remote(server, surrogate=surrogate, **{"remote.confirm": "true"})
    assert run(table, "minilm", **keys) == 0
    assert len(server.asked) == len(set(server.asked)) == ROWS
    assert server.asked[0].startswith("w")
    said = capsys.readouterr().out
    assert f"far at 127.0.0.1:{server.server_port}: 5 features." in said
    assert run(table, "minilm", **keys, output="again") == 0
    assert len(server.asked) == ROWS
    for file in ("out/config.yaml", "out/summary.json", "out/trace.csv"):
        assert KEY not in Path(file).read_text("utf-8")
    assert yaml.safe_load(Path("out/config.yaml").read_text("utf-8"))["remote"]["model"] == "far"


def test_nothing_is_sent_without_consent(table, capsys, server):
    said = refusal(capsys, table, "minilm", **remote(server))
    assert "--remote.confirm true" in said
    assert server.asked == []


def test_a_server_can_not_be_adapted(table, capsys, server):
    keys = remote(server, surrogate="pllm_phi")
    assert "pllm or static" in refusal(capsys, table, "minilm", **keys)


def test_an_address_needs_a_model(table, capsys):
    said = refusal(capsys, table, "minilm", **{"remote.url": "https://api.example.com/v1"})
    assert "remote.url and remote.model belong together" in said


@pytest.mark.parametrize(
    ("answer", "terminal", "agreed"), [("y", True, True), ("", True, False), ("y", False, False)]
)
def test_who_sits_at_a_terminal_is_asked(monkeypatch, answer, terminal, agreed):
    class Keyboard(io.StringIO):
        def isatty(self):
            return terminal

    monkeypatch.setattr("sys.stdin", Keyboard(answer + "\n"))
    screen = io.StringIO()
    with ConsoleListener(Console(file=screen, force_terminal=True)) as watcher:
        assert watcher.consents("3 texts go to example.com.") is agreed
    assert ("3 texts go to example.com." in screen.getvalue()) == terminal
