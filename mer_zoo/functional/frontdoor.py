"""MulDeF's mathematics: the front-door adjustment over what stands between inputs and label.

Symbols: the mediator Z has K rows of width d, made of the joint representation; keys are made of its rows, the query of
the inputs. What is predicted is read from z, the rows' mean by attention.

References:
    Huan, Zhong, Chen and Liang, "MulDeF: A Model-Agnostic Debiasing Framework for Robust Multimodal Sentiment
    Analysis", IEEE Transactions on Multimedia, 2024.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["mediated"]


def mediated(rows: Tensor, keys: Tensor, query: Tensor) -> Tensor:
    r"""The mediator's rows, averaged by how well each goes with the inputs.

    .. math:: z = \sum_k \frac{\exp(h^{-1/2} q \cdot k_k)}{\sum_j \exp(h^{-1/2} q \cdot k_j)} Z_k

    Args:
        rows: (B, K, d) the mediator Z.
        keys: (B, K, h) one of each row.
        query: (B, h) of the inputs.

    Returns:
        (B, d) z.

    Example:
        >>> import torch
        >>> rows = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> mediated(rows, torch.tensor([[[5.0], [5.0]]]), torch.ones(1, 1)).tolist()
        [[0.5, 0.5]]
    """
    scores = (keys @ query[..., None]).squeeze(-1) * keys.shape[-1] ** -0.5
    mean: Tensor = scores.softmax(-1)[:, None] @ rows
    return mean.squeeze(1)
