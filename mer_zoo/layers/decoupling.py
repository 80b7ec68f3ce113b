"""What the decoupling networks DMD and DLF share: projections, private and shared encoders, residual heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.functional.disentanglement import margin_loss, squared_difference
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.sequence import check_lengths
from mer_zoo.layers.transformer import TransformerEncoder

__all__ = [
    "Decoupled",
    "Decoupling",
    "Prediction",
    "PredictionHead",
    "SharedFusion",
    "ShrinkingProjection",
    "in_order",
    "read_end",
]

ORDER = ("text", "vision", "audio")  # in which the released codes concatenate


def in_order(modalities: Sequence[str]) -> list[str]:
    """The modalities in the order in which the released codes concatenate them.

    Example:
        >>> in_order(["text", "audio", "vision"])
        ['text', 'vision', 'audio']
    """
    return [name for name in ORDER if name in modalities]


class ShrinkingProjection(nn.Module):
    """Convolutions without padding, so that T steps become T - kernel + 1; one of an equal width is left as it is.

    Args:
        owner: The network, for messages.
        spec: Shapes of the data.
        input_dims: Width of each modality in use.
        dim: Width of the output.
        kernels: Steps that the convolutions of text, audio and vision see.
        text_dropout: Dropout of the text that comes in.

    Attributes:
        lengths: Steps of each output sequence.

    Raises:
        MERError: If a kernel is longer than its sequence or below 1; when called, if sequences have not the lengths of
            the spec.

    Example:
        >>> spec = DataSpec(audio_dim=8)
        >>> project = ShrinkingProjection("DMD", spec, {"text": 6, "audio": 8}, 8, (3, 3, 3))
        >>> project.lengths
        {'text': 4, 'audio': 8}
        >>> project({"text": torch.ones(1, 6, 6), "audio": torch.ones(1, 8, 8)})["text"].shape
        torch.Size([1, 4, 8])
    """

    def __init__(
        self,
        owner: str,
        spec: DataSpec,
        input_dims: Mapping[str, int],
        dim: int,
        kernels: Sequence[int],
        text_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.owner, self.text_dropout = owner, text_dropout
        self.given = {name: spec.length(name) for name in input_dims}
        sizes = dict(zip(MODALITIES, kernels, strict=True))
        for name in input_dims:
            if not 1 <= sizes[name] <= spec.length(name):
                steps = f"between 1 and the {spec.length(name)} steps of the data"
                raise MERError(f"the {name} kernel is {sizes[name]}, but must lie {steps}")
        self.convs = nn.ModuleDict(
            {
                n: TemporalConv(width, dim, sizes[n], same_length=False)
                for n, width in input_dims.items()
                if width != dim
            }
        )
        self.lengths = {n: spec.length(n) - (sizes[n] - 1 if n in self.convs else 0) for n in input_dims}

    @override
    def forward(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Map (B, T_m, D_m) of each modality to (B, T'_m, d)."""
        check_lengths(self.owner, x, self.given)
        given = {name: dropout(x[name], self.text_dropout if name == "text" else 0.0, self.training) for name in x}
        return {name: self.convs[name](given[name]) if name in self.convs else given[name] for name in given}


class Decoupled(NamedTuple):
    """Sequences (B, T_m, d) of each modality: what it has of its own and what it shares with the others."""

    private: dict[str, Tensor]
    shared: dict[str, Tensor]


class Decoupling(nn.Module):
    """Splits each sequence by a private encoder a modality and one shared encoder, and charges for a bad split.

    A decoder restores the sequence from both parts; what the private encoder makes of the restored one should be what
    it made of the first. Flattened shared parts, brought to one width, are compared by label.

    Args:
        lengths: Steps of each modality.
        dim: Width d.
        encoder: Makes an encoder (B, T, d) -> (B, T, d) for a modality, or the shared one for "shared".
        orthogonality: Charges private (B, T, d) and shared (B, T, d) of a modality for pointing the same way.
        embed: Applied to what the encoders read.

    Example:
        >>> from mer_zoo.functional.disentanglement import cosine_orthogonality
        >>> decouple = Decoupling({"text": 5}, 4, lambda name: nn.Linear(4, 4), cosine_orthogonality)
        >>> x = {"text": torch.randn(2, 5, 4)}
        >>> parts = decouple(x)
        >>> list(decouple.losses(x, parts, torch.tensor([1.0, -1.0])))
        ['reconstruction', 'cycle', 'margin', 'orthogonality']
    """

    def __init__(
        self,
        lengths: Mapping[str, int],
        dim: int,
        encoder: Callable[[str], nn.Module],
        orthogonality: Callable[[Tensor, Tensor], Tensor],
        embed: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.orthogonality, self.embed = orthogonality, embed
        self.private = nn.ModuleDict({name: encoder(name) for name in lengths})
        self.shared = encoder("shared")
        self.decode = nn.ModuleDict({name: TemporalConv(2 * dim, dim, kernel=1) for name in lengths})
        self.align = nn.ModuleDict({name: nn.Linear(dim * length, dim) for name, length in lengths.items()})

    @override
    def forward(self, x: Mapping[str, Tensor]) -> Decoupled:
        """Split (B, T_m, d) of each modality."""
        read = {name: self._embed(sequence) for name, sequence in x.items()}
        private = {name: self.private[name](sequence) for name, sequence in read.items()}
        return Decoupled(private, {name: self.shared(sequence) for name, sequence in read.items()})

    def restore(self, parts: Decoupled) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Restored sequences, and what the private encoders make of them, each (B, T_m, d)."""
        restored = {
            n: self.decode[n](torch.cat([private, parts.shared[n]], -1)) for n, private in parts.private.items()
        }
        return restored, {name: self.private[name](self._embed(sequence)) for name, sequence in restored.items()}

    def aligned(self, parts: Decoupled) -> dict[str, Tensor]:
        """Shared parts at one width, (B, d)."""
        # Flattened channel by channel, as the released weights expect it.
        return {name: self.align[name](shared.transpose(1, 2).flatten(1)) for name, shared in parts.shared.items()}

    def losses(self, x: Mapping[str, Tensor], parts: Decoupled, labels: Tensor) -> dict[str, Tensor]:
        """Losses of a split, unweighted.

        Args:
            x: (B, T_m, d) what was split.
            parts: The split.
            labels: (B,) or (B, E) labels, compared by their differences.
        """
        restored, again = self.restore(parts)
        aligned = self.aligned(parts)
        split = [self.orthogonality(private, parts.shared[name]) for name, private in parts.private.items()]
        return {
            "reconstruction": squared_difference(restored, x),
            "cycle": squared_difference(parts.private, again),
            "margin": margin_loss(torch.cat(list(aligned.values())), torch.cat([labels] * len(aligned))),
            "orthogonality": torch.stack(split).sum(),
        }

    def _embed(self, x: Tensor) -> Tensor:
        return x if self.embed is None else self.embed(x)


class SharedFusion(nn.Module):
    """Reads the shared part of each modality by an encoder of its own and joins the last steps.

    Args:
        modalities: Names of the modalities.
        encoder: Makes the encoder of a modality.

    Example:
        >>> fusion = SharedFusion(["text", "audio"], lambda name: TransformerEncoder(4, 2, 1))
        >>> fusion({"text": torch.randn(2, 3, 4), "audio": torch.randn(2, 5, 4)}).shape
        torch.Size([2, 8])
    """

    def __init__(self, modalities: Sequence[str], encoder: Callable[[str], TransformerEncoder]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: encoder(name) for name in modalities})

    @override
    def forward(self, shared: Mapping[str, Tensor]) -> Tensor:
        """Map (B, T_m, d) of each modality to (B, n d)."""
        return torch.cat([read_end(self.encoders[name], shared[name]) for name in in_order(list(self.encoders))], 1)


class Prediction(NamedTuple):
    """What a :class:`PredictionHead` says.

    Args:
        logits: (B, C).
        joined: (B, D) what the classifier reads.
        inner: (B, hidden) behind the ReLU.
    """

    logits: Tensor
    joined: Tensor
    inner: Tensor


class PredictionHead(nn.Module):
    """A residual block and a classifier.

    Args:
        dim: Width of the input.
        num_outputs: Number of logits.
        hidden: Width inside the block; None for ``dim``.
        dropout: Dropout behind the ReLU.

    Example:
        >>> PredictionHead(6, 1, hidden=3)(torch.randn(2, 6)).inner.shape
        torch.Size([2, 3])
    """

    def __init__(self, dim: int, num_outputs: int, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.block = ResidualBlock(dim, hidden, dropout)
        self.out = nn.Linear(dim, num_outputs)

    @override
    def forward(self, x: Tensor) -> Prediction:
        joined, inner = self.block.read(x)
        return Prediction(self.out(joined), joined, inner)


def read_end(encoder: nn.Module, x: Tensor) -> Tensor:
    """What an encoder makes of a sequence's last step, padding or not, with positions as the released codes have them.

    Args:
        encoder: A :class:`~mer_zoo.layers.transformer.TransformerEncoder`.
        x: (B, T, d), not embedded.

    Returns:
        (B, d).

    Example:
        >>> read_end(TransformerEncoder(4, 2, 2), torch.randn(3, 5, 4)).shape
        torch.Size([3, 4])
    """
    assert isinstance(encoder, TransformerEncoder)
    step = torch.full((len(x),), x.shape[1] - 1, device=x.device)
    return encoder.at(embed_positions(x, rule="released"), step)
