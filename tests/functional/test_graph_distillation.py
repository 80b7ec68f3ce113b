import torch
import torch.nn.functional as F

from mer_zoo.functional.graph_distillation import contrast_along, distil_along, edge_deviation, edge_prior

EDGES = [("a", "b"), ("b", "a")]


def test_prior_lifts_what_is_favoured_and_ignores_what_is_not_there() -> None:
    prior = edge_prior(EDGES, [("b", "a"), ("c", "a")])
    torch.testing.assert_close(prior, torch.tensor([0.0, 4.0]).softmax(0))
    torch.testing.assert_close(edge_prior(EDGES, []), torch.tensor([0.5, 0.5]))


def test_teachers_get_no_gradient() -> None:
    for loss in (distil_along, contrast_along):
        students, teachers = (torch.randn(3, 2, 4, requires_grad=True) for _ in range(2))
        weights = torch.rand(3, 2, requires_grad=True)
        torch.autograd.backward(loss(students, teachers, weights))
        assert teachers.grad is None
        assert all(x.grad is not None and x.grad.any() for x in (students, weights))


def test_distillation_is_a_sum_over_edges_of_batch_means() -> None:
    torch.manual_seed(0)
    students, teachers, weights = torch.randn(5, 2, 3), torch.randn(5, 2, 3), torch.rand(5, 2)
    distilled = sum(((students[:, e] - teachers[:, e]).abs().sum(1) * weights[:, e]).mean() for e in range(2))
    torch.testing.assert_close(distil_along(students, teachers, weights), torch.as_tensor(distilled))
    apart = -torch.ones(5)
    contrasted = sum(
        F.cosine_embedding_loss(students[:, e], teachers[:, e], apart) * weights[:, e].mean() for e in range(2)
    )
    torch.testing.assert_close(contrast_along(students, teachers, weights), torch.as_tensor(contrasted))


def test_deviation_is_of_the_batch_mean() -> None:
    strengths = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert edge_deviation(strengths, torch.tensor([0.5, 0.5])).item() == 0


def test_differences_of_half_precision_are_not_rounded() -> None:
    students, teachers = torch.full((1, 1, 3), 1.0), torch.full((1, 1, 3), 0.0035)
    students, teachers = students.bfloat16(), teachers.bfloat16()
    exact = distil_along(students.float(), teachers.float(), torch.ones(1, 1))
    found = distil_along(students, teachers, torch.ones(1, 1))
    torch.testing.assert_close(found, exact)
