"""A text remembers exactly which characters each column wrote."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from gollum.data.pool import Pool
from gollum.data.spreadsheets.units import ENDINGS
from gollum.text.template import Slot, Template

words = st.text(max_size=12)
present = st.text(min_size=1, max_size=12)
# What a column may be called: anything.
characters = st.characters(exclude_categories=("Cs",))
plain = st.text(st.characters(exclude_characters="{}:", exclude_categories=("Cs",)), max_size=8)
# A name that starts with a double quote is one of those that a slot must quote.
slot_names = plain.filter(lambda name: name.strip() and not name.startswith('"'))
look_like_formats = st.builds("{}:{}".format, plain, st.sampled_from(["", "2", ".1f", "%", "d"]))
column_names = (st.text(characters, min_size=1, max_size=10) | look_like_formats).filter(str.strip)
names_with_units = st.builds(str.__add__, column_names, st.sampled_from(["", *ENDINGS]))


def escaped(literal):
    for bracket in "{}[]":
        literal = literal.replace(bracket, bracket * 2)
    return literal


@settings(max_examples=150, deadline=None)
@given(pieces=st.lists(st.tuples(words, slot_names, present), min_size=1, max_size=6), end=words)
def test_spans_hold_exactly_what_columns_wrote(pieces, end):
    row = {}
    for _, name, value in pieces:
        row.setdefault(name, value)
    source = "".join(escaped(word) + "{" + name + "}" for word, name, _ in pieces) + escaped(end)
    text = Template(source).render(row)
    assert text.text == "".join(word + row[name] for word, name, _ in pieces) + end
    assert [span.column for span in text.spans] == [name for _, name, _ in pieces]
    for span in text.spans:
        assert text.text[span.start : span.end] == row[span.column]


@settings(max_examples=100, deadline=None)
@given(
    before=words,
    # Brackets are paired from the left: '[[[' is '[[' and '[', ']]]' is ']]' and ']'.
    inside=words.filter(lambda word: not word.startswith("[")),
    after=words.filter(lambda word: not word.startswith("]")),
    value=words,
)
def test_spans_stay_right_around_optional_parts(before, inside, after, value):
    source = f"{escaped(before)}[{escaped(inside)}{{a}}]{escaped(after)}{{b}}"
    text = Template(source).render({"a": value, "b": "last"})
    middle = inside + value if value else ""
    assert text.text == before + middle + after + "last"
    assert text.text[text.spans[-1].start : text.spans[-1].end] == "last"
    assert len(text.spans) == (2 if value else 1)
    if value:
        first = text.spans[0]
        assert text.text[first.start : first.end] == value


@settings(max_examples=100, deadline=None)
@given(literal=words)
def test_escaping_brings_any_literal_through(literal):
    template = Template(escaped(literal) + "{a}")
    assert template.render({"a": "!"}).text == literal + "!"
    assert template.slots == (Slot("a"),)


@settings(max_examples=100, deadline=None)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(), digits=st.integers(0, 9)
)
def test_formats_are_pythons(value, digits):
    assert Template(f"{{a:.{digits}e}}").render({"a": value}).text == format(value, f".{digits}e")


def pool(names, rows):
    table = pd.DataFrame(rows, columns=names).assign(**{"the objective": range(len(rows))})
    return Pool.from_table(table, "the objective")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), names=st.lists(names_with_units, min_size=1, max_size=4, unique=True))
def test_from_columns_writes_every_value_of_any_table(data, names):
    rows = data.draw(st.lists(st.tuples(*[present] * len(names)), min_size=1, max_size=3))
    p = pool(names, rows)
    for text, row in zip(
        Template.from_columns(p).render_pool(p), p.table.itertuples(index=False), strict=True
    ):
        assert [span.column for span in text.spans] == names
        assert [text.text[span.start : span.end] for span in text.spans] == list(row)


@settings(max_examples=100, deadline=None)
@given(name=column_names, values=st.lists(present, min_size=1, max_size=4, unique=True))
def test_a_text_column_is_copied(name, values):
    p = pool([name], [(value,) for value in values])
    assert [t.text for t in Template.column(name).render_pool(p)] == values
