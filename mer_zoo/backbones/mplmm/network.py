"""Multimodal prompt learning with missing modalities (MPLMM): prompts alone teach a frozen MulT to do without some.

Idea: MulT is pre-trained on complete data. Then few parameters are trained with modalities missing: a missing sequence
is made of a prompt and of what the others say, a signal is added to each sequence that tells whether it is missing, and
tokens that tell which modalities are missing are appended in time to what the memories of MulT read. The last of them
is what is classified.

Input and shapes (B batch, T_m steps and D_m features of modality m, d width, P prompt length):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), padded to the lengths of the spec;
    output.features (B, 6d), the joint representation; output.hidden[m] (B, T_m, 2d), what the memory of m says at each
    step; output.aux, a ``Completion``: the completed sequences (B, T_m, d) and the missing-type matrix (B, d, 2d).

Two stages:
    1. MulT on complete data, ``MulT(variant="released")`` of the same width, heads and layers; in the paper on MOSEI;
    2. MPLMM(pretrained=CHECKPOINT), in the paper on the corpus of interest, with modalities missing in training.

Where the paper is in the code:
    generative prompts, missing-signal and missing-type prompts   backbones/mplmm/prompts.py, MissingPrompts
    MulT                                                          MPLMM.crossmodal, MPLMM.memory, layers/transformer.py
    missing modalities in training                                MPLMM.steps, data/missing/sets.py, RandomSMM

What is missing in a sample is seen from ``observed``: a modality of which nothing was observed is completed from the
others, also where its mask is empty; [CLS] and [SEP] of token text count for nothing. Where nothing at all was
observed, the sequences are read as they are. A sequence of which a part is missing is read as it is, too.

Differences from the authors' code, and why:
    * prompt_init: there all prompts start at zero, so that type prompts and mixing matrices get no gradient and never
      move; here they start random, and ``prompt_init="released"`` brings the zeros back;
    * the codes of the test split are drawn there with the training rate; here test conditions name what is missing;
    * it evaluates the validation split in the end; here the test split is tested, once;
    * all completions are computed for all samples and the right one is taken, in place of a loop over samples: the same
      numbers.
Kept are: lengths fixed by the spec, padding that takes part, the causal mask, positions that miss where the first
channel is 0.

Reproduction: outputs and loss of both stages to 1e-5. Scores not yet run.

References:
    Guo, Jin, Zhao, "Multimodal Prompt Learning with Missing Modalities for Sentiment Analysis and Emotion Recognition",
    ACL 2024.
    Released code: zrguo/MPLMM (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.mplmm.prompts import MissingPrompts, PromptInit
from mer_zoo.batch import MODALITIES, Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import PositionRule, embed_positions
from mer_zoo.layers.sequence import check_lengths
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.layers.transformer import TransformerEncoder
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.task import Task
from mer_zoo.training.stage_one import read_stage_one

__all__ = ["MPLMM", "Completion"]

SHARED = (
    "crossmodal.",
    "memory.",
    "joint.",
)  # what stage 1 hands over; convolutions and classifier are of the corpus


class Completion(NamedTuple):
    """What MPLMM's prompts made of a batch.

    Args:
        sequences: Modality to (B, T_m, d), completed, with its signal.
        type_matrix: (B, d, 2d), of which all type tokens are made.
    """

    sequences: dict[str, Tensor]
    type_matrix: Tensor


class MPLMM(Backbone):
    """Prompt model of Guo et al. (2024) around MulT; the module's text has the idea, the stages and the differences.

    Args:
        spec: Shapes of the data: text, audio and vision, whose lengths are part of the network.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        pretrained: Checkpoint of a run of MulT (stage 1), whose encoders and block before the classifier are copied and
            frozen when training begins; its heads, causal mask and positions have to be the same, which a checkpoint
            does not tell. None trains all.
        drop_rate: Share of the training samples that lose one or two modalities, drawn anew every time.
        prompt_init: How prompts start, "normal" or, all zero, "released".
        prompt_length: Steps P of a generative prompt, and number of type tokens of a modality.
        dim: Width d of each sequence and of the prompts, at least 4.
        heads: Heads of every encoder; divides d.
        depth: Layers of a cross-modal encoder; a memory has max(depth, 3).
        attn_dropout: Dropout of attention weights.
        relu_dropout: Dropout behind the ReLU of each layer.
        res_dropout: Dropout of what a layer adds to its input.
        embed_dropout: Dropout of the text input and of every embedded sequence.
        out_dropout: Dropout inside the block before the classifier.
        causal: Hide keys j > i + |Tk - Tq| from query i.
        positions: "released" gives no position where the first channel is 0, "time" gives every step one.
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: If a modality is not in use, for an option out of range, heads that do not divide the width; when
            called, for a batch that is not padded to the lengths of the spec; when trained, if the checkpoint does not
            fit.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> model = MPLMM(spec, task, dim=8, heads=2, depth=1, prompt_length=2, seed=0)
        >>> batch = Batch.random(spec, task, size=3)
        >>> (step,) = model.steps(batch)
        >>> model(batch).logits.shape, step.batch.vision.observed.any(1).tolist()
        (torch.Size([3, 1]), [...])
    """

    fixed_length = True
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"pretrained": ()}

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        pretrained: str | None = None,
        drop_rate: float = 0.7,
        prompt_init: PromptInit = "normal",
        prompt_length: int = 16,
        dim: int = 30,
        heads: int = 5,
        depth: int = 5,
        attn_dropout: float = 0.1,
        relu_dropout: float = 0.1,
        res_dropout: float = 0.1,
        embed_dropout: float = 0.25,
        out_dropout: float = 0.1,
        causal: bool = True,
        positions: PositionRule = "released",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        _check_options(spec, dim, depth, prompt_length)
        check_choice("MPLMM", "positions", positions, get_args(PositionRule))
        self.pretrained, self.prompt_init, self.positions = pretrained, prompt_init, positions
        self.embed_dropout = embed_dropout
        self.lengths = {name: spec.length(name) for name in MODALITIES}
        self.views = IncompleteViews(RandomSMM(drop_rate), seed)
        self.project = nn.ModuleDict({name: TemporalConv(self.input_dims[name], dim, 1) for name in MODALITIES})
        self.prompts = MissingPrompts(self.input_dims, self.lengths, dim, prompt_length, prompt_init)

        dropouts = Dropouts(attn_dropout, relu_dropout, res_dropout, embed_dropout)
        self.sources = {name: [other for other in MODALITIES if other != name] for name in MODALITIES}
        self.crossmodal = nn.ModuleDict(
            {
                f"{a}_from_{b}": TransformerEncoder(dim, heads, depth, dropouts, causal)
                for a in MODALITIES
                for b in self.sources[a]
            }
        )
        self.memory = nn.ModuleDict(
            {name: TransformerEncoder(2 * dim, heads, max(depth, 3), dropouts, causal) for name in MODALITIES}
        )
        self.feature_dim = 6 * dim
        self.joint = ResidualBlock(self.feature_dim, None, out_dropout)
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.hidden_shape = {name: (length, 2 * dim) for name, length in self.lengths.items()}
        if pretrained is not None:
            for part in (self.crossmodal, self.memory, self.joint):
                part.requires_grad_(False)

    @override
    def prepare(self, train: BatchSource) -> None:
        # Not at construction: a trained MPLMM has all its weights and predicts without the file of stage 1. A run that
        # goes on has drawn views, and has them as well.
        if self.pretrained is not None and not self.views.count:
            first = "train MulT first, and give the checkpoint of its run"
            found = read_stage_one(self.pretrained, self, first, "MulT", lambda name: name.startswith(SHARED))
            self.load_state_dict(found, strict=False)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from super().steps(self.views(batch, self.spec))

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        x = {name: modality.x for name, modality in given.items()}
        check_lengths("MPLMM", x, self.lengths)
        missing = missing_modalities(given, self.spec)
        x["text"] = dropout(x["text"], self.embed_dropout, self.training)
        completed, signals = self.prompts.complete(x, missing), self.prompts.signals(missing)
        gone = dict(zip(MODALITIES, missing[..., None, None].unbind(1), strict=True))
        sequences = {
            name: torch.where(gone[name], completed[name], self.project[name](x[name])) + signals[name]
            for name in MODALITIES
        }
        matrix = self.prompts.type_matrix(missing)
        tokens = dict(zip(MODALITIES, self.prompts.tokens(matrix), strict=True))
        embedded = {name: embed_positions(sequence, None, self.positions) for name, sequence in sequences.items()}
        remembered = {name: self._remember(name, embedded, tokens[name]) for name in MODALITIES}
        hidden = {name: states for name, (states, _) in remembered.items()}
        r = torch.cat([read for _, read in remembered.values()], 1)
        z = self.joint(r)
        return Output(self.classify(z), z, hidden, aux=Completion(sequences, matrix))

    def _remember(self, name: str, embedded: dict[str, Tensor], tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the sources say to each step of a target, passed through its memory; and its last type token there."""
        found = [
            self.crossmodal[f"{name}_from_{other}"](embedded[name], embedded[other]) for other in self.sources[name]
        ]
        x = embed_positions(torch.cat([torch.cat(found, 2), tokens], 1), None, self.positions)
        memory = self.memory[name]
        assert isinstance(memory, TransformerEncoder)
        hidden, r = memory.read(x, torch.full((len(x),), x.shape[1] - 1, device=x.device))
        return hidden[:, : self.lengths[name]], r

    @override
    def notes(self) -> list[str]:
        if self.prompt_init == "normal":
            return []
        return ["The type prompts of MPLMM start at zero, as released, and get no gradient: they never move."]


def _check_options(spec: DataSpec, dim: int, depth: int, prompt_length: int) -> None:
    if len(spec.modalities) < len(MODALITIES):
        raise MERError(
            f"MPLMM knows six ways in which text, audio and vision can be missing and needs all three, but the data is"
            f" used with"
            f" {', '.join(spec.modalities)}; take another network"
        )
    if dim < 4:
        raise MERError(f"dim is {dim}, but positions need a width of at least 4")
    for name, number in {"depth": depth, "prompt_length": prompt_length}.items():
        if number < 1:
            raise MERError(f"{name} of MPLMM is {number}, but must be at least 1")
