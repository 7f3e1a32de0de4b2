"""Who may see the lab's page, and how it is started."""

import time
from urllib.parse import quote

import pytest

pytest.importorskip("fastapi", reason="the page needs the 'web' extra")

import web
from gollum.api import Campaign
from gollum.web import guard, keys
from gollum.web.guard import HEADERS, House
from gollum.web.keys import Keys
from gollum.web.serving import Wish, address, listen
from pages import Page

NASTY = "<script>alert('x')</script>"
ANYWHERE = ".".join("0000")


def test_without_the_token_nothing_is_shown(app):
    client = web.TestClient(app, base_url=web.HOST)
    for path in ("/", "/c/demo", "/c/demo/live", "/structure.svg?smiles=C", "/begin"):
        answer = client.get(path, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/enter")
    assert client.get("/api/v1/campaigns").status_code == 401
    assert client.get("/api/v1/openapi.json").status_code == 401
    assert "demo" not in client.get("/").text
    assert client.get("/enter?token=wrong").status_code == 403
    answer = client.get(f"/enter?token={app.keys.token}", follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert app.keys.token.lower() not in cookie
    assert "demo" in client.get("/").text


def test_cookies_are_made_here_and_grow_old(app, monkeypatch):
    good = app.keys.session()
    assert app.keys.holds(good)
    assert not app.keys.holds(good[:-1] + ("0" if good[-1] != "0" else "1"))
    assert not app.keys.holds("9999999999.x.y")
    assert not Keys().holds(good)
    now = time.time()
    monkeypatch.setattr(keys.time, "time", lambda: now + keys.LASTS + 1)
    assert not app.keys.holds(good)


def test_logins_are_limited(app):
    client = web.TestClient(app, base_url=web.HOST)
    for _ in range(keys.TRIES):
        assert client.post("/enter", data={"password": "guess"}).status_code == 403
    assert client.post("/enter", data={"password": app.keys.token}).status_code == 429
    assert client.get(f"/enter?token={app.keys.token}").status_code == 429
    wrong = {"authorization": "Bearer guess"}
    assert client.get("/api/v1/campaigns", headers=wrong).status_code == 429


def test_who_tried_too_often_costs_nothing_more(app, monkeypatch):
    client = web.TestClient(app, base_url=web.HOST)
    for _ in range(keys.TRIES):
        client.post("/enter", data={"password": "guess"})
    monkeypatch.setattr(Keys, "is_token", lambda *_: pytest.fail("it was looked at"))
    assert client.post("/enter", data={"password": "guess"}).status_code == 429


def secret(file, text):
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_each_person_has_a_password_and_the_file_keeps_who_did_what(tmp_path, monkeypatch):
    web.threads(monkeypatch)
    web.make(tmp_path)
    people = secret(
        tmp_path / "people", "anna: correct horse battery\nJosé B.: staple of the day\n"
    )
    token = tmp_path / "token"
    app = web.app_of(tmp_path, Keys.of(token, None, people))
    anna, robot = web.Browser(app), web.robot(app)
    wrong = {"who": "anna", "password": "staple of the day"}
    assert anna.client.post("/enter", data=wrong).status_code == 403
    assert anna.client.post("/enter", data=wrong | {"who": "eve"}).status_code == 403
    right = {"who": "anna", "password": "correct horse battery"}
    assert anna.client.post("/enter", data=right).url.path == "/"
    anna.send("/c/demo", "/c/demo/avoid", column="ligand", value="D")
    anna.send("/c/demo", "/c/demo/suggest", n="2")
    web.finish(app)
    robot.post("/api/v1/campaigns/demo/avoid", json={"cells": {"ligand": ["C"]}})
    log = robot.get("/api/v1/campaigns/demo/events").json()["events"]
    assert [event["by"] for event in log] == ["", "anna", "anna", ""]
    assert "anna" in web.visible(anna.get("/c/demo/history").text)
    again = Keys.of(token, None, people)
    cookie = anna.client.cookies["gollum"]
    assert again.holds(cookie)
    assert again.who(again.session("José B.")) == "José B."
    people.write_text("anna: another horse battery\n")
    assert not Keys.of(token, None, people).holds(cookie)


@pytest.mark.parametrize(("lines", "why"), [
    ("anna correct horse", "line 1 is no"), ("anna: short", "line 1: the password has 5"),
    ("a: correct horse battery\na: correct horse battery", "line 2 names 'a' again"),
    ("\n", "names nobody"),
])  # fmt: skip
def test_a_file_of_people_that_is_wrong_is_refused(tmp_path, lines, why):
    with pytest.raises(keys.ConfigError, match=why):
        Keys.of(None, None, secret(tmp_path / "people", lines))


def test_a_login_survives_the_server_where_the_token_is_kept(tmp_path):
    password = secret(tmp_path / "password", "correct horse battery\n")
    first = Keys.of(tmp_path / "token", password)
    assert Keys.of(tmp_path / "token", password).holds(first.session())
    assert not Keys.of(None, password).holds(first.session())


def test_a_password_opens_the_page_and_no_address_does(tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")
    file.chmod(0o600)
    app = web.app_of(tmp_path, Keys.of(None, file), House(secure=False))
    client = web.TestClient(app, base_url=web.HOST)
    assert client.get(f"/enter?token={app.keys.token}").url.path == "/enter"
    assert client.post("/enter", data={"password": app.keys.token}).status_code == 403
    assert client.post("/enter", data={"password": "correct horse battery"}).url.path == "/"
    assert web.robot(app).get("/api/v1/campaigns").json() == {"campaigns": []}


def test_every_answer_has_the_headers(browser, robot):
    paths = ("/", "/c/demo", "/c/none", "/none", "/static/page.css", "/static/none", "/enter")
    answers = [browser.get(path) for path in paths]
    answers += [robot.get("/api/v1/campaigns/demo"), robot.get("/api/v1/campaigns/none")]
    answers += [browser.get("/", headers={"host": "evil.example"})]
    answers += [browser.client.post("/c/demo/suggest")]
    for answer in answers:
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, answer.url
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    assert [a.status_code for a in answers] == [200, 200, 404, 404, 200, 404, 200, 200, 404, 421,
                                                403]  # fmt: skip


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "a@b"])
def test_other_names_are_no_way_in(browser, host):
    assert browser.get("/c/demo", headers={"host": host}).status_code == 421


def test_own_names_are(browser):
    for host in ("localhost:1234", "127.0.0.1", "[::1]:8765"):
        assert browser.get("/enter", headers={"host": host}).status_code == 200
    assert House(numbers=True).knows("192.168.0.7:8765")
    assert not House(numbers=True).knows("rebound.example")
    assert House(("lab.example",)).knows("LAB.example.:443")


def test_forms_are_those_of_the_session(app, browser):
    path = "/c/demo/avoid"
    said = {"column": "ligand", "value": "D"}
    assert browser.client.post(path, data=said).status_code == 403
    other = web.Browser(app).fields("/c/demo", path)["csrf"]
    assert browser.client.post(path, data=said | {"csrf": other}).status_code == 403
    right = said | {"csrf": browser.fields("/c/demo", path)["csrf"]}
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"},
                    {"origin": "null"}):  # fmt: skip
        assert browser.client.post(path, data=right, headers=headers).status_code == 403
    assert not web.state_of(app).avoided
    assert browser.client.post(path, data=right, headers={"origin": web.HOST}).status_code == 200
    assert web.state_of(app).avoided
    token = {"authorization": f"Bearer {app.keys.token}", "origin": "http://evil.example"}
    assert browser.client.post("/api/v1/campaigns/demo/insights", headers=token).status_code == 403


def test_no_path_of_a_request_reaches_the_file_system(app, browser, robot, tmp_path):
    (tmp_path.parent / "secret.gollum").write_bytes(b"secret")
    for name in ("../secret", "..%2Fsecret", "%2e%2e/secret", "..", ".", "demo.gollum", "a\x00b",
                 str(tmp_path / "demo")):  # fmt: skip
        inside = quote(name, safe="").replace(".", "%2E")
        assert browser.get(f"/c/{inside}").status_code == 404
        assert robot.get(f"/api/v1/campaigns/{inside}").status_code == 404
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert browser.get(path).status_code == 404
    for name in ("../x", "/x", "a/b", "a\\b", "", ".", "x" * 80, "a\nb"):
        body = {"name": name, "objective": "yield", "rows": [{"a": "x"}, {"a": "y"}]}
        answer = robot.post("/api/v1/campaigns", json=body)
        assert answer.status_code == 422
    (tmp_path / "runs.csv").write_text("a,yield\nx,1\n")
    lists = {"name": "new", "objective": "yield", "factors": f"table: {tmp_path}/runs.csv"}
    assert "names a table" in robot.post("/api/v1/campaigns", json=lists).json()["error"]
    flow = lists | {"factors": f'{{"table": {tmp_path}/runs.csv}}'}
    assert "names a table" in robot.post("/api/v1/campaigns", json=flow).json()["error"]
    model = {"keys": {"model.name": str(tmp_path)}}
    assert robot.post("/api/v1/campaigns/demo/configure", json=model).status_code == 422
    remote = {"keys": {"remote.url": "http://169.254.169.254/"}}
    assert robot.post("/api/v1/campaigns/demo/configure", json=remote).status_code == 422
    assert sorted(p.name for p in tmp_path.glob("*.gollum")) == ["demo.gollum"]


def test_a_file_name_of_an_upload_is_a_name(app, browser):
    files = {"file": ("../../etc/cron.d/x.csv", b"ligand,base,temperature_C,yield\nA,K,40,12\n")}
    browser.send("/c/demo/results", "/c/demo/upload", files=files)
    state = web.state_of(app)
    assert len(state.measurements) == 1
    log = Campaign(web.inner(app).state.folder.file("demo")).log()
    assert log[-1].event.source.name == "x.csv"


def test_too_much_is_refused_with_and_without_its_length(browser, robot, monkeypatch):
    monkeypatch.setattr(guard, "LARGEST", 1000)
    body = b"run,yield\n" + b"x" * 2000
    csv = {"content-type": "text/csv"}
    path = "/api/v1/campaigns/demo/record"
    assert robot.post(path, content=body, headers=csv).status_code == 413
    assert robot.post(path, content=iter([body]), headers=csv).status_code == 413
    json = {"content-type": "application/json"}
    path = "/api/v1/campaigns/demo/avoid"
    assert robot.post(path, content=iter([body]), headers=json).status_code == 413
    fields = browser.fields("/c/demo", "/c/demo/suggest") | {"x": "y" * 2000}
    assert browser.client.post("/c/demo/suggest", data=fields).status_code == 413


def test_names_are_escaped_everywhere(app, browser, robot, tmp_path):
    table = web.grid().rename(columns={"ligand": f"halide {NASTY}"})
    table["base"] = table["base"] + f'" onload="alert(1) {NASTY}'
    objective = "yield <img src=x onerror=alert(1)>"
    name = "it's <b>"
    made = web.make(tmp_path, name, table=table, objective=objective)
    made.avoid([made.state().table.index[0]], reason=NASTY)
    sheet = made.suggest(4)
    made.record(sheet.assign(**{objective: [1.0, 2.0, 3.0, float("nan")], "note": NASTY}))
    made.suggest(4)
    home = f"/c/{quote(name)}"
    for verb in ("learn", "predict"):
        page = "progress" if verb == "learn" else "what-if"
        browser.send(f"{home}/{page}", f"{home}/{verb}")
    web.finish(app)
    pages = ["", "/results", "/progress", "/what-if", "/plate", "/history", "/results?run=b1-1"]
    for path in ["/", *(home + p for p in pages)]:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        text = answer.text
        assert "<script>alert" not in text
        assert Page(text).tags.count("script") == text.count("/static/") - 2
        assert "<b>" not in text
        assert "<img src=x" not in text


def sentence(wish):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (its kind and words are asserted)
        wish.check()
    return str(caught.value)


def test_a_network_needs_a_lock(tmp_path):
    there = Wish(tmp_path, host=ANYWHERE)
    assert "--password-file" in sentence(there)
    assert "--password-file" in sentence(Wish(tmp_path, host="10.0.0.7", password_file=tmp_path))
    assert "belong together" in sentence(Wish(tmp_path, certificate=tmp_path))
    (tmp_path / "c.pem").write_text("nothing")
    bad = Wish(tmp_path, certificate=tmp_path / "c.pem", key=tmp_path / "c.pem")
    assert "can't be used" in sentence(bad)
    Wish(tmp_path, host=ANYWHERE, behind_proxy=True).check()
    Wish(tmp_path).check()
    assert there.house(1).numbers
    assert Wish(tmp_path, behind_proxy=True).house(1).secure
    assert not Wish(tmp_path).house(1).secure


def test_secrets_are_in_files_that_nobody_else_reads(tmp_path):
    token = tmp_path / "token"
    made = Keys.of(token, None)
    assert Keys.of(token, None).token == made.token
    assert token.stat().st_mode & 0o077 == 0
    token.chmod(0o644)
    with pytest.raises(keys.ConfigError, match="others may read"):
        Keys.of(token, None)
    short = tmp_path / "password"
    short.write_text("short")
    short.chmod(0o600)
    with pytest.raises(keys.ConfigError, match="12 or more"):
        Keys.of(None, short)
    with pytest.raises(keys.ConfigError, match="can't be read"):
        Keys.of(None, tmp_path / "none")


def test_a_busy_port_is_passed_over_unless_it_was_asked_for(tmp_path):
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(Exception, match="can't be listened at"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", None) as one, listen("127.0.0.1", None) as two:
        assert one.getsockname()[1] != two.getsockname()[1]
    with pytest.raises(Exception, match="up to 65535"):
        listen("127.0.0.1", 99999)
    assert address(Wish(tmp_path), 1, "t") == "http://127.0.0.1:1/enter?token=t"
    assert address(Wish(tmp_path, host="::1"), 1, "t").startswith("http://[::1]:1/")
    assert ANYWHERE not in address(Wish(tmp_path, host=ANYWHERE), 1, "t")


def test_the_command_refuses_in_one_sentence(gollum, tmp_path, monkeypatch):
    code, _, error = gollum("serve", tmp_path / "none.gollum")
    assert (code, error.count("\n")) == (2, 1)
    assert "there is no campaign" in error
    code, _, error = gollum("serve", tmp_path, "--host", ANYWHERE)
    assert code == 2
    assert "--tls-cert" in error
    assert gollum("serve", tmp_path, "--colour")[0] == 2
    monkeypatch.setattr("gollum.commands.serving.find_spec", lambda name: None)
    code, _, error = gollum("serve", tmp_path)
    assert code == 2
    assert "pip install fastapi uvicorn python-multipart (the 'web' extra)" in error


def test_one_campaign_alone(tmp_path, monkeypatch):
    web.threads(monkeypatch)
    web.make(tmp_path)
    web.make(tmp_path, "other")
    browser = web.Browser(web.app_of(tmp_path / "demo.gollum"))
    assert browser.get("/").url.path == "/c/demo"
    assert browser.get("/c/other").status_code == 404
    assert "other" not in browser.get("/c/demo").text.replace("other cells", "")
    answer = browser.send("/begin", pasted="ligand\tyield\nA\t1,5\nB\t2,5")
    fields = web.Fields(answer.text).forms[answer.url.path] | {"go": "1"}
    refused = browser.client.post(answer.url.path, data=fields)
    assert refused.status_code == 422
    assert "One campaign is served here" in web.visible(refused.text)
