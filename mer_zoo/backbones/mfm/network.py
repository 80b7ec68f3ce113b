"""MFM: factors of each modality make its sequence, and factors of all of them, which tell the label, help to make each.

Idea: what is said is parted into factors of one modality each and into those that all share. The shared ones alone are
classified; together with its own they must give a modality back, step by step, so that they hold what is in the data
and not only what a label asks for. Codes of which the factors are made are drawn to a normal distribution.

Input and shapes (B batch, T words, D_m features of modality m, f_y shared factors):
    batch.text (B, T, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); where audio and vision have other
    steps than the text they are averaged over as many equal spans as it has words (layers/sequence.py, at_words);
    output.features (B, f_y), the shared factors; output.hidden[m] (B, T, h_m), the states of the Memory Fusion Network;
    output.aux, a :class:`Factors`.

Where the paper is in the code (arXiv:1806.06176):
    encoder of all modalities             backbones/mfn.py, MFM.memory
    encoders and decoders of one          backbones/mfm/sequences.py
    factors of codes                      MFM.factors
    generative and discriminative loss    MFM.losses
    distance of codes from a prior        functional/moments.py, maximum_mean_discrepancy
    surrogate inference                   MFM.steps, with ``guesses``

Missing modalities: with ``guesses``, encoders of each pair learn, on complete data, the code of the third modality and
the code of all. Of a sample that lacks one modality (``observed``) the shared factors are then made of that guess. Two
missing ones have no encoder in the paper: the pair that lacks the first of them reads zeros for the second, which is
ours. Without ``guesses``, and where nothing or a part is missing, sequences are read as they are.

Differences from the released codes (MMSA, and the authors' for the guesses), and why; ``variant="released"`` brings
their behaviour back:
    * padding: they step through it, make it again, and take the last position; here the words are moved to the front,
      the last real word counts, and words that are real and observed are to be made;
    * the kernel of the distance is divided by the number of codes twice, so that all codes look alike; here once. A
      weight of theirs is to be made smaller (configs/base/mfm.yaml says how much);
    * with guesses, what is made of the vision is compared where the audio was taken away; here the vision itself;
    * draws are made in evaluation too, without effect; here in training alone (fixed);
    * a classifier of the Memory Fusion Network that nothing reads is not built (fixed).

Reproduction: codes, factors, sequences, losses and gradients of both codes, with given draws, to 1e-5
(``load_released(..., source="mfm")``). Scores not yet run.

References:
    Tsai, Liang, Zadeh, Morency, Salakhutdinov, "Learning Factorized Multimodal Representations", ICLR 2019,
    arXiv:1806.06176.
    Released code: pliang279/factorized (MIT); usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.backbones.mfm.sequences import CodeEncoder, Decoder, decode
from mer_zoo.backbones.mfn import MFN
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.missing.drop import missing_modalities
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.functional.moments import maximum_mean_discrepancy
from mer_zoo.functional.padding import left_align
from mer_zoo.functional.precision import widen
from mer_zoo.layers.mlp import MLP
from mer_zoo.layers.sequence import at_words
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice, check_weights
from mer_zoo.task import Task

__all__ = ["MFM", "Factors"]

Variant = Literal["ours", "released"]
JOINT, COMPLETE = "joint", "complete"


class Factors(NamedTuple):
    """What a batch was parted into.

    Args:
        codes: (B, z) of each modality, and of all of them under "joint".
        guessed: By the modality that was taken away: (B, z) codes of it and of all, of the other two.
        factors: By what was taken away, or "complete": (B, f) of each modality and of all; after a guess, of the
            modality that was taken away and of all.
        x: (B, T, D) of each modality, its words moved to the front, without gradient.
        counted: (B, T) bool of each modality, what is to be made.
        missing: (B, n) bool, the modalities of which nothing was observed.
    """

    codes: dict[str, Tensor]
    guessed: dict[str, tuple[Tensor, Tensor]]
    factors: dict[str, dict[str, Tensor]]
    x: dict[str, Tensor]
    counted: dict[str, Tensor]
    missing: Tensor


class MFM(Backbone):
    """Multimodal factorization model of Tsai et al. (2019); see the module's text.

    Args:
        spec: Shapes of the data; any modalities, with ``guesses`` all three.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        guesses: Whether encoders of pairs learn what a missing modality would say.
        hidden_dims: Widths of the LSTMs of text, audio and vision in the Memory Fusion Network.
        memory_dim: Width of its memory.
        attention_dim: Width between the two maps of its attention.
        candidate_dim: Width between the two maps that propose new content of its memory.
        gate_dims: Widths between the two maps of its gates.
        code_dims: Widths of the codes of text, audio, vision, and of all.
        factor_dims: Widths of the factors of text, audio, vision, and f_y.
        dropouts: Dropouts of the Memory Fusion Network, as there.
        factor_dropouts: Dropouts inside the maps of text, audio, vision and all from codes to factors.
        out_dropout: Dropout inside the classifier.
        generation_weights: Weights of the squared errors of text, audio and vision made again.
        mmd_weight: Weight of the distances of the codes from normal draws.
        variant: "ours", or "released" for padding, kernel and vision as in the released codes.

    Raises:
        MERError: For an option out of range, guesses of fewer than three modalities, or, in the released variant, data
            that is not aligned.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> steps = list(MFM(spec, task, guesses=True).steps(Batch.random(spec, task, size=3)))
        >>> len(steps), steps[0].output.features.shape, sorted(steps[0].losses)
        (4, torch.Size([3, 64]), ['mfm/generation', 'mfm/guess', 'mfm/mmd'])
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        guesses: bool = False,
        hidden_dims: tuple[int, int, int] = (128, 32, 128),
        memory_dim: int = 64,
        attention_dim: int = 32,
        candidate_dim: int = 64,
        gate_dims: tuple[int, int] = (32, 64),
        code_dims: tuple[int, int, int, int] = (64, 80, 80, 80),
        factor_dims: tuple[int, int, int, int] = (32, 16, 64, 64),
        dropouts: tuple[float, float, float, float] = (0.7, 0.0, 0.0, 0.5),
        factor_dropouts: tuple[float, float, float, float] = (0.5, 0.7, 0.5, 0.5),
        out_dropout: float = 0.0,
        generation_weights: tuple[float, float, float] = (0.5, 0.01, 0.5),
        mmd_weight: float = 1.0,
        variant: Variant = "ours",
    ) -> None:
        super().__init__(spec, task, text_encoder)
        check_choice("MFM", "variant", variant, get_args(Variant))
        self.generation_weights = dict(zip(MODALITIES, generation_weights, strict=True))
        named = {f"generation_weights of {name}": weight for name, weight in self.generation_weights.items()}
        check_weights("MFM", named | {"mmd_weight": mmd_weight})
        if guesses and len(spec.modalities) < len(MODALITIES):
            raise MERError(
                f"MFM guesses a modality from two others, but in use are {', '.join(spec.modalities)}; set guesses:"
                " false"
            )
        self.mmd_weight, self.released = mmd_weight, variant == "released"
        if self.released and len({spec.length(name) for name in spec.modalities}) > 1:
            raise MERError("MFM as released needs aligned data; use aligned features or variant: ours")
        self.fixed_length = self.reads_padding = self.released
        self.words = spec.modalities[0]

        own = {**dict(spec), "text_dim": self.input_dims.get("text", spec.text_dim), "tokens": False}
        sizes = (hidden_dims, memory_dim, attention_dim, candidate_dim, gate_dims)
        self.memory = MFN(DataSpec(**own), task, None, *sizes, dropouts=dropouts, mask_padding=not self.released)
        self.memory.drop_head()
        codes = dict(zip((*MODALITIES, JOINT), code_dims, strict=True))
        widths = dict(zip((*MODALITIES, JOINT), factor_dims, strict=True))
        drops = dict(zip((*MODALITIES, JOINT), factor_dropouts, strict=True))
        dims = self.input_dims
        self.encoders = nn.ModuleDict({name: CodeEncoder(dims[name], codes[name]) for name in dims})
        self.to_joint = nn.Linear(self.memory.feature_dim, codes[JOINT])
        self.maps = nn.ModuleDict(
            {name: MLP(codes[name], widths[name], widths[name], drops[name]) for name in (*dims, JOINT)}
        )
        self.decoders = nn.ModuleDict({name: Decoder(widths[JOINT] + widths[name], dims[name]) for name in dims})
        self.feature_dim = widths[JOINT]
        self.head = MLP(self.feature_dim, self.feature_dim, task.num_outputs, out_dropout)
        self.guesses, self.joint_guesses = nn.ModuleDict(), nn.ModuleDict()
        for name in dims if guesses else ():
            pair = sum(dims[other] for other in dims if other != name)
            self.guesses[name] = CodeEncoder(pair, codes[name])
            self.joint_guesses[name] = CodeEncoder(pair, codes[JOINT])
        self.hidden_shape, self.hidden_axes = self.memory.hidden_shape, self.memory.hidden_axes

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        missing = missing_modalities(given, self.spec)
        words = given[self.words].mask
        if self.released:
            words = torch.ones_like(words)
            given = {name: modality.replace(mask=words) for name, modality in given.items()}
        at = {name: Modality(at_words(each, words, self.spec.aligned), words) for name, each in given.items()}
        read = self.memory.fuse(*(at.get(name, text) for name in MODALITIES))
        observed = [self._observed(each, words) for each in given.values()]
        joined, real, _ = left_align(torch.cat([each.x for each in at.values()] + observed, 2), words)
        parts = torch.split(joined, [*self.input_dims.values(), len(given)], 2)
        x = dict(zip(given, parts, strict=False))
        codes = {name: encode(x[name], real) for name, encode in self.encoders.items()}
        codes[JOINT] = self.to_joint(read.features)
        guessed = self._guess(x, real, missing)
        factors = {COMPLETE: self.factors(codes)}
        for name, (own, joint) in guessed.items():
            factors[name] = self.factors({name: own, JOINT: joint})
        features = factors[COMPLETE][JOINT]
        for i, name in reversed(list(enumerate(guessed))):
            features = torch.where(missing[:, i, None], factors[name][JOINT], features)
        counted = {name: real if self.released else real & (parts[-1][..., i] > 0) for i, name in enumerate(given)}
        truth = {name: each.detach() for name, each in x.items()}
        aux = Factors(codes, guessed, factors, truth, counted, missing)
        return Output(self.classify(features), features, read.hidden, aux=aux)

    def _observed(self, modality: Modality, words: Tensor) -> Tensor:
        """Whether anything of a modality was observed at each word, more than 0 then, (B, T, 1)."""
        share = modality.observed[..., None].to(modality.x.dtype)
        return at_words(Modality(share, modality.mask), words, self.spec.aligned)

    def _guess(self, x: Mapping[str, Tensor], real: Tensor, missing: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Codes of each modality and of all from the two others, of which what is missing is read as zeros."""
        if not self.guesses:
            return {}
        shown = {name: each.masked_fill(missing[:, i, None, None], 0.0) for i, (name, each) in enumerate(x.items())}
        guessed = {}
        for name, encode in self.guesses.items():
            pair = torch.cat([each for other, each in shown.items() if other != name], 2)
            guessed[name] = (encode(pair, real), self.joint_guesses[name](pair, real))
        return guessed

    def factors(self, codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Factors (B, f) of codes (B, z), by name."""
        return {name: F.relu(self.maps[name](code)) for name, code in codes.items()}

    def make(self, asked: Mapping[str, tuple[Tensor, Tensor]], steps: int) -> dict[str, Tensor]:
        """Sequences (B, T, D) of modalities, each of shared factors and of its own."""
        given = [(name.split()[0], torch.cat(pair, 1)) for name, pair in asked.items()]
        decoders = cast("Mapping[str, Decoder]", self.decoders)
        return dict(zip(asked, decode(decoders, given, steps), strict=True))

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        output: Output = self(batch)
        yield Step(batch, output, self.losses(output, batch))
        state: Factors = output.aux
        for name in state.guessed:
            features = state.factors[name][JOINT]
            yield Step(batch, output.replace(logits=self.classify(features), features=features), {})

    @override
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        state: Factors = output.aux
        losses = {"generation": self._generation(state), "mmd": self.mmd_weight * self._distance(state)}
        if state.guessed:
            losses["guess"] = self._guess_error(state)
        return {f"mfm/{name}": loss for name, loss in losses.items()}

    def _generation(self, state: Factors) -> Tensor:
        """Weighted squared errors of what is made of all factors, and of each modality that was guessed."""
        whole = state.factors[COMPLETE]
        asked = {name: (whole[JOINT], whole[name]) for name in state.x}
        for name in state.guessed:
            parts = state.factors[name]
            if self.released and name == "vision":
                parts = {JOINT: state.factors["audio"][JOINT], name: whole[name]}
            asked[f"{name} guessed"] = (parts[JOINT], parts[name])
        made = self.make(asked, next(iter(state.x.values())).shape[1])
        errors = []
        for key, sequence in made.items():
            name = key.split()[0]
            squares = (widen(sequence) - widen(state.x[name])).square().mean(2)
            error = distributed_mean(squares, state.counted[name].to(squares.dtype))
            errors.append(self.generation_weights[name] * error)
        return torch.stack(errors).sum()

    def _distance(self, state: Factors) -> Tensor:
        distances = []
        for name, code in state.codes.items():
            width = code.shape[1] ** 2 if self.released else None
            distances.append(maximum_mean_discrepancy(self.draws(name, code), code, width))
        return torch.stack(distances).sum()

    def draws(self, name: str, like: Tensor) -> Tensor:  # noqa: ARG002
        """Normal draws of the shape of a code, from the global random state."""
        return torch.randn_like(like)

    def _guess_error(self, state: Factors) -> Tensor:
        """Squared errors of guessed codes, over samples that lack nothing."""
        complete = ~state.missing.any(1)
        errors = []
        for name, guesses in state.guessed.items():
            for guess, code in zip(guesses, (state.codes[name], state.codes[JOINT]), strict=True):
                squares = (widen(guess) - widen(code)).square().mean(1)
                errors.append(distributed_mean(squares, complete.to(squares.dtype)))
        return torch.stack(errors).sum()
