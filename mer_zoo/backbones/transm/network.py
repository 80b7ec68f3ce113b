"""TransM (TransModality): what two modalities mean together is what a translation between them has to know.

Idea: a transformer translates the text into what is seen, and a second one translates that back into the text; so too
with what is heard. What the encoders of both ways say of each step, beside each modality's own states, is classified.

Input and shapes (B batch, T words, D_m features of modality m, d width, n modalities in use):
    batch.text (B, T, D_l), and batch.audio or batch.vision (B, T_m, D_m) or both, averaged at the words where their
    steps are others; output.features (B, (3 n - 2) d): of both ways with each other modality, then of each modality;
    output.hidden[m] (B, T, d), each modality's states at the words, in context: clip.

Where the paper is in the code (steps are one vector of each modality):
    bi-GRU, tanh map            TransM.rnn, TransM.project
    E1, D1, Y^, E2, D2, X^      backbones/transm/cell.py, FusionCell
    joint representation        TransM._read
    losses                      TransM.losses

context: the paper's steps are the utterances of a video, one vector each, and each is classified. So does "dialogue"
(``data.batches: dialogues``, and the mean of each clip's frames as its vector), which has no hidden sequences. "clip"
takes the words of a clip for the steps and means over them: another use, which the usual files of clips allow.

What is missing: the decoder reads the true sequence of what it translates into, at test, too, so that the paper's
network needs all modalities, and says nothing of others. Here, where the other modality was not observed, its query is
missing: zeros, so that positions alone are asked for, and nothing of the truth is used; and nothing is translated into
it. A network trained on complete data has not met such a query: train it on incomplete views (train_pattern). Text that
is missing goes in as zeros.

What is known is the abstract, and a public program under the paper's name, of which is not said whose it is; it was
read, not run. From the program: every shape named above, the translations' order, losses and their weight. Options for
what it does and a sane network does not, all off:
    * rectified_attention: a ReLU behind queries, keys, values and result of every attention;
    * rectified_translations: a ReLU behind the translations, which then cannot be negative, as features are.
Inferred: sinusoids for the positions; that padding is hidden; where the dropout of layers stands. Sizes are smaller by
default, for a CPU; configs/base/transm.yaml has those of the program.

Reproduction: every equation above against a plain transcription; no parity is claimed. Scores not yet run.

References:
    Wang, Wan, Wan, "TransModality: An End2End Fusion Method with Transformer for Multimodal Sentiment Analysis", WWW
    2020, arXiv:2009.02902.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.transm.cell import FusionCell, Places, Sizes
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.dropout import dropout
from mer_zoo.functional.precision import widen
from mer_zoo.layers.dialogues import Dialogues
from mer_zoo.layers.recurrent import BiGRU
from mer_zoo.layers.sequence import at_words, masked_mean, observed_means
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["TransM"]

Context = Literal["clip", "dialogue"]


class Steps(NamedTuple):
    """What the losses need: features and what was observed of each modality, states, the cells' D1 and E2, real steps.

    Args:
        x: (B, T, D_m) of each modality.
        observed: (B, T) bool of each modality.
        states: (B, T, d) of each modality.
        decoded: D1 and E2, (B, T, d) each, of each other modality.
        words: (B, T) bool.
        places: The same for the cells.
    """

    x: dict[str, Tensor]
    observed: dict[str, Tensor]
    states: dict[str, Tensor]
    decoded: dict[str, tuple[Tensor, Tensor]]
    words: Tensor
    places: Places


class TransM(Backbone):
    """TransModality of Wang et al. (2020); see the module's text for what is known of it and what is missing.

    Args:
        spec: Shapes of the data; text and at least one other modality.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        dim: Width d.
        rnn_dim: Width of each direction of the GRUs.
        heads: Heads of the attention; divides d.
        ffn_dim: Width of the feed-forward parts, of the cells of audio and vision.
        encoder_depth: Layers of each encoder.
        decoder_depth: Layers of each decoder.
        translation_weight: Weight of each error of a translation.
        rnn_dropout: Dropout of the GRUs' states.
        map_dropout: Dropout of what leads to each modality's states and behind it.
        dropout: Dropout of what each part of a layer adds.
        context: What a sequence is: a "clip" of words or a "dialogue" of clips.
        partial: Whether a dialogue may lack samples that its split has.
        rectified_attention: Whether a ReLU stands behind the maps of the attention.
        rectified_translations: Whether a ReLU stands behind the translations.

    Raises:
        MERError: If text and another modality are not in use, or for an option out of range.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> (step,) = TransM(spec, task, dim=10, rnn_dim=8).steps(Batch.random(spec, task, size=3))
        >>> step.output.features.shape, sorted(step.losses)
        (torch.Size([3, 70]), ['transm/audio', 'transm/audio_text', 'transm/vision', 'transm/vision_text'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        dim: int = 40,
        rnn_dim: int = 64,
        heads: int = 5,
        ffn_dim: tuple[int, int] = (60, 100),
        encoder_depth: int = 2,
        decoder_depth: int = 1,
        translation_weight: float = 10.0,
        rnn_dropout: float = 0.3,
        map_dropout: float = 0.3,
        dropout: float = 0.1,
        context: Context = "clip",
        partial: bool = False,
        rectified_attention: bool = False,
        rectified_translations: bool = False,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("TransM", "context", context, get_args(Context))
        check_weights("TransM", {"translation_weight": translation_weight})
        self.others = [name for name in spec.modalities if name != "text"]
        if len(self.others) == len(spec.modalities) or not self.others:
            raise MERError(
                f"TransM translates text into audio or vision and back, but the data has {', '.join(spec.modalities)};"
                " give text and another"
            )
        for name, depth in {"encoder_depth": encoder_depth, "decoder_depth": decoder_depth}.items():
            if depth < 1:
                raise MERError(f"{name} of TransM is {depth}, but must be at least 1")
        self.context, self.partial, self.weight = context, partial, translation_weight
        self.rnn_dropout, self.map_dropout, self.rectified = rnn_dropout, map_dropout, rectified_translations
        self.rnn = nn.ModuleDict({m: BiGRU(width, rnn_dim) for m, width in self.input_dims.items()})
        self.project = nn.ModuleDict({m: nn.Linear(2 * rnn_dim, dim) for m in spec.modalities})
        inner = dict(zip(("audio", "vision"), ffn_dim, strict=True))
        depths = encoder_depth, decoder_depth
        self.cells = nn.ModuleDict(
            {
                m: FusionCell(
                    Sizes(dim, heads, inner[m], *depths, dropout, rectified_attention),
                    self.input_dims[m],
                    self.input_dims["text"],
                    translation_weight > 0,
                )
                for m in self.others
            }
        )
        self.feature_dim = (3 * len(spec.modalities) - 2) * dim
        self.head = nn.Linear(self.feature_dim, task.num_outputs)
        if context == "clip":
            self.hidden_shape = dict.fromkeys(spec.modalities, (spec.text_len, dim))
            self.hidden_axes = dict.fromkeys(spec.modalities, "text")

    @override
    def forward(self, batch: Batch) -> Output:
        if self.context == "clip":
            return super().forward(batch)
        given = self.in_use(self.encode_text(batch.text), batch.audio, batch.vision)
        output = self._among(given, Dialogues.of(batch, self.partial))
        return output.replace(inputs={name: modality.x for name, modality in given.items()})

    def _among(self, given: dict[str, Modality], dialogues: Dialogues) -> Output:
        """Scores of utterances, each read among those of its dialogue."""
        missing = missing_modalities(given, self.spec)
        x = {name: dialogues.pad(vector) for name, vector in observed_means(given, missing).items()}
        seen = {name: dialogues.pad(~missing[:, i]) for i, name in enumerate(given)}
        joint, steps = self._read(x, seen, dialogues.mask)
        features = dialogues.flat(joint)
        return Output(self.classify(features), features, aux=steps)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given, words = self.in_use(text, audio, vision), text.mask
        if self.context == "dialogue":
            return self._among(given, Dialogues.alone(words))
        x = {name: at_words(modality, words, self.spec.aligned) for name, modality in given.items()}
        shares = {name: modality.replace(x=modality.observed[..., None].to(text.x)) for name, modality in given.items()}
        seen = {name: at_words(share, words, self.spec.aligned).squeeze(2) > 0 for name, share in shares.items()}
        joint, steps = self._read(x, seen, words)
        features = masked_mean(joint, words)
        return Output(self.classify(features), features, steps.states, aux=steps)

    def _read(self, x: dict[str, Tensor], observed: dict[str, Tensor], words: Tensor) -> tuple[Tensor, Steps]:
        """The joint representation (B, T, feature_dim) of steps, and what the losses need."""
        states = {name: self._states(name, value, words) for name, value in x.items()}
        places = Places.of(states["text"], words)
        parts, decoded = [], {}
        for name in self.others:
            query = torch.where(observed[name][..., None], states[name], 0.0)
            first, there, second = self.cells[name](states["text"], query, places)
            parts += [first, second]
            decoded[name] = (there, second)
        joint = torch.cat([*parts, *states.values()], 2)
        return joint, Steps(x, observed, states, decoded, words, places)

    def _states(self, name: str, x: Tensor, words: Tensor) -> Tensor:
        """States (B, T, d) of a modality, zero at padding."""
        read = dropout(self.rnn[name](x, words), self.rnn_dropout, self.training)
        mapped = torch.tanh(self.project[name](dropout(read, self.map_dropout, self.training)))
        return torch.where(words[..., None], dropout(mapped, self.map_dropout, self.training), 0.0)

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        if not self.weight:
            return {}
        steps: Steps = output.aux
        found = {}
        for name, (decoded, second) in steps.decoded.items():
            cell = self.cells[name]
            assert isinstance(cell, FusionCell)
            other, text = cell.translations(steps.states["text"], decoded, second, steps.places)
            found[f"transm/{name}"] = self._error(other, name, steps)
            found[f"transm/{name}_text"] = self._error(text, "text", steps)
        return found

    def _error(self, made: Tensor, name: str, steps: Steps) -> Tensor:
        """Weighted mean absolute error of a translation, at real steps where its target was observed."""
        made = made.relu() if self.rectified else made
        errors = (widen(made) - widen(steps.x[name].detach())).abs().mean(2)
        return self.weight * distributed_mean(errors, (steps.words & steps.observed[name]).to(errors.dtype))
