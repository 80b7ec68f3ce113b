from itertools import product

import pytest
import torch
from torch import Tensor, nn

import mer_zoo
from mer_zoo.batch import MODALITIES, Batch, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import SentimentRegression
from mer_zoo.training import interaction
from mer_zoo.training.interaction import additive_logits, combined

TASK = SentimentRegression()


class Sums(nn.Module):
    """Adds or multiplies one number of each modality."""

    def __init__(self, multiply: bool, modalities: tuple[str, ...]) -> None:
        super().__init__()
        self.multiply, self.modalities = multiply, modalities

    def forward(self, text: Tensor, audio: Tensor, vision: Tensor) -> Tensor:
        given = {"text": text, "audio": audio, "vision": vision}
        parts = torch.stack([given[name].sum((1, 2)).sin() for name in self.modalities])
        return (parts.prod(0) if self.multiply else parts.sum(0))[:, None]


def network(multiply: bool, modalities: tuple[str, ...]) -> Model:
    torch.manual_seed(0)
    made: Model = mer_zoo.adapt(Sums(multiply, modalities), DataSpec(modalities=modalities), TASK, feature_dim=1)
    return made


def brute_force(model: Model, batch: Batch) -> Tensor:
    """The additive model of least squares over every combination."""
    names, size = model.spec.modalities, len(batch)
    places = list(product(range(size), repeat=len(names)))
    rows = torch.tensor(places)
    with torch.no_grad():
        y = model.predict(combined(batch, dict(zip(names, rows.T, strict=True)))).logits.double()
    design = torch.cat([nn.functional.one_hot(column, size) for column in rows.T], 1).double()
    fitted: Tensor = design @ torch.linalg.lstsq(design, y, driver="gelsd").solution
    return fitted[[places.index((i,) * len(names)) for i in range(size)]]


@pytest.mark.parametrize("modalities", [("text", "vision"), MODALITIES])
@pytest.mark.parametrize("multiply", [False, True])
def test_against_least_squares_over_all_combinations(modalities: tuple[str, ...], multiply: bool) -> None:
    model = network(multiply, modalities)
    batch = Batch.random(model.spec, TASK, size=4)
    logits, count = additive_logits(model, batch, batch_size=7)
    assert count == 4 ** len(modalities)
    torch.testing.assert_close(logits, brute_force(model, batch))
    given = model.predict(batch).logits.double()
    loss = (logits - given).abs().max()
    assert loss > 0.3 * given.std() if multiply else loss < 1e-6


def test_pairs_in_place_of_all_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An additive model loses nothing by them, and another one is approximated."""
    monkeypatch.setattr(interaction, "ALL", 3)
    model = network(multiply=False, modalities=MODALITIES)
    batch = Batch.random(model.spec, TASK, size=8)
    logits, count = additive_logits(model, batch, batch_size=50)
    assert count == 3 * 8 * 8
    torch.testing.assert_close(logits, model.predict(batch).logits.double(), rtol=0, atol=1e-6)
    net = mer_zoo.LFLSTM(DataSpec(), TASK, dim=4)
    near, _ = additive_logits(net, batch)
    monkeypatch.setattr(interaction, "ALL", 8)
    exact, _ = additive_logits(net, batch)
    assert (near - exact).abs().mean() < 0.1 * exact.std()


def test_one_modality_has_nothing_to_interact() -> None:
    model = mer_zoo.LFLSTM(DataSpec(modalities=["text"]), TASK, dim=4)
    with pytest.raises(MERError, match="EMAP of 3 samples of text; .* give at least two of both"):
        additive_logits(model, Batch.random(model.spec, TASK, size=3))
