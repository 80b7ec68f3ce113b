"""The parameters that belong to one modality alone, for wrappers that change their gradients."""

from __future__ import annotations

from collections.abc import Mapping

from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.training.owners import owners, shares_of

__all__ = ["check_several", "few_own", "own_parameters", "shares_told"]

FEW = 0.05
"""Share of the parameters below which a method that acts on modalities' own ones has little to act on."""


def check_several(owner: str, inner: Model) -> None:
    """Refuse data of one modality, and models that take several optimiser steps a batch.

    Raises:
        MERError: Naming both.
    """
    if len(inner.spec.modalities) < 2:
        raise MERError(
            f"{owner} weighs modalities against each other, and {inner.name} has one alone; leave {owner} out"
        )
    if inner.num_steps > 1:
        raise MERError(
            f"{owner} changes the gradient of one step a batch, but {inner.name} takes {inner.num_steps}; leave one of"
            " them out"
        )


def own_parameters(owner: str, model: Model, matrices: bool = False) -> tuple[dict[str, str], dict[str, float]]:
    """Find whose the parameters of the network in a nest are.

    Args:
        owner: The wrapper, for messages.
        model: The nest.
        matrices: Only those of two dimensions and more, and of these not the embeddings.

    Returns:
        Names of parameters with the one modality that they belong to, and the shares of all parameters by owner.

    Raises:
        MERError: If no modality has any.
    """
    network = model.nest[-1]
    found = owners(network)
    shares = shares_of(network, found)
    own = {name: modality for name, modality in found.items() if modality in network.spec.modalities}
    if matrices:
        embeddings = {id(part.weight) for part in network.modules() if isinstance(part, nn.Embedding)}
        wanted = {n for n, p in network.named_parameters() if p.dim() > 1 and id(p) not in embeddings}
        own = {name: modality for name, modality in own.items() if name in wanted}
    if not own:
        raise MERError(
            f"{owner} acts on the parameters of single modalities, of which {network.name} has none"
            f" ({shares_told(shares)}); choose a network that fuses late, such as LFLSTM, or AGM"
        )
    if few_own(network, shares):
        rank_zero_warn(few_told(owner, network, shares))
    return own, shares


def few_own(network: Model, shares: Mapping[str, float]) -> bool:
    """Whether all modalities together have few parameters of their own."""
    return sum(shares[modality] for modality in network.spec.modalities) < FEW


def few_told(owner: str, network: Model, shares: Mapping[str, float]) -> str:
    """A sentence on it."""
    return (
        f"{owner} has little to act on: few parameters of {network.name} belong to one modality ({shares_told(shares)})"
    )


def shares_told(shares: Mapping[str, float]) -> str:
    """The shares in words.

    Example:
        >>> shares_told({"text": 0.25, "fusion": 0.7499, "not in the logits": 0.0001})
        'text 25.0 %, fusion 75.0 %'
    """
    return ", ".join(f"{owner} {100 * share:.1f} %" for owner, share in shares.items() if share >= 5e-4)
