import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mer_zoo.errors import MERError
from mer_zoo.functional.metrics import auilc
from mer_zoo.metrics import AUILC

RATES = [step / 10 for step in range(11)]
VALUES = [0.8, 0.79, 0.7, 0.72, 0.61, 0.6, 0.55, 0.5, 0.44, 0.4, 0.1]


@given(st.lists(st.floats(0, 1), min_size=11, max_size=11), st.permutations(range(11)))
@settings(max_examples=30, deadline=None)
def test_any_order_gives_the_trapezoid_rule(values: list[float], order: list[int]) -> None:
    area = AUILC()
    for place in order:
        area.update(RATES[place], values[place])
    assert area.compute().item() == pytest.approx(auilc(RATES, values), abs=1e-6)
    assert area.compute().item() == pytest.approx(torch.trapezoid(torch.tensor(values), dx=0.1).item(), abs=1e-6)


def test_tensors_and_repetitions() -> None:
    area = AUILC()
    area.update(torch.tensor([0.0, 0.5]), torch.tensor([1.0, 0.5]))
    area.update(torch.tensor(1.0), torch.tensor(0.0))
    area.update(0.5, 0.7)
    assert area.compute().item() == pytest.approx((1 + 0.6) / 4 + (0.6 + 0) / 4)
    area.reset()
    area.update(0.0, math.nan)
    with pytest.raises(MERError, match=r"AUILC got rates \[0.0\] and 1 values"):
        area.compute()
    area.update(1.0, 0.5)
    assert area.compute().isnan()


def _filled(places: range) -> AUILC:
    area = AUILC()
    for place in places:
        area.update(RATES[place], VALUES[place])
    return area


@pytest.mark.parametrize(
    ("mine", "theirs"), [(range(11), range(11)), (range(0, 11, 2), range(1, 11, 2)), (range(11), range(0))]
)
def test_two_processes(mine: range, theirs: range) -> None:
    """Every process knows all values, each those of the rates that it tested, or one of them nothing."""
    for here, there in ((mine, theirs), (theirs, mine)):
        area, other = _filled(here), _filled(there)
        gathered = iter([torch.cat([torch.zeros(0), *states]) for states in (other.rates, other.values)])
        area.distributed_available_fn = lambda: True
        area.dist_sync_fn = lambda mine, group, theirs=gathered: [mine, next(theirs)]
        area.update(torch.zeros(0), torch.zeros(0))
        assert area.compute().item() == pytest.approx(auilc(RATES, VALUES))


@pytest.mark.parametrize(("rate", "value"), [(1.1, 0.5), (-0.1, 0.5), (math.nan, 0.5)])
def test_refuses(rate: float, value: float) -> None:
    with pytest.raises(MERError, match=r"give one value a rate in \[0, 1\]"):
        AUILC().update(rate, value)
    with pytest.raises(MERError, match="2 values"):
        AUILC().update(0.5, torch.ones(2))
