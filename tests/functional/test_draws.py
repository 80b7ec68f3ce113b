import pytest
import torch

from mer_zoo.functional.draws import dropped_at, uniform

MASK = 2**64 - 1


def split_mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@pytest.mark.parametrize("key", [0, 1, 2**63 - 1])
def test_against_unbounded_integers(key: int) -> None:
    """Python's integers do not overflow: the masks of a split are the same wherever they are computed."""
    golden = 0x9E3779B97F4A7C15
    draws = uniform(key, torch.tensor([0, 3, 10**6]), torch.tensor([0, 5]))
    for row, index in enumerate((0, 3, 10**6)):
        state = split_mix((index * golden + key) & MASK)
        for column, counter in enumerate((0, 5)):
            expected = (split_mix((state + (counter + 1) * golden) & MASK) >> 40) / 2**24
            assert draws[row, column].item() == expected


def test_range_and_moments() -> None:
    draws = uniform(11, torch.arange(500), torch.arange(400))
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean().item() - 0.5) < 4 * (1 / 12 / draws.numel()) ** 0.5
    assert abs(draws.var().item() - 1 / 12) < 0.001
    counts = torch.histc(draws, bins=100, min=0, max=1)
    assert ((counts - 2000).abs() < 5 * 2000**0.5).all()


def test_neighbours_are_independent() -> None:
    draws = uniform(3, torch.arange(500), torch.arange(400)) - 0.5
    other_key = uniform(4, torch.arange(500), torch.arange(400)) - 0.5
    for a, b in ((draws[1:], draws[:-1]), (draws[:, 1:], draws[:, :-1]), (draws, other_key)):
        assert abs((a * b).mean().item() * 12) < 4 / a.numel() ** 0.5


def test_counters_of_each_sample() -> None:
    index, counter = torch.tensor([4, 8]), torch.tensor([[0, 1, 2], [2, 1, 0]])
    shared = uniform(5, index, torch.arange(3))
    own = uniform(5, index, counter)
    assert torch.equal(own[0], shared[0])
    assert torch.equal(own[1], shared[1].flip(0))


def test_rate_zero_drops_nothing_and_rate_one_everything() -> None:
    draws = torch.tensor([0.0, 0.3, 1 - 2.0**-24])
    assert dropped_at(0.0, draws).tolist() == [False, False, False]
    assert dropped_at(1.0, draws).tolist() == [True, True, True]
    assert dropped_at(0.3, draws).tolist() == [True, True, False], "a draw equal to the rate is dropped"
    assert dropped_at(torch.tensor([0.0, 0.2, 1.0]), draws).tolist() == [False, False, True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_on_the_gpu() -> None:
    index, counter = torch.arange(100), torch.arange(50)
    assert torch.equal(uniform(9, index, counter), uniform(9, index.cuda(), counter.cuda()).cpu())
