"""Multimodal Transformer (MulT): every modality is re-expressed by attending to the others.

Idea: no word alignment is needed. A target sequence supplies the queries, a source sequence keys and values, so the
result keeps the target's length while taking content from the source. One directed encoder per ordered pair
(text<-audio, ...) runs; the results for one target are concatenated, passed through a self-attention encoder, its
memory, and reduced to one vector.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d model width):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); T_m may differ.
    output.features (B, n (n - 1) d), that is 6d with three modalities, 2d with two, d with one;
    output.hidden[m] (B, T_m, (n - 1) d), what the memory of m says at each step.

Where the paper is in the code:
    temporal convolutions, positions     MulT._embed, layers/positions.py           (Section 3.2)
    crossmodal attention                 layers/attention.py, attend                (Section 3.1)
    crossmodal and memory encoders       MulT.crossmodal, MulT.memory, layers/together.py  (Section 3.2)

Differences from the authors' code, and why; ``variant="released"`` or single options bring its behaviour back:
    * causal: the released code hides the future, key j > i + |Tk - Tq|; the paper does not, nor do we;
    * pool: it reads the last position even if that is padding; here the last real step;
    * positions: it counts padding and gives no position where the first channel is exactly 0; here real steps are
      counted;
    * always_project: it skips the convolution of a modality whose width already is d; here every modality has one;
    * mask_padding: it attends to padding and convolves without padding, so that sequences shrink; here padding is
      hidden and a convolution keeps the length;
    * any subset of targets works (released: one or all three), encoders of modalities that are no target are not built,
      and
      one or two modalities work: with two, one encoder a direction; with one, self-attention on the projection;
    * one dropout mask of the embedded source serves keys and values; a source is embedded once for all encoders
      (fixed).

Reproduction: outputs, loss and gradients of the released code to 1e-5 (tests/backbones/test_mult.py); no figure of the
paper yet.

References:
    Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL 2019, arXiv:1906.00295.
    Released code: yaohungt/Multimodal-Transformer (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import PositionRule, embed_positions
from mer_zoo.layers.sequence import last_step, zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.together import Encoding, encode_all, read_all
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["MulT"]

Variant = Literal["ours", "released"]
Pool = Literal["last_valid", "last_position"]


class MulT(Backbone):
    """Multimodal Transformer of Tsai et al. (2019); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of each sequence, at least 4.
        heads: Heads of every encoder; divides d.
        depth: Layers of a cross-modal encoder; a memory has max(depth, 3).
        kernels: Convolution kernels of text, audio and vision, in steps.
        attn_dropout: Attention dropout where text is the source, and of the memories.
        attn_dropout_audio: Attention dropout where audio is the source.
        attn_dropout_vision: Attention dropout where vision is the source.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of the text input and of every embedded sequence.
        out_dropout: Dropout inside the block before the classifier.
        targets: Modalities that get a memory and enter the prediction; None for all in use. ``["text"]`` is the
            released text-only mode.
        variant: "ours", or "released" for the behaviour of the released code in the five options below.
        causal: Hide keys j > i + |Tk - Tq|. Ours False, released True.
        pool: Step of a memory that is read, "last_valid" (ours) or "last_position" (released).
        positions: "time" counts real steps (ours); "released" counts all, none where the first channel is 0.
        always_project: Convolve a modality even if its width is d already. Ours True, released False.
        mask_padding: Hide padding from attention and convolution. Ours True, released False.

    Raises:
        MERError: For an unknown option, a target that is not in use, heads that do not divide the width, a width below
            4, a kernel below 1, or one that is longer than its sequence without ``mask_padding``.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = MulT(spec, task, dim=8, heads=2, depth=1)
        >>> model(Batch.random(spec, task, size=3)).logits.shape
        torch.Size([3, 1])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 40,
        heads: int = 10,
        depth: int = 4,
        kernels: tuple[int, int, int] = (1, 1, 1),
        attn_dropout: float = 0.1,
        attn_dropout_audio: float = 0.0,
        attn_dropout_vision: float = 0.0,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        embed_dropout: float = 0.25,
        out_dropout: float = 0.0,
        targets: Sequence[str] | None = None,
        variant: Variant = "ours",
        causal: bool | None = None,
        pool: Pool | None = None,
        positions: PositionRule | None = None,
        always_project: bool | None = None,
        mask_padding: bool | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        if dim < 4:
            raise MERError(f"dim is {dim}, but positions need a width of at least 4")
        check_choice("MulT", "variant", variant, get_args(Variant))
        ours = variant == "ours"
        self.causal = not ours if causal is None else causal
        self.pool: Pool = ("last_valid" if ours else "last_position") if pool is None else pool
        self.positions: PositionRule = ("time" if ours else "released") if positions is None else positions
        check_choice("MulT", "pool", self.pool, get_args(Pool))
        check_choice("MulT", "positions", self.positions, get_args(PositionRule))
        self.always_project = ours if always_project is None else always_project
        self.mask_padding = ours if mask_padding is None else mask_padding
        self.fixed_length = not (self.mask_padding and self.pool == "last_valid" and self.positions == "time")
        self.embed_dropout = embed_dropout
        self.targets = _check_targets(spec, targets)
        self._kernels = dict(zip(MODALITIES, kernels, strict=True))
        self.project = nn.ModuleDict(
            {name: self._projection(name, dim) for name in spec.modalities if self._projects(name, dim)}
        )
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        by_source = dropouts.by_source(attn_dropout_audio, attn_dropout_vision)
        self.sources = {name: [other for other in spec.modalities if other != name] for name in self.targets}
        self.crossmodal = nn.ModuleDict(
            {
                f"{a}_from_{b}": TransformerEncoder(dim, heads, depth, by_source[b], self.causal)
                for a in self.targets
                for b in self.sources[a]
            }
        )
        width = max(len(spec.modalities) - 1, 1) * dim
        self.memory = nn.ModuleDict(
            {name: TransformerEncoder(width, heads, max(depth, 3), dropouts, self.causal) for name in self.targets}
        )
        self.feature_dim = width * len(self.targets)
        self.joint = ResidualBlock(self.feature_dim, None, out_dropout)
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {name: (self._length(name), width) for name in self.targets}

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        sequences, masks = {}, {}
        for name, modality in given.items():
            sequences[name], masks[name] = self._embed(name, modality)
        hidden, r = self._remember(sequences, masks)
        z = self.joint(r)
        return Output(self.classify(z), z, hidden)

    def _embed(self, name: str, modality: Modality) -> tuple[Tensor, Tensor | None]:
        """Project a modality and add its positions; the mask is None where every step is real."""
        mask = None if modality.mask.all() else modality.mask
        x = modality.x if mask is None or not self.mask_padding else zero_padding(modality.x, mask)
        if name == "text":
            x = dropout(x, self.embed_dropout, self.training)
        if name in self.project:
            x = self.project[name](x)
            if mask is not None and self._kernels[name] > 1:
                # With padding the kernel has smeared real steps into it; without, the sequence has become shorter.
                x, mask = (zero_padding(x, mask), mask) if self.mask_padding else (x, self._shrink(mask, name))
        return embed_positions(x, mask, self.positions), mask

    def _remember(
        self, sequences: dict[str, Tensor], masks: dict[str, Tensor | None]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """What the sources say to each step of the targets, passed through memories, and the steps that are read."""
        seen = masks if self.mask_padding else dict.fromkeys(masks)
        pairs = [(name, source) for name in self.targets for source in self.sources[name]]
        crossed = encode_all([self._cross(a, b, sequences, seen) for a, b in pairs])
        memories, steps = [], []
        for name in self.targets:
            mask, memory = masks[name], self.memory[name]
            assert isinstance(memory, TransformerEncoder)
            found = [y for (target, _), y in zip(pairs, crossed, strict=True) if target == name]
            x = embed_positions(torch.cat(found, 2), mask, self.positions) if found else sequences[name]
            last = torch.full((len(x),), x.shape[1] - 1, device=x.device)
            steps.append(last if mask is None or self.pool == "last_position" else last_step(mask))
            memories.append(Encoding(memory, x, mask=seen[name]))
        hidden, read = {}, []
        for name, (states, r) in zip(self.targets, read_all(memories, steps), strict=True):
            mask, padding = masks[name], seen[name]
            if mask is not None and self.pool == "last_valid":
                r = torch.where(mask.any(1, keepdim=True), r, 0.0)
            hidden[name] = states if padding is None else zero_padding(states, padding)
            read.append(r)
        return hidden, torch.cat(read, 1)

    def _cross(self, target: str, source: str, x: dict[str, Tensor], seen: dict[str, Tensor | None]) -> Encoding:
        encoder = self.crossmodal[f"{target}_from_{source}"]
        assert isinstance(encoder, TransformerEncoder)
        return Encoding(encoder, x[target], x[source], seen[target], seen[source])

    def _projects(self, name: str, dim: int) -> bool:
        return self.always_project or self.input_dims[name] != dim

    def _projection(self, name: str, dim: int) -> TemporalConv:
        kernel, length = self._kernels[name], self.spec.length(name)
        if kernel < 1 or (not self.mask_padding and kernel > length):
            raise MERError(f"the {name} kernel is {kernel}, but must lie between 1 and the {length} steps of the data")
        return TemporalConv(self.input_dims[name], dim, kernel, same_length=self.mask_padding)

    def _length(self, name: str) -> int:
        shrinks = name in self.project and not self.mask_padding
        return self.spec.length(name) - (self._kernels[name] - 1 if shrinks else 0)

    def _shrink(self, mask: Tensor, name: str) -> Tensor:
        """Mask after a convolution without padding: a step is real if its window holds a real step."""
        return F.max_pool1d(mask.float(), self._kernels[name], stride=1).bool()


def _check_targets(spec: DataSpec, targets: Sequence[str] | None) -> list[str]:
    chosen = spec.modalities if targets is None else targets
    unknown = [name for name in chosen if name not in spec.modalities]
    if unknown or not chosen:
        raise MERError(f"targets is {list(chosen)}; give a non-empty choice of {', '.join(spec.modalities)}")
    return [name for name in spec.modalities if name in chosen]
