"""The page in a real browser, with servers that are killed in the middle of things."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the page needs the 'web' extra")
pytest.importorskip("playwright", reason="playwright is not installed")

import httpx2
from playwright import sync_api

import web
from gollum.api import Campaign
from served import chromium, eventually, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed"),
]

ROBOT = Path(__file__).parents[2] / "examples" / "robot_http.py"
SERIOUS = ("serious", "critical")
ROWS = "\n".join(f"{x}\t{b}\t{t}\t" for x in "ABCD" for b in "KLM" for t in (40, 60, 80))
TABLE = f"ligand\tbase\ttemperature_C\tyield\n{ROWS}"


@pytest.fixture(scope="module")
def chrome():
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def server(tmp_path):
    with served(tmp_path) as made:
        yield made


def entered(chrome, server, **options):
    """A page of somebody who has opened the address; what its console says is an error."""
    page = chrome.new_context(**options).new_page()
    page.troubles = []
    page.on("console", lambda m: page.troubles.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.goto(server.address)
    return page


def faults(page):
    """What axe-core finds that is serious."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    found = axe.Axe().run(page).response["violations"]
    return [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS]


def follow(page, name, path):
    """Click a link, and wait for its page with all scripts."""
    page.get_by_role("link", name=name).first.click()
    page.wait_for_url(f"**/{path}")


def begin(page):
    """A campaign that learns in no time, by clicking."""
    follow(page, "Begin a campaign", "begin")
    page.get_by_label("Cells with their heads").fill(TABLE)
    page.get_by_role("button", name="Look at it").nth(1).click()
    page.get_by_text("ligand: A; base: K; temperature: 40 °C").wait_for()
    return page


def test_a_whole_campaign_by_clicking(chrome, server):
    page = begin(entered(chrome, server))
    page.get_by_label("What temperature_C is").select_option("input: names")
    row = page.locator("tr", has_text="temperature_C")
    row.get_by_text("category").wait_for()  # live, without a click
    page.get_by_label("What temperature_C is").select_option("as guessed")
    row.get_by_text("number").wait_for()
    page.get_by_label("Name", exact=True).fill("by clicks")
    page.get_by_text("How experiments are chosen").click()
    page.get_by_label("Told apart by").select_option("one_hot")
    page.get_by_text("names and numbers").last.wait_for(state="attached")
    page.get_by_role("button", name="Begin").click()

    page.get_by_label("How many").fill("4")
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("rowheader", name="b1-4").wait_for()  # without reloading

    follow(page, "Type in results", "results")
    page.get_by_label("yield of b1-1").click()
    page.keyboard.type("44,5")
    page.keyboard.press("Enter")
    page.keyboard.type("much")
    page.locator("input[aria-invalid]").wait_for()
    assert "yield" in page.locator("#problem").inner_text()
    page.keyboard.press("Control+a")
    page.keyboard.type("31")
    page.keyboard.press("ArrowDown")
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/plain", "failed\\t\\tspilt\\n12\\t\\t");
            const event = new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
            document.activeElement.dispatchEvent(event);
        }"""
    )
    page.get_by_text("So far: 3 measured, 1 failed.").wait_for()
    assert page.get_by_label("note on b1-3").input_value() == "spilt"
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_text("Recorded: 3 measured, 1 failed.").wait_for()

    follow(page, "Next", "by%20clicks")
    page.get_by_role("button", name="Suggest").click()
    page.locator("svg.bar").first.wait_for()
    follow(page, "Plate", "plate")
    page.locator("td[data-well=A1]").focus()
    for key in ("Enter", "ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert page.locator("td[data-well=B2]").inner_text() == "b2-1"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("c")
    page.reload()
    assert page.locator("td[data-well=B2]").inner_text() == "b2-1"
    assert page.locator("td[data-well=B3]").inner_text() == "control"
    page.drag_and_drop("td[data-well=B2]", "td[data-well=D6]")
    assert page.locator("td[data-well=D6]").inner_text() == "b2-1"
    page.get_by_role("button", name="Keep for everybody").click()
    page.get_by_text("as shown here").wait_for()
    assert page.url.endswith("/plate")
    assert page.locator("td[data-well=D6]").inner_text() == "b2-1"
    with page.expect_download() as sheet:
        page.get_by_role("link", name="Sheet with wells (CSV)").click()
    assert "D6,b2-1" in sheet.value.path().read_text("utf-8-sig")

    follow(page, "Progress", "progress")
    page.get_by_role("button", name="Ask the model").click()
    page.get_by_role("heading", name="What matters").wait_for()
    follow(page, "What if", "what-if")
    page.get_by_role("button", name="Predict all candidates").click()
    page.get_by_role("heading", name="One change away").wait_for()
    page.get_by_label("base").select_option("M")
    page.get_by_text("95 % of measurements from").wait_for()

    follow(page, "History", "history")
    page.get_by_role("button", name="Take back b1-2").click()
    page.get_by_text("b1-2 was taken back").wait_for()
    follow(page, "Correct b1-1", "results?run=b1-1")
    page.get_by_label("yield of b1-1").fill("45,5")
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_text("1 of them corrections").wait_for()
    follow(page, "History", "history")
    page.get_by_role("button", name="Compute past suggestions again").click()
    page.get_by_text("batch 2 (4 experiments): agrees.").wait_for()
    follow(page, "Settings", "settings")
    page.get_by_text("In words").click()
    page.get_by_label("Template").fill("{ligand} at {temperature_C} °C")
    page.get_by_role("button", name="Put it so").click()
    page.get_by_text("these words from now on").wait_for()
    values = Campaign(server.folder / "by clicks.gollum").state().measurements["b1-1"]
    assert values.result.values == {"yield": 45.5}
    assert page.troubles == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_are_for_everybody(chrome, server, scheme, width):
    table = web.grid().assign(smiles=[c * 3 for c in "CNOS" for _ in range(9)])
    made = web.make(server.folder, table=table, also=["ee"])
    sheet = made.suggest(8)
    made.record(sheet.assign(**{"yield": [float(i * 13 % 60) for i in range(8)], "note": "fine"}))
    made.suggest(5)
    made.avoid(cells={"base": ["M"]}, reason="gone")
    page = entered(chrome, server, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for verb in ("insights", "predictions"):
        answer = httpx2.post(f"{server.home}/api/v1/campaigns/demo/{verb}?wait=60",
                             headers=server.headers, timeout=90)  # fmt: skip
        assert answer.json()["status"] == "done"
    paths = ["/", "/begin", "/api/v1/", "/enter"]
    tabs = [
        "",
        "/results",
        "/progress",
        "/what-if",
        "/plate",
        "/history",
        "/settings",
        "/results?run=b1-1",
    ]
    for path in [*paths, *(f"/c/demo{tab}" for tab in tabs)]:
        page.goto(server.home + path)
        assert faults(page) == [], path
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, path
    begin_at = server.home + "/"
    page.goto(begin_at)
    begin(page)
    assert faults(page) == []
    assert page.troubles == []


def test_the_grid_fits_and_buttons_keep_their_width(chrome, server):
    solvents, times = ("EtOH/H2O 4:1", "dioxane/H2O 4:1"), (0.5, 2.0)
    table = web.grid().assign(
        solvent=[solvents[i % 2] for i in range(36)], time_h=[times[i // 2 % 2] for i in range(36)]
    )
    made = web.make(server.folder, table=table, also=["impurity"])
    made.suggest(4)
    pair = {"base": "K", "solvent": "dioxane/H2O 4:1"}
    made.avoid(together=[pair], reason="they part into phases that stay apart")
    page = entered(chrome, server, viewport={"width": 1200, "height": 800})
    page.goto(f"{server.home}/c/demo")
    button = page.get_by_role("button", name="Allow base=K and solvent=dioxane/H2O 4:1 again")
    assert button.bounding_box()["height"] < 45  # one line
    page.goto(f"{server.home}/c/demo/results")
    beyond = "(e => e.scrollWidth - e.clientWidth)(document.querySelector('.scroll'))"
    assert page.evaluate(beyond) == 0


def test_two_people_at_once(chrome, server):
    web.make(server.folder)
    one, two = (entered(chrome, server) for _ in range(2))
    for page in (one, two):
        page.goto(f"{server.home}/c/demo")
    one.get_by_label("How many").fill("3")
    one.get_by_role("button", name="Suggest").click()
    two.get_by_role("rowheader", name="b1-3").wait_for()  # without a click
    for page in (one, two):
        page.goto(f"{server.home}/c/demo/results")
    two.get_by_label("yield of b1-2").fill("20")
    one.get_by_label("yield of b1-1").fill("10")
    one.get_by_role("button", name="Record", exact=True).click()
    one.get_by_text("Recorded: 1 measured").wait_for()
    two.get_by_text("Somebody has changed the campaign.").wait_for()
    assert two.get_by_label("yield of b1-2").input_value() == "20"  # what was typed stays
    two.get_by_role("button", name="Record", exact=True).click()
    two.get_by_text("Somebody else changed the campaign while you typed.").wait_for()
    two.get_by_role("button", name="Record", exact=True).click()
    two.get_by_text("Recorded: 1 measured").wait_for()
    state = Campaign(server.folder / "demo.gollum").state()
    values = {run: m.result.values["yield"] for run, m in state.measurements.items()}
    assert values == {"b1-1": 10.0, "b1-2": 20.0}
    one.get_by_label("yield of b1-3").wait_for()
    assert one.get_by_label("yield of b1-2").count() == 0 or eventually(
        lambda: one.get_by_label("yield of b1-2").count() == 0
    )


def test_killed_while_recording_nothing_is_lost(server):
    made = web.make(server.folder)
    ids, known = made.state().table.index.tolist(), []

    def work():
        with httpx2.Client(headers=server.headers, timeout=5) as robot:
            for number, candidate in enumerate(ids * 20):
                row = {"id": candidate, "yield": number}
                path = f"{server.home}/api/v1/campaigns/demo/record"
                try:
                    answer = robot.post(path, json={"rows": [row]})
                except httpx2.HTTPError:
                    return
                if answer.status_code == 200:
                    known.append(number)

    for _ in range(4):
        robot = threading.Thread(target=work)
        robot.start()
        before = len(known)
        eventually(lambda before=before: len(known) > before + 3)
        server.kill()
        robot.join()
        kept = {m.result.values["yield"] for m in made.state().measurements.values()}
        assert set(known) <= kept
        server.start()
    page = httpx2.get(f"{server.home}/api/v1/campaigns/demo", headers=server.headers)
    assert page.status_code == 200


def slow(server):
    """A campaign that takes its time to choose."""
    made = web.make(server.folder, surrogate="averaged")
    sheet = made.suggest(8)
    made.record(sheet.assign(**{"yield": [float(i * 13 % 60) for i in range(8)]}))
    return made


def test_killed_while_choosing_the_page_comes_back(chrome, server):
    made, page = slow(server), entered(chrome, server)
    before = made.version()
    page.goto(f"{server.home}/c/demo")
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("progressbar", name="Choosing experiments").wait_for()
    server.kill()
    time.sleep(1)
    assert made.version() == before
    server.start()
    page.reload()  # the token stayed, so the session does
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("rowheader", name="b2-8").wait_for(timeout=90_000)
    assert [batch.batch for batch in made.state().batches] == [1, 2]
    assert all(one.agrees for one in made.replay())


def test_work_is_stopped_by_a_click(chrome, server):
    made, page = slow(server), entered(chrome, server)
    before = made.version()
    page.goto(f"{server.home}/c/demo")
    page.get_by_role("button", name="Suggest").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("was stopped").wait_for()
    time.sleep(2)
    assert made.version() == before


def test_a_robot_survives_a_server_that_goes_away(server):
    made = web.make(server.folder)
    words = [sys.executable, str(ROBOT), server.home, "demo", str(server.token_file)]
    robot = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for count in (2, 7):
        eventually(lambda count=count: len(made.state().measurements) >= count)
        server.kill()
        server.start()
    said, _ = robot.communicate(timeout=120)
    assert robot.returncode == 0, said
    state = made.state()
    assert len(state.measurements) == 12
    assert not [run for run in state.measurements if "~" in run]  # nothing twice
    assert not state.pending()


def test_ctrl_c_ends_it_in_peace(server):
    code, said = server.interrupt()
    assert code == 130
    assert "Traceback" not in said
    assert said.strip().endswith("gollum: stopped; what was recorded is in the campaigns.")
