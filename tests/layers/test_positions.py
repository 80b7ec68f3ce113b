import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.layers.positions import embed_positions, positions, sinusoid_table


def test_time_rule_ignores_padding_in_front_and_behind() -> None:
    x = torch.randn(2, 3, 6)
    bare = positions(x)
    for front, behind in [(2, 0), (0, 2), (1, 40)]:
        padded = torch.nn.functional.pad(x, (0, 0, front, behind))
        mask = torch.zeros(2, front + 3 + behind, dtype=torch.bool)
        mask[:, front : front + 3] = True
        got = positions(padded, mask)
        assert torch.equal(got[:, front : front + 3], bare.expand(2, -1, -1))
        assert not got[~mask].any()


def test_embedding_scales_and_adds() -> None:
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(embed_positions(x), 8**0.5 * x + sinusoid_table(5, 8)[1:])


def test_table_made_in_inference_mode_can_be_trained_with() -> None:
    with torch.inference_mode():
        positions(torch.ones(1, 3, 22))
    x = torch.ones(1, 3, 22, requires_grad=True)
    torch.autograd.backward((embed_positions(x, rule="released") * positions(x)).sum())
    assert x.grad is not None


def test_refuses_a_narrow_width() -> None:
    with pytest.raises(MERError, match="at least 4, got 3"):
        sinusoid_table(5, 3)
