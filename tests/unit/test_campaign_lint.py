import math

import pandas as pd
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from gollum.campaign import lint as module
from gollum.campaign.lint import lint, lint_tokens, tokenizer_of
from gollum.data.pool import Pool
from gollum.text.template import Template


def notes(source, table):
    return lint(Template(source), table, name="t.csv")


def table(**columns):
    frame = pd.DataFrame(columns)
    return frame.set_axis([f"r{i + 1}" for i in range(len(frame))])


GOOD = table(ligand=["XPhos", "XPhos", "dppf"], t=[20, 40, 20])


def test_nothing_is_said_of_a_good_table():
    assert notes("{ligand} {t}", GOOD) == []


def test_twins_are_named_with_the_column_that_parts_them():
    twins, unused = notes("{ligand}", GOOD)
    assert "1 candidates share their text" in twins
    assert "r1 and r2, which differ in 't'" in twins
    assert "does not mention 't'" in unused


def test_blank_numbers_do_not_part_twins():
    (twins, *_) = notes("{ligand}", table(ligand=["a", "a"], t=[math.nan, math.nan], u=[1, 2]))
    assert "which differ in 'u'." in twins


def test_spellings_that_differ_by_case_or_spaces_are_told():
    (note,) = notes("{ligand}", table(ligand=["XPhos", "dppf", "Xphos", "dppf (2 eq)", ""]))
    assert note == (
        "t.csv: column 'ligand': 'XPhos' (r1) and 'Xphos' (r3) count as two options; spell them "
        "alike if they are one."
    )
    (note,) = notes("{ligand}", table(ligand=["tBu  XPhos", "tBu XPhos"]))
    assert "count as two options" in note


def test_a_word_among_quantities_is_told():
    (note,) = notes("{t}", table(t=["80 °C", "RT", "90 °C"]))
    assert "'RT' (r2) among quantities such as '80 °C'" in note
    assert notes("{t}", table(t=["80 °C", "90 °C"])) == []
    assert notes("{t}", table(t=["L1", "L2", "1 M"])) == []


# --- tokens --------------------------------------------------------------------------------------

VOCABULARY = ["[UNK]", "[CLS]", "[SEP]", "ligand", "xphos", "potassium", "phosphate", ":", ";"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


@pytest.fixture
def tokenizer(tmp_path):
    """Small letters only; a few words, and single letters for all others."""
    pieces = [*VOCABULARY, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    made = Tokenizer(WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))  # noqa: S106
    made.normalizer = Lowercase()
    made.pre_tokenizer = BertPreTokenizer()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.enable_truncation(4)  # as models come with it; the limit that counts is another one
    made.enable_padding()
    file = tmp_path / "tokenizer.json"
    made.save(str(file))
    return file


def token_notes(tokenizer, source, frame, limit=64, **options):
    return lint_tokens(Template(source), frame, tokenizer, limit, name="t.csv", **options)


def test_nothing_is_said_of_texts_that_the_model_can_read(tokenizer):
    frame = table(ligand=["XPhos", "potassium phosphate"])
    assert token_notes(tokenizer, "ligand: {ligand}", frame) == []


def test_texts_beyond_the_limit_are_counted_with_what_is_lost(tokenizer):
    frame = table(a=["xphos", "xphos xphos"], b=["xphos", "potassium"], c=["xphos", "ligand"])
    assert token_notes(tokenizer, "{a}: {b}; {c}", frame, limit=8) == []
    (note,) = token_notes(tokenizer, "{a}: {b}; {c}", frame, limit=7)
    assert note == (
        "t.csv: 1 texts are longer than the 7 tokens that the model reads, first r2; cells of 'c' "
        "are lost at their end."
    )
    (note, *_) = token_notes(tokenizer, "{a}: {b}; {c}", frame, limit=5)
    assert note.startswith("t.csv: 2 texts")
    assert "first r1; cells of 'c', 'b' are lost" in note


def test_texts_that_are_the_same_to_the_model_are_told(tokenizer):
    frame = table(base=["potassium", "xphos", "XPhos"], t=["1", "1", "1"])
    (note,) = token_notes(tokenizer, "{base} {t}", frame)
    assert note.startswith("t.csv: r2 and r3 are the same to the model")
    assert "'xphos' and 'XPhos'" in note


def test_names_that_are_cut_into_many_pieces_are_told(tokenizer):
    frame = table(base=["K3PO4", "potassium phosphate", "Na"], smiles=["c1ccccc1", "CCCCC", "N"])
    shown = token_notes(tokenizer, "{base}; {smiles}", frame, structures=["smiles"])
    (note,) = shown
    assert "1 of 3 names" in note
    assert "K3PO4 (k ##3 ##p ##o ##4)" in note


def test_numbers_and_quantities_are_no_names(tokenizer):
    assert token_notes(tokenizer, "{t}", table(t=["123456", "80.5 mL/min"])) == []


def test_of_many_texts_a_sample_is_read_and_this_is_said(tokenizer, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 10)
    frame = table(a=["xphos " * (1 + i // 50) for i in range(100)])
    (note, *_) = token_notes(tokenizer, "{a}", frame, limit=3)
    assert note.startswith("t.csv: 5 texts are longer")
    assert note.endswith("(looking at 10 of 100 texts).")


def test_the_tokenizer_of_a_model_is_found_without_loading_it(tmp_path, monkeypatch, tokenizer):
    file, limit = tokenizer_of("minilm")
    assert file.name == "tokenizer.json"
    assert limit == 512
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 48}')
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 64}')
    assert tokenizer_of(str(tmp_path)) == (tokenizer, 48)
    monkeypatch.setenv("GOLLUM_MODELS", str(tmp_path / "none"))
    assert tokenizer_of("mpnet") is None
    assert tokenizer_of("owner/name-on-the-hub") is None


def test_the_embedded_model_reads_benzene_and_cyclohexane_alike():
    found = tokenizer_of("minilm")
    assert found is not None
    frame = table(smiles=["c1ccccc1", "C1CCCCC1"])
    (note,) = lint_tokens(Template("{smiles}"), frame, *found, name="t", structures=["smiles"])
    assert "r1 and r2 are the same" in note


def test_the_default_template_writes_units():
    pool = Pool.from_table(pd.DataFrame({"t": [80], "time_h": [2], "y": [1]}), "y")
    assert Template.from_columns(pool, {"t": "°C"}).source == "t: {t} °C; time: {time_h} h."
