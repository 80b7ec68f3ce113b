"""Signs of life: what is dead is found, what lives is not, and measuring leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import MeanNet
from typing_extensions import override

from mer_zoo.backbones import LFLSTM, MPLMM, CIDerNet, MulT
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.life import Dead, Life, dead_parts, measure_life
from mer_zoo.model import Backbone, Model
from mer_zoo.task import SentimentClassification, Task
from mer_zoo.wrappers import CUMDF, MACI, MSSD

SPEC, TASK = DataSpec(), SentimentClassification(3)
BATCH = Batch.random(SPEC, TASK, size=13)


class Attending(Backbone):
    """Attends within the audio; reads of text and vision what it is told to."""

    def __init__(self, spec: DataSpec, task: Task, masked: str | None = None) -> None:
        super().__init__(spec, task)
        self.masked, self.feature_dim = masked, 8
        self.inputs = nn.ModuleDict({name: nn.Linear(width, 8) for name, width in self.input_dims.items()})
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.unused = nn.Linear(8, 8)
        self.head = nn.Linear(8, task.num_outputs)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        x = {name: self.inputs[name](each.x) for name, each in self.in_use(text, audio, vision).items()}
        mixed, _ = self.attention(x["audio"], x["audio"], x["audio"], key_padding_mask=~audio.mask)
        parts = {"text": x["text"].mean(1), "audio": mixed.mean(1), "vision": x["vision"].mean(1)}
        features = sum((part * (name != self.masked) for name, part in parts.items()), torch.zeros(()))
        return Output(self.classify(features), features)


def life(model: Model, **changes: Any) -> Life:
    return measure_life(model, BATCH, **changes)


def dead(model: Model, before: Life) -> set[tuple[str, str]]:
    return {(each.sign, each.part) for each in dead_parts(before, life(model))}


def test_a_living_network_has_only_the_part_that_nothing_uses_for_dead() -> None:
    model = Attending(SPEC, TASK)
    assert dead(model, life(model)) == {("gradient", "unused")}


def test_a_zeroed_part_is_found() -> None:
    model = Attending(SPEC, TASK)
    before = life(model)
    nn.init.zeros_(model.get_parameter("inputs.text.weight"))
    assert ("swap", "itself[0.text]") in dead(model, before)


def test_an_input_that_is_masked_away_is_found() -> None:
    model = Attending(SPEC, TASK, masked="vision")
    assert ("gradient", "inputs.vision") in dead(model, life(model))


def test_attention_that_looks_at_everything_alike_is_found() -> None:
    model = Attending(SPEC, TASK)
    before = life(model)
    with torch.no_grad():
        model.attention.in_proj_weight[:8] *= 1e-3  # the queries
    assert ("attention", "attention") in dead(model, before)


def test_a_detached_part_is_found() -> None:
    class Detached(MeanNet):
        @override
        def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
            output = super().fuse(text, audio, vision)
            return Output(self.classify(output.features.detach()), output.features)

    model = Detached(SPEC, TASK)
    assert dead(model, life(model)) == {("gradient", "hidden")}


@pytest.mark.parametrize(
    "model",
    [
        LFLSTM(SPEC, TASK),
        MSSD(MACI(CIDerNet(SPEC, TASK, dim=8, heads=2, depth=1))),
        CUMDF(LFLSTM(SPEC, TASK, dim=8)),
        MPLMM(SPEC, TASK, dim=8, heads=2, depth=1),
    ],
    ids=lambda model: model.name,
)
def test_measuring_leaves_no_trace_and_is_the_same_again(model: Model) -> None:
    model.train().prepare([BATCH])
    state = {name: x.clone() if isinstance(x, Tensor) else x for name, x in model.state_dict().items()}
    draws, modes = torch.get_rng_state(), [part.training for part in model.modules()]
    assert life(model) == life(model)
    assert torch.equal(torch.get_rng_state(), draws)
    assert [part.training for part in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    for name, x in model.state_dict().items():
        assert torch.equal(x, state[name]), name


def test_every_attention_of_mult_and_of_cider_is_seen() -> None:
    mult = life(MulT(SPEC, TASK, dim=8, heads=2, depth=1)).attention
    assert sum(name.startswith("crossmodal.") for name in mult) == 6
    assert sum(name.startswith("memory.") for name in mult) == 9
    cider = life(CIDerNet(SPEC, TASK, dim=8, heads=2, depth=2)).attention
    assert sum("layers" in name for name in cider) == 2


def test_the_parts_of_a_teacher_are_judged_by_the_losses() -> None:
    found = life(CUMDF(LFLSTM(SPEC, TASK, dim=8)))
    assert "teacher" in {name.partition(".")[0] for name in found.training}
    assert min(value for name, value in found.training.items() if name.startswith("teacher")) > 0


@pytest.mark.parametrize(
    ("after", "expected"),
    [(0.2, []), (0.0021, []), (0.0019, ["fusion"]), (0.0, ["fusion"])],
)
def test_a_hundredth_is_the_threshold(after: float, expected: list[str]) -> None:
    found = dead_parts(Life({"fusion": 0.2}, {}, {}, {}), Life({"fusion": after}, {}, {}, {}))
    assert [each.part for each in found] == expected


def test_a_part_that_comes_to_act_on_the_scores_is_alive() -> None:
    before, after = Life({}, {}, {"a[0]": 0.0}, {"a[0]": 0.3}), Life({}, {}, {"a[0]": 0.5}, {})
    assert dead_parts(before, after) == []
    assert dead_parts(before, Life({}, {}, {"a[0]": 0.0}, {"a[0]": 0.0})) == [Dead("training swap", "a[0]", 0.3, 0.0)]
