import math

import pytest
import torch

from mer_zoo.errors import MERError
from mer_zoo.training.schedules import WarmupCosine


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)


def rates(total: int, warmup: float, steps: int) -> list[float]:
    sgd = optimizer()
    schedule = WarmupCosine(sgd, total, warmup)
    found = []
    for _ in range(steps):
        found.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step()
    return found


def test_grows_then_falls_and_stays_at_zero() -> None:
    found = rates(20, 0.25, 25)
    assert found[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert found[5:20] == pytest.approx([1 + math.cos(math.pi * i / 15) for i in range(15)])
    assert found[20:] == pytest.approx([0.0] * 5)


def test_without_a_warmup_it_starts_at_the_full_rate() -> None:
    assert rates(4, 0.0, 2) == pytest.approx([2.0, 1 + math.cos(math.pi / 4)])


def test_goes_on_from_its_state() -> None:
    sgd = optimizer()
    schedule = WarmupCosine(sgd, 10)
    for _ in range(4):
        sgd.step()
        schedule.step()
    again = WarmupCosine(optimizer(), 10)
    again.load_state_dict(schedule.state_dict())
    again.optimizer.step()
    again.step()
    assert again.get_last_lr() == pytest.approx(rates(10, 0.1, 6)[5:])


@pytest.mark.parametrize(("options", "message"), [((0, 0.1), "total is 0"), ((10, 1.0), "warmup is 1.0")])
def test_impossible_schedules_are_refused(options: tuple[int, float], message: str) -> None:
    with pytest.raises(MERError, match=message):
        WarmupCosine(optimizer(), *options)
