"""What training draws depends on seed, epoch and sample: not on validation, workers, finders, or what others draw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor
from toys import MeanNet
from training_runs import DropNet, drop_net, train
from typing_extensions import override

from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.loader import EpochOrder, ResumableLoader
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.model import Model
from mer_zoo.wrappers import GEAR, MSSD

pytestmark = pytest.mark.filterwarnings("ignore:the run goes on otherwise", "ignore:Checkpoint directory")


class Drawing(Callback):
    """Draws from the global generator at the end of each epoch, as a logger or a picture of the user's may."""

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        torch.rand(3)


def mean_net(data: SyntheticMER) -> Model:
    return MeanNet(data.spec, data.task)


def batches(course: list[str]) -> list[str]:
    return [event for event in course if event.startswith("batch")]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


OTHERWISE: dict[str, dict[str, Any]] = {
    "seldom": {"trainer": {"check_val_every_n_epoch": 3}},
    "often": {"trainer": {"val_check_interval": 0.25}},
    "not at first": {"trainer": {"num_sanity_val_steps": 0}},
    "never": {"trainer": {"limit_val_batches": 0}},
}
if sys.platform != "win32":
    OTHERWISE["workers"] = {"trainer": {"check_val_every_n_epoch": 3}, "data": {"num_workers": 2}}


@pytest.mark.parametrize("name", OTHERWISE)
@pytest.mark.filterwarnings("ignore:.*limit_val_batches")
def test_parameters_do_not_depend_on_validation(tmp_path: Path, name: str) -> None:
    plain, course = train(tmp_path / "plain", 0, drop_net)
    other, again = train(tmp_path / "other", 0, drop_net, **OTHERWISE[name])
    assert batches(again) == batches(course)
    assert equal(plain, other)


def test_the_order_of_samples_does_not_depend_on_what_others_draw(tmp_path: Path) -> None:
    orders = [
        batches(train(tmp_path / str(number), 0, net, callbacks=callbacks)[1])
        for number, (net, callbacks) in enumerate([(mean_net, ()), (drop_net, ()), (mean_net, (Drawing(),))])
    ]
    assert orders[0] == orders[1] == orders[2]
    assert batches(train(tmp_path / "seed", 1, mean_net)[1]) != orders[0]
    epochs = [orders[0][start : start + 4] for start in (0, 4, 8)]
    assert len({str(epoch) for epoch in epochs}) == 3


def test_a_part_of_an_epoch_is_its_beginning(tmp_path: Path) -> None:
    whole = batches(train(tmp_path / "whole", 0, drop_net)[1])
    part = batches(train(tmp_path / "part", 0, drop_net, trainer={"limit_train_batches": 2})[1])
    assert part == [batch for epoch in (0, 4, 8) for batch in whole[epoch : epoch + 2]]


def test_a_resumed_run_meets_the_same_samples_whatever_was_drawn_meanwhile(tmp_path: Path) -> None:
    _, course = train(tmp_path / "whole", 0, drop_net, callbacks=(Drawing(),))
    paths = sorted((tmp_path / "whole").glob("*.ckpt"), key=lambda path: int(path.stem.split("=")[1]))
    for place, path in enumerate(paths[:-1], start=1):
        _, rest = train(tmp_path / f"rest {place}", 5, drop_net, resumed=path)
        assert batches(rest) == batches(course)[4 * place :]


class Views(Callback):
    """Notes what is missing from each sample in each view of training."""

    def __init__(self) -> None:
        self.seen: list[dict[int, list[bool]]] = []

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        (views,) = (part for part in pl_module.modules() if isinstance(part, IncompleteViews))
        views.register_forward_hook(self._note)

    def _note(self, module: Any, inputs: Any, view: Any) -> None:
        rows = zip(view.index.tolist(), view.audio.observed.tolist(), strict=True)
        self.seen.append(dict(rows))


def test_views_do_not_depend_on_validation_workers_or_draws(tmp_path: Path) -> None:
    def net(data: SyntheticMER) -> Model:
        return MSSD(GEAR(DropNet(data.spec, data.task), dim=4, branch_dim=4, swap_epochs=1), alpha=0)

    found = []
    workers = 0 if sys.platform == "win32" else 2
    often: dict[str, Any] = {"trainer": {"val_check_interval": 0.5}, "data": {"num_workers": workers}}
    for number, (options, others) in enumerate([({}, ()), (often, (Drawing(),))]):
        views = Views()
        train(tmp_path / str(number), 0, net, callbacks=(views, *others), **options)
        found.append(views.seen)
    assert len(found[0]) == 12
    assert found[0] == found[1]


def test_an_order_is_told_by_seed_and_epoch() -> None:
    torch.manual_seed(3)
    order = EpochOrder(range(20))
    first = list(order)
    assert sorted(first) == list(range(20))
    assert order.seed is not None
    order.set_epoch(1)
    second = list(order)
    torch.rand(5)
    assert list(order) == second != first
    other = EpochOrder(range(20))
    other.seed = order.seed
    other.set_epoch(1)
    assert list(other) == second
    torch.manual_seed(3)
    late = EpochOrder(range(20))
    late.set_epoch(7)  # a run that is resumed from a checkpoint that knows no seed of the order
    assert list(late) == first


def test_a_place_within_an_epoch_that_was_saved_by_the_state_of_the_generator() -> None:
    """As checkpoints did before the order had a seed of its own: the rest of that epoch is what it would have been."""
    torch.manual_seed(5)
    start = torch.get_rng_state()
    former = torch.utils.data.DataLoader(range(12), batch_size=3, shuffle=True)  # type: ignore[var-annotated, arg-type]
    expected = [batch.tolist() for batch in former]
    order, own = EpochOrder(range(12)), torch.Generator()
    loader: Any = ResumableLoader(range(12), batch_size=3, sampler=order, generator=own)  # type: ignore[arg-type]
    loader.load_state_dict({"start": start, "batches": 2})
    order.set_epoch(4)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert [batch.tolist() for batch in loader] == expected[2:]
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_of_python_runs_without_seed_everything() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        data = SyntheticMER(batch_size=512)
        order: Any = data.train_dataloader()
        found.append(next(iter(order)).index)
    assert torch.equal(found[0], found[1])
    seed_everything(1, verbose=False)
    assert not torch.equal(next(iter(SyntheticMER(batch_size=512).train_dataloader())).index, found[0])
