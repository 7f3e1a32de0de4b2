"""Several outcomes through spreadsheets: goals, limits, bounds, and what is wrong with them."""

import numpy as np
import pandas as pd
import pytest

from gollum.api import Campaign
from gollum.campaign.store import Store
from gollum.data.outcomes import Goal, Outcome
from gollum.data.readers import read_table
from gollum.data.writers import write_sheet
from gollum.errors import ConfigError, DataError, UserError

GRID = pd.DataFrame(
    [(x, b, t) for x in "ABCD" for b in "KLM" for t in (40, 60, 80)],
    columns=["ligand", "base", "temperature_C"],
)
TRUTH = {
    "yield": lambda r: min(100.0, 25.0 * "ABCD".index(r.ligand) + 5 * "KLM".index(r.base) + 0.3
                           * (r.temperature_C - 40)),
    "ee": lambda r: 99.0 - 0.2 * (r.temperature_C - 40) - 2 * "KLM".index(r.base),
    "price": lambda r: 10.0 + 20 * "ABCD".index(r.ligand),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    write_sheet(GRID, "conditions.csv")


def begin(*objectives, table="conditions.csv", **options):
    options = {"surrogate": "one_hot"} | options
    return Campaign.create("my.gollum", table=table, objective=list(objectives), **options)[0]


def filled(sheet, *names):
    return sheet.assign(**{n: [TRUTH[n](r) for r in sheet.itertuples()] for n in names})


def test_a_campaign_with_a_limit_through_spreadsheets(gollum):
    code, out, err = gollum(
        "init", "my.gollum", "--table", "conditions.csv", "--objective", "yield", "--maximize",
        "--objective", "ee:at-least=92", "--surrogate", "one_hot",
    )  # fmt: skip
    assert code == 0, err
    assert "maximize yield; ee at least 92" in out
    assert "column 'ee': predictions stay within 0 to 100" in out
    for number in range(2):
        code, out, err = gollum("suggest", "my.gollum", "-n", 4, "-o", f"next{number}.csv")
        assert code == 0, err
        assert "fill in the columns 'yield', 'ee'" in out
        sheet = read_table(f"next{number}.csv")
        write_sheet(filled(sheet, "yield", "ee"), f"next{number}.csv")
        assert gollum("record", "my.gollum", f"next{number}.csv")[0] == 0
    assert "all limits hold with" in out
    assert sheet["chance that limits hold"].between(0, 1).all()
    assert sheet["high 95 % ee"].max() <= 100
    assert sheet["high 95 %"].max() <= 100
    out = gollum("status", "my.gollum")[1]
    results = Campaign("my.gollum").export()
    best = results.loc[results["ee"] >= 92, "yield"].max()
    assert f"Best so far: yield {best:.1f}" in out
    assert "ee at least 92:" in out
    code, out, err = gollum("init", "my.gollum", "--objective", "ee:at-least=96")
    assert "from now on ee at least 96, bounds 0 to 100" in out
    assert "ee at least 96" in gollum("status", "my.gollum")[1]
    assert gollum("replay", "my.gollum", "--quiet")[1].count("agrees") == 2


def test_a_front_with_a_price_that_is_known(gollum):
    priced = GRID.assign(price=[TRUTH["price"](r) for r in GRID.itertuples()])
    campaign = begin("yield", "price:minimize", "ee:watch", table=priced)
    state = campaign.state()
    assert (state.created.cost, state.created.also) == ("price", ("ee",))
    for _ in range(2):
        sheet = campaign.suggest(4)
        campaign.record(filled(sheet, "yield", "ee"))
    assert sheet["chance to join front"].between(0, 1).all()
    assert {"price", "predicted ee"} <= set(sheet)
    assert "predicted price" not in sheet
    assert not any(s.limits for s in campaign.state().batches[-1].suggestions)
    assert all(one.agrees for one in campaign.replay())
    out = gollum("status", "my.gollum")[1]
    assert "On the front:" in out
    assert "Hypervolume:" in out


def test_what_is_known_of_every_candidate_may_be_0_or_less(gollum):
    known = GRID.assign(logp=np.arange(36) / 10 - 1, waste=1.0)
    campaign = begin("yield", "logp:minimize", table=known.drop(columns="waste"))
    campaign.record(filled(campaign.suggest(4), "yield"))
    assert np.isfinite(campaign.suggest(2)["logp"]).all()
    with pytest.raises(UserError, match="'logp' is not above 0 for all candidates"):
        campaign.suggest(2, cost_weight=1, fresh=True)
    new = GRID.head(1).assign(temperature_C=70, logp=-3.5)
    assert campaign.add(new)[0] == 1
    write_sheet(known, "known.csv")
    words = ("--table", "known.csv", "--objective", "yield", "--objective", "logp:minimize")
    code, _, err = gollum("init", "b.gollum", *words, "--cost", "logp")
    assert (code, "not a finite number above 0; give each experiment a cost" in err) == (2, True)
    code, _, err = gollum("init", "b.gollum", *words, "--objective", "waste:minimize")
    assert "'logp' and 'waste' are both known of every candidate" in err


def test_results_may_come_at_different_times():
    campaign = begin("yield", "ee:at-least=90")
    sheet = campaign.suggest(4)
    campaign.record(filled(sheet, "yield"))
    later = campaign.suggest(3)  # the limit plays no part yet
    assert later["chance that limits hold"].isna().all()
    campaign.record(filled(sheet, "ee").head(3))
    state = campaign.state()
    assert len(state.observations()[0]) == 4
    assert len(state.observations(state.outcomes[1])[0]) == 3
    assert campaign.suggest(3, fresh=True)["chance that limits hold"].notna().all()
    assert all(one.agrees for one in campaign.replay())


def test_what_is_said_of_results_that_come_later(gollum):
    campaign = begin("yield", "ee:at-least=90")
    sheet = campaign.suggest(4)
    campaign.record(filled(sheet, "yield"))
    write_sheet(filled(sheet, "ee").head(3), "later.csv")
    code, out, err = gollum("record", "my.gollum", "later.csv")
    assert (code, out.strip()) == (0, "later.csv: ee added to 3 runs."), err


def test_weights_make_one_number_of_several():
    options = {"bounds": {"price": "0:100"}, "weight": {"yield": 2}}
    campaign = begin("yield", "price:minimize", **options)
    for _ in range(2):
        sheet = campaign.suggest(4)
        campaign.record(filled(sheet, "yield", "price"))
    assert "chance to beat best" in sheet
    assert all(one.agrees for one in campaign.replay())


def test_weights_and_references_are_taken_back(gollum):
    campaign = begin("yield", "ee:maximize", reference={"yield": 10, "ee": 20})
    code, _, err = gollum("init", "my.gollum", "--weight", "yield=2")
    assert code == 2
    assert "by --reference yield=none or --weight yield=none" in err
    words = ("--reference", "yield=none", "--reference", "ee=none", "--weight", "yield=2")
    code, _, err = gollum("init", "my.gollum", *words)
    assert code == 0, err
    assert [o.reference for o in campaign.state().outcomes] == [None, None]
    assert campaign.state().weighed
    code, _, err = gollum("init", "my.gollum", "--objective", "ee:watch")
    assert "take it back by --weight yield=none" in err
    campaign.want("ee:watch", weight={"yield": None})
    assert campaign.state().objective.weight is None
    with pytest.raises(ConfigError, match="a weight is a finite number, not 'nil'"):
        campaign.want(weight="nil")


def test_predictions_stay_inside_and_choices_are_as_without_bounds():
    results = GRID.iloc[::9].assign(**{"yield": [0.0, 3, 96, 100]})
    sheets = {}
    for number, bounds in enumerate(("0:100", "none")):
        campaign, _ = Campaign.create(
            f"{number}.gollum", table=pd.concat([results, GRID.drop(results.index)]),
            objective="yield", surrogate="one_hot", bounds=bounds,
        )  # fmt: skip
        sheets[bounds] = campaign.suggest(8)
    inside, outside = sheets["0:100"], sheets["none"]
    assert inside["id"].tolist() == outside["id"].tolist()
    assert outside["low 95 %"].min() < 0
    for column in ("predicted yield", "low 95 %", "high 95 %"):
        assert inside[column].between(0, 100).all()
        np.testing.assert_allclose(inside[column], outside[column].clip(0, 100))


def test_a_scale_may_be_said_or_chosen():
    results = filled(GRID.head(8), "yield")
    table = pd.concat([results, GRID.tail(16)])
    for name in ("logit", "auto"):
        campaign, _ = Campaign.create(
            f"{name}.gollum", table=table, objective="yield", surrogate="one_hot", transform=name
        )
        sheet = campaign.suggest(3)
        assert sheet["high 95 %"].max() <= 100
        event = campaign.state().batches[0]
        assert event.scales.keys() == ({"yield"} if name == "auto" else set())
        assert all(one.agrees for one in campaign.replay())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objective", "yield", "--objective", "yield:minimize"], "'yield' is given twice"),
        (["--objective", "yield", "--objective", "Yield:minimize"],
         "'yield' and 'Yield' differ in spelling alone"),
        (["--objective", "yield:minimize", "--maximize"], "say their own; leave it out"),
        (["--objective", "yield", "--objective", "ee", "--minimize"], "write each as yield:min"),
        (["--objective", "yield", "--objective", "ee:above=90"], "'above=90' is no goal"),
        (["--objective", "yield", "--objective", "ee:at-least"], "write at-least=90"),
        (["--objective", "ee:watch"], "every objective is only watched"),
        (["--objective", "yield", "--bounds", "ee=0:100"],
         "no objective 'ee' for --bounds. Name one of 'yield'."),
        (["--objective", "yield", "--bounds", "100:0"], "bounds 100:0 should go up"),
        (["--objective", "yield", "--transform", "sqrt"], "a transform is auto, identity, log"),
        (["--objective", "yield", "--weight", "2"], "which is for several objectives"),
        (["--objective", "yield", "--reference", "2"], "which is for several objectives"),
        (["--objective", "yield", "--failed-as", "100"], "the best that there can be"),
        (["--objective", "yield", "--failed-as", "nan"], "can't count as nan"),
        (["--objective", "yield", "--objective", "ee:at-most=5", "--failed-as", "ee=0"],
         "which is what is wanted"),
        (["--objective", "yield", "--objective", "ee:minimize", "--acquisition", "ei"],
         "'ei' has no limits and further objectives; use log_ei or q_log_ei"),
        (["--objective", "yield", "--objective", "price:minimize", "--weight", "yield=2"],
         "'price' is weighed, which needs both bounds"),
        (["--objective", "yield", "--objective", "ligand:minimize"], "'ligand'"),
    ],
)  # fmt: skip
def test_one_sentence_and_no_file(gollum, tmp_path, words, said):
    code, _, err = gollum("init", "my.gollum", "--table", "conditions.csv", *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "my.gollum").exists()


def test_results_and_what_is_said_of_them(gollum):
    table = filled(GRID.head(6), "yield", "ee")
    write_sheet(pd.concat([table, GRID.tail(30)]), "results.csv")

    def begun(*words):
        return gollum("init", "my.gollum", "--table", "results.csv", *words)

    code, _, err = begun("--objective", "yield", "--also", "ee", "--bounds", "yield=0:10")
    assert code == 2
    assert "row 4, column 'yield': 12 is outside of the bounds (0 to 10)" in err
    two = ("--objective", "yield", "--objective", "ee")
    code, _, err = begun(*two, "--reference", "yield=90")
    assert "no result is better than the reference (yield 90)" in err
    code, _, err = begun("--objective", "yield", "--also", "ee", "--bounds", "yield=0:60")
    assert code == 0, err
    campaign = Campaign("my.gollum")
    known = len(Store.open("my.gollum").log())
    for refused, said in (
        (lambda: campaign.want("ee"), "say what is wanted of 'ee'"),
        (lambda: campaign.want("ligand:minimize"), "is an input of the campaign"),
        (lambda: campaign.want("yeild:minimize"), "no result 'yeild'. Did you mean 'yield'"),
        (lambda: campaign.want(bounds="0:5"), "is outside of the bounds"),
        (lambda: campaign.want("yield:at-least=5", "ee"), "say what is wanted of 'ee'"),
        (lambda: campaign.want("yield:at-least=5", "ee:maximize"), "goes before other objectives"),
        (lambda: campaign.want("ee:maximize", reference={"ee": 99.5}), "better than the reference"),
        (lambda: campaign.want(failed_as=50), "better than every result so far"),
    ):
        with pytest.raises(ConfigError, match=said):
            refused()
    sheet = campaign.suggest(1)
    with pytest.raises(DataError, match="61 is outside of the bounds"):
        campaign.record(sheet.assign(**{"yield": 61}))
    assert len(Store.open("my.gollum").log()) == known + 1
    campaign.want("ee:at-least=95", bounds={"yield": "0:100"}, failed_as={"ee": 0})
    campaign.record(sheet.assign(**{"yield": 61}))
    assert [o.name for o in campaign.state().outcomes] == ["yield", "ee"]
    assert campaign.state().outcomes[1].failed_as == 0
    assert campaign.want("ee:at-least=95") == campaign.state().outcomes
    assert len(Store.open("my.gollum").log()) == known + 3


def test_bounds_that_are_said_hold_where_others_were_found(gollum):
    campaign = begin("yield", "ee:at-least=90")
    assert campaign.state().objective.found
    sheet = campaign.suggest(4)
    campaign.record(sheet.assign(**{"yield": [20, 40, 60, 80], "ee": 95}))
    known = len(Store.open("my.gollum").log())
    code, _, err = gollum("init", "my.gollum", "--bounds", "yield=30:70")
    assert code == 2
    assert "yield 20 is outside of the bounds (30 to 70)" in err
    assert "as --bounds yield=20:70" in err
    assert len(Store.open("my.gollum").log()) == known
    assert gollum("init", "my.gollum", "--bounds", "yield=20:80")[0] == 0
    assert not campaign.state().objective.found
    assert campaign.state().outcomes[1].found
    sheet = campaign.suggest(4)
    assert sheet["high 95 %"].max() <= 80
    with pytest.raises(DataError, match="81 is outside of the bounds"):
        campaign.record(sheet.assign(**{"yield": 81}))
    campaign.want(Outcome(name="ee", bounds=(0.0, 96.0)))
    assert not campaign.state().outcomes[1].found


def test_a_result_beyond_a_bound_that_was_found_opens_that_end():
    campaign = begin("yield", "ee:watch")
    sheet = campaign.suggest(4)
    intake = campaign.record(sheet.assign(**{"yield": [20, 40, 60, 80], "ee": [50, 60, 70, 104]}))
    assert [str(note) for note in intake.notes] == [
        "row 5, column 'ee': 104 is not within 0 to 100",
        "column 'ee': predictions may go beyond 0 to 100 as well, unless that is corrected",
    ]
    state = campaign.state()
    assert state.scale(state.outcomes[1]).bounds == (0.0, None)
    assert campaign.suggest(20)["high 95 % ee"].max() > 104


def test_the_same_in_a_file_of_factors(gollum, tmp_path):
    (tmp_path / "lists.yaml").write_text(
        "factors:\n  ligand: [A, B, C]\n  temperature_C: [40, 60]\n"
        "outcomes:\n  yield: maximize\n  ee: {goal: at-least=90, failed_as: 0}\n"
        "  impurity: {goal: minimize, bounds: 0:20}\n"
    )
    code, out, err = gollum("init", "my.gollum", "--factors", "lists.yaml")
    assert code == 0, err
    assert "maximize yield; minimize impurity; ee at least 90" in out
    outcomes = Campaign("my.gollum").state().outcomes
    assert [o.failed_as for o in outcomes] == [None, None, 0.0]
    assert outcomes[1].bounds == (0.0, 20.0)
    code, _, err = gollum("init", "b.gollum", "--factors", "lists.yaml", "--objective", "yield")
    assert "says what is wanted, and so do options" in err
    for line, said in (
        ("yield: maximize it", "line 4: write maximize"),
        ("yield: {goal: maximize, bonds: 0:1}", "'bonds' is unknown here"),
        ("yield: {transform: cubic}", "line 4: a transform is"),
    ):
        (tmp_path / "odd.yaml").write_text(f"factors:\n  a: [x, y]\noutcomes:\n  {line}\n")
        code, _, err = gollum("init", "c.gollum", "--factors", "odd.yaml")
        assert (code, said in err) == (2, True), err
    assert "leave 'outcomes' out" in gollum("add", "my.gollum", "lists.yaml")[2]
    (tmp_path / "none.yaml").write_text("factors:\n  a: [x, y]\n")
    assert "give an objective" in gollum("init", "d.gollum", "--factors", "none.yaml")[2]


def test_outcomes_as_objects():
    ee = Outcome(name="ee", goal=Goal(kind="at-least", low=90.0), bounds=(0.0, 100.0))
    campaign = begin(ee, "yield")
    assert [o.name for o in campaign.state().outcomes] == ["yield", "ee"]
    assert not campaign.state().outcomes[1].found
    with pytest.raises(UserError, match="no option 'weights'"):
        Campaign.create("b.gollum", table=GRID, objective="yield", weights=2)


def test_a_limit_alone_is_pursued():
    campaign = begin("ee:range=90:94")
    for _ in range(2):
        campaign.record(filled(campaign.suggest(4), "ee"))
    assert campaign.state().goal == Goal(kind="target", target=92.0)
    assert all(one.agrees for one in campaign.replay())


def test_what_is_pursued_of_a_limit_alone_is_told(gollum):
    words = ("--objective", "yield:at-least=60", "--objective", "ee:watch", "--surrogate")
    out = gollum("init", "my.gollum", "--table", "conditions.csv", *words, "one_hot")[1]
    assert "no objective beside the limit, so the campaign is to maximize yield; add one" in out
    campaign = Campaign("my.gollum")
    campaign.record(campaign.suggest(4).assign(**{"yield": [20, 40, 60, 80], "ee": 95}))
    out = gollum("status", "my.gollum")[1]
    assert "yield at least 60: 2 of 4 meet it; the campaign goes on to maximize yield" in out
    out = gollum("init", "my.gollum", "--objective", "yield:range=50:60")[1]
    assert "from now on bring yield to 55, as there is no objective beside the limit" in out
    gollum("init", "my.gollum", "--objective", "yield:maximize")
    assert "meet it" not in gollum("status", "my.gollum")[1]


def test_earlier_campaigns_tell_of_the_objective_alone():
    earlier = filled(GRID.iloc[::4], "yield")
    priced = GRID.assign(price=[TRUTH["price"](r) for r in GRID.itertuples()])
    campaign = begin(
        "yield", "ee:at-least=90", "price:minimize", table=priced, surrogate="averaged",
        keys={"averaging.particles": 8}, transform={"yield": "logit"},
    )  # fmt: skip
    campaign.learn_from(earlier, objective="yield", name="before", inputs=list(GRID))
    sheet = campaign.suggest(4)  # by what was learned before, as nothing is measured
    assert sheet["predicted yield"].between(0, 100).all()
    assert sheet["chance to join front"].isna().all()
    campaign.record(filled(sheet, "yield", "ee"))
    sheet = campaign.suggest(3)
    assert sheet["chance that limits hold"].between(0, 1).all()
    assert sheet["predicted yield"].between(0, 100).all()
    assert all(one.agrees for one in campaign.replay())
