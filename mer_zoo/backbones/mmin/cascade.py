"""The cascade of autoencoders that imagines what all modalities would say from what some of them say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from typing_extensions import override

__all__ = ["Cascade", "CascadeRule"]

CascadeRule = Literal["residual", "paper", "first_release"]


class Cascade(nn.Module):
    """Autoencoders one after the other; what the last ones leave, and all of their codes.

    Args:
        width: Width D of the input.
        dims: Widths of an encoder, the last one that of the code.
        blocks: Number n of autoencoders.
        rule: What the next one reads: ``residual``, its predecessor's input and output together, as in MMIN; ``paper``,
            the output and the invariant features, as in IF-MMIN; ``first_release``, its predecessor's input and the
            invariant features once more, so that of all outputs the last one alone is of use and made.

    References:
        Tran, Liu, Zhou, Jin, "Missing Modalities Imputation via Cascaded Residual Autoencoder", CVPR 2017.

    Example:
        >>> imagined, latent = Cascade(6, (4, 2), blocks=3)(torch.randn(5, 6))
        >>> imagined.shape, latent.shape
        (torch.Size([5, 6]), torch.Size([5, 6]))
    """

    def __init__(self, width: int, dims: Sequence[int], blocks: int, rule: CascadeRule = "residual") -> None:
        super().__init__()
        self.rule = rule
        down = [width, *dims]
        self.encoders = nn.ModuleList(_maps(down, nn.LeakyReLU(0.01)) for _ in range(blocks))
        made = [blocks - 1] if rule == "first_release" else range(blocks)
        self.decoders = nn.ModuleDict({str(i): _maps(down[::-1], nn.ReLU()) for i in made})
        self.transition = _maps([width, width, width], nn.ReLU())
        self.latent_dim = blocks * dims[-1]

    @override
    def forward(self, x: Tensor, invariant: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is imagined (B, D) and all codes (B, latent_dim), of x and, but for ``residual``, invariant (B, D)."""
        latents = []
        given, out = x, None
        for i, encode in enumerate(self.encoders):
            if self.rule == "residual":
                given = given if out is None else given + out
            else:
                assert invariant is not None
                given = (out if self.rule == "paper" and out is not None else given) + invariant
            latents.append(encode(given))
            if str(i) in self.decoders:
                out = self.decoders[str(i)](latents[-1])
        assert out is not None
        imagined: Tensor = self.transition(out if self.rule == "paper" else given + out)
        return imagined, torch.cat(latents, 1)


def _maps(dims: Sequence[int], activation: nn.Module) -> nn.Sequential:
    """Linear maps with an activation between them, none behind the last."""

    def parts() -> Iterator[nn.Module]:
        for i, (a, b) in enumerate(pairwise(dims)):
            if i:
                yield activation
            yield nn.Linear(a, b)

    return nn.Sequential(*parts())
