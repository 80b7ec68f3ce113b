"""Distillation and ModalityAttribution: what is compared, what is counted, running means over batches."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from mer_zoo.functional.attribution import srd
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers.cumdf.attribution import Distillation, ModalityAttribution, Target

NAMES = ("text", "audio", "vision")
THREE = SentimentClassification(3)


def sequences(seed: int = 0, size: int = 4) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(5) < torch.randint(1, 6, (size, 1), generator=generator)
    return {n: torch.randn(size, 5, 3, generator=generator) * mask[..., None] for n in NAMES}, mask


def rescore(x: Mapping[str, Tensor], _context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features, which are all means, and three class scores: text's mean twice, audio's once, vision's never."""
    means = {name: each.mean(1) for name, each in x.items()}
    return torch.cat(list(means.values()), 1), 2 * means["text"] + means["audio"]


def attribution(task: Task = THREE, **options: object) -> ModalityAttribution:
    torch.manual_seed(0)
    return ModalityAttribution(task, NAMES, dim=3, **options)  # type: ignore[arg-type]


def test_distance_is_the_sum_of_the_parts() -> None:
    torch.manual_seed(0)
    distance = Distillation(NAMES, h_dim=4, dim=3, alpha=0.5)
    student = Target(torch.randn(6, 4), torch.randn(6, 3, 3))
    teacher = Target(torch.randn(6, 4), torch.randn(6, 3, 3))
    weights = torch.tensor([0.2, 0.3, 0.5])
    expected = srd(student.h, teacher.h, distance.w_s["joint"], distance.w_t["joint"], 0.5)
    for i, name in enumerate(NAMES):
        part = srd(student.pooled[:, i], teacher.pooled[:, i], distance.w_s[name], distance.w_t[name], 0.5)
        expected = expected + weights[i] * part
    torch.testing.assert_close(distance(student, teacher, weights), expected)


@pytest.mark.parametrize("projection", ["both", "none"])
def test_distance_of_equals_starts_at_zero(projection: str) -> None:
    torch.manual_seed(0)
    distance = Distillation(NAMES, 4, 3, projection=projection)  # type: ignore[arg-type]
    same = Target(torch.randn(6, 4), torch.randn(6, 3, 3))
    assert distance(same, same, torch.full((3,), 1 / 3)).abs().max() < 1e-5
    assert bool(list(distance.parameters())) == (projection == "both")


def test_a_target_stands_there_as_often_as_there_are_views() -> None:
    target = Target(torch.tensor([[1.0], [2.0]]), torch.tensor([[[1.0]], [[2.0]]]))
    assert target.repeat(2).h.flatten().tolist() == [1.0, 2.0, 1.0, 2.0]
    assert target.repeat(2).pooled.shape == (4, 1, 1)


def test_running_means_are_the_formula() -> None:
    module, sums, steps = attribution(), torch.zeros(3, 3), torch.zeros(())
    for seed in range(4):
        x, mask = sequences(seed)
        module(x, mask, None, rescore, torch.zeros(4))
        sums = 0.9 * sums + 0.1 * torch.stack([x[name][mask].sum(0) for name in NAMES])
        steps = 0.9 * steps + 0.1 * mask.sum()
        means, _ = module._means()
        torch.testing.assert_close(torch.stack(list(means.values())), sums / steps)


def test_the_first_batch_has_its_own_mean() -> None:
    module, (x, mask) = attribution(context_dim=2), sequences()
    context = torch.randn(4, 2)
    module(x, mask, context, rescore, torch.zeros(4))
    means, mean_context = module._means()
    torch.testing.assert_close(means["audio"], x["audio"][mask].mean(0))
    torch.testing.assert_close(mean_context, context.mean(0))


def test_evaluation_leaves_the_means_alone() -> None:
    module, (x, mask) = attribution().eval(), sequences()
    module(x, mask, None, rescore, torch.zeros(4))
    assert not module.statistics.any()


@pytest.mark.parametrize("effect", ["unimodal", "total"])
def test_shares_are_the_counterfactuals(effect: str) -> None:
    module, (x, mask), target = attribution(effect=effect), sequences(), torch.tensor([-1.0, 0.0, 1.0, 1.0])
    found = module(x, mask, None, rescore, target)
    classes, effects = THREE.encode(target), []
    for name in NAMES:
        replaced = x | {name: torch.where(mask[..., None], x[name][mask].mean(0), 0.0)}
        without = rescore(replaced, None)[1].softmax(1).gather(1, classes[:, None])
        alone = rescore(x, None)[1]
        if effect == "unimodal":
            pooled = torch.stack([x[name][i, mask[i]].mean(0) for i in range(4)])
            alone = module.heads[name](pooled)
        effects.append((alone.softmax(1).gather(1, classes[:, None]) - without).abs().sum())
    expected = torch.stack(effects) / torch.stack(effects).sum()
    torch.testing.assert_close(found.shares, expected)
    assert (found.unimodal is None) == (effect == "total")
    if effect == "total":
        assert found.shares[2] == 0  # vision is never read


def test_a_counterfactual_head_of_its_own_is_what_is_asked() -> None:
    """W_s_con of Eq. 12: it reads the features, is behind the shares, and learns to predict from the same features."""
    shared, own, (x, mask) = attribution(), attribution(own_head=9), sequences()
    target = torch.tensor([-1.0, 0.0, 1.0, 1.0])
    own.heads.load_state_dict(shared.heads.state_dict())
    head, classes, effects, losses = own.counterfactual, THREE.encode(target), [], []
    assert shared.counterfactual is None
    assert head is not None
    for name in NAMES:
        replaced = x | {name: torch.where(mask[..., None], x[name][mask].mean(0), 0.0)}
        logits = head(rescore(replaced, None)[0])
        pooled = torch.stack([x[name][i, mask[i]].mean(0) for i in range(4)])
        pair = [each.softmax(1).gather(1, classes[:, None]) for each in (own.heads[name](pooled), logits)]
        effects.append((pair[0] - pair[1]).abs().sum())
        losses.append(torch.nn.functional.cross_entropy(logits, classes))
    found, plain = own(x, mask, None, rescore, target), shared(x, mask, None, rescore, target)
    torch.testing.assert_close(found.shares, torch.stack(effects) / torch.stack(effects).sum())
    torch.testing.assert_close(found.unimodal, plain.unimodal + torch.stack(losses).mean())


@pytest.mark.parametrize("own_head", [0, 9])
def test_unimodal_loss_trains_the_heads_alone(own_head: int) -> None:
    module, (x, mask) = attribution(own_head=own_head), sequences()
    for each in x.values():
        each.requires_grad_()
    loss = module(x, mask, None, rescore, torch.zeros(4)).unimodal
    assert loss is not None
    loss.backward()
    assert all(each.grad is None for each in x.values())
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_balance_trains_what_is_rescored() -> None:
    module, (x, mask) = attribution(), sequences()
    for each in x.values():
        each.requires_grad_()
    module(x, mask, None, rescore, torch.zeros(4)).balance.backward()
    assert x["text"].grad is not None
    assert x["text"].grad.any()


def test_context_is_never_seen_as_it_is() -> None:
    module, (x, mask), seen = attribution(context_dim=2), sequences(), []

    def noting(x: Mapping[str, Tensor], context: Tensor | None) -> tuple[Tensor, Tensor]:
        seen.append(context)
        return rescore(x, None)

    context = torch.randn(4, 2)
    module(x, mask, context, noting, torch.zeros(4))
    assert len(seen) == 3
    for each in seen:
        torch.testing.assert_close(each, context.mean(0).expand(4, 2))


def test_proportions_are_those_since_the_last_report() -> None:
    module = attribution()
    assert module.proportions() == {}
    for seed in range(3):
        x, mask = sequences(seed)
        module(x, mask, None, rescore, torch.zeros(4))
    total = module.effects.clone()
    first = module.proportions()
    assert list(first.values()) == pytest.approx((total / total.sum()).tolist())
    assert sum(first.values()) == pytest.approx(1)
    assert module.proportions() == first  # the test that follows a training run reports the last epoch
    module(x, mask, None, rescore, torch.zeros(4))
    assert module.proportions() != first


@pytest.mark.parametrize("task", [SentimentRegression(), SentimentClassification(7), EmotionDetection()])
@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("own_head", [0, 3])
def test_every_task_and_one_sample(task: Task, size: int, own_head: int) -> None:
    module, (x, mask) = attribution(task, own_head=own_head), sequences(size=size)
    target = task.random_target(size, torch.Generator().manual_seed(0))
    head = torch.nn.Linear(3, task.num_outputs)

    def reread(x: Mapping[str, Tensor], _context: Tensor | None) -> tuple[Tensor, Tensor]:
        features = x["text"].sum(1)
        return features, task.reshape(head(features))

    found = module(x, mask, None, reread, target)
    assert found.shares.sum().item() == pytest.approx(1)
    assert found.unimodal is not None
    assert found.unimodal.isfinite()
