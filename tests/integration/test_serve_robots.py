"""The interface for robots, and odd requests."""

import json
import random

import pytest

pytest.importorskip("fastapi", reason="the page needs the 'web' extra")

import web


def test_a_robot_does_a_campaign(app, robot):
    rows = web.grid().to_dict("records")
    body = {"name": "auto", "objective": "yield", "rows": rows, "options": {"surrogate": "one_hot"}}
    assert robot.post("/api/v1/campaigns", json=body).status_code == 201
    home = "/api/v1/campaigns/auto"
    job = robot.post(f"{home}/suggest?wait=30", json={"n": 3}).json()
    assert [row["run"] for row in job["result"]] == ["b1-1", "b1-2", "b1-3"]
    results = [{"run": "b1-1", "yield": 10}, {"run": "b1-2", "yield": "20,5"}]
    checked = robot.post(f"{home}/record", json={"rows": results, "check": True}).json()
    assert checked["measured"] == 2
    assert robot.get(home).json()["sequence"] == 2
    assert robot.post(f"{home}/record", json={"rows": results}).json()["measured"] == 2
    csv = robot.post(f"{home}/record", content="run,yield\nb1-3,failed\n",
                     headers={"content-type": "text/csv"})  # fmt: skip
    assert csv.json()["failed"] == 1
    found = robot.get(f"{home}/tables/results").json()
    assert [row["yield"] for row in found["rows"]] == [10.0, 20.5, None]
    assert robot.get(f"{home}/tables/candidates?limit=5&offset=34").json()["total"] == 36
    assert robot.get(f"{home}/tables/results?format=csv").text.count("\n") == 4
    assert robot.get(f"{home}/tables/results?limit=100000").status_code == 422
    kinds = [event["kind"] for event in robot.get(f"{home}/events").json()["events"]]
    assert kinds == ["created", "suggested", "recorded", "recorded"]
    assert len(robot.get(f"{home}/events?since=3").json()["events"]) == 1
    lines = robot.get(f"{home}/stream?since=2&seconds=0").text
    assert [line for line in lines.splitlines() if line.startswith("id:")] == ["id: 3", "id: 4"]
    again = robot.get(f"{home}/stream?seconds=0", headers={"last-event-id": "3"}).text
    assert again.count("id:") == 1
    for verb in ("insights", "predictions", "report"):
        job = robot.post(f"{home}/{verb}?wait=60").json()
        assert job["status"] == "done", job
    assert robot.get(f"/api/v1/jobs/{job['id']}/report.html").text.startswith("<!DOCTYPE")
    replay = robot.post(f"{home}/replay?wait=60", json={}).json()
    assert [one["agrees"] for one in replay["result"]] == [True]


def test_verbs_change_a_campaign(app, robot):
    home = "/api/v1/campaigns/demo"

    def does(verb, **body):
        answer = robot.post(f"{home}/{verb}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["said"]

    assert does("avoid", cells={"ligand": ["D"]}, reason="gone") == 9
    assert does("avoid", cells={"ligand": ["D"]}, lift=True) == 0
    assert does("add", options=[{"ligand": "E"}])["added"] == 9
    assert does("rename", column="ligand", names={"E": "EPhos"}) == {"E": "EPhos"}
    assert does("retell", template="{ligand} with {base}") == "{ligand} with {base}"
    assert does("configure", keys={"surrogate": "random"}) == {"surrogate": "random"}
    assert does("order", orders={"base": ["K", "L", "M"]}) == {"base": ["K", "L", "M"]}
    assert does("failed-words", words=["n.d."]) == ["n.d."]
    assert "minimize" in does("want", goal="minimize")[0]
    assert does("configure", keys={"surrogate": "averaged"}) == {"surrogate": "averaged"}
    rows = [{"ligand": x, "base": "K", "temperature_C": 60, "yield": v}
            for x, v in (("A", 5), ("B", 9), ("C", 3))]  # fmt: skip
    assert does("learn", rows=rows, name="old")["results"] == 3
    assert does("forget", name="old") is None
    wrong = robot.post(f"{home}/avoid", json={"cells": {"ligant": ["D"]}})
    assert wrong.status_code == 422
    assert "Did you mean" in wrong.json()["error"] or "ligand" in wrong.json()["error"]
    assert robot.post(f"{home}/avoid", json={"nonsense": 1}).status_code == 422


def test_a_key_makes_it_safe_to_send_again(robot, app):
    home = "/api/v1/campaigns/demo"
    headers = {"idempotency-key": "plate 7"}
    row = {"ligand": "A", "base": "K", "temperature_C": 40, "yield": 5}
    first = robot.post(f"{home}/record", json={"rows": [row]}, headers=headers)
    again = robot.post(f"{home}/record", json={"rows": [row]}, headers=headers)
    assert first.json() == again.json()
    assert first.json()["measured"] == 1
    other = robot.post(f"{home}/record", json={"rows": [row | {"yield": 6}]}, headers=headers)
    assert other.status_code == 422
    assert len(web.state_of(app).measurements) == 1
    asked = [robot.post(f"{home}/suggest?wait=30", json={"n": 2}, headers=headers).json()["id"]
             for _ in range(2)]  # fmt: skip
    assert asked[0] == asked[1]


def test_a_version_that_is_gone_is_refused(robot, app):
    home = "/api/v1/campaigns/demo"
    known = robot.get(home)
    version = {"if-match": known.headers["etag"]}
    assert known.json()["version"] in known.headers["etag"]
    avoid = {"cells": {"ligand": ["A"]}}
    assert robot.post(f"{home}/avoid", json=avoid, headers=version).status_code == 200
    for verb, body in (("avoid", {"cells": {"ligand": ["B"]}}), ("suggest", {"n": 2}),
                       ("record", {"rows": [{"run": "b1-1", "yield": 1}]})):  # fmt: skip
        assert robot.post(f"{home}/{verb}", json=body, headers=version).status_code == 409
    assert len(web.state_of(app).avoided) == 1


def test_a_fresh_batch_that_waited_withdraws_nothing_of_others(robot, app, monkeypatch):
    home = "/api/v1/campaigns/demo"
    robot.post(f"{home}/suggest?wait=30", json={"n": 2})
    version = {"if-match": robot.get(home).headers["etag"]}
    jobs = web.jobs_of(app)
    for _ in range(2):
        jobs._turn.acquire()  # others are at work
    fresh = {"n": 3, "fresh": True}
    job = robot.post(f"{home}/suggest", json=fresh, headers=version).json()
    robot.post(f"{home}/avoid", json={"cells": {"ligand": ["A"]}})
    for _ in range(2):
        jobs._turn.release()
    web.finish(app)
    told = robot.get(f"/api/v1/jobs/{job['id']}").json()
    assert told["status"] == "failed"
    assert "nothing was withdrawn" in told["error"]
    assert not web.state_of(app).withdrawn
    again = robot.post(f"{home}/suggest?wait=30", json=fresh).json()
    assert again["status"] == "done"
    assert len(web.state_of(app).withdrawn) == 2


def test_a_layout_of_a_plate_is_kept(robot, app):
    home = "/api/v1/campaigns/demo"
    robot.post(f"{home}/suggest?wait=30", json={"n": 2})
    body = {"wells": {"B1": "b1-1", "A3": "b1-2"}, "size": 24, "controls": ["A1"]}
    assert robot.post(f"{home}/place", json=body).json()["said"] == {"B1": "b1-1", "A3": "b1-2"}
    assert robot.get(home).json()["sequence"] == 3
    robot.post(f"{home}/place", json=body)
    assert robot.get(home).json()["sequence"] == 3
    for wrong, why in (({"size": 25}, "not 25"), ({"wells": {"Z1": "b1-1"}}, "no well 'Z1'"),
                       ({"wells": {"A1": "b9-1"}}, "no run"), ({"controls": ["B1"]}, "two places"),
                       ({"order": "spiral"}, "not 'spiral'")):  # fmt: skip
        answer = robot.post(f"{home}/place", json=body | wrong)
        assert answer.status_code == 422
        assert why in answer.json()["error"]


def test_the_interface_is_described(browser, robot):
    schema = robot.get("/api/v1/openapi.json").json()
    for path, methods in schema["paths"].items():
        assert path.startswith("/api/v1/")
        for about in methods.values():
            assert about.get("description"), path
    page = browser.get("/api/v1/")
    assert page.status_code == 200
    assert all(path.split("{")[0] in page.text for path in schema["paths"])


WORDS = [
    "", "0", "-1", "1e999", "nan", "é\u202e", "\x00", "a" * 3000, "../..", "<script>", "r1", "b1-1",
    "ligand", "44,5", "9" * 40,
]  # fmt: skip
VALUES = [
    *WORDS, None, [], {}, [[]], {"a": None}, True, 1e308, -5, 2**70, ["ligand"], {"ligand": 2},
    {"ligand": ["A"]}, [{"run": "b1-1"}], [{"run": "b1-1", "yield": "x"}], [{"\x00": "\u2028"}],
]  # fmt: skip
FIELDS = [
    "n", "same", "at_most", "rows", "csv", "cells", "ids", "options", "column", "names",
    "orders", "words", "objectives", "goal", "target", "details", "keys", "template", "columns",
    "factors", "name", "objective", "fresh", "apart", "batch", "campaign", "cost_weight", "r0c0",
    "r0c4", "r999c2", "most-0", "value", "reason", "run", "c0", "version", "move", "wells",
    "size", "page", "offset", "limit", "since", "o0-name", "o0-goal", "o0-value", "o1-name",
    "match", "old", "new", "source", "price-0", "surrogate", "prices", "order",
]  # fmt: skip
FORMS = ["suggest", "avoid", "results", "results/check", "upload", "undo", "learn", "predict",
         "want", "retell", "configure", "learn-from", "forget", "rename", "failed-words", "price",
         "candidates", "plate"]  # fmt: skip
PAGES = ["", "/settings", "/results", "/what-if", "/plate", "/history", "/sheet.csv", "/live"]
KINDS = ["application/json", "text/csv", "x/y"]


class Odd:
    """Requests that nobody sends on purpose."""

    def __init__(self, browser, robot, seed):
        self.dice, self.browser, self.robot = random.Random(seed), browser, robot  # noqa: S311
        self.csrf = browser.fields("/c/demo", "/c/demo/suggest")["csrf"]
        paths = robot.get("/api/v1/openapi.json").json()["paths"]
        self.known = [
            (path.replace("{name}", "demo").replace("{what}", "results"), method)
            for path, methods in paths.items()
            for method in methods
            if "{job}" not in path
        ]

    def said(self):
        count = self.dice.randint(0, 4)
        return {self.dice.choice(FIELDS): self.dice.choice(VALUES) for _ in range(count)}

    def texts(self):
        said = self.said().items()
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in said}

    def call(self):
        path, method = self.dice.choice(self.known)
        if method == "get":
            return self.robot.get(path, params=self.texts() | {"seconds": "0"})
        return self.robot.post(path, json=self.said())

    def raw(self):
        path, _ = self.dice.choice([one for one in self.known if one[1] == "post"])
        kind = {"content-type": self.dice.choice(KINDS)}
        return self.robot.post(path, content=self.dice.randbytes(40), headers=kind)

    def form(self):
        fields = self.texts() | {"csrf": self.csrf}
        file = {"file": (self.dice.choice(WORDS) or "x", self.dice.randbytes(40))}
        path = f"/c/demo/{self.dice.choice(FORMS)}"
        return self.browser.client.post(path, data=fields, files=self.dice.choice([None, file]))

    def page(self):
        return self.browser.get(f"/c/demo{self.dice.choice(PAGES)}", params=self.texts())


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_odd_requests_break_nothing(app, browser, robot, count):
    robot.post("/api/v1/campaigns/demo/suggest?wait=30", json={"n": 3})
    odd = Odd(browser, robot, seed=count)
    seen = set()
    for number in range(count):
        answer = (odd.call, odd.raw, odd.form, odd.page)[number % 4]()
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        seen.add(answer.status_code)
    assert {200, 422} <= seen
    assert browser.get("/c/demo").status_code == 200
