"""CIDerNet, the network of CIDer: words collect what belongs to them, then each combination of modalities attends.

Idea: audio and vision are compressed to the steps of the text, so that the cost of everything after grows only linearly
with their lengths. One set of queries, keys and values serves all combinations (text, text + audio, ... all three), so
that what a combination says does not break when another modality is missing.

Input and shapes (B batch, n modalities in use, T_m steps and D_m features of modality m, d width):
    batch.text (B, T_l, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not;
    output.features (B, n d), the joint representation;
    output.hidden[m] (B, T, d) after the composite transformer; T is T_l where audio and vision are compressed, else
    T_m; output.attention (B * heads, sum of T, sum of T), the raw scores of its last layer.

Where the paper is in the code (equations of arXiv:2506.10452):
    convolutions with kernel 1            CIDerNet.project, layers/convolution.py             (3)
    word-level self-aligned attention     CIDerNet.compress, layers/composite.py, WSAM        (4)
    recurrent networks                    CIDerNet.grus, layers/recurrent.py                  (5)
    composite transformer                 CIDerNet.mct, layers/composite.py, MCT              (6, 13)
    composite attention                   functional/composite.py                             (7-12)
    pooling, joint representation         CIDerNet.pools, layers/composite.py, NaiveAttention (14, 15)

What is decided here:
    * words: in WSAM, padding, [CLS] and [SEP] ask for nothing. They are known by their ids: text features without token
      ids beside them have no special steps;
    * missing frames (zeros) are real steps and are attended to, as in the paper;
    * aligned data, and any data without text, where there are no words to compress to, go on with their own lengths;
    * one and two modalities work: the composite attention then has the blocks of these alone.

Differences between the paper and the authors' code; the code is followed, ``variant="paper"`` brings what is printed:
    * residuals (13): the code adds x, the paper LN x; the code adds positions before the first layer, the paper none;
    * joint representation (15): the code adds g to Linear(ReLU(Linear(g))), the paper does not.
Differences from the authors' code, and why:
    * positions: by a mistake of axes it adds the position of the sample in the batch to all its steps, so that time is
      lost and scores depend on the neighbours; here steps are counted, ``positions="released"`` brings its behaviour
      back;
    * mask_padding: paper and code attend to padding, pool it and run recurrent networks over it; so does the default
      here, on batches of fixed length. With ``mask_padding=True`` padding, in front or behind, changes nothing;
    * the head is a plain classifier; CIDer's own is the wrapper MACI, its training the wrapper MSSD.
The paper's ablations (Table V) without WSAM and without MCT are ``wsam=False`` and ``composite=False``. What stands in
their place is not said and is inferred: audio and vision are averaged over equal spans, one for each step of the text;
the recurrent networks' states are pooled as they are, with no attention between modalities, whose maps are then not
offered either.

Reproduction: outputs, losses, gradients and training steps of the released code (tests/backbones/test_cidernet.py); on
SyntheticMER see docs/results.md, no figure of the paper yet.

References:
    Zhong, Huan, Wu, Liang, Chen, "Towards Robust Multimodal Emotion Recognition under Missing Modalities and
    Distribution Shifts", 2025, arXiv:2506.10452.
    Released code: gw-zhong/CIDer; nothing copied.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.functional.variants import Variant
from mer_zoo.layers.composite import MCT, WSAM, NaiveAttention
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import PositionRule
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import masked_resample
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["CIDerNet"]

LETTERS = dict(zip(MODALITIES, "lav", strict=True))


class CIDerNet(Backbone):
    """The network of CIDer (Zhong et al., 2025); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of each sequence.
        heads: Heads of the composite attention; divides d.
        depth: Layers of the composite transformer, at least one.
        positions: "time" counts steps; "released" gives every step the place of its sample in the batch. By default
            steps are counted, and there are no positions in the variant ``paper``.
        mask_padding: Hide padding everywhere. False, the paper's way, lets it take part and keeps batches at full
            length.
        attn_dropout: Dropout of the attention weights of the block of all modalities.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of the concatenated sequence with its positions.
        out_dropout: Dropout inside the block that makes the joint representation.
        variant: ``released``, or ``paper`` for the printed Equations 13 and 15.
        wsam: False for the mean over equal spans in place of word-level self-aligned attention.
        composite: False leaves out the composite transformer; heads, depth and positions then mean nothing.

    Raises:
        MERError: For heads that do not divide the width, without a layer, or for unknown ``positions``.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> output = CIDerNet(spec, task, dim=8, heads=2)(Batch.random(spec, task, size=4))
        >>> output.features.shape, output.hidden["audio"].shape, output.attention.shape
        (torch.Size([4, 24]), torch.Size([4, 6, 8]), torch.Size([8, 18, 18]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 32,
        heads: int = 4,
        depth: int = 2,
        positions: PositionRule | None = None,
        mask_padding: bool = False,
        attn_dropout: float = 0.0,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        embed_dropout: float = 0.0,
        out_dropout: float = 0.0,
        variant: Variant = "released",
        wsam: bool = True,
        composite: bool = True,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("CIDerNet", "variant", variant, get_args(Variant))
        if positions is None and variant == "released":
            positions = "time"
        if positions is not None:
            check_choice("CIDerNet", "positions", positions, get_args(PositionRule))
        self.mask_padding = mask_padding
        self.fixed_length = self.reads_padding = not mask_padding
        used = spec.modalities
        compressed = [name for name in used if name != "text"] if "text" in used and not spec.aligned else []
        self.compressed = frozenset(compressed)
        self.project = nn.ModuleDict({name: TemporalConv(self.input_dims[name], dim, kernel=1) for name in used})
        self.compress = nn.ModuleDict({name: WSAM(dim) for name in compressed if wsam})
        self.grus = nn.ModuleDict({name: nn.GRU(dim, dim, batch_first=True) for name in used})
        letters = "".join(LETTERS[name] for name in used)
        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        self.mct = MCT(dim, heads, depth, letters, positions, dropouts, variant) if composite else None
        self.pools = nn.ModuleDict({name: NaiveAttention(dim) for name in used})
        self.feature_dim = len(used) * dim
        self.joint = ResidualBlock(self.feature_dim, None, out_dropout, adds_input=variant == "released")
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        steps = {name: spec.length("text" if name in compressed else name) for name in used}
        self.hidden_shape = {name: (steps[name], dim) for name in used}
        self.hidden_axes = {name: "text" if name in compressed else name for name in used}
        self.attention_shape = (heads, sum(steps.values()), sum(steps.values())) if composite else None

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        sequences, masks = self._read(self.in_use(text, audio, vision))
        lengths = {LETTERS[name]: x.shape[1] for name, x in sequences.items()}
        mask = torch.cat(list(masks.values()), 1) if self.mask_padding else None
        y, scores = torch.cat(list(sequences.values()), 1), None
        if self.mct is not None:
            y, scores = self.mct(y, lengths, mask)
        if mask is not None:
            y = torch.where(mask[..., None], y, 0.0)
        hidden = dict(zip(sequences, torch.split(y, list(lengths.values()), 1), strict=True))
        pooled = [self.pools[name](h, masks[name] if self.mask_padding else None) for name, h in hidden.items()]
        g = torch.cat(pooled, 1)
        features = self.joint(g)
        return Output(self.classify(features), features, hidden, scores)

    def _read(self, given: dict[str, Modality]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Project, compress to the words where there are, and read each modality; its states and its real steps."""
        masks = {name: modality.mask for name, modality in given.items()}
        x: dict[str, Tensor] = {}
        for name, modality in given.items():
            project = self.project[name]
            assert isinstance(project, TemporalConv)
            if name in self.compressed:
                if name in self.compress:
                    words, weight = self._words(given["text"]), project.weight.squeeze(2)
                    x[name] = self.compress[name](x["text"], modality.x, words, modality.mask, weight)
                else:
                    x[name] = masked_resample(project(modality.x), modality.mask, masks["text"])
                masks[name] = masks["text"] & modality.mask.any(1, keepdim=True)
            else:
                x[name] = project(modality.x)
        return {name: self._recur(name, sequence, masks[name]) for name, sequence in x.items()}, masks

    def _recur(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        gru = self.grus[name]
        assert isinstance(gru, nn.GRU)
        states: Tensor = masked_rnn(gru, x, mask)[0] if self.mask_padding else gru(x)[0]
        return states

    def _words(self, text: Modality) -> Tensor:
        """(B, T) bool, the real steps of a text that are neither [CLS] nor [SEP]."""
        ids = text.token_ids
        return text.mask if ids is None else text.mask & (ids != self.spec.cls_id) & (ids != self.spec.sep_id)
