"""Networks of the zoo beside their plain transcriptions: which there are, their sizes, and that both compute the same.

A transcription is what a competent author would write from the equations: attention of the MulT family through
``F.multi_head_attention_forward``, packed LSTMs, one pass of the network a view, and no work on what nothing reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.dcca import PlainDCCA
from benchmarks.plain.dicmor import PlainDiCMoR
from benchmarks.plain.dlf import PlainDLF
from benchmarks.plain.dmd import PlainDMD
from benchmarks.plain.emt import PlainEMTDLFR
from benchmarks.plain.fdmer import PlainFDMER
from benchmarks.plain.gcnet import PlainGCNet
from benchmarks.plain.glomo import PlainGLoMo
from benchmarks.plain.imder import STEPS, PlainIMDer
from benchmarks.plain.mctn import PlainMCTN
from benchmarks.plain.mfm import PlainMFM
from benchmarks.plain.mmin import PlainIFMMIN, PlainMMIN
from benchmarks.plain.mult import Drop, PlainMulT
from benchmarks.plain.raven import PlainRAVEN
from benchmarks.plain.rmfn import PlainRMFN
from benchmarks.plain.same import assert_same, backward, in_double
from benchmarks.plain.tfrnet import PlainTFRNet
from benchmarks.plain.transm import PlainTransM
from mer_zoo.backbones import (
    DCCA,
    DCCAE,
    DLF,
    DMD,
    EMTDLFR,
    FDMER,
    IFMMIN,
    MCTN,
    MFM,
    MMIN,
    RAVEN,
    RMFN,
    DiCMoR,
    GCNet,
    GLoMo,
    IMDer,
    MulT,
    TFRNet,
    TransM,
)
from mer_zoo.backbones.glomo.experts import MixtureOfExperts
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.layers.sequence import at_words
from mer_zoo.model import Backbone, Model
from mer_zoo.task import SentimentRegression

__all__ = [
    "CASES",
    "MOSI",
    "TASK",
    "Case",
    "Pair",
    "Sizes",
    "Terms",
    "build",
    "check",
    "make_batch",
    "our_terms",
]

TASK = SentimentRegression()
Terms = dict[str, Tensor]


class Sizes(NamedTuple):
    """Widths and lengths of text, audio and vision, and the samples of a batch."""

    dims: tuple[int, int, int]
    lengths: tuple[int, int, int]
    size: int

    @property
    def spec(self) -> DataSpec:
        """The same as a description of data."""
        return DataSpec(*self.dims, *self.lengths)


MOSI = Sizes((768, 5, 20), (50, 375, 500), 16)
ALIGNED = Sizes(MOSI.dims, (50, 50, 50), 16)
# Words of 16 samples of CMU-MOSI: the quantiles 1/32, 3/32, ... of its training texts. Audio and vision are taken as
# long in proportion.
WORDS = torch.tensor([6, 7, 8, 9, 10, 10, 11, 12, 13, 14, 16, 17, 19, 22, 27, 34])


class Case(NamedTuple):
    """A network at some sizes, its dropouts by the setting's name, and whether samples are as long as CMU-MOSI's."""

    network: str
    sizes: Sizes
    dropouts: dict[str, Drop]
    padded: bool = False


class Pair(NamedTuple):
    """Ours and the plain one with the same parameters; plain gives scores and losses; released names to ours."""

    ours: Backbone
    plain: nn.Module
    plain_terms: Callable[[Batch], tuple[Tensor, Terms]]
    names: dict[str, str]


def _settings(full: Drop, title: str) -> dict[str, Drop]:
    attention = [name for name in full if name.startswith("attn")]
    return {
        "no dropout": dict.fromkeys(full, 0.0),
        "no attention dropout": full | dict.fromkeys(attention, 0.0),
        title: full,
    }


_MULT = dict.fromkeys(("attn_dropout", "attn_dropout_audio", "attn_dropout_vision", "relu_dropout"), 0.2)
_MULT |= {"res_dropout": 0.2, "embed_dropout": 0.2, "out_dropout": 0.1}
_DECOUPLING = dict.fromkeys(
    ("text_dropout", "attn_dropout", "relu_dropout", "res_dropout", "embed_dropout", "out_dropout"), 0.1
)
_DECOUPLING |= {"attn_dropout_audio": 0.0, "attn_dropout_vision": 0.0}
_EMT = {"attn_dropout": 0.3, "res_dropout": 0.1, "out_dropout": 0.3}
_TFRNET = {"text_dropout": 0.2, "attn_dropout": 0.2, "attn_dropout_audio": 0.1, "attn_dropout_vision": 0.0}
_TFRNET |= {"relu_dropout": 0.2, "res_dropout": 0.2, "embed_dropout": 0.2, "fusion_dropout": 0.2, "out_dropout": 0.0}
_DICMOR = {"text_dropout": 0.5, "attn_dropout": 0.3, "attn_dropout_audio": 0.2, "attn_dropout_vision": 0.0}
_DICMOR |= {"relu_dropout": 0.0, "res_dropout": 0.0, "embed_dropout": 0.2, "out_dropout": 0.5}
_IMAGINATION = {
    "no dropout": {"text_dropout": 0.0, "out_dropout": 0.0},
    "the authors' dropout": {"text_dropout": 0.5, "out_dropout": 0.5},
}

_GLOMO = {"attn_dropout": 0.5, "relu_dropout": 0.3, "res_dropout": 0.3, "embed_dropout": 0.2}
_GLOMO |= {"fusion_dropout": 0.1, "pool_dropout": 0.3}
_FDMER = ("attn_dropout", "relu_dropout", "res_dropout", "out_dropout")

CASES = {
    "MulT long": Case("MulT", Sizes((300, 74, 35), (20, 400, 1000), 4), _settings(_MULT, "the paper's dropout")),
    "MulT short": Case("MulT", Sizes((300, 74, 35), (20, 20, 20), 32), _settings(_MULT, "the paper's dropout")),
    "DMD": Case("DMD", MOSI, _settings(_DECOUPLING, "our dropout")),
    "DLF": Case("DLF", MOSI, _settings(_DECOUPLING, "our dropout")),
    "EMTDLFR": Case("EMTDLFR", MOSI, _settings(_EMT, "the authors' dropout")),
    "IFMMIN": Case("IFMMIN", MOSI, _IMAGINATION),
    "MCTN": Case("MCTN", MOSI, {"no dropout": {}}),
    "MFM": Case("MFM", ALIGNED, {"no dropout": {}}),
    "MMIN": Case("MMIN", MOSI, _IMAGINATION),
    "EMTDLFR padded": Case("EMTDLFR", MOSI, _settings(_EMT, "the authors' dropout"), padded=True),
    "FDMER": Case("FDMER", MOSI, {"no dropout": dict.fromkeys(_FDMER, 0.0)}),
    "DCCA": Case("DCCA", MOSI, {"no dropout": {}}, padded=True),
    "DCCAE": Case("DCCAE", MOSI, {"no dropout": {}}, padded=True),
    "GCNet": Case(
        "GCNet", MOSI._replace(size=96), {"no dropout": {"dropout": 0.0}, "the authors' dropout": {"dropout": 0.5}}
    ),
    "GLoMo": Case("GLoMo", MOSI, _settings(_GLOMO, "the authors' dropout")),
    "RAVEN": Case("RAVEN", MOSI, {"no dropout": dict.fromkeys(("frame_dropout", "word_dropout"), 0.0)}),
    "TransM": Case("TransM", ALIGNED, {"no dropout": dict.fromkeys(("rnn_dropout", "map_dropout", "dropout"), 0.0)}),
    "RMFN": Case("RMFN", ALIGNED, {"no dropout": dict.fromkeys(("summary_dropout", "out_dropout"), 0.0)}),
    "DiCMoR": Case("DiCMoR", ALIGNED, _settings(_DICMOR, "the authors' dropout")),
    "IMDer": Case("IMDer", ALIGNED, {"no dropout": dict.fromkeys(_MULT | {"text_dropout": 0.0}, 0.0)}),
    "TFRNet": Case("TFRNet", MOSI, _settings(_TFRNET, "the authors' dropout")),
}


def make_batch(case: Case, size: int | None = None) -> Batch:
    """Random features, padded behind to the longest sample where the case says so."""
    torch.manual_seed(0)
    dims, lengths, full = case.sizes
    size = full if size is None else size
    share = WORDS[:size] / lengths[0] if case.padded else torch.ones(size)

    def modality(length: int, dim: int) -> Modality:
        mask = torch.arange(length) < (share * length).round().clamp(min=2)[:, None]
        return Modality(torch.randn(size, length, dim) * mask[..., None], mask)

    text, audio, vision = map(modality, lengths, dims)
    target = torch.randint(-3, 4, (size,)).float()  # scores that occur twice, for the margin loss
    index = torch.arange(size)
    batch = Batch(text, audio, vision, target=target, index=index).trim()
    if case.network == "GCNet":  # five dialogues of two speakers
        batch = batch.replace(dialogue=index // 3 % 5, speaker=index % 2)
    return batch


def build(case: Case, drop: Drop) -> Pair:
    """Both networks of a case."""
    torch.manual_seed(1)
    dims, lengths, _ = case.sizes
    options: dict[str, Any] = dict(drop)
    if case.network == "MulT":
        options |= {"dim": 40, "heads": 10, "depth": 4}
        mult = PlainMulT(dims, 40, 10, 4, drop)
        ours: Backbone = MulT(case.sizes.spec, TASK, variant="released", **options)
        return _pair(ours, mult, lambda batch: _with_task(mult(batch), batch))
    if case.network == "EMTDLFR":
        emt = PlainEMTDLFR(dims, case.sizes.spec, drop)
        return _pair(EMTDLFR(case.sizes.spec, TASK, text_pool="first", seed=0, **options), emt, emt.losses)
    if case.network == "FDMER":
        fdmer = PlainFDMER(dims, 64, 4)
        return _same_names(FDMER(case.sizes.spec, TASK, **options), fdmer, fdmer)
    if case.network == "RAVEN":
        raven = PlainRAVEN(dims, 150, 300)
        return _same_names(
            RAVEN(case.sizes.spec, TASK, **options), raven, lambda batch: _with_task(raven(batch), batch)
        )
    if case.network == "TransM":
        transm = PlainTransM(dims, 40, 64, 5, (60, 100))
        return _same_names(
            TransM(case.sizes.spec, TASK, **options), transm, lambda batch: transm(_words(batch)), transm.name_of
        )
    if case.network == "RMFN":
        widths = (128, 32, 32)
        ours = RMFN(case.sizes.spec, TASK, hidden_dims=widths, **options)
        rmfn = PlainRMFN(dims, widths, 64, 3)
        return _same_names(ours, rmfn, lambda batch: _with_task(rmfn(_words(batch)), batch))
    if case.network == "IMDer":
        drawn = IMDer(case.sizes.spec, TASK, variant="released", sampler_steps=STEPS, seed=0, **options)
        plain_imder = PlainIMDer(dims, case.sizes.spec, drop, _noise)
        drawn.noise = lambda name, like, index: _noise(like)  # type: ignore[method-assign]  # noqa: ARG005
        drawn.score_draws = lambda name, like, index: _score_draws(like)  # type: ignore[method-assign]  # noqa: ARG005
        return _pair(drawn, plain_imder, plain_imder.losses)
    if case.network == "MCTN":
        mctn = PlainMCTN(dims, 32)
        return _pair(MCTN(case.sizes.spec, TASK, dim=32), mctn, mctn)
    if case.network == "GLoMo":
        glomo = GLoMo(case.sizes.spec, TASK, variant="released", **options)
        for mixture in glomo.mixtures.values():
            mixture.register_forward_pre_hook(_with_noise)
        plain_glomo = PlainGLoMo(dims, drop, lambda like: next(_noise(like)))
        return _pair(glomo, plain_glomo, plain_glomo)
    if case.network == "DiCMoR":
        dicmor = PlainDiCMoR(dims, case.sizes.spec, drop)
        return _pair(DiCMoR(case.sizes.spec, TASK, variant="released", seed=0, **options), dicmor, dicmor.losses)
    if case.network == "MFM":
        nothing = (0.0, 0.0, 0.0, 0.0)
        factored = MFM(case.sizes.spec, TASK, dropouts=nothing, factor_dropouts=nothing, mmd_weight=0.1)
        factored.draws = lambda name, like: next(_noise(like))  # type: ignore[method-assign]  # noqa: ARG005
        plain_mfm = PlainMFM(dims, lambda like: next(_noise(like)), 0.1)
        return _pair(factored, plain_mfm, plain_mfm)
    if case.network == "TFRNet":
        tfrnet = PlainTFRNet(dims, case.sizes.spec, drop)
        return _pair(TFRNet(case.sizes.spec, TASK, variant="released", seed=0, **options), tfrnet, tfrnet.losses)
    if case.network == "IFMMIN":
        ifmmin = PlainIFMMIN(dims, case.sizes.spec, drop)
        return _pair(IFMMIN(case.sizes.spec, TASK, seed=0, **options), ifmmin, ifmmin.terms)
    if case.network == "GCNet":
        gcnet = PlainGCNet(dims, case.sizes.spec, 100, 2, drop)
        return _pair(GCNet(case.sizes.spec, TASK, seed=0, **options), gcnet, gcnet)
    if case.network in ("DCCA", "DCCAE"):
        views = PlainDCCA(dims, 10, 256, case.network == "DCCAE")
        correlated: Backbone = (DCCAE if views.decodes else DCCA)(case.sizes.spec, TASK, **options)
        return _pair(correlated, views, views)
    if case.network == "MMIN":
        mmin = PlainMMIN(dims, case.sizes.spec, drop)
        return _pair(MMIN(case.sizes.spec, TASK, seed=0, **options), mmin, mmin.terms)
    plain, layers = (PlainDMD, 4) if case.network == "DMD" else (PlainDLF, 2)
    network = DMD if case.network == "DMD" else DLF
    decoupling = plain(dims, lengths, 50, 10, layers, drop)
    return _pair(network(case.sizes.spec, TASK, dim=50, heads=10, depth=layers, **options), decoupling, decoupling)


def _pair(ours: Backbone, plain: nn.Module, terms: Callable[[Batch], tuple[Tensor, Terms]]) -> Pair:
    report = load_released(ours, plain.state_dict(), type(ours).__name__.lower())
    return Pair(ours, plain, terms, report.used)


def _same_names(
    ours: Backbone,
    plain: nn.Module,
    terms: Callable[[Batch], tuple[Tensor, Terms]],
    name_of: Callable[[str], str] = str,
) -> Pair:
    """A pair without a released code, whose transcription has our names, or what ``name_of`` makes of them."""
    names = {name_of(name): name for name in ours.state_dict()}
    plain.load_state_dict({theirs: ours.state_dict()[mine] for theirs, mine in names.items()})
    return Pair(ours, plain, terms, names)


def _words(batch: Batch) -> Batch:
    """Audio and vision at the words of the text."""
    others = {name: at_words(batch.modality(name), batch.text.mask, aligned=False) for name in ("audio", "vision")}
    return batch.replace(**{name: Modality(x, batch.text.mask) for name, x in others.items()})


def _noise(like: Tensor) -> Iterator[Tensor]:
    """The same normal draws every time."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield torch.randn(like.shape, generator=generator).to(like.dtype)


def _with_noise(mixture: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a mixture of experts is given, and in training the noise of its gates."""
    assert isinstance(mixture, MixtureOfExperts)
    return (*given, next(_noise(given[0][:, : len(mixture.experts)]))) if mixture.training else given


def _score_draws(like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    draws = _noise(like)
    noise = next(draws)
    return next(draws)[:, 0, 0].sigmoid(), noise, noise


def _with_task(scores: Tensor, batch: Batch) -> tuple[Tensor, Terms]:
    return scores, {"task": F.l1_loss(scores, batch.target[:, None])}


def our_terms(model: Model, batch: Batch) -> tuple[Tensor, Terms]:
    """Scores and losses of a training step of ours, as the training module sums them."""
    (step,) = model.steps(batch)
    task = model.task.criterion(step.output.logits, step.batch.target).mean()
    return step.output.logits, {"task": task, **{name.split("/")[1]: loss for name, loss in step.losses.items()}}


def check(pair: Pair, batch: Batch, drop: Drop) -> None:
    """Compare scores, losses and gradients; in training mode where nothing is dropped out.

    Raises:
        AssertionError: Where they differ.
    """
    networks = (pair.ours, pair.plain)
    for network in networks:
        network.train(not any(drop.values()))
        network.zero_grad()
    with in_double(batch, *networks) as given:
        (mine, my_terms), (theirs, their_terms) = our_terms(pair.ours, given), pair.plain_terms(given)
        assert_same(mine, theirs)
        assert_same(my_terms, their_terms)
        backward(my_terms)
        backward(their_terms)
        own = dict(pair.ours.named_parameters())
        for name, parameter in pair.plain.named_parameters():
            if name in pair.names and parameter.grad is not None:
                assert_same(own[pair.names[name]].grad, parameter.grad)
    for network in networks:
        network.train()
