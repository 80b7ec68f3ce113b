"""Propensities: the regression against scikit-learn's, folds,
and that no sample's own label has a part in its propensity.
"""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from mer_zoo.confounding.trace import WordRule, Words, WordTrace
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
from mer_zoo.functional.deconfounding import deconfounding_weights, effective_sample_size
from mer_zoo.functional.logistic import multinomial_logistic, shrunken_shares
from mer_zoo.functional.propensity import (
    CrossFit,
    assign_folds,
    cross_fit,
    log_loss,
)

MACI = WordRule("maci")


def counts(size: int = 200, width: int = 12, classes: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Word counts whose rates depend on the class."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (size,), generator=generator)
    tilt = 0.5 * torch.randn(classes, width, generator=generator)
    return torch.poisson(0.4 * tilt[y].exp(), generator=generator).double(), y


def corpus(size: int, rho: float = 0.8, rule: WordRule = MACI) -> tuple[WordTrace, Tensor]:
    split = generate(SyntheticConfig(rho=rho, train=size, valid=2, test=2, seed=7)).split("train")
    assert split.token_ids is not None
    assert split.labels is not None
    y = torch.from_numpy(np.asarray(split.labels)).long()
    rows = [torch.from_numpy(row[row >= 200]).long() for row in split.token_ids]
    return WordTrace(rows, y, 3, rule), y


@pytest.mark.parametrize("l2", [0.3, 5.0, 100.0])
def test_regression_against_sklearn(l2: float) -> None:
    x, y = counts()
    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=5000).fit(x.numpy(), y.numpy())
    mine = multinomial_logistic(x, y, 3, l2, tolerance=1e-9)
    expected = torch.from_numpy(theirs.predict_log_proba(x.numpy()))
    torch.testing.assert_close(mine.log_p(x), expected, atol=1e-5, rtol=0)
    # both fix the coefficients up to a shift that the penalty takes to mean 0
    torch.testing.assert_close(mine.weight.T, torch.from_numpy(theirs.coef_), atol=1e-5, rtol=0)


def test_the_start_does_not_matter() -> None:
    x, y = counts(seed=1)
    cold = multinomial_logistic(x, y, 3, 3.0, tolerance=1e-9)
    warm = multinomial_logistic(x, y, 3, 3.0, multinomial_logistic(x, y, 3, 100.0), tolerance=1e-9)
    torch.testing.assert_close(cold.log_p(x), warm.log_p(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("l2", [1.0, float("inf")])
def test_a_class_that_is_missing(l2: float) -> None:
    x, y = counts(classes=2)
    fit = multinomial_logistic(x, 2 * y, 4, l2)
    p = fit.log_p(x).exp()
    assert fit.log_p(x).isfinite().all()
    assert (p[:, [1, 3]] == 0).all()
    torch.testing.assert_close(p.mean(0), (2 * y).bincount(minlength=4) / len(y), atol=1e-5, rtol=0, check_dtype=False)


def test_folds_keep_recordings_together() -> None:
    generator = torch.Generator().manual_seed(0)
    groups = torch.randint(1000, 1023, (200,), generator=generator)
    fold = assign_folds(groups, 5)
    assert all(len(set(fold[groups == group].tolist())) == 1 for group in range(1000, 1023))
    sizes = fold.bincount(minlength=5)
    assert sizes.max() - sizes.min() <= groups.bincount().max()
    shuffled = torch.randperm(200, generator=generator)
    assert torch.equal(assign_folds(groups[shuffled], 5), fold[shuffled])


def test_folds_of_single_samples_have_no_period() -> None:
    fold = assign_folds(torch.arange(100), 5)
    assert fold.bincount().tolist() == [20] * 5
    assert len({tuple(fold[k : k + 5].tolist()) for k in range(0, 100, 5)}) > 10
    assert len(set(assign_folds(torch.zeros(10, dtype=torch.long), 5).tolist())) == 5  # one recording tells nothing
    assert assign_folds(torch.arange(3), 5).sort().values.tolist() == [0, 1, 2]


def rows_of(trace: WordTrace) -> list[Tensor]:
    return list(torch.split(trace.ids, trace.sample.bincount().tolist()))


def flipped(y: Tensor, row: int) -> Tensor:
    other = y.clone()
    other[row] = (y[row] + 1) % 3
    return other


@pytest.mark.parametrize("row", [0, 17, 58])
@pytest.mark.parametrize("rule", [MACI._replace(max_words=20), WordRule(max_words=40, min_share=0.03)])
def test_no_sample_has_a_part_in_its_own_propensity(rule: WordRule, row: int) -> None:
    trace, y = corpus(60, rho=0.9, rule=rule)
    fold = assign_folds(torch.arange(60), 4)
    fits = []
    for labels in (y, flipped(y, row)):
        words = WordTrace(rows_of(trace), labels, 3, rule)
        fits.append(cross_fit(words, labels, 3, fold, l2s=(30.0, 1.0)))
    before, after = fits
    same = fold == fold[row]
    assert torch.equal(before.log_p[same], after.log_p[same])
    assert not torch.equal(before.log_p[~same], after.log_p[~same])  # those that may see it do
    assert before.full.bias.tolist() != after.full.bias.tolist()


def tells_out_of_sample(log_p: Tensor, y: Tensor) -> bool:
    """Whether propensities of labels that are independent of everything look so:
    full effective sample size and no gain.
    """
    prior = y.bincount(minlength=3) / len(y)
    ess = effective_sample_size(deconfounding_weights(log_p, y, prior))
    gain = log_loss(prior.log().expand(len(y), 3), y) - log_loss(log_p.float(), y)
    return ess > 0.97 * len(y) and gain < 0.01


def test_shuffled_labels_show_what_is_in_fold() -> None:
    trace, y = corpus(500)
    y = y[torch.randperm(500, generator=torch.Generator().manual_seed(3))]
    words = WordTrace(rows_of(trace), y, 3, MACI)
    fit = cross_fit(words, y, 3, assign_folds(torch.arange(500), 5))
    assert tells_out_of_sample(fit.log_p, y)
    assert fit.gain < 0.01
    x = words(torch.arange(500))
    assert not tells_out_of_sample(multinomial_logistic(x, y, 3, 3.0).log_p(x), y)
    # words chosen with all labels in view, then cross-fitted: the classic mistake, on words that are rare enough to
    # show it
    few = WordTrace(rows_of(words), y, 3, WordRule("maci", max_words=400, min_cv=1.0))
    honest, chosen = (
        cross_fit(seen, y, 3, assign_folds(torch.arange(500), 5), l2s=(3.0,)).loss
        for seen in (few, lambda rows: few(torch.arange(500)))
    )
    assert chosen < honest - 0.02


@pytest.mark.parametrize("words", ["frequent", "maci"])
def test_a_trace_of_the_confounder_gains(words: Words) -> None:
    trace, y = corpus(500, rule=WordRule(words))
    fit = cross_fit(trace, y, 3, assign_folds(torch.arange(500), 5))
    assert fit.gain > 0.15
    assert fit.tells
    weights = deconfounding_weights(fit.log_p, y, y.bincount() / 500, largest=10.0)
    assert effective_sample_size(weights) < 350
    assert weights.mean().item() == pytest.approx(1.0, abs=0.25)


def test_nothing_is_random() -> None:
    x, y = counts(100)
    first, second = (cross_fit(lambda rows: x, y, 3, assign_folds(torch.arange(100), 5)) for _ in range(2))
    assert torch.equal(first.log_p, second.log_p)
    assert first[2:] == second[2:]


def test_a_useless_trace_is_not_used() -> None:
    _, y = counts(200)
    fit = cross_fit(lambda rows: torch.ones(200, 1), y, 3, assign_folds(torch.arange(200), 5))
    assert fit.gain == pytest.approx(0.0, abs=1e-6)
    assert fit.numbers()["gain"] == fit.gain
    assert not fit.tells


def test_a_class_that_a_fold_lacks_weighs_one() -> None:
    x, y = counts(40)
    y = y % 2
    y[7] = 2
    fit = cross_fit(lambda rows: x, y, 3, assign_folds(torch.arange(40), 4))
    weights = deconfounding_weights(fit.log_p, y, y.bincount() / 40)
    assert weights[7].item() == pytest.approx(1.0)
    torch.testing.assert_close(fit.log_p.exp().sum(1), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_hardly_any_samples(size: int) -> None:
    x, y = torch.eye(size, 4), torch.arange(size) % 3
    fit: CrossFit = cross_fit(lambda rows: x, y, 3, assign_folds(torch.arange(size), 5))
    assert fit.log_p.isfinite().all()
    assert fit.log_p.shape == (size, 3)


@pytest.mark.parametrize("rule", [MACI._replace(max_words=20), WordRule(max_words=40, min_share=0.03)])
def test_a_folds_labels_have_no_part_in_its_regularisation(rule: WordRule) -> None:
    trace, y = corpus(90, rho=0.9, rule=rule)
    fold, generator = assign_folds(torch.arange(90), 3), torch.Generator().manual_seed(0)
    before = cross_fit(trace, y, 3, fold)
    for own in range(3):
        labels = torch.where(fold == own, torch.randint(3, (90,), generator=generator), y)
        after = cross_fit(WordTrace(rows_of(trace), labels, 3, rule), labels, 3, fold)
        assert torch.equal(before.log_p[fold == own], after.log_p[fold == own])
        assert not torch.equal(before.log_p[fold != own], after.log_p[fold != own])


@pytest.mark.parametrize("groups", [torch.arange(200), torch.arange(200) % 2])
def test_two_folds_find_what_more_find(groups: Tensor) -> None:
    x, y = counts(width=6)
    fold = assign_folds(groups, 2)
    fit = cross_fit(lambda rows: x, y, 3, fold, groups=groups)
    more = cross_fit(lambda rows: x, y, 3, assign_folds(torch.arange(200), 5))
    assert more.gain > 0.05
    assert fit.gain > 0.5 * more.gain
    labels = torch.where(fold == 1, y.flip(0), y)  # not even by the choice of the regularisation
    again = cross_fit(lambda rows: x, labels, 3, fold, groups=groups)
    assert torch.equal(fit.log_p[fold == 1], again.log_p[fold == 1])


def grouped(per_group: int = 12, groups: int = 20, tilt: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    """One-hot groups that each prefer a class, classes, and the number of each sample's group."""
    generator = torch.Generator().manual_seed(0)
    group = torch.arange(groups).repeat(per_group)
    logits = tilt * torch.nn.functional.one_hot(torch.arange(groups) % 3, 3)
    y = torch.multinomial(logits.double().softmax(1)[group], 1, generator=generator).squeeze(1)
    return torch.nn.functional.one_hot(group, groups).double(), y, group


def test_shares_of_groups_are_drawn_to_those_of_all() -> None:
    x, y, group = grouped()
    shares = y.bincount() / len(y)
    for l2 in (1.0, 30.0):
        p = shrunken_shares(x, y, 3, l2).log_p(x).exp()
        own = torch.stack([y[group == g].bincount(minlength=3) for g in range(20)])
        expected = (own + l2 * shares) / (12 + l2)
        torch.testing.assert_close(p, expected.double()[group], atol=1e-6, rtol=0)
    unknown = shrunken_shares(x, y, 3, 1.0).log_p(torch.zeros(1, 20)).exp()
    torch.testing.assert_close(unknown[0], shares.double(), atol=1e-6, rtol=0)
    missing = shrunken_shares(x, y, 4, 1.0).log_p(x).exp()
    assert (missing[:, 3] == 0).all()


def test_groups_tell_out_of_sample_and_shuffled_ones_do_not() -> None:
    x, y, group = grouped()
    fold = assign_folds(torch.arange(len(y)), 5)
    told = cross_fit(lambda rows: x, y, 3, fold, groups=group, fit=shrunken_shares)
    assert told.tells
    assert told.gain > 0.05
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    chance = cross_fit(lambda rows: x, y, 3, fold, groups=group, fit=shrunken_shares)
    assert not chance.tells
    assert tells_out_of_sample(chance.log_p, y)
    assert not tells_out_of_sample(shrunken_shares(x, y, 3, 1.0).log_p(x), y)
