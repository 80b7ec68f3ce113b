from typing import Literal

import pytest
import torch

from mer_zoo.backbones.dmd.graph_distillation import GraphDistillation

NAMES = ("text", "audio", "vision")


@pytest.mark.parametrize("kind", ["distil", "contrast"])
def test_scores_are_those_of_a_linear_map_of_both_ends(kind: Literal["distil", "contrast"]) -> None:
    torch.manual_seed(0)
    kernel = GraphDistillation(NAMES, 2, 4, 3, representations=kind)
    logits, meant = torch.randn(5, 3, 2), torch.randn(5, 3, 4)
    z = torch.cat([kernel.logit(logits), kernel.representation(meant)], -1)
    place = {name: i for i, name in enumerate(NAMES)}
    scores = [kernel.score(torch.cat([z[:, place[s]], z[:, place[t]]], -1)) for s, t in kernel.edges]
    torch.testing.assert_close(kernel.strengths(logits, meant), (torch.cat(scores, 1) / 8).softmax(1))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    kernel = GraphDistillation(NAMES, 1, 4, 3, [("audio", "text")])
    found = kernel({n: torch.randn(5, 1) for n in NAMES}, {n: torch.randn(5, 4) for n in NAMES})
    torch.autograd.backward(found.logits + found.representations + found.deviation)
    assert all(p.grad is not None and p.grad.any() for p in kernel.parameters())


def test_prior_is_no_part_of_a_checkpoint_but_moves_along() -> None:
    kernel = GraphDistillation(NAMES, 1, 4, 3)
    assert "prior" not in kernel.state_dict()
    assert kernel.double().prior.dtype == torch.float64
