"""CLUE's mathematics: what text says directly, joined with what the whole says, and what is left without the whole.

Symbols: m logits of the multimodal network, t logits of the text branch, c the scalar that stands for "nothing but text
seen", h the fusion. The fusions are three of CausalMER's, see :func:`mer_zoo.functional.counterfactual.fuse`.

References:
    Sun, Wang, Jing, Cui, Song and Nie, "Counterfactual Reasoning for Out-of-distribution Multimodal Sentiment
    Analysis", ACM Multimedia 2022.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mer_zoo.functional.counterfactual import Fusion, fuse

__all__ = ["TextFusion", "fuse_counterfactual", "fuse_text"]

TextFusion = Literal["sum", "hm", "rubi"]

_FUSIONS: dict[TextFusion, Fusion] = {"sum": "sum", "hm": "harmonic", "rubi": "mask"}


def fuse_text(m: Tensor, t: Tensor, fusion: TextFusion = "sum") -> Tensor:
    r"""The fusion h(m, t).

    * ``sum``: :math:`\log(\sigma(m + t) + \epsilon)`
    * ``hm``: :math:`\log(z + \epsilon) - \log(1 + z)` with :math:`z = \sigma(m) \sigma(t)`
    * ``rubi``: :math:`m \, \sigma(t)`

    Args:
        m: (B, ...) logits of the multimodal network, or a scalar.
        t: (B, ...) logits of the text branch.
        fusion: Which function.

    Returns:
        (B, ...) fused scores.

    Example:
        >>> import torch
        >>> fuse_text(torch.tensor([2.0]), torch.tensor([0.0]), "rubi").item()
        1.0
    """
    return fuse([t], m, _FUSIONS[fusion])


def fuse_counterfactual(c: Tensor, t: Tensor, fusion: TextFusion = "sum") -> Tensor:
    """The counterfactual h(c, t), in which only the text is seen, and only directly.

    Args:
        c: The scalar that stands for all classes of the multimodal network.
        t: (B, ...) logits of the text branch.
        fusion: See :func:`fuse_text`.

    Returns:
        (B, ...) fused scores.

    Example:
        >>> import torch
        >>> fuse_counterfactual(torch.tensor(1.0), torch.zeros(2, 3), "rubi").unique().item()
        0.5
    """
    return fuse_text(c.expand_as(t), t, fusion)
