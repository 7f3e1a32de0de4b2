"""What a campaign is told at its beginning and later, by forms alone."""

import html

import pytest

pytest.importorskip("fastapi", reason="the page needs the 'web' extra")

import web
from gollum.api import Campaign


def filled(folder, name="old"):
    """A campaign with results to learn from."""
    made = web.make(folder, name)
    made.record([
        {"ligand": x, "base": "K", "temperature_C": 60, "yield": y}
        for x, y in (("A", 5), ("B", 40), ("C", 20))
    ])  # fmt: skip
    return made


def change(browser, action, **fields):
    """Send one form of the settings; the words of the page that follows."""
    answer = browser.send("/c/demo/settings", f"/c/demo/{action}", **fields)
    return html.unescape(web.visible(answer.text))


def test_all_that_init_takes_is_said_at_the_beginning(app, browser, tmp_path):
    filled(tmp_path)
    lines = [f"{x};{t};{s};;" for x in "AB" for t in (40, 60) for s in ("low", "high")]
    answer = browser.send("/begin", pasted="\n".join(["ligand;heat;stirring;yield;ee", *lines]))
    key = answer.url.path
    fields = web.Fields(answer.text).forms[key]
    assert fields["o0-name"] == "yield"
    said = {
        "o0-name": "yield", "o0-goal": "maximize", "o0-low": "0", "o0-high": "100",
        "o0-failed": "0,5", "o0-scale": "identity", "o1-name": "ee", "o1-goal": "at-least",
        "o1-value": "90,5", "c2": "ordinal", "n2": "low, high", "u1": "°C", "failed-word": "n.d.",
        "surrogate": "averaged", "acquisition": "q_log_ei", "name": "new", "learn": ["old"],
    }  # fmt: skip
    looked = browser.client.post(key, data=fields | said)
    assert "number in °C" in web.visible(looked.text)
    again = web.Fields(looked.text).forms[key]
    assert (again["u1"], again["o1-value"], again["n2"]) == ("°C", "90,5", "low, high")
    begun = browser.client.post(key, data=again | said | {"go": "1"})
    assert begun.url.path == "/c/new"
    assert "3 results of old are learned from" in web.visible(begun.text)
    state = web.state_of(app, "new")
    yields, ee = state.outcomes
    assert (yields.bounds, yields.failed_as, ee.goal.words()) == ((0, 100), 0.5, "at least 90.5")
    assert state.created.units["heat"] == "°C"
    assert state.created.orders == {"stirring": ("low", "high")}
    assert state.created.failed_words == ("n.d.",)
    assert (state.policy.surrogate, state.policy.acquisition) == ("averaged", "q_log_ei")
    assert [*state.sources] == ["old"]


def test_what_cant_be_learned_from_leaves_no_campaign_behind(browser, tmp_path):
    answer = browser.send("/begin", pasted="ligand\tyield\nA\t1,5\nB\t2,5")
    fields = web.Fields(answer.text).forms[answer.url.path] | {"name": "new", "go": "1"}
    for source in ("demo", "../demo", "nowhere"):  # without results, and not there
        refused = browser.client.post(answer.url.path, data=fields | {"learn": source})
        assert refused.status_code in (404, 422)
    assert not (tmp_path / "new.gollum").exists()


def test_a_table_is_read_once(browser, monkeypatch):
    from gollum.web.pages import begin

    answer = browser.send("/begin", pasted="ligand\tyield\nA\t1,5\nB\t2,5")
    monkeypatch.setattr(begin, "read_table", lambda *_: pytest.fail("it was read again"))
    fields = web.Fields(answer.text).forms[answer.url.path]
    assert browser.client.post(answer.url.path, data=fields).status_code == 200
    begun = browser.client.post(answer.url.path, data=fields | {"name": "n", "go": "1"})
    assert begun.url.path == "/c/n"
    log = Campaign(web.inner(browser.client.app).state.folder.file("n")).log()
    assert log[0].event.source.name == "pasted.tsv"


def test_what_is_wanted_changes(app, browser):
    fields = {"o0-goal": "minimize", "o0-high": "50", "o1-name": "purity", "o1-goal": "range",
              "o1-value": "90 to 99,5"}  # fmt: skip
    said = change(browser, "want", **fields)
    assert "From now on: minimize yield; purity from 90 to 99.5" in said
    outcomes = web.state_of(app).outcomes
    assert outcomes[0].bounds == (0, 50)
    assert "is to be at least something: give a number" in change(
        browser, "want", **{"o1-goal": "at-least", "o1-value": ""}
    )
    assert web.state_of(app).outcomes == outcomes
    change(browser, "want", **{"o0-low": "", "o0-high": ""})
    assert web.state_of(app).outcomes[0].bounds == (None, None)


def test_words_policy_and_names_change(app, browser):
    assert "these words" in change(browser, "retell", template="{ligand} with {base}")
    assert "A with K" in browser.get("/c/demo/settings").text
    assert "'nothing'" in change(browser, "retell", template="{nothing}")
    assert "surrogate random" in change(browser, "configure", surrogate="random")
    assert "Nothing was changed" in change(browser, "configure")
    assert "can't be chosen" in change(browser, "configure", model="/etc")
    assert "A is called XPhos" in change(browser, "rename", column="ligand", old="A", new="XPhos")
    assert "says n.d. too" in change(browser, "failed-words", words="n.d.")
    state = web.state_of(app)
    assert (state.template, state.policy.surrogate) == ("{ligand} with {base}", "random")
    assert state.created.failed_words == ("n.d.",)


def test_earlier_campaigns_and_tables_are_learned_from(app, browser, tmp_path):
    filled(tmp_path)
    (tmp_path.parent / "secret.gollum").write_bytes((tmp_path / "old.gollum").read_bytes())
    change(browser, "configure", surrogate="averaged")
    assert "3 results of old" in change(browser, "learn-from", campaign="old")
    assert "no campaign" in change(browser, "learn-from", campaign="../secret")
    table = b"phosphine,base,area\nA,K,5\nB,K,9\nC,L,3\n"
    answer = browser.send(
        "/c/demo/settings", "/c/demo/learn-from", files={"file": ("t.csv", table)}, campaign="",
        objective="area", direction="minimize", match="ligand=phosphine",
    )  # fmt: skip
    assert "3 results of t.csv" in web.visible(answer.text)
    assert web.state_of(app).sources["t.csv"].matched["ligand"] == "phosphine"
    assert "not learned from any more" in change(browser, "forget", source="t.csv")
    assert [*web.state_of(app).sources] == ["old"]


def test_prices_are_typed_by_option(app, browser):
    said = {f"price-{i}": price for i, price in enumerate(("1,5", "2", "3", "4"))}
    assert "'D' of 'ligand' has no price" in change(
        browser, "price", column="ligand", **said | {"price-3": ""}
    )
    change(browser, "price", column="ligand", **said)
    state = web.state_of(app)
    assert state.created.prices == {"ligand": {"A": 1.5, "B": 2.0, "C": 3.0, "D": 4.0}}
    assert "Weight of costs" in browser.get("/c/demo").text
    change(browser, "price", column="ligand", **dict.fromkeys(said, ""))
    assert web.state_of(app).costs is None


def test_rows_of_a_table_join_the_candidates(app, browser):
    rows = b"ligand,base,temperature_C\nNewPhos,K,40\n"
    answer = browser.send("/c/demo/settings", "/c/demo/candidates", files={"file": ("m.csv", rows)})
    assert "1 candidates were added." in web.visible(answer.text)
    files = {"file": ("m.yaml", b"table: /etc/passwd")}
    answer = browser.send("/c/demo/settings", "/c/demo/candidates", files=files)
    assert "Send a table here" in answer.text
    assert len(web.state_of(app).table) == 37


def test_a_change_of_others_is_not_overwritten(app, browser):
    mine = browser.fields("/c/demo/settings", "/c/demo/retell")
    change(web.Browser(app), "retell", template="{base}")
    answer = browser.client.post("/c/demo/retell", data=mine | {"template": "{ligand}"})
    assert "somebody else" in answer.text
    assert web.state_of(app).template == "{base}"
