import pytest

from gollum.api import Campaign
from gollum.campaign.columns import with_columns
from gollum.campaign.factors import read_factors
from gollum.errors import UserError

TABLE = """exp,catalyst_no,temperature_C,smiles,price,purity,yield,written by
a1,1,40,CCO,2.5,90,10,me
a2,2,60,CCN,3.5,,,you
a3,3,40,CCO,2.5,,,me
"""
COLUMNS = """table: runs.csv
columns:
  exp: id
  catalyst_no: category
  temperature_C: number
  smiles: structure
  price: cost
  purity: also
  written by: remark
"""


@pytest.fixture
def described(tmp_path):
    (tmp_path / "runs.csv").write_text(TABLE)
    file = tmp_path / "runs.yaml"
    file.write_text(COLUMNS)
    return file


def test_a_file_says_what_the_columns_of_its_table_are(described, tmp_path):
    options = {"objective": "yield", "surrogate": "one_hot"}
    campaign, start = Campaign.create(tmp_path / "a.gollum", factors=described, **options)
    other, _ = Campaign.create(
        tmp_path / "b.gollum", table=tmp_path / "runs.csv", id_column="exp",
        category=["catalyst_no"], number=["temperature_C"], structures=["smiles"], cost="price",
        also=["purity"], remark=["written by"], **options,
    )  # fmt: skip
    created = campaign.state().created
    assert created.source.name == "runs.csv"
    assert created.model_copy(update={"name": "b"}) == other.state().created
    assert campaign.state().table["catalyst_no"].tolist() == ["1", "2", "3"]
    assert len(start.recorded.results) == 1


def test_options_may_say_the_same_and_more(described):
    told = read_factors(described).attrs["columns"]
    options = with_columns({"also": ["ee", "purity"], "cost": "price", "seed": 3}, told)
    assert options["also"] == ["ee", "purity"]
    assert (options["cost"], options["seed"]) == ("price", 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"remark": ["purity"]}, "'purity' is also in the file and remark by an option"),
        ({"cost": "exp"}, "'exp' is id in the file and cost by an option"),
        ({"cost": "other"}, "'price' is cost in the file and 'other' by an option"),
    ],
)
def test_options_that_say_something_else_are_refused(described, options, says):
    told = read_factors(described).attrs["columns"]
    with pytest.raises(UserError, match=says):
        with_columns(options, told)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("also", "result", "line 8: a column is also, category, number, remark, structure, id"),
        ("exp", "expp", "line 3: there is no column 'expp'. Did you mean 'exp'?"),
        ("structure", "id", "line 6: two columns are id; keep one"),
        ("columns:", "column:", "Did you mean 'columns'?"),
        ("runs.csv", "run.csv", "run.csv"),
    ],
)
def test_what_is_wrong_with_columns_is_said_with_its_line(described, before, after, says):
    described.write_text(COLUMNS.replace(before, after))
    with pytest.raises(UserError) as caught:
        read_factors(described)
    assert says in str(caught.value)


def test_factors_may_be_structures_and_costs(tmp_path):
    file = tmp_path / "factors.yaml"
    file.write_text(
        "factors:\n  ligand: [CCP, CCN]\n  price: [2, 3]\n  t: [1, 2]\n"
        "relations:\n  - {only: {ligand: CCP}, with: {price: 2}}\n"
        "  - {only: {ligand: CCN}, with: {price: 3}}\n"
        "columns: {ligand: structure, price: cost, t: category}\n"
    )
    campaign, _ = Campaign.create(
        tmp_path / "a.gollum", factors=file, objective="yield", surrogate="one_hot"
    )
    state = campaign.state()
    assert state.table["t"].tolist() == ["1", "2", "1", "2"]
    assert state.costs.tolist() == [2, 2, 3, 3]
    assert state.created.structures == ("ligand",)


def test_a_sheet_belongs_to_a_workbook(tmp_path):
    file = tmp_path / "factors.yaml"
    file.write_text("factors:\n  a: [x, y]\n")
    with pytest.raises(UserError, match="leave out 'one'"):
        read_factors(file, sheet="one")
