"""Prompts of MPLMM: they stand in for missing modalities, tell which are missing, and go along as tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES
from mer_zoo.options import check_choice

__all__ = ["MissingPrompts", "PointwiseGELU", "PromptInit"]

PromptInit = Literal["released", "normal"]


class PointwiseGELU(nn.Conv1d):
    """G(x) = GELU(W x + b) of each step, as a convolution with kernel 1.

    Args:
        input_dim: Width of the input.
        dim: Width of the output.

    Example:
        >>> PointwiseGELU(3, 4)(torch.randn(2, 5, 3)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__(input_dim, dim, 1)

    @override
    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(F.linear(input, self.weight.squeeze(2), self.bias))


class MissingPrompts(nn.Module):
    """Completes missing modalities from the others, and says which are missing.

    A missing modality is made of its generative prompt and the translated sequences of those that are there, one after
    the other in time, mapped to its own number of steps: each of the sets that can be there has a map of its own. What
    is missing is told by a signal for each step, added to the sequence, and by the type tokens, whose matrix is the sum
    of all signals, each times a mixing matrix.

    Args:
        dims: Width of each modality.
        lengths: Steps T of each modality.
        dim: Width p of the prompts.
        prompt_length: Steps P of a generative prompt, and number of type tokens of a modality.
        init: "normal": all prompts start random. "released": all start at zero; the type prompts and the mixing
            matrices then are factors of a product whose gradients are zero, and never move.

    Raises:
        MERError: For an unknown start.

    References:
        Guo, Jin, Zhao, "Multimodal Prompt Learning with Missing Modalities for Sentiment Analysis and Emotion
        Recognition", ACL 2024.

    Example:
        >>> prompts = MissingPrompts({"text": 3, "audio": 4, "vision": 5}, {"text": 2, "audio": 6, "vision": 7}, 8, 4)
        >>> x = {"text": torch.randn(1, 2, 3), "audio": torch.randn(1, 6, 4), "vision": torch.zeros(1, 7, 5)}
        >>> missing = torch.tensor([[False, False, True]])
        >>> prompts.complete(x, missing)["vision"].shape, prompts.tokens(prompts.type_matrix(missing)).shape
        (torch.Size([1, 7, 8]), torch.Size([3, 1, 4, 16]))
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        lengths: Mapping[str, int],
        dim: int,
        prompt_length: int,
        init: PromptInit = "normal",
    ) -> None:
        super().__init__()
        check_choice("MPLMM", "prompt_init", init, get_args(PromptInit))
        self.generative = nn.Parameter(torch.zeros(len(MODALITIES), dim, prompt_length))
        self.kind = nn.Parameter(torch.zeros(len(MODALITIES), prompt_length, dim))
        self.missing = nn.ParameterDict({name: torch.zeros(dim, lengths[name]) for name in MODALITIES})
        self.present = nn.ParameterDict({name: torch.zeros(dim, lengths[name]) for name in MODALITIES})
        self.mixing = nn.ParameterDict({name: torch.zeros(lengths[name], 2 * dim) for name in MODALITIES})
        self.translate, self.lengthen = nn.ModuleDict(), nn.ModuleDict()
        for name in MODALITIES:
            for other in _others(name):
                self.translate[f"{other}_to_{name}"] = PointwiseGELU(dims[other], dim)
            for sources in _sources(name):
                steps = prompt_length + sum(lengths[source] for source in sources)
                self.lengthen[_map_name(name, sources)] = PointwiseGELU(steps, lengths[name])
        if init == "normal":
            self._randomise()

    def _randomise(self) -> None:
        """Small prompts, and factors that leave a product as large as its other factor."""
        for prompt in (self.generative, *self.missing.values(), *self.present.values()):
            nn.init.normal_(prompt, std=0.02)
        for name in MODALITIES:
            nn.init.normal_(self.mixing[name], std=len(self.mixing[name]) ** -0.5)
        nn.init.normal_(self.kind, std=self.kind.shape[2] ** -0.5)

    def complete(self, x: Mapping[str, Tensor], missing: Tensor) -> dict[str, Tensor]:
        """Make each modality of the others that are there.

        All maps take part for every sample, and the right one is taken: every parameter then has a gradient in every
        batch.

        Args:
            x: Modality to (B, T, d) input; that of a missing modality is not used.
            missing: (B, 3) bool; at least one modality of each sample is there.

        Returns:
            Modality to (B, T, p); only where it is missing is it of use.
        """
        made = {}
        for i, name in enumerate(MODALITIES):
            prompt = self.generative[i].T.expand(len(missing), -1, -1)
            parts = {other: self.translate[f"{other}_to_{name}"](x[other]) for other in _others(name)}
            candidates = [self._lengthen(name, sources, prompt, parts) for sources in _sources(name)]
            first_gone, second_gone = (_column(missing, other) for other in _others(name))
            both, first, second = candidates
            made[name] = torch.where(second_gone, first, torch.where(first_gone, second, both))
        return made

    def signals(self, missing: Tensor) -> dict[str, Tensor]:
        """Modality to (B, T, p), what is added to tell whether a sequence is missing; ``missing`` is (B, 3) bool."""
        return {
            name: torch.where(_column(missing, name), self.missing[name].T, self.present[name].T) for name in MODALITIES
        }

    def type_matrix(self, missing: Tensor) -> Tensor:
        """Sum of all modalities' signals, each times its mixing matrix: (B, p, 2p) from (B, 3) bool."""
        return torch.stack(
            [
                torch.where(
                    _column(missing, name),
                    self.missing[name] @ self.mixing[name],
                    self.present[name] @ self.mixing[name],
                )
                for name in MODALITIES
            ]
        ).sum(0)

    def tokens(self, matrix: Tensor) -> Tensor:
        """Type tokens of each modality, (3, B, P, 2p), from the matrix (B, p, 2p)."""
        return self.kind[:, None] @ matrix

    def _lengthen(self, name: str, sources: Sequence[str], prompt: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """Prompt and sources, one after the other in time, mapped over time: (B, T, p)."""
        whole = torch.cat([prompt, *(parts[source] for source in sources)], 1)
        mapped: Tensor = self.lengthen[_map_name(name, sources)](whole.transpose(1, 2))
        return mapped.transpose(1, 2)


def _others(name: str) -> list[str]:
    return [other for other in MODALITIES if other != name]


def _sources(name: str) -> list[list[str]]:
    """The sets that a modality can be made of: both others, the first, the second."""
    first, second = _others(name)
    return [[first, second], [first], [second]]


def _map_name(name: str, sources: Sequence[str]) -> str:
    return f"{name}_from_{'_'.join(sources)}"


def _column(missing: Tensor, name: str) -> Tensor:
    return missing[:, MODALITIES.index(name), None, None]
