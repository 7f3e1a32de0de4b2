import math

import numpy as np
import pandas as pd
import pytest

from gollum.data.pool import Pool
from gollum.data.spreadsheets.units import ENDINGS
from gollum.errors import TemplateError
from gollum.text.template import Slot, Span, Template, lint


def pool(frame, **options):
    return Pool.from_table(frame.assign(y=range(len(frame))), "y", **{"name": "t.csv", **options})


POOL = pool(
    pd.DataFrame(
        {
            "ligand": ["XPhos", "", "dppf"],
            "smiles": ["C[P]", "CC", "c1cc[nH]c1"],
            "temperature_C": [20.0, 66.66666666, math.nan],
            "count": [1, 2, 30],
        }
    )
)


def render(source, **row):
    return Template(source).render(row).text


def refusal(source, row=None, columns=None):
    template = Template(source)
    with pytest.raises(TemplateError) as caught:
        template.render(row) if columns is None else template.check(columns, "t.csv")
    return str(caught.value)


# --- grammar -------------------------------------------------------------------------------------


def test_slots_are_filled_in_place():
    assert render("{a} with {b}; {a}.", a="x", b=3) == "x with 3; x."


def test_doubled_brackets_are_the_characters_themselves():
    assert render("{{a}} [[b]] {a} ]][[ }}{{", a="x") == "{a} [b] x ][ }{"


def test_escapes_next_to_slots_and_optional_parts():
    assert render("{{{a}}}", a="x") == "{x}"
    assert render("[[[{a}]]]", a="x") == "[x]"


def test_an_optional_part_disappears_when_one_of_its_slots_is_blank():
    source = "start[, {a} and {b}]; end"
    assert render(source, a="x", b="y") == "start, x and y; end"
    for blank in ("", None, math.nan):
        assert render(source, a="x", b=blank) == "start; end"
        assert render(source, a=blank, b="y") == "start; end"


def test_zero_and_false_are_not_blank():
    assert render("[{a}]|[{b}]|[{c}]", a=0, b=0.0, c=False) == "0|0|False"


def test_an_optional_part_without_slots_stays():
    assert render("a[ b] {c}", c=1) == "a b 1"


def test_a_blank_outside_an_optional_part_is_written_as_a_word():
    assert render("base: {a}, {b:.2f}, {c}", a="", b=math.nan, c=None) == "base: none, none, none"


@pytest.mark.parametrize(
    ("slot", "value", "written"),
    [
        ("{t:.1f}", 66.66, "66.7"),
        ("{t:.0%}", 0.25, "25%"),
        ("{t:05d}", 42, "00042"),
        ("{t:+.3e}", 12345.6, "+1.235e+04"),
        ("{t:,}", 1234567, "1,234,567"),
        ("{t:>8}", "abc", "     abc"),
        ("{t:g}", 0.5, "0.5"),
        ("{t}", 1 / 3, "0.333333"),
        ("{t}", 20.0, "20"),
        ("{t}", 1234567, "1234567"),
        ("{t:}", 20.0, "20"),
        ("{t}", "0.3333333333", "0.3333333333"),
    ],
)
def test_formats(slot, value, written):
    assert render(slot, t=value) == written


def test_a_colon_may_be_part_of_a_column_name():
    assert render("{ratio a:b}", **{"ratio a:b": 3}) == "3"
    assert render("{solvent: water:.1f}", **{"solvent: water": 0.25}) == "0.2"
    assert Template("{a:b:.2f}").slots == (Slot("a:b", ".2f"),)
    assert Template("{ratio 1:2:}").slots == (Slot("ratio 1:2"),)


def test_columns_are_listed_once_and_in_order():
    template = Template("{b}[ {a:.2f}] {{c}} {b}")
    assert template.columns == ("b", "a")
    assert template.slots == (Slot("b"), Slot("a", ".2f"), Slot("b"))


def test_line_breaks_and_unicode_are_ordinary_text():
    text = Template("Ansatz µ\n{a} °C").render({"a": "\n→"})
    assert text.text == "Ansatz µ\n\n→ °C"
    assert text.spans == (Span("a", 9, 11),)


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{a", "unmatched '{'"),
        ("a}", "unmatched '}'"),
        ("{a}}", "unmatched '}'"),
        ("{a{b}}", "unmatched '{'"),
        ("[{a}", "unmatched '['"),
        ("{a}]", "unmatched ']'"),
        ("[{a} [{b}]]]", "optional part"),
        ("[{a} [ {b} ] ]", "optional part"),
        ("{}", "without a column name"),
        ("{  }", "without a column name"),
    ],
)
def test_malformed_templates_are_refused_and_shown(source, what):
    message = refusal(source, {"a": 1, "b": 2})
    assert what in message
    assert source in message
    assert message.endswith(".")


def test_a_missing_column_is_named_with_the_nearest():
    message = refusal("{ligan}", columns=["ligand", "base"])
    assert "'ligan'" in message
    assert "Did you mean 'ligand'?" in message
    assert message.startswith("t.csv: ")


def test_a_column_missing_in_an_optional_part_is_refused_too():
    with pytest.raises(TemplateError, match="'solvent'"):
        Template("{ligand}[ {solvent}]").render_pool(POOL)


@pytest.mark.parametrize("source", ["", "the same for all", "{{ligand}}", "[[ligand]]"])
def test_a_template_that_reads_nothing_is_refused(source):
    message = refusal(source, columns=["ligand"])
    assert "reads no column" in message
    assert "{ligand}" in message


@pytest.mark.parametrize(
    ("slot", "value"), [("{t:.2f}", "warm"), ("{t:d}", 1.5), ("{t:.2f}", "1.0")]
)
def test_a_format_that_does_not_suit_the_value_is_refused(slot, value):
    message = refusal(slot, {"t": value})
    assert "column 't'" in message
    assert slot[2:-1] in message
    assert repr(value) in message


# --- pools ---------------------------------------------------------------------------------------


def test_a_pool_is_rendered_in_order_with_spans():
    texts = Template("{ligand}: {temperature_C:.1f}[ {smiles}]").render_pool(POOL)
    assert [t.text for t in texts] == [
        "XPhos: 20.0 C[P]",
        "none: 66.7 CC",
        "dppf: none c1cc[nH]c1",
    ]
    assert texts[0].spans == (
        Span("ligand", 0, 5),
        Span("temperature_C", 7, 11),
        Span("smiles", 12, 16),
    )


def test_the_texts_of_a_pool_are_those_of_its_rows():
    frame = pd.DataFrame(
        {"x": [0.0, -0.0, np.nan, 0.0], "a": ["p", "", "q", "p"], "n": [1, 2, 2, 1]}
    )
    mixed = frame.assign(o=pd.Series([1, True, 1.0, None], dtype=object))
    p = Pool("t", mixed, "", "maximize", np.full(4, np.nan))
    for source in ("{x}; {a}[ of {n:03d} ({a}, {x:.2f})].", "[{a}]{o}[!]", "{x}{x:.1f}[ and {o}]"):
        template = Template(source)
        for blank in ("none", ""):
            assert template.texts(p, blank) == [t.text for t in template.render_pool(p, blank)]


def test_integers_and_floats_keep_their_kinds_side_by_side():
    assert Template("{count} {temperature_C}").render_pool(POOL)[1].text == "2 66.6667"


def test_from_columns_reads_endings_as_units():
    template = Template.from_columns(POOL)
    assert template.render_pool(POOL)[1].text == (
        "ligand: none; smiles: CC; temperature: 66.6667 °C; count: 2."
    )


@pytest.mark.parametrize(("ending", "unit"), ENDINGS.items())
def test_every_ending_is_written_as_its_unit(ending, unit):
    p = pool(pd.DataFrame({f"total_amount{ending}": ["7"]}))
    assert Template.from_columns(p).render_pool(p)[0].text == f"total amount: 7 {unit}."


def test_an_ending_alone_is_a_name():
    p = pool(pd.DataFrame({"_min": ["7"]}))
    assert Template.from_columns(p).render_pool(p)[0].text.endswith("min: 7.")


NASTY = ["ratio 1:2", "Ligand:", "speed [rpm]", "share:%", "a:.2f", "]", "[[x", " x ", "t_[C]_C"]


@pytest.mark.parametrize("name", [*NASTY, "set {a}", "{", "}}", "{{x}}"])
def test_from_columns_and_column_take_names_as_they_stand(name):
    p = pool(pd.DataFrame({name: ["first", "second"], "other": ["p", "q"]}))
    texts = Template.from_columns(p).render_pool(p)
    for text, value in zip(texts, ["first", "second"], strict=True):
        span = text.spans[0]
        assert (span.column, text.text[span.start : span.end]) == (name, value)
    assert [t.text for t in Template.column(name).render_pool(p)] == ["first", "second"]


def test_a_text_column_is_read_as_it_stands():
    p = pool(pd.DataFrame({"procedure": ["Mix {a} with [b].", "Heat: 20 °C"]}))
    texts = Template.column("procedure").render_pool(p)
    assert [t.text for t in texts] == ["Mix {a} with [b].", "Heat: 20 °C"]
    assert texts[0].spans == (Span("procedure", 0, 17),)


# --- lint ----------------------------------------------------------------------------------------


def notes(source, frame):
    p = pool(frame)
    template = Template(source)
    return lint(template, p, template.texts(p))


FRAME = pd.DataFrame(
    {
        "ligand": ["a", "a", "b", "b"],
        "ligand_smiles": ["C", "C", "N", "N"],
        "t": [20.0, 40.0, 20.0, 40.0],
        "halide": ["I", "I", "I", "I"],
    }
)


def test_nothing_is_said_of_a_good_template():
    assert notes("{ligand} {t}", FRAME) == []


def test_twins_are_counted():
    (twins, _) = notes("{ligand}", FRAME)
    assert "2 candidates share their text" in twins
    assert twins.startswith("t.csv: ")


def test_twins_made_by_a_coarse_format_are_counted():
    found = notes("{ligand} {t:.0e}", FRAME.assign(t=[20.0, 20.1, 20.0, 20.1]))
    assert any("2 candidates share" in note for note in found)


def test_columns_that_the_text_leaves_out_are_named():
    (_, unused) = notes("{ligand_smiles}", FRAME)
    assert "'t'" in unused
    assert "'halide'" not in unused  # constant
    assert "'ligand'" not in unused  # said by its SMILES


def test_a_column_that_says_more_than_the_used_one_is_named():
    frame = FRAME.assign(batch=["p", "q", "r", "s"])
    (unused,) = notes("{ligand} {t}", frame)
    assert "'batch'" in unused
    assert "ligand_smiles" not in unused
