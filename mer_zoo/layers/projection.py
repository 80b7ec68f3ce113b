"""Convolutions that bring text, audio and vision to one width, as networks begin that recover what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.convolution import TemporalConv

__all__ = ["Projections", "check_recoverable"]


class Projections(nn.ModuleDict):
    """A convolution over time for each modality, channels second behind it.

    Args:
        input_dims: Modality to width.
        dim: Width d behind.
        kernels: Steps that the convolutions of text, audio and vision see.
        text_dropout: Dropout of the text in front.
        same_length: Whether lengths stay; otherwise a convolution shortens, and there is none where the width is d.

    Example:
        >>> import torch
        >>> project = Projections(dict.fromkeys(MODALITIES, 3), 4, (3, 1, 1), same_length=False)
        >>> project(dict.fromkeys(MODALITIES, torch.randn(2, 5, 3)))["text"].shape, project.shorter("text")
        (torch.Size([2, 4, 3]), 2)
    """

    def __init__(
        self,
        input_dims: Mapping[str, int],
        dim: int,
        kernels: tuple[int, int, int],
        text_dropout: float = 0.0,
        same_length: bool = True,
    ) -> None:
        super().__init__(
            {
                name: TemporalConv(input_dims[name], dim, kernel, same_length)
                for name, kernel in zip(MODALITIES, kernels, strict=True)
                if same_length or input_dims[name] != dim
            }
        )
        self.text_dropout = text_dropout
        self._shorter = {
            name: 0 if same_length or name not in self else kernel - 1
            for name, kernel in zip(MODALITIES, kernels, strict=True)
        }

    def shorter(self, name: str) -> int:
        """By how many steps a modality gets shorter."""
        return self._shorter[name]

    @override
    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality (B, T, D) as (B, d, T')."""
        given = {**x, "text": dropout(x["text"], self.text_dropout, self.training)}
        return {name: (self[name](s) if name in self else s).transpose(1, 2) for name, s in given.items()}


def check_recoverable(owner: str, spec: DataSpec, kernels: tuple[int, int, int], shorter: bool) -> None:
    """Refuse data of fewer than three modalities, and kernels that do not fit.

    Args:
        owner: The network.
        spec: Shapes of the data.
        kernels: Steps that the convolutions of text, audio and vision see.
        shorter: Whether these shorten sequences.

    Raises:
        MERError: For either.

    Example:
        >>> check_recoverable("DiCMoR", DataSpec(), (1, 0, 1), shorter=False)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: kernels of DiCMoR is [1, 0, 1]; each is at least 1 and fits into the sequences
    """
    if len(spec.modalities) < len(MODALITIES):
        raise MERError(
            f"{owner} recovers each of text, audio and vision from the others and needs all three, but the data is used"
            f" with {', '.join(spec.modalities)}; take another network"
        )
    longest = min(spec.length(name) for name in MODALITIES) if shorter else max(kernels)
    if not 1 <= min(kernels) <= max(kernels) <= longest:
        raise MERError(f"kernels of {owner} is {list(kernels)}; each is at least 1 and fits into the sequences")
