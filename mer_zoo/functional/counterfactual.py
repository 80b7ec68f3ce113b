"""CausalMER's mathematics: fusions of branch logits, causal effects, and the divergences that train the constants.

Symbols: ``y[m]`` logits of the branch of modality m, ``y_m`` logits of the multimodal branch, ``c[m]`` the scalar that
stands for "modality m not seen", ``m*`` the sum of these scalars, which stands for "nothing fused". The paper has three
modalities; all functions take any number of them.

References:
    Kim, Hong and Choi, "Causal Inference for Modality Debiasing in Multimodal Emotion Recognition", Applied Sciences
    14(23):11397, 2024. Equation numbers are the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.functional.variants import Variant

__all__ = [
    "Effects",
    "Fusion",
    "balance_divergence",
    "direct_divergence",
    "divergence",
    "effects",
    "fuse",
    "soft_cross_entropy",
    "total_direct_effect",
    "total_indirect_effect",
]

Fusion = Literal["mask", "sum", "harmonic", "tanh"]

_LOG_EPS = math.log(1e-12)
_PAIRS = (("text", "audio"), ("audio", "vision"), ("vision", "text"))


def fuse(y: Sequence[Tensor], y_m: Tensor, fusion: Fusion = "mask") -> Tensor:
    r"""The fusion function h (Eqs. 14-17).

    * ``mask``: :math:`y_m \, \sigma(\sum_k y_k)`
    * ``sum``: :math:`\log(\sigma(y_m + \sum_k y_k) + \epsilon)`
    * ``harmonic``: :math:`\log(H + \epsilon) - \log(1 + H)` with :math:`H = \sigma(y_m) \prod_k \sigma(y_k)`
    * ``tanh``: :math:`y_m + \sum_k \tanh(y_k)`

    with :math:`\epsilon = 10^{-12}`. The logarithms are never taken of a product that has underflowed. ``tanh``, the
    paper's SUM-tanh, leaves :math:`TIE = y_m - m^*` exactly, without branches and constants; ``harmonic``, its HM,
    saturates at :math:`\log \frac{1}{2}`.

    Args:
        y: Logits of the unimodal branches, each (B, ...) or a scalar.
        y_m: Logits of the multimodal branch, (B, ...) or a scalar.
        fusion: Which function.

    Returns:
        Fused logits, (B, ...), or a scalar if all arguments are.

    Raises:
        MERError: For an unknown fusion.

    Example:
        >>> y = torch.tensor([0.0, 1000.0])
        >>> fuse([y, y, y], torch.tensor([3.0, 3.0]), "mask").tolist()
        [1.5, 3.0]
    """
    if fusion == "mask":
        return y_m * torch.sigmoid(_sum(y))
    if fusion == "sum":
        return _log_plus_eps(F.logsigmoid(_sum([*y, y_m])))
    if fusion == "harmonic":
        log_h = _sum([F.logsigmoid(z) for z in [*y, y_m]])
        return _log_plus_eps(log_h) - F.softplus(log_h)
    if fusion == "tanh":
        return y_m + _sum([torch.tanh(z) for z in y])
    raise MERError(f"unknown fusion {fusion!r}; choose mask, sum, harmonic or tanh")


@dataclass(frozen=True)
class Effects:
    """Causal effects of the modalities on the logits, each (B, ...).

    Args:
        factual: h of what was seen.
        te: Total effect.
        nde: Natural direct effect of each modality.
    """

    factual: Tensor
    te: Tensor
    nde: dict[str, Tensor]


def effects(
    y: Mapping[str, Tensor],
    y_m: Tensor,
    c: Mapping[str, Tensor],
    fusion: Fusion = "mask",
    variant: Variant = "paper",
) -> Effects:
    """Total effect and natural direct effects (Eqs. 6-11 and 13).

    TE = h(y, y_m) - h(c, m*) compares everything seen with nothing seen; NDE_k = h(y_k, c elsewhere, m*) - h(c, m*)
    lets only modality k be seen, and only directly.

    Args:
        y: (B, ...) logits of each modality's branch.
        y_m: (B, ...) logits of the multimodal branch.
        c: Scalar of each modality.
        fusion: See :func:`fuse`.
        variant: ``paper``, or ``released``: there m* stands in every place of h(c, m*), and c_k in every blocked place
            of NDE_k.

    Returns:
        The effects, of the modalities in ``y``.

    Example:
        >>> y = {"text": torch.tensor([[2.0, -2.0]]), "audio": torch.zeros(1, 2)}
        >>> c = {"text": torch.tensor(0.5), "audio": torch.tensor(-0.5)}
        >>> found = effects(y, torch.tensor([[1.0, 0.0]]), c, fusion="tanh")
        >>> torch.allclose(found.te, found.factual), found.nde["audio"].tolist()
        (True, [[0.46..., 0.46...]])
    """
    m_star = _sum([c[k] for k in y])
    factual = fuse(list(y.values()), y_m, fusion)
    if variant == "paper":
        nothing = fuse([c[k] for k in y], m_star, fusion)
        only = {k: fuse([y[j] if j == k else c[j] for j in y], m_star, fusion) for k in y}
    else:
        nothing = fuse([m_star for _ in y], m_star, fusion)
        only = {k: fuse([y[j] if j == k else c[k] for j in y], c[k], fusion) for k in y}
    return Effects(
        factual=factual,
        te=factual - nothing,
        nde={k: only[k] - nothing for k in y},
    )


def total_direct_effect(nde: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    r"""The modality bias :math:`NDE = \sum_k w_k NDE_k` (Eqs. 6-11; the weights are those of the paper's Table 6).

    Args:
        nde: (B, ...) natural direct effect of each modality.
        weights: Weight of each modality; 0 switches its effect off.

    Returns:
        (B, ...) effects.

    Example:
        >>> total_direct_effect({"text": torch.ones(1), "audio": torch.ones(1)}, {"text": 1.0, "audio": 0.0}).item()
        1.0
    """
    return _sum([weights[k] * nde[k] for k in nde])


def total_indirect_effect(te: Tensor, nde: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The debiased prediction TIE = TE - NDE (Eqs. 6-11 and 22).

    Args:
        te: (B, ...) total effect.
        nde: (B, ...) natural direct effect of each modality.
        weights: See :func:`total_direct_effect`.

    Returns:
        (B, ...) scores.

    Example:
        >>> total_indirect_effect(torch.tensor([3.0]), {"text": torch.tensor([1.0])}, {"text": 1.0}).item()
        2.0
    """
    return te - total_direct_effect(nde, weights)


def divergence(p: Tensor, q: Tensor, variant: Variant = "paper") -> Tensor:
    r"""How far the class distribution of ``q`` is from that of ``p``.

    ``paper``: :math:`KL(P, Q) = \sum_i P_i (\log P_i - \log Q_i)` over the last axis, averaged over the axes between
    batch and classes. ``released``: the cross-entropy :math:`-\sum_i P_i \log Q_i` of one distribution over all outputs
    of a sample.

    Args:
        p: (B, ..., C) scores, P = softmax(p).
        q: (B, ..., C) scores, Q = softmax(q).
        variant: Which of the two.

    Returns:
        (B,) divergences.

    Example:
        >>> p = torch.tensor([[0.0, 0.0]])
        >>> divergence(p, p).item(), divergence(p, p, "released").item()
        (0.0, 0.693...)
    """
    if variant == "released":
        return soft_cross_entropy(p.flatten(1), q.flatten(1))
    kl = (p.softmax(-1) * (p.log_softmax(-1) - q.log_softmax(-1))).sum(-1)
    return kl.reshape(len(kl), -1).mean(1)


def soft_cross_entropy(p: Tensor, q: Tensor) -> Tensor:
    r"""Cross-entropy :math:`-\sum_i P_i \log Q_i` over the last axis, averaged over the axes between batch and classes.

    Args:
        p: (B, ..., C) scores, P = softmax(p).
        q: (B, ..., C) scores, Q = softmax(q).

    Returns:
        (B,) cross-entropies.

    Example:
        >>> soft_cross_entropy(torch.zeros(1, 4, 2), torch.zeros(1, 4, 2)).item()
        0.693...
    """
    entropy = -(p.softmax(-1) * q.log_softmax(-1)).sum(-1)
    return entropy.reshape(len(entropy), -1).mean(1)


def direct_divergence(
    te: Tensor, nde: Mapping[str, Tensor], weights: Mapping[str, float], variant: Variant = "paper"
) -> Tensor:
    """L_kl = KL(TE, NDE) of each sample (Eqs. 18-21), which lets NDE take up the modality bias.

    Args:
        te: (B, ...) total effect.
        nde: (B, ...) natural direct effect of each modality.
        weights: See :func:`total_direct_effect`.
        variant: See :func:`divergence`.

    Returns:
        (B,) divergences.

    Example:
        >>> te = torch.tensor([[1.0, 0.0]])
        >>> direct_divergence(te, {"text": te}, {"text": 1.0}).item()
        0.0
    """
    return divergence(te, total_direct_effect(nde, weights), variant)


def balance_divergence(
    te: Tensor, nde: Mapping[str, Tensor], weights: Mapping[str, float], variant: Variant = "paper"
) -> Tensor:
    r"""L_bal of each sample (Eqs. 18-21), which keeps the modalities' direct effects alike and none of them ahead.

    The sum of :math:`KL(NDE_j, NDE_k)` over (t, a), (a, v), (v, t), divided by 3 in the released code, and of
    :math:`KL(TE, NDE_k)` over the modalities k.

    Args:
        te: (B, ...) total effect.
        nde: (B, ...) natural direct effect of each modality, named text, audio, vision.
        weights: Terms of a modality of weight 0 drop out; otherwise the weight does not matter here.
        variant: See :func:`divergence`.

    Returns:
        (B,) divergences; zero if every modality is switched off.

    Example:
        >>> te = torch.tensor([[1.0, 0.0]])
        >>> nde = {"text": torch.zeros(1, 2), "audio": te}
        >>> balance_divergence(te, nde, {"text": 0.0, "audio": 1.0}).item()
        0.0
    """
    on = [k for k in nde if weights[k] != 0]
    between = [divergence(nde[j], nde[k], variant) for j, k in _PAIRS if j in on and k in on]
    overall = [divergence(te, nde[k], variant) for k in on]
    share = 1 / 3 if variant == "released" else 1.0
    return _sum([te.new_zeros(len(te)), *[share * term for term in between], *overall])


def _sum(terms: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _log_plus_eps(log_p: Tensor) -> Tensor:
    """log(p + eps) of log p."""
    return torch.logaddexp(log_p, torch.full_like(log_p, _LOG_EPS))
