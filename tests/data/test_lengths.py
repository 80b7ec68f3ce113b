"""Batches of samples of like length: evaluations in the order of lengths, training on pools that are sorted."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from mer_zoo.backbones import DLF, LFLSTM
from mer_zoo.batch import Batch, Output
from mer_zoo.data import SyntheticMER
from mer_zoo.data.lengths import LengthBatches, by_length
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.wrappers import RWG

ENCODER = {
    "model_type": "bert",
    "vocab_size": 1600,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


class Watched(LFLSTM):
    """Keeps the places of the samples that it sees, and the widths of its texts."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[list[int]] = []
        self.widths: list[int] = []

    def forward(self, batch: Batch) -> Output:
        self.seen.append(batch.index.tolist())
        self.widths.append(batch.text.x.shape[1] * len(batch))
        found: Output = super().forward(batch)
        return found


def data_of(**options: Any) -> SyntheticMER:
    scm = SyntheticConfig(train=96, valid=40, test=80)
    return SyntheticMER(scm, batch_size=8, conditions=["default", "availability"], **options)


def trainer_of(**options: Any) -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return Trainer(accelerator="cpu", logger=False, max_epochs=1, **quiet, **options)


def run_of(data: SyntheticMER, **options: Any) -> tuple[Watched, MERModule]:
    seed_everything(0, verbose=False)
    network = Watched(data.spec, data.task, text_encoder=ENCODER)
    module = MERModule(network)
    trainer_of(**options).test(module, data, verbose=False)
    return network, module


def test_a_test_in_the_order_of_lengths_scores_the_same_on_less_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    network, module = run_of(data_of())
    monkeypatch.setattr(SyntheticMER, "_any_order", lambda self: False)
    before, plain = run_of(data_of())
    assert sum(network.widths) < 0.8 * sum(before.widths)
    assert network.seen != before.seen
    assert sorted(chain(*network.seen)) == sorted(chain(*before.seen))
    for name, scores in module.test_scores.items():
        torch.testing.assert_close(scores.logits, plain.test_scores[name].logits, atol=1e-6, rtol=0)
        assert scores.ids == plain.test_scores[name].ids


def test_whoever_asks_for_a_part_gets_the_first_of_the_file() -> None:
    network, _ = run_of(data_of(), limit_test_batches=1)
    assert network.seen[0] == list(range(8))


def test_networks_that_need_their_padding_read_the_file_in_its_order() -> None:
    data = data_of()
    module = MERModule(DLF(data.spec, data.task, dim=8, heads=2, depth=1))
    seen: list[int] = []
    module.model.register_forward_pre_hook(lambda _, given: seen.extend(given[0].index.tolist()))
    trainer_of().validate(module, data, verbose=False)
    assert seen == list(range(len(seen)))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("processes", [1, 3])
def test_every_sample_is_in_a_batch(shuffle: bool, processes: int) -> None:
    order = np.random.default_rng(0).permutation(101)
    parts = [LengthBatches(order, 8, shuffle, 5, processes, rank) for rank in range(processes)]
    given = [list(part) for part in parts]
    assert len({len(batches) for batches in given}) == 1
    assert {row for batches in given for batch in batches for row in batch} == set(range(101))
    assert all(len(list(part)) == len(part) for part in parts)


def test_training_pools_differ_by_epoch_and_hang_on_the_seed_alone() -> None:
    order = np.arange(2000)
    one, other = (LengthBatches(order, 8, shuffle=True, seed=seed) for seed in (0, 1))
    first = list(one)
    assert first == list(LengthBatches(order, 8, shuffle=True)) != list(other)
    assert np.mean([max(batch) - min(batch) for batch in first if len(batch) == 8]) < 100
    one.set_epoch(1)
    assert first != list(one)
    assert sorted(chain(*one)) == order.tolist()


def test_training_on_batches_of_like_length() -> None:
    data = data_of(batches="lengths")
    lengths = np.diff(data.dataset("train").split.spans["text"], axis=1)[:, 0]
    network = Watched(data.spec, data.task, text_encoder=ENCODER)
    trainer_of(limit_val_batches=0).fit(MERModule(network), data)
    assert sorted(chain(*network.seen)) == list(range(len(lengths)))
    spread = [np.ptp(lengths[batch]) for batch in network.seen]
    assert np.mean(spread) < 0.5 * np.ptp(lengths)
    assert by_length(data.dataset("train"))[0] in np.flatnonzero(lengths == lengths.max())


def test_what_does_not_go_with_it_is_refused() -> None:
    data = data_of(batches="lengths")
    network = LFLSTM(data.spec, data.task, dim=8)
    with pytest.raises(MERError, match="overfit_batches"):
        trainer_of(overfit_batches=2).fit(MERModule(network), data)
    with pytest.raises(MERError, match="batches: lengths"):
        trainer_of().fit(MERModule(RWG(network)), data)
