"""How DiCMoR makes a missing modality of the others, and how wrong that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.dicmor.flow import ClassPriors, Flow, FlowKind
from mer_zoo.batch import MODALITIES, Modality
from mer_zoo.distributed import global_count, global_sum
from mer_zoo.functional.precision import widen
from mer_zoo.layers.channel_attention import Refinement

__all__ = ["Recovered", "Recovery", "projected_targets", "recovery_error"]

_ORDER = ("text", "vision", "audio")  # of two guesses that are joined


class Recovered(NamedTuple):
    """What was recovered.

    Args:
        sequences: Modality to (B, d, T'), what its sequence is recovered as, of use where it is missing.
        missing: (B, 3) bool, which modalities are missing.
        complete: Modality to (B, d, T') of the complete batch; None outside of training.
    """

    sequences: dict[str, Tensor]
    missing: Tensor
    complete: dict[str, Tensor] | None = None


class Recovery(nn.Module):
    """Flows of the modalities and their class distributions, and what makes sequences of their guesses.

    Args:
        dim: Width d, even, at least 8.
        classes: Number of class distributions.
        flow_steps: Couplings of a flow.
        flow_dim: Width of the networks inside.
        kind: Of the flows.
        depth: Blocks of a refinement.

    Example:
        >>> recovery = Recovery(8, 3, flow_steps=1, flow_dim=4, kind="glow", depth=1)
        >>> p = dict.fromkeys(MODALITIES, torch.randn(2, 8, 5))
        >>> recovered = recovery(p, dict.fromkeys(MODALITIES, torch.tensor([False, False])))
        >>> recovered["audio"].shape, recovery.unlikeliness(p, torch.tensor([0, 2])).shape
        (torch.Size([2, 8, 5]), torch.Size([]))
    """

    def __init__(self, dim: int, classes: int, flow_steps: int, flow_dim: int, kind: FlowKind, depth: int) -> None:
        super().__init__()
        self.flows = nn.ModuleDict({name: Flow(dim, flow_steps, flow_dim, kind) for name in MODALITIES})
        self.priors = ClassPriors(classes, dim)
        self.join = nn.ModuleDict({name: nn.Conv1d(2 * dim, dim, 1) for name in MODALITIES})
        self.refine = nn.ModuleDict({name: Refinement(dim, depth) for name in MODALITIES})

    @override
    def forward(self, p: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What each modality (B, d, T') is by what the others say, zero where it is not missing.

        Args:
            p: Modality to (B, d, T').
            missing: Modality to (B,) bool.
        """
        with torch.no_grad():
            z = self._latent(p, missing)
            guesses = {name: self._guesses(name, z, missing) for name in p}
        recovered = {}
        for name, pair in guesses.items():
            rows = missing[name]
            first, second = (~missing[other][rows, None, None] for other in pair)
            one, two = (guess[rows] for guess in pair.values())
            joined = self.join[name](torch.cat([one, two], 1))
            rough = torch.where(first & second, joined, torch.where(first, one, two))
            recovered[name] = _scattered(self.refine[name](rough), rows)
        return recovered

    def _latent(self, p: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Latent sequences (B, d, T') of what is there where something is missing, zero elsewhere."""
        some = torch.stack(list(missing.values())).any(0)
        rows = {name: some & ~missing[name] for name in p}
        return {name: _scattered(self.flows[name](x[rows[name]])[0], rows[name]) for name, x in p.items()}

    def _guesses(self, name: str, z: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Latent sequences of the other two, led back by the flow of this one, at its length; zero where of no use."""
        rows = {other: missing[name] & ~missing[other] for other in _ORDER if other != name}
        length = z[name].shape[2]
        latent = [F.adaptive_avg_pool1d(z[other][chosen], length) for other, chosen in rows.items()]
        flow = self.flows[name]
        assert isinstance(flow, Flow)
        back, first = flow.inverse(torch.cat(latent)), len(latent[0])
        return {
            other: _scattered(guess, rows[other])
            for other, guess in zip(rows, (back[:first], back[first:]), strict=True)
        }

    def unlikeliness(self, complete: Mapping[str, Tensor], classes: Tensor) -> Tensor:
        """Sum over modalities of the negative log-likelihood in bits for each number, at least 0.

        Args:
            complete: Modality to (B, d, T').
            classes: (B,) of the samples.
        """
        return torch.stack([self._unlikeliness(name, p, classes) for name, p in complete.items()]).sum()

    def _unlikeliness(self, name: str, p: Tensor, classes: Tensor) -> Tensor:
        z, logdet = self.flows[name](p)
        total = global_sum((self.priors(z, classes) + logdet).sum())
        count = global_count(len(p), p.device)
        return (-total / (math.log(2) * p[0].numel() * count)).clamp(min=0)


def _scattered(x: Tensor, rows: Tensor) -> Tensor:
    """Samples x at their rows (B,) bool of a batch, zero at the others."""
    batch = x.new_zeros(len(rows), *x.shape[1:])
    batch[rows] = x
    return batch


def projected_targets(project: nn.Module, given: Mapping[str, Modality]) -> dict[str, Tensor]:
    """What a recovery is to find, modality to (B, d, T'): projected sequences of complete samples, without gradient.

    Args:
        project: Maps sequences (B, T, D) by modality to such (B, d, T').
        given: Sequences of the complete batch.

    Example:
        >>> from mer_zoo.layers.projection import Projections
        >>> one = Modality(torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool))
        >>> project = Projections(dict.fromkeys(MODALITIES, 3), 4, (3, 1, 1))
        >>> projected_targets(project, dict.fromkeys(MODALITIES, one))["audio"].shape
        torch.Size([2, 4, 5])
    """
    projected = project({name: modality.x for name, modality in given.items()})
    return {name: sequence.detach() for name, sequence in projected.items()}


def recovery_error(recovered: Recovered) -> Tensor:
    """Squared error of what was recovered.

    Args:
        recovered: With the complete sequences.

    Returns:
        (B,), the mean over the missing modalities; 0 where nothing is missing.

    Example:
        >>> sequences, complete = {"audio": torch.ones(2, 1, 3)}, {"audio": torch.zeros(2, 1, 3)}
        >>> recovery_error(Recovered(sequences, torch.tensor([[True], [False]]), complete)).tolist()
        [1.0, 0.0]
    """
    assert recovered.complete is not None
    if not recovered.sequences:
        return torch.zeros(len(recovered.missing), device=recovered.missing.device)
    pairs = [(widen(recovered.sequences[name]), widen(x)) for name, x in recovered.complete.items()]
    errors = torch.stack([(ours - theirs).square().mean((1, 2)) for ours, theirs in pairs], 1)
    missing = recovered.missing
    return (errors * missing).sum(1) / missing.sum(1).clamp(min=1)
