"""MulDeF against the released code's numbers: logits, fusions, counterfactual, loss, gradients, one Adam step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from torch import Tensor, nn
from toys import loss_of
from typing_extensions import override

from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.functional.counterfactual import fuse
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentClassification, Task
from mer_zoo.wrappers import MulDeF

CASE = golden("muldef_step")
FUSIONS = {"sum": "sum", "harmonic": "hm", "rubi": "rubi", "fc": "fc"}


class Given(Backbone):
    """The reference run's stub: given logits, representation and text vector, each times a gain."""

    def __init__(self, spec: DataSpec, task: Task) -> None:
        super().__init__(spec, task)
        self.gain, self.feature_dim = nn.Parameter(CASE.params["base_model.gain"].clone()), 7
        self.head = nn.Linear(7, 3)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        features = CASE.inputs["base_representation"] * self.gain[1]
        return Output(features[:, :3], features)

    @override
    def forward(self, batch: Batch) -> Output:
        vector = CASE.inputs["text_vector"] * self.gain[2]
        output = super().forward(batch)
        return output.replace(inputs={**output.inputs, "text": vector[:, None].expand(-1, 9, -1)})

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"base": output.features.square().mean()}


def released(fusion: Any, **options: Any) -> tuple[MulDeF, Batch]:
    spec = DataSpec(text_dim=6, audio_dim=4, vision_dim=5, text_len=9, audio_len=9, vision_len=9)
    weights: dict[str, Any] = dict(
        zip(("base_weight", "branch_weight", "divergence_weight"), (0.4, 0.9, 0.6), strict=True)
    )
    task = SentimentClassification(3)
    model = MulDeF(Given(spec, task), fusion, heads=3, dim=8, gru_dim=5, variant="released", **weights, **options)
    params = {name: value for name, value in CASE.params.items() if fusion == "fc" or not name.startswith("fc.")}
    assert set(load_released(model, params, source="muldef").unused) == {"base_model.gain"}
    model.mediator.set_expectation({name: CASE.inputs[f"expectation_{name}"][0] for name in spec.modalities})
    model.kept_words.fit(torch.zeros(0, dtype=torch.long))
    model.prepared.fill_(True)
    x = {name: CASE.inputs[key].transpose(0, 1) for name, key in zip(spec.modalities, KEYS, strict=True)}
    # One real step, since the released code reads all steps; the words of the text are masked already.
    mask = torch.zeros(4, 9, dtype=torch.bool).index_fill(1, torch.tensor([0]), True)
    given = {name: Modality(value, mask) for name, value in x.items()}
    given["text"] = given["text"].replace(token_ids=torch.full((4, 9), spec.pad_id))
    return model, Batch.random(spec, task, size=4).replace(**given, target=CASE.inputs["target"].long())


KEYS = ("text_biased", "audio", "vision")


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_scores(fusion: str) -> None:
    model, batch = released(fusion, alpha_selection="fixed", alpha=0.75)
    output = model.predict(batch)
    close(output.effects["mediated"], CASE.outputs["multimodal"])
    for name in ("text", "audio", "vision"):
        close(output.effects[name], CASE.outputs[name])
    close(output.effects["plain"], CASE.outputs[f"{FUSIONS[fusion]}.fused"])
    close(output.effects["counterfactual"], CASE.outputs[f"{FUSIONS[fusion]}.counterfactual"])
    close(output.logits, CASE.outputs[f"{FUSIONS[fusion]}.debiased_0.75"])


def test_without_the_front_door() -> None:
    y = [CASE.outputs[name] for name in ("text", "audio", "vision")]
    base = CASE.inputs["base_logits"] * CASE.params["base_model.gain"][0]
    close(fuse(y, base, "harmonic"), CASE.outputs["no_intervention.fused"])
    constant = CASE.params["constant"].expand(4, 3)
    close(fuse(y, constant, "harmonic"), CASE.outputs["no_intervention.counterfactual"])


def named_gradients(model: MulDeF, fusion: str) -> dict[str, Tensor]:
    """Our gradients by released name."""
    used = load_released(
        model, {k: v for k, v in CASE.params.items() if fusion == "fc" or k[:3] != "fc."}, "muldef"
    ).used
    ours = dict(model.named_parameters())
    return {theirs: ours[name].grad for theirs, name in used.items() if ours[name].grad is not None}  # type: ignore[misc]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_loss_and_gradients(fusion: str) -> None:
    model, batch = released(fusion)
    loss = loss_of(model, batch)
    close(loss, CASE.outputs[f"{FUSIONS[fusion]}.loss"])
    loss.backward()  # type: ignore[no-untyped-call]
    prefix = f"{FUSIONS[fusion]}."
    expected = {k.removeprefix(prefix): v for k, v in gradients("muldef_step").items() if k.startswith(prefix)}
    gain = model.get_parameter("backbone.gain").grad
    assert gain is not None
    close(gain, expected.pop("base_model.gain"))
    found = named_gradients(model, fusion)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        close(found[name], value)


def test_one_step() -> None:
    model, batch = released("harmonic")
    names = load_released(model, {k: v for k, v in CASE.params.items() if k[:3] != "fc."}, source="muldef").used
    plain = [p for name, p in model.named_parameters() if name.startswith("backbone.")]
    decayed = [p for name, p in model.named_parameters() if not name.startswith("backbone.")]
    groups: list[dict[str, Any]] = [{"params": plain}, {"params": decayed, "weight_decay": 1e-5}]
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_value_(model.parameters(), 0.8)
    optimizer.step()
    after = {k.removeprefix("hm.after."): v for k, v in CASE.outputs.items() if k.startswith("hm.after.")}
    close(model.get_parameter("backbone.gain"), after.pop("base_model.gain"), 1e-4)
    assert after.keys() == names.keys()
    for name, value in after.items():
        close(model.get_parameter(names[name]), value, 1e-4)
