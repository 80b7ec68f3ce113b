import copy

import pytest
import torch

from mer_zoo.backbones.selfmm.label_bank import LabelBank
from mer_zoo.errors import MERError
from mer_zoo.functional.label_generation import average_labels, class_centres, generate_labels, relative_distance

DIMS = {"text": 3, "audio": 2}


def bank() -> LabelBank:
    return LabelBank(4, DIMS)


def draw(size: int, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(size, dim, generator=generator) for name, dim in DIMS.items()}
    return torch.randn(size, 4, generator=generator), features


TARGET = torch.tensor([2.0, -1.0, 0.0, 0.5, -2.5, 1.0])


def test_labels_are_the_given_ones_until_the_second_visit() -> None:
    memory, index = bank(), torch.arange(6)
    assert torch.equal(memory.labels(index, TARGET)["text"], TARGET)
    memory.update(index, TARGET, *draw(6))
    labels = memory.labels(index, TARGET)
    assert list(labels) == ["text", "audio"]
    assert all(torch.equal(own, TARGET) for own in labels.values())
    memory.update(index, TARGET, *draw(6, seed=1))
    labels = memory.labels(index, TARGET)
    assert not any(torch.allclose(own, TARGET) for own in labels.values())
    assert all(own.abs().max() <= 3 for own in labels.values())


def test_updates_are_those_of_the_equations_over_the_whole_bank() -> None:
    """Against the equations, step by step: three epochs of two batches each."""
    memory = bank()
    features = {name: torch.zeros(6, dim) for name, dim in {"fusion": 4, **DIMS}.items()}
    labels = {"fusion": TARGET, **{name: TARGET.clone() for name in DIMS}}
    for epoch in (1, 2, 3):
        for number, index in enumerate(torch.tensor([5, 0, 3, 1, 4, 2]).view(2, 3)):
            fusion, own = draw(3, seed=10 * epoch + number)
            memory.update(index, TARGET[index], fusion, own)
            for name, now in {"fusion": fusion, **own}.items():
                features[name][index] = now
            if epoch == 1:
                continue
            delta = {
                name: relative_distance(now[index], *class_centres(now, labels[name])) for name, now in features.items()
            }
            for name in DIMS:
                new = generate_labels(TARGET[index], delta[name], delta["fusion"])
                labels[name][index] = average_labels(labels[name][index], new, torch.tensor([epoch]))
    found = memory.labels(torch.arange(6), TARGET)
    for name in DIMS:
        torch.testing.assert_close(found[name], labels[name])


def test_one_sign_only_changes_no_label() -> None:
    memory, index, target = bank(), torch.arange(3), torch.tensor([1.0, 2.0, 0.0])
    for seed in range(3):
        memory.update(index, target, *draw(3, seed))
    assert torch.equal(memory.labels(index, target)["audio"], target)


def test_a_sample_twice_in_a_batch_counts_once_by_its_first_features() -> None:
    once, twice, index = bank(), bank(), torch.arange(6)
    for seed in range(3):
        fusion, features = draw(6, seed)
        once.update(index, TARGET, fusion, features)
        again = {name: torch.cat([own, own + 1]) for name, own in features.items()}
        twice.update(index.repeat(2), TARGET.repeat(2), torch.cat([fusion, fusion - 1]), again)
    assert torch.equal(once.rows, twice.rows)


def test_the_bank_is_saved_whatever_its_size() -> None:
    memory, index = bank(), torch.tensor([7, 2, 0, 5, 4, 1])
    memory.update(index, TARGET, *draw(6))
    other = bank()
    other.load_state_dict(copy.deepcopy(memory.state_dict()))
    for each in (memory, other):
        each.update(index, TARGET, *draw(6, seed=1))
    assert torch.equal(memory.rows, other.rows)
    assert len(memory.rows) == 8
    assert not memory.rows[3].any()
    assert torch.equal(copy.deepcopy(memory).rows, memory.rows)


def test_a_bank_of_other_widths_is_refused() -> None:
    with pytest.raises(MERError, match="the label bank in the checkpoint has shape"):
        bank().load_state_dict(LabelBank(5, DIMS).state_dict())


def test_nothing_is_kept_for_a_gradient() -> None:
    memory, index = bank(), torch.arange(6)
    fusion, features = draw(6)
    fusion.requires_grad_()
    for _ in range(2):
        memory.update(index, TARGET, fusion, features)
    assert not memory.rows.requires_grad
    assert not memory.labels(index, TARGET)["text"].requires_grad
