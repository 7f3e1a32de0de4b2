import io
import re
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from campaigns import campaign, candidates, measured, recorded, suggested
from gollum.campaign.advice import Advice
from gollum.campaign.events import (
    Avoided,
    Goal,
    Recorded,
    Result,
    Retold,
    Source,
    Suggested,
    Suggestion,
)
from gollum.campaign.insights import Insights, Learned
from gollum.campaign.trust import trust
from gollum.data.pool import telling_columns
from gollum.errors import ConfigError
from gollum.report import html
from gollum.report.campaign.learned import LEVELS, _shares, outcomes
from gollum.report.campaign.page import describe, render
from gollum.report.campaign.status import (
    next_step,
    outlook,
    print_status,
    text_plot,
    written_like,
)
from pages import Page

HOSTILE = '<script>alert("x")</script>'
SMILES = "CC1=CC=C(C=C1)" + "C(=O)N" * 40


def shown(state, encoding="utf-8", terminal=False, **options):
    """What the status prints."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(file=stream, force_terminal=terminal, width=100, legacy_windows=False)
    print_status(console, state, **options)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def running(**created):
    """Six results, of which one failed and one was repeated, and two pending."""
    return campaign(
        candidates(),
        suggested(("1-1", "r1"), ("1-2", "r2"), ("1-3", "r3"), surrogate=None),
        recorded(("1-1", "r1", 40), ("1-2", "r2", 71.25), ("1-3", "r3", "failed")),
        suggested(("2-1", "r4", 60, 50, 70), ("2-2", "r5", 80, 70, 95), ("2-3", "r6", 1, 0, 2),
                  ("2-4", "r7", 5, 1, 9), batch=2),
        recorded(("2-1", "r4", 65), ("2-2", "r5", 62), ("2-1~2", "r4", 68)),
        Avoided(column="ligand", values=("dppf",), reason="out of stock"),
        **created,
    )  # fmt: skip


def insights(state, **changes):
    promising = pd.DataFrame(
        {
            "id": ["r8"], "mean": [77.0], "deviation": [4.0], "low": [69.2], "high": [84.8],
            "gain": [2.5], "chance": [0.4],
        }
    )  # fmt: skip
    effects = pd.DataFrame(
        [("ligand", "XPhos", 8.5, 2), ("ligand", "SPhos", -3.0, 0), ("hours", "0 to 5", 0.5, 4)],
        columns=["column", "value", "effect", "measured"],
    )
    learned = {
        "trust": trust(state, {}),
        "effects": effects,
        "weights": {"one_hot:ligand": (0.7, 0.5, 0.9), "one_hot:hours": (0.3, 0.1, 0.5)},
        "chart": pd.DataFrame(),
    }
    learned |= {key: changes.pop(key) for key in [*changes] if key in learned}
    usual = {
        "learned": (Learned(state.objective, state.scale(), **learned),),
        "advice": Advice(
            "go on", "Go on: there is more.", "A lot.", promising, 2.5, 0.4, 0.4, 5, 1
        ),
        "hyperparameters": {"noise": 0.01, "lengthscale": 1.5},
        "notes": ("A note.",),
    }
    return Insights(**usual | changes)


# --- on the terminal -----------------------------------------------------------------------------


def test_status_before_the_first_result():
    state, _ = campaign(candidates())
    text = shown(state, file="my runs.gollum")
    assert text.splitlines() == [
        "demo: maximize yield",
        "12 candidates, 0 measured; 12 open.",
        "",
        "No result yet.",
        "",
        'Next: ask what to do:  gollum suggest "my runs.gollum" -n 8 -o next.xlsx',
    ]


def test_status_of_a_running_campaign():
    text = shown(running()[0])
    assert (
        "12 candidates, 5 measured (4 different), 1 failed, 2 pending, 4 avoided; 3 open." in text
    )
    assert "Best so far: yield 71.2 (r2)\n  ligand     SPhos\n  hours      1\n" in text
    assert "Pending (2):\n  2-3 (r6): ligand dppf, hours 5, substrate CCO" in text
    assert text.endswith("record what came out:  gollum record demo.gollum next.xlsx\n")
    plot = text[text.index("after each result:") : text.index("Pending")]
    assert plot.count("•") == 5
    assert "71.2 ┤" in plot
    assert "40.0 ┤•" in plot


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("terminal", [False, True])
def test_every_terminal_can_show_it(encoding, terminal):
    table = candidates().rename(columns={"hours": "t [µs] Δ"})
    table["ligand"] = ["[bold]x[/bold]\x1b[31m", SMILES, *table["ligand"][2:]]
    state, _ = campaign(
        table, suggested(("1-1", "r1"), ("1-2", "r2")), measured({"r3": 1, "r4": 3, "r5": 2})
    )
    text = shown(state, encoding, terminal)
    assert "[bold]x[/bold]" in text
    assert "\x1b[31m" not in text
    assert SMILES not in text
    assert SMILES[:17] in text
    assert ("µ" in text) == (encoding != "ascii")
    assert ("┤" in text) == (encoding == "utf-8")


def test_a_long_list_of_pending_runs_is_cut():
    rows = [(f"1-{i}", f"r{i}") for i in range(1, 31)]
    text = shown(campaign(candidates(40), suggested(*rows))[0])
    assert "Pending (30):" in text
    assert "1-24 (r24)" in text
    assert "1-25" not in text
    assert "and 6 more" in text


def test_the_next_step_follows_from_what_is_left():
    both = suggested(("1-1", "r1"), ("1-2", "r2"))
    done = recorded(("1-1", "r1", 1), ("1-2", "r2", 2))
    steps = [
        next_step(campaign(candidates(count), *events)[0], "a.gollum")
        for count, events in ((3, ()), (3, (both,)), (3, (both, done)), (2, (both, done)))
    ]
    commands = ("suggest a.gollum -n 8 -o", "record a.gollum", "suggest a.gollum -n 2 -o", "report")
    assert all(f"gollum {command}" in step for command, step in zip(commands, steps, strict=True))


def test_the_plot_places_values_by_their_size():
    lines = text_plot([0.0, 10.0, 5.0], [0.0, 10.0, 10.0], written_like([0, 10]), unicode=False)
    assert lines[0].lstrip().startswith("10.0 |")
    assert lines[0].count("o") == lines[4].count("o") == lines[8].count("o") == 1
    assert lines[0].rstrip().endswith("=")
    assert lines[-1].split() == ["1", "3"]


@pytest.mark.parametrize("count", [1, 59, 60, 61, 500])
def test_the_plot_never_gets_wide(count):
    values = np.sin(np.arange(count))
    lines = text_plot(values, np.maximum.accumulate(values), "{:.1f}".format, unicode=True)
    assert max(map(len, lines)) < 75
    assert any("•" in line for line in lines)


def test_equal_results_are_one_line():
    lines = text_plot([3.0] * 5, [3.0] * 5, written_like([3.0]), unicode=False)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("values", "value", "text"),
    [
        ([0, 90], 71.234, "71.2"),
        ([0.01, 0.05], 0.034567, "0.0346"),
        ([1200, 5300], 1234.4, "1234"),
        ([1e-9, 3e-9], 1.23456e-9, "1.23456e-09"),
        ([1e9, 3e9], 1.5e9, "1.5e+09"),
        ([5, 5], 5.0, "5.00"),
        ([], 5.0, "5"),
        ([0, 90], None, "–"),
        ([0, 90], float("nan"), "–"),
    ],
)
def test_numbers_have_the_decimals_that_tell_them_apart(values, value, text):
    assert written_like(values)(value) == text


def test_the_status_needs_no_model():
    code = """
    import sys
    import gollum.report.campaign.status
    heavy = {"torch", "transformers", "botorch", "sklearn", "scipy", "matplotlib", "jinja2"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


# --- the page ------------------------------------------------------------------------------------


def states():
    """Campaigns of all kinds, by name."""
    rng = np.random.default_rng(0)
    many = {f"r{i + 1}": float(v) for i, v in enumerate(rng.normal(50, 9, 500))}
    return {
        "empty": campaign(candidates()),
        "one": campaign(candidates(), measured({"r1": 5})),
        "equal": campaign(candidates(), measured(dict.fromkeys(["r1", "r2", "r3"], 5))),
        "failed": campaign(candidates(), recorded(("r1", "r1", "failed"))),
        "not run": campaign(candidates(), recorded(("r1", "r1", "not run"))),
        "minimize": running(goal=Goal(kind="minimize")),
        "target": running(goal=Goal(kind="target", target=50)),
        "running": running(),
        "many": campaign(candidates(500), measured(many)),
    }


@pytest.mark.parametrize("name", states())
@pytest.mark.parametrize("model", [False, True])
def test_every_campaign_makes_a_sound_page(name, model):
    state, log = states()[name]
    text = render(state, log, insights(state) if model else None)
    page = Page(text)
    assert "script" not in page.tags
    assert all(link.startswith("data:image/svg+xml") for link in page.links)
    assert not re.search(r"https?://|url\(|@import", text)
    assert ("Go on: there is more." in page.text) == model
    assert "nan" not in page.text.split()


def test_what_the_page_says():
    state, log = running(also=("purity",), model="minilm")
    html = render(state, log, insights(state))
    page = Page(html)
    text = " ".join(page.text.split())
    assert "Best yield so far: 71.2" in text
    assert "3 results came of suggestions that had a prediction; 2 of them (67 %)" in text
    assert "Can't tell yet: 4 different experiments have a result" in text
    assert "XPhos\xa0(2)" in page.text
    assert "+8.5" in text
    assert "out of stock" in text
    assert "2-3" in text
    cells = (f'<td class="figure">{figure}</td>' for figure in ("2", "66.5", "2.1"))
    assert f'<td class="short">r4</td>{"".join(cells)}' in html  # repeats: count, mean, deviation
    assert '<td class="figure">77.0</td><td class="figure">69.2 to 84.8</td>' in html
    assert "<td>fitted lengthscale</td>" in html
    assert "the last improvement was 1 result ago" in text
    assert len(page.links) == 2


def test_names_are_text_wherever_they_stand():
    table = candidates().rename(columns={"ligand": HOSTILE})
    table[HOSTILE] = [f"{HOSTILE}{i}" for i in range(len(table))]
    state, log = campaign(
        table,
        suggested(("1-1", "r1", 3, 1, 5), ("1-2", "r2", 3, 1, 5)),
        recorded(("1-1", "r1", 4)),
        Recorded(results=(Result(run="x", id="r4", status="failed", note=HOSTILE),)),
        Avoided(column=HOSTILE, values=(f"{HOSTILE}5",), reason=HOSTILE),
        name=HOSTILE,
        template=HOSTILE,
    )
    effects = pd.DataFrame(
        [(HOSTILE, HOSTILE, 1.0, 1)], columns=["column", "value", "effect", "measured"]
    )
    text = render(state, log, insights(state, effects=effects, notes=(HOSTILE,)))
    page = Page(text)
    assert "<script" not in text
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) > 10


def test_corrections_are_struck_through():
    state, log = campaign(
        candidates(), measured({"r1": 5, "r2": 7}), measured({"r1": 50}),
        recorded(("r2", "r2", "failed")),
    )  # fmt: skip
    text = render(state, log, None)
    assert "<s>5.0</s> 50.0" in text
    assert "<s>7.0</s> –" in text


def test_a_correction_is_struck_through_at_the_outcome_that_it_changed():
    def said(**values):
        return Recorded(results=(Result(run="a", id="r1", status="measured", values=values),))

    fields = {"objective": "yield", "also": ("impurity",)}
    state, log = campaign(
        candidates(), said(**{"yield": 50.0}), said(**{"yield": 50.0}, impurity=2.0),
        said(**{"yield": 50.0}, impurity=4.0), **fields,
    )  # fmt: skip
    text = render(state, log, None)
    assert '<td class="figure">50.0</td><td class="figure"><s>2.00</s> 4.00</td>' in text


def test_outcomes_pair_predictions_with_what_came():
    table = outcomes(running()[0])
    assert table["run"].tolist() == ["2-1", "2-2", "2-1~2"]
    assert table["observed"].tolist() == [65, 62, 68]
    assert table["inside"].tolist() == [True, False, True]


def test_a_run_named_like_another_experiment_is_no_outcome():
    state, _ = campaign(candidates(), suggested(("r2", "r1", 3, 1, 5)), recorded(("r2", "r2", 4)))
    assert outcomes(state).empty


def test_effects_show_the_strongest_values_of_each_column():
    state, log = running()
    effects = pd.DataFrame(
        [("hours", "0", 0.25, 1)] + [("ligand", f"L{i:02}", float(i), i % 2) for i in range(14)],
        columns=["column", "value", "effect", "measured"],
    )
    text = " ".join(Page(render(state, log, insights(state, effects=effects))).text.split())
    assert text.index("ligand L13") < text.index("hours 0")
    assert "L04" in text
    assert "L03" not in text
    assert "and 4 values with smaller effects" in text
    fewer = insights(state, effects=effects.head(12))
    text = " ".join(Page(render(state, log, fewer)).text.split())
    assert "and 1 value with a smaller effect" in text


def test_predictions_of_two_columns_are_a_map_with_shades():
    state, log = running()
    assert "Two columns together" not in render(state, log, insights(state))
    chart = pd.DataFrame(
        {"ligand": ["XPhos", "<b>"], "hours 1": [80.0, 20.0], "hours 2": [50, None]}
    )
    html = render(state, log, insights(state, chart=chart))
    shades = re.findall(r"rgba\(0, 114, 178, ([0-9.]+)\)\">([0-9.]+)<", html)
    assert [(float(s), float(n)) for s, n in shades] == [(0.55, 80), (0.3, 50), (0.05, 20)]
    assert '<td class="figure">–</td>' in html
    assert "&lt;b&gt;" in html


def test_left_out_experiments_and_calibration_are_drawn():
    state, log = campaign(candidates(), measured({f"r{i}": i % 5 for i in range(1, 11)}))
    page = Page(render(state, log, insights(state)))
    assert "Each of the 10 experiments was predicted" in page.text
    assert "guessing the mean" in page.text


def test_calibration_agrees_with_the_count_inside_clipped_intervals():
    rows = [(3, 0, 0, 4.74), (0, 2, 0, 12), (100, 90, 80, 100), (60, 50, 0, 100), (9, 5, 4, 6)]
    table = pd.DataFrame(rows, columns=["observed", "mean", "low", "high"])
    shares = _shares(table, (0.0, 100.0))
    assert shares[-1] == 0.8
    assert (np.diff(shares) >= 0).all()
    # 0 lies as far below 2 as 20 % of the way that the upper side takes to hold 95 %.
    assert _shares(table[1:2], (0.0, 100.0)).tolist() == [p > 0.3 for p in LEVELS]
    both = table[3:4]  # 60 is nearer to the middle than an interval clipped at both ends tells
    assert _shares(both, (0.0, 100.0)).tolist() == [p > 0.3 for p in LEVELS]
    assert _shares(both.assign(reach=100.0), (0.0, 100.0)).tolist() == [p > 0.15 for p in LEVELS]
    assert _shares(table[:1]).sum() == sum(p > 0.78 for p in LEVELS)


def test_what_happened_in_words():
    source = Source(name="a.csv", sha256="0")
    words = [describe(entry.event) for entry in running(source=source)[1]]
    assert words == [
        "begun with candidates of a.csv",
        "batch 1: 3 suggested (first design)",
        "3 results",
        "batch 2: 4 suggested (pllm)",
        "3 results",
        "ligand: dppf avoided (out of stock)",
    ]
    assert describe(Avoided(values=("r1",), lifted=True)) == "id: r1 allowed again"
    assert describe(Retold(template="x")) == "template replaced"


def test_the_page_is_written_whole_or_refused(tmp_path):
    state, log = running()
    file = tmp_path / "new" / "report.html"
    page = render(state, log, None)
    html.write(file, page, "-o")
    assert file.read_text("utf-8") == page
    with pytest.raises(ConfigError, match="can't be written"):
        html.write(tmp_path, page, "-o")
    assert [p.name for p in tmp_path.iterdir()] == ["new"]


def test_whether_to_go_on_is_told_with_the_batch_and_in_the_status():
    hopeless = Suggestion(run="b1-1", id="r1", mean=5, low=1, high=9, chance=0.004)
    event = Suggested(batch=1, basis=2, asked=1, suggestions=(hopeless,), surrogate="pllm",
                      advice="Little is left to gain: so it is.")  # fmt: skip
    state, _ = campaign(candidates(), measured({"r2": 8}), event)
    assert outlook(state)[0] == "Little is left to gain: so it is."
    assert "1 of these 1 beat the best with less than 2 %" in outlook(state)[1]
    assert "Little is left to gain" in shown(state)
    state, _ = campaign(candidates(), measured({"r2": 8}), event, recorded(("b1-1", "r1", 3)))
    assert outlook(state) == ["Before the last results: Little is left to gain: so it is."]


def test_small_gains_are_no_powers_of_ten():
    state, log = running()
    tiny = insights(state)
    tiny.advice.candidates["gain"] = [2.6e-5]
    assert "&lt; 0.01" in render(state, log, tiny)


def test_structures_are_left_out_where_a_name_says_them():
    table = pd.DataFrame({"name": ["a", "b", "b"], "smiles": ["C", "O", "O"], "other": list("CNO")})
    assert telling_columns(table, ("smiles",)) == ["name", "other"]
    assert telling_columns(table, ("other",)) == ["name", "smiles", "other"]
