"""Choice of words against scipy's tests, by hand, and on words that tell nothing."""

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor

from mer_zoo.functional.word_choice import benjamini_hochberg, frequent_words, score_test, word_counts, word_shares


def present(size: int, width: int, classes: int, seed: int, tilt: float = 0.0) -> tuple[Tensor, Tensor]:
    """Presence (N, V) of words and classes (N,); the first half of the words depends on the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (size,), generator=generator)
    rate = torch.full((classes, width), 0.3)
    rate[:, : width // 2] += tilt * torch.linspace(-1, 1, classes)[:, None]
    return torch.rand(size, width, generator=generator) < rate[y], y


def table(x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    truth = torch.nn.functional.one_hot(y, classes)
    return x.long().T @ truth, truth.sum(0)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_p_values_against_scipy(classes: int) -> None:
    x, y = present(300, 10, classes, seed=0, tilt=0.1)
    counts, totals = table(x, y, classes)
    expected = [
        stats.chi2_contingency(torch.stack([row, totals - row]).numpy(), correction=False).pvalue for row in counts
    ]
    torch.testing.assert_close(score_test(counts, totals), torch.tensor(expected, dtype=torch.float64))


def test_the_statistic_is_the_score_tests() -> None:
    x, y = present(200, 6, 3, seed=1, tilt=0.1)
    pi = y.bincount(minlength=3).double() / 200
    residual = (torch.nn.functional.one_hot(y, 3).double() - pi)[:, :2]
    covariance = (pi.diag() - pi[:, None] * pi)[:2, :2]
    for column, p in zip(x.double().T, score_test(*table(x, y, 3)).tolist(), strict=True):
        score = (column - column.mean()) @ residual
        variance = (column - column.mean()).square().sum() * covariance
        statistic = float(score @ torch.linalg.solve(variance, score))
        assert p == pytest.approx(stats.chi2.sf(statistic, df=2), rel=1e-9)


def test_words_everywhere_and_classes_nowhere() -> None:
    counts, totals = torch.tensor([[10, 20, 0], [0, 0, 0], [9, 5, 0]]), torch.tensor([10, 20, 0])
    p = score_test(counts, totals)
    assert p[:2].tolist() == [1.0, 1.0]
    torch.testing.assert_close(p, score_test(counts[:, :2], totals[:2]))
    assert score_test(torch.tensor([[3]]), torch.tensor([5])).tolist() == [
        1.0
    ]  # one class cannot go along with anything


@pytest.mark.parametrize("seed", range(5))
def test_false_discoveries_against_scipy(seed: int) -> None:
    p = torch.rand(40, generator=torch.Generator().manual_seed(seed)).double()
    p[::3] *= 0.01
    expected = stats.false_discovery_control(p.numpy()) <= 0.05
    assert benjamini_hochberg(p, 0.05).tolist() == expected.tolist()


def test_false_discoveries_by_hand() -> None:
    # 0.03 is above its own bound 0.025, but 0.036 is below 0.0375, and draws it in
    assert benjamini_hochberg(torch.tensor([0.036, 0.9, 0.03, 0.001]), 0.05).tolist() == [True, False, True, True]
    assert benjamini_hochberg(torch.tensor([0.5, 0.2])).tolist() == [False, False]
    assert benjamini_hochberg(torch.zeros(0)).tolist() == []


def test_words_that_tell_nothing_are_seldom_chosen() -> None:
    chosen = [len(frequent_words(*table(*present(400, 30, 3, seed), 3))) for seed in range(40)]
    assert sum(number > 0 for number in chosen) <= 6  # 5 % of the splits are expected to have one
    x, y = present(400, 30, 3, seed=0, tilt=0.15)
    found = frequent_words(*table(x, y, 3))
    assert sum(word < 15 for word in found.tolist()) >= 12
    assert sum(word >= 15 for word in found.tolist()) <= 2


def test_only_the_most_frequent_words_are_candidates() -> None:
    totals = torch.tensor([50, 50])
    counts = torch.tensor([[5, 0], [4, 0], [30, 0], [30, 5], [40, 5]])
    assert frequent_words(counts, totals).tolist() == [4, 3, 2, 0]  # the second word is in 4 % of the samples
    assert frequent_words(counts, totals, min_share=0.04).tolist() == [4, 3, 2, 0, 1]
    assert frequent_words(counts, totals, max_words=2).tolist() == [4, 3]
    assert frequent_words(counts[:0], totals).tolist() == []


def test_counts_by_hand() -> None:
    ids, sample = torch.tensor([5, 9, 5, 3, 9, 9]), torch.tensor([0, 0, 0, 2, 2, 2])
    words = torch.tensor([9, 5, 4, -1])
    assert word_counts(ids, sample, words, 3).tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [2, 0, 0, 0]]
    assert word_counts(ids, sample, words[:0], 3).shape == (3, 0)


def test_shares_by_hand() -> None:
    counts = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    assert word_shares(counts).tolist() == [[1, 2, 0], [0, 0, 0], [3, 0, 0]]
