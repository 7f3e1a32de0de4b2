"""Rankings and a chat model's scores as sources: on the command line and in Python."""

import http.server
import json
import re
import threading

import numpy as np
import pandas as pd
import pytest

from gollum import Campaign
from gollum.errors import ConfigError, DataError, ModelError

pytest.importorskip("httpx2")
pytest.importorskip("tenacity")

GRID = pd.MultiIndex.from_product(
    [["XPhos", "SPhos", "PPh3", "dppf"], ["K3PO4", "DBU"], [20.0, 60.0, 100.0]],
    names=["ligand", "base", "temperature"],
).to_frame(index=False)
FEW = {"averaging.particles": 16, "averaging.moves": 2}


class Handler(http.server.BaseHTTPRequestHandler):
    """Scores options by their length, or says what it was told to say."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, asked))
        prompt = asked["messages"][1]["content"]
        options = re.findall(r"^(\d+)\. (.*)$", prompt, re.MULTILINE)
        said = json.dumps({number: min(100, 10 * len(option)) for number, option in options})
        text = self.server.said or f"Here you are:\n```json\n{said}\n```"
        body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.requests, listening.said = [], ""
        listening.url = f"http://127.0.0.1:{listening.server_port}/v1"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("GOLLUM_CACHE", str(tmp_path / "cache"))
    for name in ("GOLLUM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    GRID.to_csv("conditions.csv", index=False)


def begun(name, table=GRID, objective="yield", **options):
    campaign, _ = Campaign.create(name, table=table, objective=objective, surrogate="averaged",
                                  keys=FEW, **options)  # fmt: skip
    return campaign


@pytest.fixture
def campaign():
    return begun("new.gollum")


def test_a_ranking_leads_the_first_batch(campaign):
    event = campaign.rank("Ligand = dppf > xphos, SPhos > PPh3")
    assert event.name == "ranking of ligand"
    scores = dict(zip(event.results.columns["ligand"], event.values, strict=True))
    assert scores == {"dppf": 2.0, "XPhos": 1.0, "SPhos": 1.0, "PPh3": 0.0}
    assert not event.comparable
    chosen = campaign.suggest(3)
    assert set(chosen["ligand"]) == {"dppf"}
    # Nothing tells the level of the yield yet, so no number is told.
    assert chosen["predicted yield"].isna().all()
    assert all(s.inherited is None for s in campaign.state().batches[-1].suggestions)
    assert all(replayed.agrees for replayed in campaign.replay())
    campaign.record(chosen.assign(**{"yield": [50, 60, 40]}))
    assert campaign.suggest(2)["predicted yield"].notna().all()


def test_quantities_are_ranked_too_and_less_is_turned_around():
    campaign = begun("cost.gollum", objective="cost", goal="minimize")
    event = campaign.rank("temperature=20 > 60 > 100")
    assert dict(zip(event.results.columns["temperature"], event.values, strict=True)) == {
        20.0: -2.0, 60.0: -1.0, 100.0: 0.0,
    }  # fmt: skip
    assert set(campaign.suggest(3)["temperature"]) == {20.0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ligand", "is no ranking; write one as in"),
        ("ligand=XPhos", "is no ranking"),
        ("metal=Pd > Ni", "no column 'metal' to rank"),
        ("ligand=XPhos > SPhoss", r"has no option 'SPhoss'. Did you mean 'SPhos'\?"),
        ("ligand=XPhos > SPhos > XPhos", "names 'XPhos' twice"),
        ("temperature=hot > 20", "'hot' is none"),
    ],
)
def test_what_is_no_ranking_is_one_sentence(campaign, text, words):
    before = campaign.path.read_bytes()
    with pytest.raises(ConfigError, match=words):
        campaign.rank(text)
    assert campaign.path.read_bytes() == before


def test_a_second_ranking_of_a_column_has_to_replace_the_first(campaign):
    campaign.rank("ligand=XPhos > SPhos")
    with pytest.raises(DataError, match=r'--forget "ranking of ligand"'):
        campaign.rank("ligand=SPhos > XPhos")
    campaign.forget("ranking of ligand")
    campaign.rank("ligand=SPhos > XPhos")


def test_a_chat_model_is_asked_about_each_factor_once(campaign, server):
    seen = []
    events = campaign.ask("m", server.url, confirm=lambda text: seen.append(text) or True)
    assert [event.name for event in events] == ["m on ligand", "m on base", "m on temperature"]
    assert dict(zip(events[0].results.columns["ligand"], events[0].values, strict=True)) == {
        "XPhos": 50.0, "SPhos": 50.0, "PPh3": 40.0, "dppf": 40.0,
    }  # fmt: skip
    assert "3 of 3 texts go to 127.0.0.1" in seen[0]
    assert {path for path, _ in server.requests} == {"/v1/chat/completions"}
    prompt = server.requests[0][1]["messages"][1]["content"]
    assert "judged by: yield (maximize)" in prompt
    assert "- base: K3PO4, DBU" in prompt
    assert "PPh3" not in set(campaign.suggest(2)["ligand"])
    begun("again.gollum").ask("m", server.url)  # everything is stored, so nobody has to agree
    assert len(server.requests) == 3


def test_nothing_is_sent_without_consent(campaign, server):
    before = campaign.path.read_bytes()
    with pytest.raises(ModelError, match="needs your consent"):
        campaign.ask("m", server.url)
    assert server.requests == []
    assert campaign.path.read_bytes() == before


@pytest.mark.parametrize(
    "said",
    ["no idea", "{}", '{"1": 5}', '{"1": 1, "2": 2, "3": "high", "4": 3}',
     '{"1": 1, "2": 2, "3": 101, "4": 3}', '{"1": 1, "2": 2, "3": true, "4": 3}'],
)  # fmt: skip
def test_an_answer_that_is_none_changes_nothing(campaign, server, said, monkeypatch):
    monkeypatch.setattr("gollum.language.remote.server._seconds_to_wait", lambda _: 0.0)
    server.said = said
    before = campaign.path.read_bytes()
    with pytest.raises(ModelError, match="something else than it was asked for; 0 of 1 answers"):
        campaign.ask("m", server.url, columns=["ligand"], confirm=True)
    assert campaign.path.read_bytes() == before
    assert len(server.requests) == 3  # tried again, and given up


def test_many_options_are_sampled_and_numbers_spread(server):
    table = pd.DataFrame({"molecule": [f"m{i}" for i in range(200)], "dose": np.arange(200.0)})
    campaign = begun("m.gollum", table, inputs=["molecule", "dose"])
    events = campaign.ask("m", server.url, columns=["molecule", "dose"], confirm=True)
    assert [len(event.values) for event in events] == [60, 7]
    assert events[1].results.columns["dose"][0] == 0.0
    assert events[1].results.columns["dose"][-1] == 199.0


def test_rank_and_ask_on_the_command_line(gollum, server):
    gollum("init", "c.gollum", "--table", "conditions.csv", "--objective", "yield",
           "--surrogate", "averaged")  # fmt: skip
    code, out, _ = gollum("learn", "c.gollum", "--rank", "ligand=dppf > XPhos, SPhos")
    assert (code, out) == (
        0, "c.gollum learns from ranking of ligand: dppf > XPhos, SPhos.\n",
    )  # fmt: skip
    code, _, err = gollum("learn", "c.gollum", "--ask", "m")
    assert (code, err) == (2, "gollum: --ask MODEL and --url ADDRESS belong together; give both.\n")
    far = ("learn", "c.gollum", "--ask", "m", "--url", "http://example.com/v1")
    assert "gollum: --url 'http://example.com/v1' would send" in gollum(*far)[2]
    ask = ("learn", "c.gollum", "--ask", "m", "--url", server.url, "--about", "base")
    code, _, err = gollum(*ask)
    assert code == 2
    assert "needs your consent" in err
    code, out, _ = gollum(*ask, "--confirm")
    assert (code, "c.gollum learns from m on base: K3PO4 > DBU." in out) == (0, True)
    code, out, _ = gollum("status", "c.gollum")
    assert "Learns from ranking of ligand: 3 options, joined by ligand." in out
