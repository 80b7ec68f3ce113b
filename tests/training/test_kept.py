"""Scores that are not finite are refused wherever metrics or predictions would be made of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from mer_zoo import Batch, MERModule, Modality, SyntheticMER, adapt
from mer_zoo.data import SyntheticConfig
from mer_zoo.errors import MERError, TrainingError
from mer_zoo.metrics import MeanAbsoluteError, sentiment_metrics
from mer_zoo.training.kept import KeptScores


class Unguarded(nn.Module):
    """Attention whose mask leaves no key where a modality is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
        weights = self.score(x).squeeze(2).masked_fill(~observed, -torch.inf).softmax(1)
        pooled: torch.Tensor = (weights[..., None] * x).sum(1)
        return pooled


def heard(network: nn.Module, text: Modality, audio: Modality, vision: Modality) -> torch.Tensor:
    features: torch.Tensor = network(audio.x, audio.observed)
    return features


def trainer(**options: object) -> Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_checkpointing": False}
    return Trainer(**quiet, enable_model_summary=False, **options)  # type: ignore[arg-type]


@pytest.fixture
def data() -> SyntheticMER:
    sizes = SyntheticConfig(train=8, valid=6, test=7)
    return SyntheticMER(sizes, task="binary", conditions=["default", "availability"], batch_size=4)


@pytest.fixture
def module(data: SyntheticMER) -> MERModule:
    width = data.spec.audio_dim
    network = Unguarded()
    network.score = nn.Linear(width, 1)
    model = adapt(
        network,
        data.spec,
        data.task,
        feature_dim=width,
        call=lambda net, text, audio, vision: net(audio.x, audio.observed),
    )
    return MERModule(model)


def test_a_test_names_condition_count_and_samples(module: MERModule, data: SyntheticMER) -> None:
    with pytest.raises(
        TrainingError, match=r"condition '\{l\}': 7 of 7 samples have scores that are not finite \("
    ) as told:
        trainer().test(module, data, verbose=False)
    assert str(told.value).count("$_$") + str(told.value).count(", ") >= 5
    assert "softmax over a row without an observed key" in str(told.value)


def spoil(module: MERModule) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)


@pytest.mark.parametrize("what", ["predict", "validate", "test"])
def test_exploded_weights_are_refused(module: MERModule, data: SyntheticMER, what: str) -> None:
    spoil(module)
    run: Callable[..., object] = getattr(trainer(), what)
    with pytest.raises(TrainingError, match="scores that are not finite"):
        run(module, datamodule=data)


def test_validation_goes_on_where_nan_is_allowed(module: MERModule, data: SyntheticMER) -> None:
    tolerant = MERModule(module.model, stop_at_nan=False)
    spoil(tolerant)
    with pytest.raises(MERError, match="no metric is defined for them"):
        trainer().validate(tolerant, datamodule=data, verbose=False)


def test_metrics_refuse_what_is_not_finite(data: SyntheticMER) -> None:
    logits = torch.tensor([[0.0, torch.nan, 0.0], [1.0, 0.0, 0.0]])
    for metric in sentiment_metrics(3).values():
        with pytest.raises(MERError, match="1 of 6 scores are not finite"):
            metric.update(logits, torch.zeros(2))
    with pytest.raises(MERError, match="1 of 2 scores are not finite"):
        MeanAbsoluteError().update(torch.tensor([[torch.inf], [0.0]]), torch.zeros(2))


def test_samples_of_a_broken_epoch_are_forgotten(module: MERModule, data: SyntheticMER) -> None:
    kept, batch = KeptScores(), Batch.random(data.spec, data.task, size=3)
    output = module.model(batch)
    kept.keep(0, output.replace(logits=output.logits * torch.nan), batch, {})
    kept.start(module.model, calibrating=False)
    kept.keep(0, output, batch, {})
    assert kept.take(0, "here") is not None
