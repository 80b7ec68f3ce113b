import pytest
import torch

from mer_zoo.layers.sequence import masked_last, masked_mean, masked_resample


@pytest.fixture
def mask() -> torch.Tensor:
    rows = ["111100", "001111", "010110", "000000", "000001"]
    return torch.tensor([[c == "1" for c in row] for row in rows])


def test_last_and_mean_see_real_steps_only(mask: torch.Tensor) -> None:
    x = torch.randn(5, 6, 3)
    dirty = torch.where(mask[..., None], x, torch.inf)
    for i in (0, 1, 2, 4):
        assert torch.equal(masked_last(dirty, mask)[i], x[i, mask[i]][-1])
        torch.testing.assert_close(masked_mean(dirty, mask)[i], x[i, mask[i]].mean(0))
    assert masked_last(dirty, mask)[3].tolist() == masked_mean(dirty, mask)[3].tolist() == [0.0] * 3


@pytest.mark.parametrize(("m", "n"), [(1, 1), (7, 7), (7, 3), (3, 7), (9, 1), (1, 4), (12, 5)])
def test_resample_averages_overlapping_bins(m: int, n: int) -> None:
    x = torch.randn(1, m, 2)
    expected = torch.stack([x[0, i * m // n : -(-(i + 1) * m // n)].mean(0) for i in range(n)])
    got = masked_resample(x, torch.ones(1, m, dtype=torch.bool), torch.ones(1, n, dtype=torch.bool))
    torch.testing.assert_close(got[0], expected)


def test_resample_ignores_padding_and_survives_empty_masks(mask: torch.Tensor) -> None:
    x, target = torch.randn(5, 6, 2), mask.flip(0)
    got = masked_resample(x, mask, target)
    assert not got[~target].any()
    assert not got[3].any()
    wider = torch.nn.functional.pad(x, (0, 0, 2, 1), value=5.0)
    padded = masked_resample(wider, torch.nn.functional.pad(mask, (2, 1)), target)
    torch.testing.assert_close(padded, got)
