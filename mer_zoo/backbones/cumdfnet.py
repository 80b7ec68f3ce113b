"""CUMDFNet, the network of CUMDF: what modalities have alone and in common, joined under the guidance of a label.

Idea: each modality is read twice, by itself and against each other modality. What is found meets in pairs, in an
attention whose query is the embedding of the label. The label is never given here: its embedding is the expectation
over the classes that the sample itself makes likely. Only a teacher that the wrapper CUMDF trains may know it.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not;
    output.features (B, n (n - 1) / 2 d), H pooled, d for each pair; output.hidden[m] (B, T, d), X~ of m. T is the
    text's length (without text, the first modality's), and so are the steps.

Where the manuscript is in the code (by equation):
    convolution and positions (1)                 CUMDFNet.project, layers/positions.py
    specific and common knowledge (2-4)           Extractors, functional/label_guidance.py, common_knowledge
    label-guided transformer LG-MMT (5-9)         layers/label_guided.py, functional/label_guidance.py

There is no released code. What the manuscript leaves open is inferred:
    * unaligned modalities are averaged to the steps of the text before the convolution, as word-aligned features are
      made;
    * kernels of 3 steps; positions are added without scaling; the specific extractor is one pre-norm transformer layer;
    * specific and common knowledge are joined by a linear map;
    * the text calls the common extractor "a fine-grained mamba block", while Eqs. 2-4 are an attention.
      ``common: mamba`` puts Mamba's block in the place of S X'_A, one for each modality and each other one that it
      reads, whose read-out and gate the modality itself chooses; [R ; R * X'_L] stays as printed;
    * Eq. 4 squashes by tanh; ``squash: tan`` is what is printed, which has poles;
    * missing frames (zeros) are real steps and are attended to; padding is hidden everywhere;
    * the dropout stands in front of the classifier alone (0.8 as printed), the transformer layer has its own;
    * two modalities make one pair; one modality is refused.

Reproduction: there is no released code; on SyntheticMER see docs/results.md, no figure of the manuscript yet.

References:
    "Label-Guided Enhancement: A Distillation Framework for Uncertainty-Aware Multimodal Emotion Recognition", anonymous
    manuscript. No released code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.label_guidance import Squash, common_knowledge, with_product
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import NO_DROPOUTS, Dropouts
from mer_zoo.layers.label_guided import LGMMT, common_axis, common_mask
from mer_zoo.layers.positions import interleaved_positions
from mer_zoo.layers.selective_state import SelectiveState
from mer_zoo.layers.sequence import zero_padding
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["CUMDFNet"]

Common = Literal["attention", "mamba"]


class CUMDFNet(Backbone):
    """The network of CUMDF; see the module's text for the idea and what is inferred.

    Args:
        spec: Shapes of the data; two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of each sequence; 300 in the manuscript.
        heads: Heads of every attention; divides d.
        kernels: Steps that the convolutions of text, audio and vision see.
        extractors: Whether to extract specific and common knowledge (without: the ablation "w/o MKE", X~ = X').
        common: Whether common knowledge is found by ``attention`` (Eqs. 2-4) or by a ``mamba`` block.
        squash: What bounds the attention's scores, ``tanh``, or the printed ``tan``; a mamba block has none.
        guided: Whether to use LG-MMT (without: the ablation "w/o LG-MMT", the pooled sequences are the joint
            representation).
        out_dropout: Dropout in front of the classifier.
        attn_dropout: Dropout of the attention weights of the specific extractors.
        relu_dropout: Dropout behind their ReLU.
        res_dropout: Dropout of what they add to their input.

    Raises:
        MERError: For one modality only, for heads that do not divide the width, or for an option out of range.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(7)
        >>> output = CUMDFNet(spec, task, dim=16)(Batch.random(spec, task, size=3))
        >>> output.logits.shape, output.features.shape, output.hidden["audio"].shape
        (torch.Size([3, 7]), torch.Size([3, 48]), torch.Size([3, 6, 16]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 64,
        heads: int = 4,
        kernels: tuple[int, int, int] = (3, 3, 3),
        extractors: bool = True,
        common: Common = "attention",
        squash: Squash = "tanh",
        guided: bool = True,
        out_dropout: float = 0.1,
        attn_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        used = spec.modalities
        if len(used) < 2:
            raise MERError(
                f"CUMDFNet joins pairs of modalities, but the data is used with {used[0]} only; use at least two"
            )
        if min(kernels) < 1:
            raise MERError(f"kernels of CUMDFNet is {list(kernels)}; each is a number of steps, at least 1")
        check_choice("CUMDFNet", "common", common, get_args(Common))
        check_choice("CUMDFNet", "squash", squash, get_args(Squash))
        sizes = dict(zip(MODALITIES, kernels, strict=True))
        self.project = nn.ModuleDict({name: TemporalConv(self.input_dims[name], dim, sizes[name]) for name in used})
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout)
        self.extract = Extractors(used, dim, heads, dropouts, common, squash) if extractors else None
        self.fusion = LGMMT(task, used, dim, heads, guided, out_dropout)
        self.feature_dim = self.fusion.feature_dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {name: (spec.length(used[0]), dim) for name in used}
        self.hidden_axes = dict.fromkeys(used, used[0])

    @override
    def offers(self) -> Sequence[object]:
        return (self.fusion,)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        masks = {name: modality.mask for name, modality in given.items()}
        mask = common_mask(masks, self.spec.aligned)
        x = self._embed({name: modality.x for name, modality in given.items()}, masks, mask)
        x = x if self.extract is None else self.extract(x, mask)
        h = self.fusion(x, mask)
        return Output(self.classify(self.fusion.drop(h)), h, x)

    def _embed(self, x: Mapping[str, Tensor], masks: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """X' = Conv1d(X) + positions, on the common time axis (Eq. 1)."""
        first = self.spec.modalities[0]
        aligned = self.spec.aligned and all(own.shape == mask.shape for own in masks.values())
        x = common_axis(x, masks, mask, shared=list(masks) if aligned else [first])
        embedded = {name: project(x[name]) for name, project in self.project.items()}
        return {name: zero_padding(e + interleaved_positions(e, mask), mask) for name, e in embedded.items()}


class Extractors(nn.Module):
    """AMSKE and GMCKE: what each modality has of its own, and in common with every other one (Eqs. 2-4).

    Args:
        modalities: Names of the modalities.
        dim: Width d.
        heads: Heads of the specific extractors.
        dropouts: Those of the specific extractors.
        common: How common knowledge is found.
        squash: What bounds the scores of its attention.

    Example:
        >>> x, mask = torch.randn(2, 5, 8), torch.ones(2, 5, dtype=torch.bool)
        >>> Extractors(["text", "audio"], 8, 2)({"text": x, "audio": x}, mask)["audio"].shape
        torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        modalities: Sequence[str],
        dim: int,
        heads: int,
        dropouts: Dropouts = NO_DROPOUTS,
        common: Common = "attention",
        squash: Squash = "tanh",
    ) -> None:
        super().__init__()
        self.squash: Squash = squash
        width = (1 + 2 * (len(modalities) - 1)) * dim
        self.specific = nn.ModuleDict({name: TransformerEncoder(dim, heads, 1, dropouts) for name in modalities})
        self.join = nn.ModuleDict({name: nn.Linear(width, dim) for name in modalities})
        pairs = permutations(modalities, 2) if common == "mamba" else ()
        self.mamba = nn.ModuleDict({f"{name}_{other}": SelectiveState(dim) for name, other in pairs})

    @override
    def forward(self, x: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
        """X~ (B, T, d) of each modality from X' (B, T, d); the mask (B, T) says which steps are real."""
        extracted = {}
        for name, encoder in self.specific.items():
            specific = encoder(x[name], mask=mask)
            common = [self._common(x, name, other, mask) for other in x if other != name]
            extracted[name] = zero_padding(self.join[name](torch.cat([specific, *common], -1)), mask)
        return extracted

    def _common(self, x: Mapping[str, Tensor], name: str, other: str, mask: Tensor) -> Tensor:
        if not self.mamba:
            return common_knowledge(x[name], x[other], mask, self.squash)
        return with_product(self.mamba[f"{name}_{other}"](x[name], x[other], mask), x[name])
