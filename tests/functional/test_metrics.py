import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix as sklearn_confusion

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import auilc, drop_gap, sample_confusion


def test_confusion_matrix_against_sklearn() -> None:
    truth, prediction = torch.randint(0, 5, (2, 300, 3), generator=torch.Generator().manual_seed(0))
    truth[::7] = -1  # not to be counted
    found = sample_confusion(prediction, truth, 5).sum(0)
    for column in range(3):
        expected = sklearn_confusion(truth[:, column], prediction[:, column], labels=range(5))
        np.testing.assert_array_equal(found[column].numpy(), expected)


def test_auilc_is_the_trapezoid_rule() -> None:
    rates = [k / 10 for k in range(11)]
    values = [0.85 - 0.3 * r**2 for r in rates]
    inner = sum(values[1:-1])  # equal steps: the ends count half
    assert auilc(rates, values) == pytest.approx(0.1 * (inner + (values[0] + values[-1]) / 2))
    assert auilc([0.0, 1.0], [0.8, 0.6]) == pytest.approx(0.7)


@pytest.mark.parametrize(("rates", "values"), [([0.0], [1.0]), ([0.0, 0.5], [1.0]), ([0.5, 0.5], [1.0, 1.0])])
def test_auilc_refuses(rates: list[float], values: list[float]) -> None:
    with pytest.raises(MERError, match="one value for each of >= 2 rising rates"):
        auilc(rates, values)


def test_drop_gap_has_the_sample_deviation() -> None:
    values = {"{l}": 0.70, "{a}": 0.50, "{v}": 0.52, "{l,a}": 0.74, "{l,v}": 0.75, "{a,v}": 0.55}
    gap = drop_gap(values, 0.76)
    gaps = np.array(list(values.values())) - 0.76
    assert list(gap.gaps) == list(values)
    assert (gap.mean, gap.std) == pytest.approx((gaps.mean(), gaps.std(ddof=1)))
    assert drop_gap({"{l}": 0.7}, 0.75).std is None  # of one set there is none
    with pytest.raises(MERError, match="no availability set"):
        drop_gap({}, 0.5)
