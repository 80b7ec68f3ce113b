import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.functional.disentanglement import cosine_orthogonality, margin_loss, positive_cosine, squared_difference


def margin_by_loops(x: Tensor, labels: Tensor, margin: float) -> Tensor:
    """The definition, pair by pair."""

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b) / (a.square().sum() + 1e-8).sqrt() / (b.square().sum() + 1e-8).sqrt()

    rows = []
    for i in range(len(x)):
        positives = [j for j in range(len(x)) if j != i and torch.equal(labels[j], labels[i])]
        negatives = [j for j in range(len(x)) if not torch.equal(labels[j], labels[i])]
        pairs = [
            F.relu(margin * (labels[i] - labels[n]).abs().sum() - cosine(x[i], x[p]) + cosine(x[i], x[n]))
            for p in positives
            for n in negatives
        ]
        rows += [torch.stack(pairs).mean()] if pairs else []
    return torch.stack(rows).mean()


LABELS = {
    "some lack a positive": torch.tensor([0.8, -1.2, 0.8, 2.0, 0.8, -1.2, 0.0], dtype=torch.float64),
    "classes": torch.tensor([0, 1, 1, 2, 0, 2, 2]),
    "emotions": torch.tensor([[0, 1], [0, 1], [1, 1], [1, 1], [0, 0], [0, 1], [0, 0]]),
}


@pytest.mark.parametrize("margin", [0.15, 1.0])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_margin_is_its_definition(labels: Tensor, margin: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5, requires_grad=True)
    found, expected = margin_loss(x, labels, margin), margin_by_loops(x, labels.float(), margin)
    torch.testing.assert_close(found, expected)
    assert found > 0
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(expected, x))


def test_margin_of_rows_that_lack_a_partner_has_a_zero_gradient() -> None:
    for labels in (torch.ones(3), torch.arange(3.0)):
        x = torch.randn(3, 4, requires_grad=True)
        loss = margin_loss(x, labels)
        assert loss.item() == 0
        assert not torch.autograd.grad(loss, x)[0].any()


def test_margin_of_vectors_of_zeros_is_finite() -> None:
    x = torch.zeros(4, 3, requires_grad=True)
    loss = margin_loss(x, torch.tensor([1.0, 1.0, 0.0, 0.0]))
    assert loss.item() == pytest.approx(0.15)
    assert torch.autograd.grad(loss, x)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_margin_under_autocast(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(60, 8), torch.arange(60) % 4
    exact = margin_loss(x.to(dtype).float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = margin_loss(x.to(dtype), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact)


def test_double_precision_stays() -> None:
    x = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    y, labels = torch.randn(6, 4, dtype=torch.float64), torch.arange(6) % 2
    for loss, other in ((margin_loss, labels), (cosine_orthogonality, y)):
        assert loss(x, other).dtype == torch.float64
        assert torch.autograd.gradcheck(loss, (x, other))


def test_orthogonality_is_the_embedding_loss_of_torch() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(20, 6), torch.randn(20, 6)
    expected = F.cosine_embedding_loss(x, y, -torch.ones(20))
    torch.testing.assert_close(cosine_orthogonality(x, y), expected)
    torch.testing.assert_close(cosine_orthogonality(x.T, y.T, dim=0), expected)
    torch.testing.assert_close(positive_cosine(x, y).mean(), expected)


def test_zeros_are_orthogonal_and_get_no_gradient() -> None:
    x, y = (torch.zeros(2, 3, requires_grad=True) for _ in range(2))
    loss = cosine_orthogonality(x, y)
    assert loss.item() == 0
    assert all(not gradient.any() for gradient in torch.autograd.grad(loss, (x, y)))


def test_squared_difference_weighs_names_alike() -> None:
    x = {"long": torch.ones(100), "short": torch.zeros(2)}
    y = {"long": torch.zeros(100), "short": torch.full((2,), 2.0)}
    assert squared_difference(x, y).item() == 5
