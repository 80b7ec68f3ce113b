import torch

from mer_zoo.backbones.emtdlfr.simsiam import SimSiam


def test_projections_are_normalised_over_the_batch() -> None:
    torch.manual_seed(0)
    simsiam = SimSiam(6, 3)
    z, p = simsiam(torch.randn(50, 6))
    torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(0, unbiased=False), torch.ones(6), atol=1e-3, rtol=0)
    assert "project_norm.weight" not in dict(simsiam.named_parameters())
    assert p.shape == (50, 6)


def test_one_sample_in_training() -> None:
    z, p = SimSiam(6, 3)(torch.randn(1, 6))
    assert z.isfinite().all()
    assert p.isfinite().all()
