"""GroupDRO's and JTT's mathematics against the released codes' numbers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from golden_cases import golden
from torch import Tensor

from mer_zoo.functional.group_robust import (
    adjusted_losses,
    balanced_weights,
    error_weights,
    exponentiated_step,
    greedy_weights,
    group_means,
    moving_average,
)


@pytest.mark.parametrize("variant", ["plain", "adjusted", "normalised", "btl"])
def test_group_dro_as_released(variant: str) -> None:
    case = golden("groupdro_loss")
    options, count = case.config["variants"][variant], torch.tensor(case.config["group_counts"]).float()
    C, groups = options.get("C", 0.0), len(count)
    q, v, before = torch.full((groups,), 1 / groups), torch.zeros(groups), torch.zeros(groups, dtype=torch.bool)
    for step in range(3):
        expected = {name: case.outputs[f"{variant}.step{step}.{name}"] for name in ("loss", "q", "group_loss")}
        logits = case.inputs["logits"][step].requires_grad_()
        losses = F.cross_entropy(logits, case.inputs["target"][step], reduction="none")
        loss, seen_count = group_means(losses, case.inputs["group"][step], groups)
        torch.testing.assert_close(loss.detach(), expected["group_loss"])
        seen = seen_count > 0
        v, before = moving_average(v, loss.detach(), seen, seen & ~before, case.config["gamma"]), before | seen
        torch.testing.assert_close(v, case.outputs[f"{variant}.step{step}.exp_avg_loss"])
        constant: Tensor | float = 0.0
        if options.get("btl"):
            share = count / count.sum()
            q = greedy_weights(v, share, options["alpha"], options["min_var_weight"])
        else:
            normalise = options.get("normalize_loss", False)
            q = exponentiated_step(q, adjusted_losses(loss.detach(), count, C, normalise), options["step_size"])
            constant = (q * C / count.sqrt()).sum()  # which the released loss contains, without a gradient
        total = (q * loss).sum()
        total.backward()  # type: ignore[no-untyped-call]
        if not options.get("btl"):  # where the released code leaves q as it began, and weighs by something else
            torch.testing.assert_close(q, expected["q"])
        torch.testing.assert_close((total + constant).detach(), expected["loss"])
        torch.testing.assert_close(logits.grad, case.outputs[f"{variant}.step{step}.grad_logits"])


def test_groups_that_a_batch_lacks_keep_their_share() -> None:
    q, loss = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([2.0, 1.0, 0.0])
    found = exponentiated_step(q, loss, 1.0, torch.tensor([True, True, False]))
    assert found[2] == q[2]
    torch.testing.assert_close(found.sum(), torch.tensor(1.0))
    torch.testing.assert_close(found[0] / found[1], q[0] / q[1] * torch.tensor(1.0).exp())


def test_large_losses_leave_weights_finite() -> None:
    found = exponentiated_step(torch.full((2,), 0.5), torch.tensor([1e4, 1.0]), 1.0)
    assert found.tolist() == [1.0, 0.0]


@pytest.mark.parametrize("upweight", [2, 5, -1])
def test_jtt_as_released(upweight: int) -> None:
    case = golden("jtt_upweight")
    target, wrong = case.inputs["target"], case.inputs["logits_first"].argmax(1) != case.inputs["target"]
    assert torch.equal(wrong.float(), case.outputs["wrong"].float())
    weight = error_weights(wrong, None if upweight < 0 else upweight)
    assert torch.equal(weight.float(), case.outputs[f"up{upweight}.weight"])
    logits = case.inputs["logits_second"].requires_grad_()
    losses = F.cross_entropy(logits, target, reduction="none")
    loss = (losses * (weight / weight.mean()).float()).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss.detach(), case.outputs[f"up{upweight}.loss"])
    torch.testing.assert_close(logits.grad, case.outputs[f"up{upweight}.grad_logits"])


def test_an_error_set_that_is_most_of_the_split_is_not_weighted_down() -> None:
    assert error_weights(torch.tensor([True, True, False]), None).tolist() == [1.0, 1.0, 1.0]


def test_balanced_groups_count_alike() -> None:
    group = torch.tensor([0, 0, 0, 1, 3, 3])
    weight = balanced_weights(group, 5)
    assert weight.mean() == pytest.approx(1.0)
    sums = torch.zeros(5, dtype=torch.float64).index_add(0, group, weight)
    torch.testing.assert_close(sums, torch.tensor([2.0, 2.0, 0.0, 2.0, 0.0], dtype=torch.float64))
