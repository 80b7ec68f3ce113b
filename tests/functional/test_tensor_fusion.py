import torch

from mer_zoo.functional.tensor_fusion import low_rank_fusion, tensor_fusion


def test_tensor_has_every_product_in_its_place() -> None:
    a, v, t = torch.randn(3, 4), torch.randn(3, 2), torch.randn(3, 5)
    z = tensor_fusion([a, v, t]).view(3, 5, 3, 6)
    torch.testing.assert_close(z[:, 0, 0, 0], torch.ones(3))
    torch.testing.assert_close(z[:, 1:, 0, 0], a)
    torch.testing.assert_close(z[:, 2, 1, 0], a[:, 1] * v[:, 0])
    torch.testing.assert_close(z[:, 4, 2, 5], a[:, 3] * v[:, 1] * t[:, 4])


def test_one_vector_is_left_alone_but_for_the_one() -> None:
    assert tensor_fusion([torch.tensor([[2.0, 3.0]])]).tolist() == [[1.0, 2.0, 3.0]]


def test_low_rank_fusion_is_tensor_fusion_with_weights_of_that_rank() -> None:
    vectors = [torch.randn(3, width, dtype=torch.float64) for width in (4, 2, 5)]
    factors = [torch.randn(6, width + 1, 7, dtype=torch.float64) for width in (4, 2, 5)]
    weights = torch.einsum("rio,rjo,rko->ijko", *factors).flatten(0, 2)
    expected = tensor_fusion(vectors) @ weights
    torch.testing.assert_close(low_rank_fusion(vectors, factors).sum(2), expected)
