"""CubeMLP: words, modalities and features of a sample form a cube, which small networks mix along each axis in turn.

Idea: no attention. Mixing along the axis of time relates words, along the axis of modalities what is said, heard and
seen at one word, along the axis of width the features of one. Each mixing costs as much as a linear map.

Input and shapes (B batch, T words, D_m features of modality m, n modalities in use, d width, L, K, D sizes of the last
cube):
    batch.text (B, T, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), see below for T_a and T_v;
    the cube is (B, L_0, n, d), L_0 being T or ``time_len``, in the order text, audio, vision, and (B, L, K, D) in the
    end; output.features, the last cube composed over time and modalities: (B, K D) for "mean" and "cat";
    output.hidden[m] (B, L, D), the layer of m in the last cube, if every block keeps as many layers as there are
    modalities, else None. Its steps are mixtures of all words, and words only by the residuals, where L is T.

Where the paper is in the code (names of arXiv:2207.14087):
    feature encoders                      CubeMLP.project, CubeMLP.rnns, CubeMLP.norms
    MLP blocks along L, K and D           backbones/cubemlp/cube.py

What is decided here:
    * word-aligned audio and vision that are two steps shorter than a text with [CLS] and [SEP] stand between the two;
      unaligned ones are averaged to the words (layers/sequence.py, at_words). Without text, the first modality's steps
      are the words;
    * with fewer modalities the cube is thinner; no block is then asked for more modalities than there are, and one
      alone is not mixed;
    * padding is read as in the released code: the mixing over time needs one fixed length, so that batches are never
      trimmed;
    * recurrent encoders only; the released code's convolution is left out.

Differences from the authors' code, and why: it sets frames of zeros to 1e-6, by which it tells them from padding; here
masks do, and what they change is below 1e-5.

Reproduction: cube, scores and loss of the released code to 1e-5 from its parameters, for both kinds of encoders and
orders of normalisation (``load_released(..., source="cubemlp")``); published accuracies not yet run.

References:
    Sun, Wang, Liu, Chen, Lin, "CubeMLP: An MLP-based Model for Multimodal Sentiment Analysis and Depression
    Estimation", ACM MM 2022, arXiv:2207.14087.
    Released code: kiva12138/CubeMLP (no licence); nothing copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.cubemlp.cube import NORM_EPS, CubeBlock
from mer_zoo.batch import DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.recurrent import BiLSTM, masked_rnn
from mer_zoo.layers.sequence import at_words
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task

__all__ = ["CubeMLP"]

Sizes = tuple[int, int, int]
Compose = Literal["mean", "cat"]
WIDE = 128  # composed vectors wider than this are classified by two layers


class CubeMLP(Backbone):
    """CubeMLP (Sun et al., 2022); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d of the cube.
        time_len: Steps of the cube, behind the words filled with zeros; None for as many as words.
        hidden_dims: Sizes (time, modality, width) inside the networks of each block.
        output_dims: Sizes behind each block; None for ``hidden_dims``.
        encoder: "gru" (two layers) or "lstm" (one layer), both bidirectional, for audio and vision.
        compose_time: How the last cube is composed over time: mean or concatenation.
        compose_modality: How it is then composed over the modalities.
        norm_first: Normalise what enters a network instead of what leaves it.
        project: Whether the residuals of each block are mapped linearly; None where a size changes.
        bias: Whether the networks of the blocks have biases.
        embed_dropout: Dropout of the sequences that enter the cube.
        relu_dropout: Dropout behind the activation, a GELU, inside the networks of the blocks.
        out_dropout: Dropout inside a classifier of two layers.

    Raises:
        MERError: For a cube shorter than the data, block options of different numbers, or an unknown choice.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = CubeMLP(spec, task, dim=8, hidden_dims=((6, 3, 8), (4, 3, 8)))(Batch.random(spec, task, size=2))
        >>> output.features.shape, output.hidden["audio"].shape
        (torch.Size([2, 24]), torch.Size([2, 4, 8]))
    """

    fixed_length = reads_padding = True

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 128,
        time_len: int | None = None,
        hidden_dims: Sequence[Sizes] = ((50, 3, 128), (10, 3, 32)),
        output_dims: Sequence[Sizes] | None = None,
        encoder: Literal["gru", "lstm"] = "gru",
        compose_time: Compose = "mean",
        compose_modality: Compose = "cat",
        norm_first: bool = True,
        project: Sequence[bool] | None = None,
        bias: bool = True,
        embed_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        out_dropout: float = 0.1,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.words, self.embed_dropout = spec.modalities[0], embed_dropout
        self.compose_time, self.compose_modality = compose_time, compose_modality
        for name, choice in {"compose_time": compose_time, "compose_modality": compose_modality}.items():
            check_choice("CubeMLP", name, choice, get_args(Compose))
        steps = spec.length(self.words)
        self.time_len = steps if time_len is None else time_len
        if self.time_len < steps:
            raise MERError(f"time_len is {time_len}, but the data has {steps} steps; give at least as many")
        self.project = nn.Linear(self.input_dims["text"], dim, bias=False) if "text" in spec.modalities else None
        read = {name: width for name, width in self.input_dims.items() if name != "text"}
        self.rnns = nn.ModuleDict({name: _encoder(encoder, width, dim) for name, width in read.items()})
        self.norms = nn.ModuleDict({name: nn.LayerNorm(dim, NORM_EPS) for name in read})
        outputs = hidden_dims if output_dims is None else output_dims
        projects = [None] * len(hidden_dims) if project is None else project
        if not len(hidden_dims) == len(outputs) == len(projects):
            raise MERError(
                "hidden_dims, output_dims and project speak of different numbers of blocks; give one entry each"
            )
        cube = (self.time_len, len(spec.modalities), dim)
        hiddens = [_at_most(sizes, cube[1]) for sizes in hidden_dims]
        sizes = [cube, *(_at_most(sizes, cube[1]) for sizes in outputs)]
        self.blocks = nn.Sequential(
            *(
                CubeBlock(before, hidden, behind, norm_first, mapped, relu_dropout, bias)
                for (before, behind), hidden, mapped in zip(pairwise(sizes), hiddens, projects, strict=True)
            )
        )
        time, kinds, width = sizes[-1]
        self.feature_dim = width * (time if compose_time == "cat" else 1) * (kinds if compose_modality == "cat" else 1)
        self.head = _classifier(self.feature_dim, task.num_outputs, out_dropout)
        if all(layers == cube[1] for _, layers, _ in sizes):
            self.hidden_shape = dict.fromkeys(spec.modalities, (time, width))
            self.hidden_axes = dict.fromkeys(spec.modalities, self.words) if time == steps else None

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        words = given[self.words].mask
        cube = self.mix([self._encode(name, modality, words) for name, modality in given.items()])
        features = self.compose(cube)
        hidden = dict(zip(self.spec.modalities, cube.unbind(2), strict=True)) if self.hidden_shape else None
        return Output(self.classify(features), features, hidden)

    def _encode(self, name: str, modality: Modality, words: Tensor) -> Tensor:
        """(B, T, d) at the words."""
        if name == "text":
            assert self.project is not None
            return dropout(self.project(modality.x), self.embed_dropout, self.training)
        rnn = self.rnns[name]
        assert isinstance(rnn, (nn.GRU, nn.LSTM))
        forward, backward = masked_rnn(rnn, self._at_words(modality, words), words)[0].chunk(2, 2)
        return dropout(F.relu(self.norms[name](forward + backward)), self.embed_dropout, self.training)

    def _at_words(self, modality: Modality, words: Tensor) -> Tensor:
        if self.spec.aligned and modality.x.shape[1] == words.shape[1] - 2:
            return F.pad(torch.where(modality.mask[..., None], modality.x, 0.0), (0, 0, 1, 1))
        return at_words(modality, words, self.spec.aligned)

    def mix(self, sequences: Sequence[Tensor]) -> Tensor:
        """The cube (B, L, K, D) behind the last block, of the sequences (B, T, d) of the modalities in use.

        Raises:
            MERError: If the sequences are longer than the cube.
        """
        missing = self.time_len - sequences[0].shape[1]
        if missing < 0:
            raise MERError(
                f"a batch has {sequences[0].shape[1]} steps, the cube {self.time_len}; build it with the data's spec"
            )
        cube: Tensor = self.blocks(F.pad(torch.stack(list(sequences), 2), (0, 0, 0, 0, 0, missing)))
        return cube

    def compose(self, cube: Tensor) -> Tensor:
        """Joint representation (B, feature_dim) of a cube (B, L, K, D)."""
        over_time = cube.mean(1) if self.compose_time == "mean" else cube.transpose(1, 2).flatten(2)
        return over_time.mean(1) if self.compose_modality == "mean" else over_time.flatten(1)


def _encoder(kind: str, input_dim: int, dim: int) -> nn.GRU | nn.LSTM:
    if kind == "gru":
        return nn.GRU(input_dim, dim, num_layers=2, batch_first=True, bidirectional=True)
    if kind == "lstm":
        return BiLSTM(input_dim, dim)
    raise MERError(f"encoder is {kind!r}; choose gru or lstm")


def _at_most(sizes: Sizes, modalities: int) -> Sizes:
    time, kinds, width = sizes
    return time, min(kinds, modalities), width


def _classifier(width: int, outputs: int, dropout: float) -> nn.Sequential:
    if width <= WIDE:
        return nn.Sequential(nn.Linear(width, outputs))
    return nn.Sequential(nn.Linear(width, WIDE), nn.ReLU(), nn.Dropout(dropout), nn.Linear(WIDE, outputs))
