import pickle
from itertools import permutations

import pytest
import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.metrics import ModalityContribution
from mer_zoo.metrics.contribution import subsets


def by_permutations(correct: dict[tuple[str, ...], Tensor], modalities: tuple[str, ...]) -> list[float]:
    size = len(next(iter(correct.values())))
    totals = dict.fromkeys(modalities, 0.0)
    for sample in range(size):
        for order in permutations(modalities):
            before: tuple[str, ...] = ()
            for modality in order:
                after = tuple(m for m in modalities if m in (*before, modality))
                gain = len(after) * bool(correct[after][sample]) - (
                    len(before) * bool(correct[before][sample]) if before else 0
                )
                totals[modality] += gain
                before = after
    whole = sum(totals.values())
    return [totals[m] / whole for m in modalities]


@pytest.mark.parametrize("modalities", [MODALITIES, ("text", "vision")])
def test_against_permutations(modalities: tuple[str, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    correct = {subset: torch.rand(40, generator=generator) < 0.3 + 0.1 * len(subset) for subset in subsets(modalities)}
    metric = ModalityContribution(modalities)
    metric.update({subset: right[:25] for subset, right in correct.items()})
    metric.update({subset: right[25:] for subset, right in correct.items()})
    found = pickle.loads(pickle.dumps(metric)).compute()
    expected = torch.tensor(by_permutations(correct, modalities))
    shares = torch.stack([found[f"contribution_{name}"] for name in modalities])
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(found["contribution_std"], expected.std())
    assert shares.sum() == pytest.approx(1.0)


def test_the_deviation_is_the_papers() -> None:
    # MulT's row of the paper's table 5: contributions .287, .304, .409 with deviation .066
    assert torch.tensor([0.287, 0.304, 0.409]).std().item() == pytest.approx(0.066, abs=5e-4)


def test_nothing_right() -> None:
    metric = ModalityContribution()
    metric.update({subset: torch.zeros(3, dtype=torch.bool) for subset in subsets()})
    assert {float(value) for value in metric.compute().values()} == {0.0}


def test_missing_subset() -> None:
    right = {subset: torch.ones(3, dtype=torch.bool) for subset in subsets() if subset != ("text", "vision")}
    with pytest.raises(MERError, match=r"no predictions from \{text,vision\}; .* every subset"):
        ModalityContribution().update(right)
    with pytest.raises(MERError, match="at least two modalities"):
        ModalityContribution(["text"])
