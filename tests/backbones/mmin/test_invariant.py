from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from released_mmin import batch_of, check_gradients, close, seeing, sizes, stage_one_of, task_loss

from mer_zoo.backbones import IFMMIN
from mer_zoo.backbones.mmin.cascade import Cascade
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
CASE = golden("ifmmin_iemocap")
SMALL: dict[str, Any] = {"dim": 6, "cascade_dims": (6, 4), "blocks": 2, "head_dims": (5,), "seed": 0}


def under(prefix: str) -> dict[str, torch.Tensor]:
    found = gradients("ifmmin_iemocap")
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def test_the_released_first_stage() -> None:
    spec, task, batch = batch_of(CASE)
    model = IFMMIN(spec, task, stage=1, **sizes(CASE)).eval()
    used = load_released(model, stage_one_of(CASE), "ifmmin").used
    (step,) = model.steps(batch)
    close(step.output.aux.given, CASE.outputs["stage1.embeddings"])
    close(step.output.aux.invariant, CASE.outputs["stage1.invariant"])
    close(step.output.logits, CASE.outputs["stage1.logits"])
    close(step.losses["ifmmin/moment"], CASE.outputs["stage1.loss.cmd"])
    loss = task_loss(model, step.output.logits, batch)
    close(loss, CASE.outputs["stage1.loss.task"])
    torch.autograd.backward(loss + step.losses["ifmmin/moment"])
    check_gradients(model, used, under("stage1."), 0.5)


@pytest.mark.parametrize("cascade", ["paper", "first_release"])
def test_the_released_second_stage(cascade: Any) -> None:
    spec, task, batch = batch_of(CASE)
    model = IFMMIN(spec, task, teacher="frozen", cascade=cascade, **sizes(CASE)).eval()
    report = load_released(model, CASE.params, "ifmmin")
    assert any("decoder_0" in key for key in report.unused) == (cascade == "first_release")
    with seeing(model, CASE.inputs["missing_index"]):
        (step,) = model.steps(batch)
    made, prefix = step.output.aux, f"stage2.{cascade}."
    names = {"given": "f", "imagined": "imagined", "target": "target", "invariant": "invariant"}
    for ours, theirs in (names | {"invariant_target": "invariant_full"}).items():
        close(getattr(made, ours), CASE.outputs[prefix + theirs])
    close(step.output.features, CASE.outputs[f"{prefix}latent"])
    close(step.output.logits, CASE.outputs[f"{prefix}logits"])
    for name in ("imagination", "invariant"):
        close(step.losses[f"ifmmin/{name}"], CASE.outputs[f"{prefix}loss.{name}"])
    total = task_loss(model, step.output.logits, batch) + sum(step.losses.values())
    close(total, CASE.outputs[f"{prefix}loss.total"])
    torch.autograd.backward(total)
    check_gradients(model, report.used, under(prefix), 1.0)


def test_the_released_cascade() -> None:
    case = golden("ifmmin_residual_ae")
    cascade = Cascade(case.config["input_dim"], case.config["layers"], case.config["n_blocks"], "paper")
    load_released(cascade, case.params, "ifmmin")
    imagined, latent = cascade(case.inputs["x"], case.inputs["shared"])
    close(imagined, case.outputs["recon"])
    close(latent, case.outputs["latent"])


def test_invariant_features_are_of_everything_though_some_is_missing() -> None:
    torch.manual_seed(0)
    model, batch = IFMMIN(DataSpec(), TASK, **SMALL).eval(), Batch.random(DataSpec(), TASK, size=4)
    (step,) = model.steps(batch)
    torch.testing.assert_close(step.output.aux.invariant_target, model(batch).aux.invariant)
    assert not torch.allclose(step.output.aux.invariant, step.output.aux.invariant_target)


def test_refusals() -> None:
    with pytest.raises(MERError, match="IFMMIN imagines missing modalities and needs at least two"):
        IFMMIN(DataSpec(modalities=["audio"]), TASK)
    with pytest.raises(MERError, match="unknown cascade 'residual' of IFMMIN"):
        IFMMIN(DataSpec(), TASK, cascade="residual")  # type: ignore[arg-type]
