from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mer_zoo.errors import MERError
from mer_zoo.layers.positions import (
    embed_positions,
    interleaved_positions,
    interleaved_table,
    positions,
    sinusoid_table,
)

GOLDEN = Path(__file__).parents[1] / "golden"


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


def test_interleaved_table_is_cider_s() -> None:
    released = load_file(GOLDEN / "cider_mct.safetensors")["param.embed_positions.pe"][0]
    # Angles of up to 1023 have rounding errors of their own in single precision.
    torch.testing.assert_close(interleaved_table(1024, 16), released, atol=2e-4, rtol=0)
    torch.testing.assert_close(interleaved_table(64, 16), released[:64], atol=1e-5, rtol=0)


def test_interleaved_positions_ignore_padding_in_front_and_behind() -> None:
    x, table = torch.randn(2, 3, 5), interleaved_table(3, 5)
    assert torch.equal(interleaved_positions(x), table)
    for front, behind in [(2, 0), (0, 2), (1, 40)]:
        mask = torch.nn.functional.pad(torch.ones(2, 3, dtype=torch.bool), (front, behind))
        got = interleaved_positions(torch.zeros(2, front + 3 + behind, 5), mask)
        assert torch.equal(got[:, front : front + 3], table.expand(2, -1, -1))
        assert not got[~mask].any()


def test_released_interleaved_positions_are_places_in_the_batch() -> None:
    got = interleaved_positions(torch.zeros(40, 3, 6), rule="released")
    assert torch.equal(got, interleaved_table(40, 6)[:, None])
