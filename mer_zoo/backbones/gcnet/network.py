"""GCNet: utterances of a dialogue are read along time and along the speakers' turns, and what is missing is completed.

Idea: an utterance of which modalities are missing can be understood by those around it. A recurrent network reads the
dialogue; two graphs join each utterance with its neighbours, one by what comes before and after, one by who speaks to
whom; what both say of an utterance gives its scores and all of its modalities, of which those that are missing are
compared with what they were.

Input and shapes (B utterances in D dialogues of at most S, D_m features of modality m, h width, g that of graphs):
    batch.text (B, T_t, D_t), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v), aligned or not, any of them alone,
    each taken as the mean of its observed steps;
    output.features (B, 2h + g), the sum of what both graphs say; no hidden sequences, as an utterance is one vector.

Where the paper is in the code:
    dialogues of a batch                          layers/dialogues.py
    temporal and speaker graph, their networks    backbones/gcnet/graph.py
    reconstruction loss                           backbones/gcnet/completion.py, GCNet.losses
    missing modalities in training                GCNet.steps, data/missing/sets.py, AtLeastOne

Missing modalities: `observed` tells; a modality of which nothing was observed is a vector of zeros. In training each
utterance loses modalities anew, but never all of them.

What is decided here:
    * dialogues: batches have to hold them whole (data.batches: dialogues), else a score would hang on the rest of the
      batch; `partial` takes what there is. Samples of data that tell no dialogues are read one by one, which leaves the
      graphs nothing but the utterance itself;
    * speakers: the first `speakers - 1` of a dialogue, by name, are told apart from each other and from all others, so
      that dialogues of many have relations, too; who is not told is the first;
    * modalities that the complete batch lacks are no targets.

Differences from the released code, and why; ``variant="released"`` brings its behaviour back:
    * recurrent networks run over padding, so that scores hang on the longest dialogue of the batch; here not;
    * its reconstruction loss takes the mask of utterances in the order of dialogues for one in the order of turns, so
      that with unequal lengths some utterances drop out and padding counts; here utterances count;
    * its relations are numbered by the order of a Python set, which changes from run to run, so that saved weights lose
      their meaning; here past, now, future and (target, source) 00, 01, 10, 11 (fixed). `in_order` of
      mer_zoo/compat/gcnet.py brings released weights into it, if the order is known;
    * a second recurrent network that nothing reads, and an attention where none is asked for, are not built (fixed).
What the authors call classification of the reconstruction, off in their scripts, is `second_pass`.

Reproduction: outputs, both losses and gradients of the released code to 1e-5, for two speakers with the attention and
for one without. Scores not yet run.

References:
    Lian, Chen, Sun, Liu, Tao, "GCNet: Graph Completion Network for Incomplete Multimodal Learning in Conversation",
    IEEE TPAMI 2023. Released code: zeroQiaoba/GCNet (no licence stated); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.gcnet.completion import Completion, completion_error, in_released_order
from mer_zoo.backbones.gcnet.graph import GraphNetwork, run_rnn, speaker_relations, temporal_relations
from mer_zoo.batch import Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import unobserved
from mer_zoo.data.missing.sets import AtLeastOne
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.layers.dialogues import Dialogues
from mer_zoo.layers.recurrent import BiLSTM
from mer_zoo.layers.sequence import observed_means
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["GCNet"]

Variant = Literal["ours", "released"]
ORDER = ("audio", "text", "vision")  # of the vectors side by side


class GCNet(Backbone):
    """Graph completion network of Lian et al. (2023); see the module's text.

    Args:
        spec: Shapes of the data; any modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        rate: Share of the modalities that utterances lose in training, drawn anew every time.
        dim: Width h of the first recurrent network; 50, 100 or 200 in the paper.
        graph_dim: Width g of the graph convolutions; h // 2 by default.
        past: So many utterances behind it hear of an utterance; -1 for all.
        future: So many before it; -1 for all.
        speakers: How many speakers of a dialogue are told apart.
        time_attention: Whether each utterance looks at its whole dialogue at the end.
        reconstruction_weight: Weight of the reconstruction loss.
        dropout: Between the layers of the recurrent networks.
        second_pass: Whether scores are of a second pass, over what the first has reconstructed.
        partial: Whether batches may hold dialogues in part.
        variant: "ours", or "released" for recurrence over padding and the loss of the released code.
        seed: Seed of what is missing in training; None for the global one.

    Raises:
        MERError: For an option out of range; when called, for a batch that holds a dialogue in part.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> batch = Batch.random(spec, task, size=5)
        >>> batch = batch.replace(dialogue=torch.tensor([0, 1, 0, 0, 1]), turn=torch.arange(5))
        >>> (step,) = GCNet(spec, task, dim=4, seed=0).steps(batch)
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([5, 10]), ['gcnet/reconstruction'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        rate: float = 0.5,
        dim: int = 100,
        graph_dim: int | None = None,
        past: int = 2,
        future: int = 2,
        speakers: int = 2,
        time_attention: bool = False,
        reconstruction_weight: float = 1.0,
        dropout: float = 0.5,
        second_pass: bool = False,
        partial: bool = False,
        variant: Variant = "ours",
        seed: int | None = None,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("GCNet", "variant", variant, get_args(Variant))
        check_weights("GCNet", {"reconstruction_weight": reconstruction_weight})
        graph_dim = dim // 2 if graph_dim is None else graph_dim
        for name, value, least in (
            ("dim", dim, 2),
            ("graph_dim", graph_dim, 1),
            ("past", past, -1),
            ("future", future, -1),
            ("speakers", speakers, 1),
        ):
            if value < least:
                raise MERError(f"{name} of GCNet is {value}, but must be at least {least}")
        self.window, self.speakers, self.reconstruction_weight = (past, future), speakers, reconstruction_weight
        self.second_pass, self.partial, self.released = second_pass, partial, variant == "released"
        self.views = IncompleteViews(AtLeastOne(rate), seed) if len(spec.modalities) > 1 else None

        self.widths = {name: self.input_dims[name] for name in ORDER if name in spec.modalities}
        width = sum(self.widths.values())
        self.rnn = BiLSTM(width, dim, 2, dropout)
        relations = {"temporal": 3, "speaker": speakers * speakers}
        self.graphs = nn.ModuleDict(
            {
                name: GraphNetwork(2 * dim, graph_dim, count, dropout, time_attention, packed=not self.released)
                for name, count in relations.items()
            }
        )
        self.feature_dim = 2 * dim + graph_dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        self.reconstruct = nn.Linear(self.feature_dim, width)

    @override
    def forward(self, batch: Batch) -> Output:
        given = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
        told = batch.dialogue is not None
        dialogues = Dialogues.of(batch, self.partial) if told else Dialogues.alone(batch.text.mask)
        output = self._read(given, dialogues)
        return output.replace(inputs={name: modality.x for name, modality in given.items()})

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        """Each sample is read as a dialogue of one utterance."""
        given = self.in_use(text, audio, vision)
        return self._read(given, Dialogues.alone(text.mask))

    def _read(self, given: Mapping[str, Modality], dialogues: Dialogues) -> Output:
        vectors = self._vectors(given, dialogues)
        hidden = self._run(vectors, dialogues)
        made = self.reconstruct(hidden)
        if self.second_pass:
            hidden = self._run(made, dialogues)
        features = dialogues.flat(hidden)
        parts = torch.split(made, list(self.widths.values()), 2)
        completion = Completion(dict(zip(self.widths, parts, strict=True)), dialogues)
        return Output(self.classify(features), features, aux=completion)

    def _vectors(self, given: Mapping[str, Modality], dialogues: Dialogues) -> Tensor:
        """(D, S, width) vectors of all utterances, zero where missing and at padding."""
        means = observed_means(given, unobserved(given, self.spec))
        return dialogues.pad(torch.cat([means[name] for name in self.widths], 1))

    def _run(self, x: Tensor, dialogues: Dialogues) -> Tensor:
        """(D, S, feature_dim) of (D, S, width)."""
        mask = dialogues.mask
        h = run_rnn(self.rnn, x, mask, packed=not self.released)
        temporal = temporal_relations(mask, *self.window)
        speaker = speaker_relations(temporal.any(1), dialogues.speaker.clamp(max=self.speakers - 1), self.speakers)
        result: Tensor = self.graphs["temporal"](h, temporal, mask) + self.graphs["speaker"](h, speaker, mask)
        return result

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        view: Batch = batch if self.views is None else self.views(batch, self.spec)
        output: Output = self(view)
        completion: Completion = output.aux
        with torch.no_grad():
            complete = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
            truth = torch.split(self._vectors(complete, completion.dialogues), list(self.widths.values()), 2)
        lost = unobserved(self.in_use(view.text, view.audio, view.vision), self.spec) & ~unobserved(complete, self.spec)
        places = [self.spec.modalities.index(name) for name in self.widths]
        output = output.replace(
            aux=completion._replace(
                truth=dict(zip(self.widths, truth, strict=True)), missing=completion.dialogues.pad(lost[:, places])
            )
        )
        yield Step(view, output, self.losses(output, view))

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        completion: Completion = output.aux
        if completion.truth is None or completion.missing is None:
            return {}
        error = completion_error(completion.made, completion.truth, completion.missing)
        mask = completion.dialogues.mask
        counted = in_released_order(mask) if self.released else mask
        loss = distributed_mean(error, counted.to(error.dtype))
        return {"gcnet/reconstruction": self.reconstruction_weight * loss}
