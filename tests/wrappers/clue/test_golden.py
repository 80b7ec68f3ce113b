"""CLUE against the released code's numbers: text branch, fusions, counterfactual, losses, debiased scores."""

from typing import Any

import pytest
import torch
from golden_cases import golden
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentClassification, Task
from mer_zoo.wrappers import CLUE

FUSIONS = ("sum", "hm", "rubi")


class Given(Backbone):
    """A network that returns given logits."""

    def __init__(self, spec: DataSpec, task: Task, logits: Tensor) -> None:
        super().__init__(spec, task)
        self.logits, self.feature_dim = nn.Parameter(logits.clone()), 1

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        return Output(self.task.reshape(self.logits), self.logits[:, :1])


def released(fusion: Any, **options: Any) -> tuple[CLUE, Batch, dict[str, Tensor]]:
    case = golden(f"clue_{fusion}")
    steps, _, width = case.inputs["text"].shape
    spec, task = DataSpec(text_dim=width, text_len=steps), SentimentClassification(case.config["output_size"])
    dim = case.config["tmodel_hidden_size"]
    model = CLUE(Given(spec, task, case.inputs["mm_logits"]), fusion, lstm_dim=width, dim=dim, **options)
    report = load_released(model, case.params, source="clue")
    assert report.unused == {}
    assert set(report.kept) == {
        "backbone.logits",
        *(f"strength.{name}" for name in ("tau", "temperature", "ess", "chosen_by")),
    }
    text = Modality(case.inputs["text"].transpose(0, 1), torch.arange(steps) < case.inputs["lengths"][:, None])
    batch = Batch.random(spec, task, size=3).replace(text=text, target=case.inputs["labels"].long())
    return model, batch, case.outputs


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_scores(fusion: str) -> None:
    for alpha in ("1", "2.5"):
        model, batch, expected = released(fusion, alpha_selection="fixed", alpha=float(alpha))
        output = model.predict(batch)
        close(output.effects["text"], expected["o_text"])
        close(output.effects["plain"], expected["o1_fusion"])
        close(output.effects["counterfactual"], expected["o2_fusion"])
        close(output.logits, expected[f"debiased_alpha{alpha}"])
        close(model(batch).logits, expected["o1_fusion"])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_losses(fusion: str) -> None:
    model, batch, expected = released(fusion)
    (step,) = model.steps(batch)
    ce_fusion = (step.task_weight * model.task.criterion(step.output.logits, batch.target)).mean()
    close(ce_fusion, expected["loss.ce_fusion"])
    close(step.losses["clue/text"], expected["loss.ce_text"])
    close(step.losses["clue/divergence"], expected["loss.kl"])
    close(ce_fusion + step.losses["clue/text"] + step.losses["clue/divergence"], expected["loss.total_without_base"])
    base = nn.functional.cross_entropy(golden(f"clue_{fusion}").inputs["mm_logits"], batch.target)
    close(step.losses["clue/base"], base)


def test_an_incomplete_checkpoint_is_refused() -> None:
    params = golden("clue_sum").params
    model = released("sum")[0]
    with pytest.raises(MERError, match=r"the checkpoint lacks 'constant' and 0 more of CLUE"):
        load_released(model, {name: value for name, value in params.items() if name != "constant"}, source="clue")
