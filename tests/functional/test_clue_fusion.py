"""CLUE's fusions by their definitions."""

import pytest
import torch

from mer_zoo.functional.clue import fuse_counterfactual, fuse_text


def test_definitions() -> None:
    m, t = torch.tensor([[-1.0, 0.5, 3.0]]), torch.tensor([[2.0, -0.3, 0.1]])
    z = torch.sigmoid(m) * torch.sigmoid(t)
    torch.testing.assert_close(fuse_text(m, t, "sum"), torch.sigmoid(m + t).log())
    torch.testing.assert_close(fuse_text(m, t, "hm"), z.log() - (1 + z).log())
    torch.testing.assert_close(fuse_text(m, t, "rubi"), m * torch.sigmoid(t))


@pytest.mark.parametrize("fusion", ["sum", "hm", "rubi"])
def test_the_counterfactual_has_one_number_for_every_class(fusion: str) -> None:
    c, t = torch.tensor(0.7, requires_grad=True), torch.tensor([[2.0, -0.3], [0.1, 0.1]])
    found = fuse_counterfactual(c, t, fusion)  # type: ignore[arg-type]
    torch.testing.assert_close(found, fuse_text(torch.full((2, 2), 0.7), t, fusion))  # type: ignore[arg-type]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert c.grad is not None
    assert c.grad != 0
