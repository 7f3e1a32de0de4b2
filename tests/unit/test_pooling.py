import pytest
import torch

from gollum.language.pooling import POOLINGS, cls, last_token, mean, weighted_mean

A, B, C = [1.0, 2.0], [3.0, -4.0], [8.0, 5.0]
JUNK = [1e6, -1e6]
# Three texts of 3, 2 and 1 real tokens; what padding holds must not matter.
RIGHT = ([[A, B, C], [A, B, JUNK], [C, JUNK, JUNK]], [[1, 1, 1], [1, 1, 0], [1, 0, 0]])
LEFT = ([[A, B, C], [JUNK, A, B], [JUNK, JUNK, C]], [[1, 1, 1], [0, 1, 1], [0, 0, 1]])
EXPECTED = {
    "mean": [[4.0, 1.0], [2.0, -1.0], C],
    "cls": [A, A, C],
    "last_token": [C, B, C],
    "weighted_mean": [[(1 + 6 + 24) / 6, (2 - 8 + 15) / 6], [7 / 3, -2.0], C],
}


@pytest.mark.parametrize("side", [RIGHT, LEFT], ids=["right", "left"])
@pytest.mark.parametrize("name", EXPECTED)
def test_closed_forms_with_padding_on_either_side(name, side):
    hidden, mask = torch.tensor(side[0], dtype=torch.float64), torch.tensor(side[1])
    pooled = POOLINGS[name](hidden, mask)
    assert pooled.dtype == torch.float64
    torch.testing.assert_close(pooled, torch.tensor(EXPECTED[name], dtype=torch.float64))


def test_every_pooling_is_named():
    assert {
        "mean": mean,
        "cls": cls,
        "last_token": last_token,
        "weighted_mean": weighted_mean,
    } == POOLINGS


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float32])
@pytest.mark.parametrize("name", EXPECTED)
def test_any_kind_of_mask(name, dtype):
    hidden, mask = torch.tensor(RIGHT[0], dtype=torch.float64), torch.tensor(RIGHT[1]).to(dtype)
    torch.testing.assert_close(
        POOLINGS[name](hidden, mask), torch.tensor(EXPECTED[name], dtype=torch.float64)
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_gradient_reaches_real_tokens_only(name):
    hidden = torch.tensor(LEFT[0], dtype=torch.float64, requires_grad=True)
    POOLINGS[name](hidden, torch.tensor(LEFT[1])).sum().backward()
    real = torch.tensor(LEFT[1]).bool()
    assert (hidden.grad[~real] == 0).all()
    torch.testing.assert_close(hidden.grad.sum(1), torch.ones(3, 2, dtype=torch.float64))
