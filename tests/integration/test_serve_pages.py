"""A campaign by forms alone, without a browser."""

import json
import re

import pytest

pytest.importorskip("fastapi", reason="the page needs the 'web' extra")

import web
from gollum.api import Campaign
from gollum.web.pages.results import columns_of, found_places


def grid_fields(browser, name="demo"):
    return browser.fields(f"/c/{name}/results")


def cell(fields, run, column, app):
    """The name of a grid's field."""
    row = next(k for k, v in fields.items() if re.fullmatch(r"r\d+c0", k) and v == run)[:-2]
    return f"{row}c{columns_of(web.state_of(app)).index(column)}"


def test_a_whole_campaign_without_scripts(app, browser):
    rows = "\n".join(f"{x};{b};{t};" for x in "ABCD" for b in "KLM" for t in (40, 60, 80))
    table = f"ligand;base;temperature_C;yield\n{rows.replace('A;K;40;', 'A;K;40;12,5')}"
    answer = browser.send("/begin", files={"file": ("Ansätze 1.csv", table.encode())})
    key = answer.url.path
    words = web.visible(answer.text)
    assert "ligand A B C D input" in words
    assert "ligand: A; base: K; temperature: 40 °C" in words
    fields = web.Fields(answer.text).forms[key]
    assert fields["o0-name"] == "yield"
    looked = browser.client.post(key, data=fields | {"c2": "category"})
    assert "temperature_C 40 60 80 input , category" in web.visible(looked.text)
    fields = web.Fields(looked.text).forms[key]
    assert fields["c2"] == "category"
    begun = browser.client.post(key, data=fields | {"go": "1", "surrogate": "one_hot", "c2": ""})
    assert begun.url.path == "/c/Ansätze 1"
    home = "/c/Ans%C3%A4tze%201"
    assert "12.5" in begun.text

    browser.send(home, f"{home}/suggest", n="3")
    web.finish(app)
    page = browser.get(home)
    assert all(run in page.text for run in ("b1-1", "b1-2", "b1-3"))

    name = "Ansätze 1"
    fields = browser.fields(f"{home}/results")
    said = {"b1-1": "44,5", "b1-2": "abc", "b1-3": "failed"}
    named = {run: next(k for k, v in fields.items() if v == run)[:-1] + "4" for run in said}
    wrong = fields | {named[run]: value for run, value in said.items()}
    answer = browser.client.post(f"{home}/results", data=wrong)
    assert answer.status_code == 422
    assert len(re.findall(r"<input[^>]*aria-invalid", answer.text)) == 1
    assert re.search(rf'name="{named["b1-2"]}" value="abc"[^>]*aria-invalid', answer.text)
    assert not [r for r in web.state_of(app, name).measurements if r.startswith("b1")]
    right = web.Fields(answer.text).forms[f"{home}/results"] | {named["b1-2"]: "30"}
    answer = browser.client.post(f"{home}/results", data=right)
    assert "Recorded: 2 measured, 1 failed." in web.visible(answer.text)
    state = web.state_of(app, name)
    assert state.measurements["b1-1"].result.values == {"yield": 44.5}

    answer = browser.send(f"{home}/history", f"{home}/undo", run="b1-1")
    assert "b1-1 was taken back" in answer.text
    assert web.state_of(app, name).measurements["b1-1"].result.status == "not run"
    browser.send(f"{home}/results?run=b1-1", f"{home}/results", **{"r0c4": "50", "r0c5": ""})
    assert web.state_of(app, name).measurements["b1-1"].result.values == {"yield": 50.0}
    answer = browser.send(f"{home}/history", f"{home}/undo", run="b1-1")
    assert web.state_of(app, name).measurements["b1-1"].result.status == "not run"
    for path in ("progress", "what-if", "plate", "history"):
        assert browser.get(f"{home}/{path}").status_code == 200


def test_what_a_column_is_has_to_be_said_where_that_is_in_doubt(browser):
    lines = [f"{x},{t},{12 if t == 40 else ''},{99 if t == 40 else ''}"
             for x in "ABCD" for t in (40, 60, 80)]  # fmt: skip
    table = "ligand,t,yield,area\n" + "\n".join(lines)
    answer = browser.send("/begin", files={"file": ("t.csv", table.encode())})
    assert "Say what that is" in answer.text
    key = answer.url.path
    fields = web.Fields(answer.text).forms[key]
    answer = browser.client.post(key, data=fields | {"c3": "also"})
    assert "Say what that is" not in answer.text
    assert "area 99 result" in web.visible(answer.text)
    assert browser.client.post(key, data=fields | {"c3": "also", "name": "../x", "go": "1"}
                               ).status_code == 422  # fmt: skip
    begun = browser.client.post(key, data=fields | {"c3": "also", "name": "new", "go": "1"})
    assert begun.url.path == "/c/new"
    assert browser.get(key).status_code == 404


def test_lists_and_pasted_tables_begin_campaigns_too(app, browser):
    lists = "factors:\n  ligand: [A, B]\n  t: [40, 60]\n"
    answer = browser.send("/begin", options=lists)
    fields = web.Fields(answer.text).forms[answer.url.path]
    browser.client.post(answer.url.path, data=fields | {"name": "l", "o0-name": "ee", "go": "1"})
    assert len(web.state_of(app, "l").table) == 4
    answer = browser.send("/begin", options="table: /etc/passwd")
    assert "names a table" in answer.text
    answer = browser.send("/begin", pasted="ligand\tyield\nA\t1,5\nB\t2,5")
    assert "A B input" in web.visible(answer.text)


def test_the_grid_is_checked_before_anything_is_recorded(app, browser):
    browser.send("/c/demo", "/c/demo/suggest", n="2")
    web.finish(app)
    fields, path = grid_fields(browser), "/c/demo/results/check"
    name = cell(fields, "b1-2", "yield", app)
    found = browser.client.post(path, data=fields | {name: "44,5 kg"}).json()
    assert found["places"] == [{"row": 2, "column": "yield"}]
    found = browser.client.post(path, data=fields | {name: "44,5"}).json()
    assert found["summary"].startswith("1 measured")
    assert not web.state_of(app).measurements


def test_an_experiment_that_nobody_asked_for_is_taken_in(app, browser):
    fields = grid_fields(browser)
    row = {"r0c1": "C", "r0c2": "L", "r0c3": "60", "r0c4": "71"}
    assert "Recorded: 1 measured." in browser.client.post("/c/demo/results", data=fields | row).text
    slip = {"r0c1": "c", "r0c2": "L", "r0c3": "40", "r0c4": "71"}
    fields = grid_fields(browser)
    answer = browser.client.post("/c/demo/results", data=fields | slip)
    assert answer.status_code in (200, 422)


def test_places_are_read_out_of_refusals():
    told = "the table: row 3, column 'ee (o'Neill)': 'x' is wrong; likewise row 5 ('y'), row 9."
    assert found_places(told) == {(3, "ee (o'Neill)"), (5, "ee (o'Neill)"), (9, "ee (o'Neill)")}
    assert found_places("the table: row 2: the row names nothing.") == {(2, "")}


def test_two_people_never_overwrite_each_other(app, browser):
    browser.send("/c/demo", "/c/demo/suggest", n="3")
    web.finish(app)
    other = web.Browser(app)
    mine, theirs = grid_fields(browser), grid_fields(other)
    first, second = (cell(mine, run, "yield", app) for run in ("b1-1", "b1-2"))
    assert other.client.post("/c/demo/results", data=theirs | {first: "10"}).status_code == 200
    answer = browser.client.post("/c/demo/results", data=mine | {first: "99", second: "20"})
    assert answer.status_code == 409
    assert "Somebody else changed the campaign" in answer.text
    assert web.state_of(app).measurements["b1-1"].result.values == {"yield": 10.0}
    assert "b1-1 got results meanwhile" in answer.text
    assert re.search(r'value="99"[^>]*aria-invalid', answer.text)  # and nothing typed is lost
    again = web.Fields(answer.text).forms["/c/demo/results"]
    again = {k: "" if v == "99" else v for k, v in again.items()}
    browser.client.post("/c/demo/results", data=again)
    assert web.state_of(app).measurements["b1-2"].result.values == {"yield": 20.0}


def test_a_second_person_hears_of_changes(app, browser):
    before = browser.get("/c/demo/live").json()
    assert browser.get("/c/demo/live").json() == before
    Campaign(web.inner(app).state.folder.file("demo")).avoid(cells={"ligand": ["D"]})
    after = browser.get("/c/demo/live").json()
    assert after["stamp"] != before["stamp"]
    assert f'data-stamp="{after["stamp"]}"' in browser.get("/c/demo").text
    assert "9 avoided" in browser.get("/c/demo").text


def test_a_pair_that_is_avoided_is_no_candidate_and_can_be_freed(app, browser):
    made = Campaign(web.inner(app).state.folder.file("demo"))
    made.avoid(together=[{"ligand": "D", "temperature_C": "> 50"}])
    page = browser.get("/c/demo").text
    assert "candidate ligand=D" not in web.visible(page)
    assert 'aria-label="Allow ligand=D and temperature_C &gt; 50 again"' in page
    pair = "ligand=D and temperature_C > 50"
    browser.send("/c/demo", "/c/demo/avoid", column="", value=pair, lift="1")
    assert not web.state_of(app).avoided


def test_what_if_predicts_and_learning_explains(app, browser):
    made = Campaign(web.inner(app).state.folder.file("demo"))
    sheet = made.suggest(8)
    made.record(sheet.assign(**{"yield": [float(i * 7 % 60) for i in range(8)]}))
    browser.send("/c/demo/what-if", "/c/demo/predict")
    browser.send("/c/demo/progress", "/c/demo/learn")
    web.finish(app)
    page = web.visible(browser.get("/c/demo/what-if?c0=B&c1=K&c2=60").text)
    assert "95 % of measurements from" in page
    assert "One change away" in page
    assert "Candidate r11" in page
    assert "No candidate has all" in browser.get("/c/demo/what-if?c0=Z").text
    page = web.visible(browser.get("/c/demo/progress").text)
    assert "What matters" in page
    assert "The last report" not in page
    assert browser.get("/c/demo/report.html").status_code == 404
    browser.send("/c/demo/progress", "/c/demo/report")
    web.finish(app)
    assert "The last report" in browser.get("/c/demo/progress").text
    report = browser.get("/c/demo/report.html")
    assert report.headers["content-disposition"].startswith("attachment")
    made.record({"run": "b1-1", "yield": 3.0})
    assert "before the latest results" in browser.get("/c/demo/progress").text


def test_work_that_fails_says_why_and_can_be_stopped(app, browser, robot):
    browser.send("/c/demo", "/c/demo/avoid", column="temperature_C", value="> 10")
    browser.send("/c/demo", "/c/demo/suggest", n="2")
    web.finish(app)
    assert "no candidate is left" in browser.get("/c/demo").text
    job = web.jobs_of(app).of("demo")[-1]
    assert robot.get(f"/api/v1/jobs/{job.id}").json()["status"] == "failed"
    assert robot.get("/api/v1/jobs/none").status_code == 404
    assert browser.send("/c/demo", "/c/demo/suggest", n="x").status_code == 200
    job.status = "running"  # as if it still were
    assert robot.delete(f"/api/v1/jobs/{job.id}").json()["status"] == "stopped"


def test_sheets_and_tables_are_for_keeps(app, browser):
    browser.send("/c/demo", "/c/demo/suggest", n="3")
    web.finish(app)
    sheet = browser.get("/c/demo/sheet.csv")
    assert sheet.headers["content-disposition"] == 'attachment; filename="demo-next.csv"'
    assert sheet.text.count("b1-") == 3
    wells = browser.get("/c/demo/sheet.csv?size=24&order=columns&controls=A1&wells=b1-3.B1")
    lines = wells.text.splitlines()
    assert [line.split(",")[0] for line in lines] == ["\ufeffwell", "B1", "C1", "D1"]
    files = {"file": ("wells.csv", wells.content)}
    answer = browser.send("/c/demo/results", "/c/demo/upload", files=files)
    assert "Nothing new: 3 without a result." in answer.text
    assert browser.get("/c/demo/sheet.xlsx").content[:2] == b"PK"
    assert browser.get("/c/demo/sheet.exe").status_code == 404
    assert browser.get("/c/demo/export/results.csv").status_code == 200
    assert json.loads(browser.get("/c/demo/export/all.json").content)["sequence"] == 2
    assert browser.get("/c/demo/export/passwd.csv").status_code == 404
    reactions = browser.get("/c/demo/export/surf-next.tsv")
    assert reactions.headers["content-disposition"] == 'attachment; filename="demo-surf-next.tsv"'
    assert reactions.text.startswith("rxn_id\tsource_id")
    assert "there is no result yet" in browser.get("/c/demo/export/surf.tsv").text


def test_a_layout_of_a_plate_is_there_for_a_second_person(app, browser):
    browser.send("/c/demo", "/c/demo/suggest", n="3")
    web.finish(app)
    assert "No layout is kept yet." in browser.get("/c/demo/plate").text
    moved = "/c/demo/plate?size=24&order=columns&controls=A1&wells=b1-3.B2"
    fields = browser.fields(moved, "/c/demo/plate") | {"move": ""}
    answer = browser.client.post("/c/demo/plate", data=fields)
    assert "This layout is kept" in answer.text
    other = web.Browser(app)
    page = other.get("/c/demo/plate").text
    assert re.search(r'data-well="B2" data-run="b1-3"', page)
    assert "as shown here" in page
    assert "otherwise than shown here" in other.get("/c/demo/plate?size=96").text
    lines = other.get("/c/demo/sheet.csv").text.splitlines()
    assert [line.split(",")[0] for line in lines] == ["\ufeffwell", "B1", "C1", "B2"]
    assert len(web.state_of(app).pending()) == 3


def test_folders_of_many_campaigns_are_kept_in_mind_and_named(app, browser, tmp_path, monkeypatch):
    for name in "abc":
        web.make(tmp_path, name)
    monkeypatch.setattr("gollum.web.folder.KEPT", 2)
    folder = web.inner(app).state.folder
    first = folder.snapshot("a")
    folder.snapshot("b")
    assert folder.snapshot("a") is first
    folder.snapshot("c")
    assert folder.snapshot("a") is first  # b was not asked for since
    monkeypatch.setattr("gollum.web.pages.overview.MOST", 3)
    page = web.visible(browser.get("/").text)
    assert "And 1 more" in page
    monkeypatch.setattr(folder, "snapshot", lambda name: pytest.fail("it was read again"))
    assert browser.get("/").status_code == 200


def test_a_sheet_with_a_mistake_shows_its_rows(app, browser):
    sheet = b"ligand,base,temperature_C,yield\nA,K,40,12\nB,K,40,x7y\n"
    answer = browser.send("/c/demo/results", "/c/demo/upload", files={"file": ("s.csv", sheet)})
    assert answer.status_code == 422
    assert '<td class="wrong">x7y</td>' in answer.text
    assert "gollum-" not in answer.text
    assert not web.state_of(app).measurements


def test_an_option_is_added(app, browser):
    answer = browser.send("/c/demo", "/c/demo/add", **{"add-0": "NewPhos"})
    assert "9 candidates were added" in answer.text
    assert len(web.state_of(app).table) == 45
    assert "candidates already" in browser.send("/c/demo", "/c/demo/add", **{"add-0": "A"}).text
    assert "at least one" in browser.send("/c/demo", "/c/demo/add").text


def test_structures_are_drawn(browser):
    pytest.importorskip("rdkit", reason="structures need the 'chem' extra")
    answer = browser.get("/structure.svg?smiles=c1ccccc1O")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "<script" not in answer.text
    for wrong in ("notasmiles", "C" * 1000, ""):
        assert browser.get(f"/structure.svg?smiles={wrong}").status_code in (200, 404)


def test_a_file_that_is_damaged_or_gone_spoils_no_other(app, browser, tmp_path):
    (tmp_path / "broken.gollum").write_bytes(b"not a campaign")
    page = browser.get("/")
    assert page.status_code == 200
    assert "broken" in page.text
    assert browser.get("/c/broken").status_code == 422
    browser.get("/c/demo")
    (tmp_path / "demo.gollum").unlink()
    assert browser.get("/c/demo").status_code == 404


def test_a_defect_says_nothing_of_itself(app, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("gollum.web.pages.next_up.experiments", broken)
    client = web.TestClient(app, base_url=web.HOST, raise_server_exceptions=False)
    client.get(f"/enter?token={app.keys.token}")
    answer = client.get("/c/demo")
    assert answer.status_code == 500
    assert "a defect of the program" in answer.text
    assert "secret" not in answer.text
    assert "x-frame-options" in answer.headers
