import pytest
import torch
from golden_cases import golden

from mer_zoo.functional.label_generation import (
    average_labels,
    class_centres,
    generate_labels,
    label_weights,
    relative_distance,
)


def test_neutral_and_unknown_labels_enter_no_centre() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 2.0], [9.0, 9.0], [-1.0, 4.0], [torch.pi, 8.0]])
    positive, negative = class_centres(features, torch.tensor([0.1, 3.0, 0.0, -2.0, torch.nan]))
    assert positive.tolist() == [2.0, 1.0]
    assert negative.tolist() == [-1.0, 4.0]
    positive, negative = class_centres(features[:2], torch.tensor([1.0, 1.0]))
    assert negative.isnan().all()
    assert positive.isfinite().all()


def test_distance_has_the_sign_of_the_nearer_centre() -> None:
    positive, negative = torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 0.0])
    x = torch.tensor([[0.5, 0.0], [0.0, 2.0], [-0.5, 0.0], [-1.0, 0.0]])
    assert relative_distance(x, positive, negative).tolist() == pytest.approx([2, 0, -2 / 3, -1])


def test_equal_evidence_keeps_the_label_and_the_bound_holds() -> None:
    distance, label = torch.tensor([0.5, -0.3, 9.0]), torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(generate_labels(label, distance, distance), label)
    far = generate_labels(label, torch.tensor([100.0, -100.0, 100.0]), torch.ones(3))
    assert far.abs().max() <= 3


def test_later_labels_count_more() -> None:
    labels = torch.tensor([3.0, 1.0, 2.0])
    running = labels[:1]
    for n, label in enumerate(labels[1:], start=2):
        running = average_labels(running, label[None], torch.tensor([n]))
    # Weights n of label n, divided by their sum.
    assert running.item() == pytest.approx((1 * 3 + 2 * 1 + 3 * 2) / 6)


def test_weights() -> None:
    weights = label_weights(torch.tensor([0.0, 1.0, -1.0]), torch.tensor([0.0, 0.0, 1.0]))
    torch.testing.assert_close(weights, torch.tensor([0.0, 1.0, 2.0]).tanh())


@pytest.mark.parametrize("name", ["text", "audio", "vision"])
def test_one_update_of_the_released_code(name: str) -> None:
    _, _, given, out = golden("self_mm")
    features = out[f"Feature_{name[0]}"]
    width = features.shape[1]
    own = relative_distance(features, given["center_t_pos"][:width], given["center_t_neg"][:width])
    fusion = relative_distance(out["Feature_f"], given["center_pos"], given["center_neg"])
    new = generate_labels(given["labels"], own, fusion)
    label = average_labels(given[f"label_{name[0]}"], new, torch.tensor([3]))
    torch.testing.assert_close(label, out[f"new_label_{name}"], atol=1e-5, rtol=1e-4)
