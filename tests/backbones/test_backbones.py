"""What every backbone must keep: shapes, gradients, invariance to padding and batch,
survival of bad luck in the data.
"""

import copy
import functools
import itertools
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from mer_zoo import backbones
from mer_zoo.backbones import (
    DCCA,
    DCCAE,
    DLF,
    DMD,
    EFLSTM,
    EMTDLFR,
    FDMER,
    IFMMIN,
    LFDNN,
    LFLSTM,
    LMF,
    LNLN,
    MAGBERT,
    MCTN,
    MFM,
    MFN,
    MISA,
    MMIN,
    MPLMM,
    PMR,
    RAVEN,
    RMFN,
    TFN,
    CIDerNet,
    CubeMLP,
    CUMDFNet,
    DiCMoR,
    GCNet,
    GLoMo,
    IMDer,
    MulT,
    SelfMM,
    TFRNet,
    TransM,
)
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

# With this seed each modality is there in one of four samples, so that every encoder reads something.
IMAGINATION: dict[str, Any] = {"dim": 8, "cascade_dims": (24, 12), "blocks": 2, "head_dims": (16,), "seed": 1}
IMAGINATION |= {"out_dropout": 0.0, "text_dropout": 0.0}
FACTORS: dict[str, Any] = {"hidden_dims": (8, 6, 6), "memory_dim": 8, "code_dims": (6, 7, 8, 9)}
FACTORS |= {"factor_dims": (8, 9, 10, 16), "dropouts": (0.0,) * 4, "factor_dropouts": (0.0,) * 4}
SMALL: dict[str, Callable[[DataSpec, Task], Backbone]] = {
    "MulT": lambda spec, task: MulT(spec, task, dim=8, heads=2, depth=2, kernels=(1, 3, 2)),
    "MulT causal": lambda spec, task: MulT(spec, task, dim=8, heads=2, depth=1, causal=True),
    "MulT text-only": lambda spec, task: MulT(spec, task, dim=8, heads=2, depth=1, targets=["text"]),
    "MulT released": lambda spec, task: MulT(spec, task, dim=8, heads=2, depth=1, variant="released"),
    "EFLSTM": lambda spec, task: EFLSTM(spec, task, dim=8),
    "EFLSTM released": lambda spec, task: EFLSTM(spec, task, dim=8, variant="released"),
    "LFLSTM": lambda spec, task: LFLSTM(spec, task, dim=8),
    "CIDerNet": lambda spec, task: CIDerNet(spec, task, dim=8, heads=2, mask_padding=True),
    "CUMDFNet": lambda spec, task: CUMDFNet(spec, task, dim=8, out_dropout=0.0),
    "DMD": lambda spec, task: DMD(spec, task, dim=8, heads=2, depth=1, kernels=(1, 1, 1)),
    "DLF": lambda spec, task: DLF(spec, task, dim=8, heads=2, depth=1, kernels=(1, 1, 1)),
    "LNLN": lambda spec, task: LNLN(spec, task, dim=8, heads=1, hyper_heads=2, tokens=3),
    "EMTDLFR": lambda spec, task: EMTDLFR(
        spec, task, dim=8, heads=2, depth=2, lstm_dims=(4, 6), fusion_dim=8, predictor_dims=(8, 8, 8, 8)
    ),
    "CIDerNet released": lambda spec, task: CIDerNet(spec, task, dim=8, heads=2),
    "PMR": lambda spec, task: PMR(spec, task, dim=8, heads=2, depth=2),
    "TFN": lambda spec, task: TFN(spec, task, hidden_dims=(8, 6, 6), text_out=4, fusion_dim=8),
    "TFN released": lambda spec, task: TFN(
        spec, task, hidden_dims=(8, 6, 6), text_out=4, fusion_dim=8, mask_padding=False
    ),
    "LMF": lambda spec, task: LMF(spec, task, hidden_dims=(8, 6, 6)),
    "LFDNN": lambda spec, task: LFDNN(spec, task, hidden_dims=(8, 6, 6), text_out=4, fusion_dim=8),
    "MFM": lambda spec, task: MFM(spec, task, **FACTORS, guesses=len(spec.modalities) == 3),
    "MFM released": lambda spec, task: MFM(spec, task, **FACTORS, variant="released"),
    "MFN": lambda spec, task: MFN(spec, task, hidden_dims=(8, 6, 6), memory_dim=8),
    "MFN released": lambda spec, task: MFN(spec, task, hidden_dims=(8, 6, 6), memory_dim=8, mask_padding=False),
    "MISA": lambda spec, task: MISA(spec, task, dim=8, ffn_dim=16),
    "SelfMM": lambda spec, task: SelfMM(spec, task, fusion_dim=8, post_dims=(6, 4, 6)),
    "MAGBERT": lambda spec, task: MAGBERT(spec, task, dim=8, depth=1, heads=2, embed_dropout=0.0),
    "CubeMLP": lambda spec, task: CubeMLP(spec, task, dim=8, hidden_dims=((6, 3, 8), (4, 3, 8))),
    "RAVEN": lambda spec, task: RAVEN(spec, task, dim=8, nonverbal_dim=6, steps=2, frame_dropout=0.0),
    "TransM": lambda spec, task: TransM(spec, task, dim=8, rnn_dim=6, heads=2, ffn_dim=(6, 6), encoder_depth=1),
    "FDMER": lambda spec, task: FDMER(spec, task, dim=8, heads=2),
    "RMFN": lambda spec, task: RMFN(
        spec, task, hidden_dims=(8, 6, 6), cross_dim=5, highlight_dim=4, fuse_dim=4, summary_dim=6, out_dropout=0.0
    ),
    "TFRNet": lambda spec, task: TFRNet(
        spec, task, dim=8, heads=2, depth=1, fusion_dims=(4, 5, 6), gru_depth=1, hidden_dim=6, rate=0.5, seed=1
    ),
    "TFRNet released": lambda spec, task: TFRNet(
        spec,
        task,
        dim=8,
        heads=2,
        depth=1,
        fusion_dims=(4, 5, 6),
        gru_depth=1,
        hidden_dim=6,
        rate=0.5,
        seed=1,
        variant="released",
    ),
    "IMDer": lambda spec, task: IMDer(
        spec,
        task,
        dim=8,
        heads=2,
        depth=1,
        kernels=(1, 3, 1),
        channels=(8, 8, 8),
        time_dim=8,
        score_heads=2,
        score_depth=1,
        groups=(4, 2),
        sampler_steps=2,
        refinement_depth=1,
        seed=1,
    ),
    "MCTN": lambda spec, task: MCTN(spec, task, dim=6),
    "IFMMIN": lambda spec, task: IFMMIN(spec, task, **IMAGINATION),
    "MMIN": lambda spec, task: MMIN(spec, task, **IMAGINATION),
    "MMIN released": lambda spec, task: MMIN(spec, task, **IMAGINATION, variant="released"),
    "DiCMoR": lambda spec, task: DiCMoR(
        spec, task, dim=8, heads=2, depth=1, kernels=(1, 3, 1), flow_steps=2, flow_dim=4, refinement_depth=1, seed=1
    ),
    "DCCA": lambda spec, task: DCCA(spec, task, dim=3, hidden_dim=16),
    "DCCAE": lambda spec, task: DCCAE(spec, task, dim=3, hidden_dim=16),
    "GCNet": lambda spec, task: GCNet(spec, task, dim=8, dropout=0.0, seed=1),
    "GLoMo": lambda spec, task: GLoMo(
        spec, task, dim=8, heads=2, depth=1, experts=(2, 2, 2), fusion_depth=1, ffn_dim=16, pool_dropout=0.0
    ),
    "GLoMo released": lambda spec, task: GLoMo(
        spec, task, dim=8, heads=2, depth=1, experts=(2, 2, 2), ffn_dim=16, pool_dropout=0.0, variant="released"
    ),
    "MPLMM": lambda spec, task: MPLMM(spec, task, dim=8, heads=2, depth=1, prompt_length=2, drop_rate=1.0),
}
PAIRS = {"CUMDFNet", "DMD", "DLF", "IFMMIN", "LNLN", "MAGBERT", "MMIN", "TransM"}  # they work on two modalities or more
# The released behaviour and these networks read padding; they say so by fixed_length and are exempt from invariance to
# padding.
FIXED = {"DMD", "DLF", "DiCMoR", "IMDer", "LNLN", "CubeMLP", "MPLMM"}
SANE = [name for name in SMALL if "released" not in name and name not in FIXED]
TASKS: list[Task] = [SentimentRegression(), SentimentClassification(7), EmotionDetection()]
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(MODALITIES, size)]
CASES = [
    (name, subset)
    for name in SMALL
    for subset in SUBSETS
    if (name not in ("MulT text-only", "DLF", "LNLN", "MAGBERT", "RAVEN", "TransM") or "text" in subset)
    and (name.split()[0] not in PAIRS or len(subset) > 1)
    and (name not in ("DiCMoR", "IMDer", "MPLMM") or len(subset) == 3)
]


def make(name: str, task: Task | None = None, **options: Any) -> tuple[Backbone, Batch]:
    if "released" in name:
        options = {"text_len": 7, "audio_len": 7, "vision_len": 7, "aligned": True} | options
    spec, task = DataSpec(**options), task or SentimentClassification(3)
    torch.manual_seed(0)
    return SMALL[name](spec, task), Batch.random(spec, task, size=4)


def change(batch: Batch, function: Callable[[Modality], Modality]) -> Batch:
    return batch.replace(**{name: function(batch.modality(name)) for name in MODALITIES})


def loss(model: Backbone, batch: Batch) -> torch.Tensor:
    """A loss on the scores of each step, and the steps' own."""
    terms = [term for step in model.steps(batch) for term in (step.output.logits.square().sum(), *step.losses.values())]
    return torch.stack([term.float() for term in terms]).sum()


def rows(modality: Modality, start: int, stop: int) -> Modality:
    return Modality(modality.x[start:stop], modality.mask[start:stop])


def test_registry_is_covered() -> None:
    assert {name.split()[0] for name in SMALL} == set(backbones.__all__)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
@pytest.mark.parametrize("name", SMALL)
def test_offers_what_it_declares(name: str, task: Task) -> None:
    model, batch = make(name, task)
    output = model(batch)
    assert output.logits.shape == (4, *task.shape)
    assert output.features.shape == (4, model.feature_dim)
    hidden = None if output.hidden is None else {key: tuple(value.shape[1:]) for key, value in output.hidden.items()}
    assert model.hidden_shape == hidden
    assert {key: value.shape[2] for key, value in output.inputs.items()} == model.input_dims
    assert model.fixed_length == (name not in SANE)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(("name", "modalities"), CASES, ids=str)
def test_gradient_reaches_every_parameter(name: str, modalities: tuple[str, ...], dropped: bool) -> None:
    model, batch = make(name, modalities=modalities)
    if dropped:
        model.drop_head()
    assert model(batch).logits.shape == (4, model.feature_dim) if dropped else (4, 3)
    torch.autograd.backward(loss(model, batch))
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    untouched = [key for key, p in model.named_parameters() if p.grad is not None and not p.grad.any()]
    # The same number added to the score of every step leaves a softmax as it is, so only rounding errors reach that
    # bias;
    # LNLN's hyper tokens start at ones, of which a layer norm makes zeros, so that its gain gets its first gradient a
    # step later.
    idle = ("score.bias", "hyper.0.norms.hyper.weight")
    # MPLMM and DiCMoR have maps that only a code which none of the four samples has drawn would use, DiCMoR's flows
    # start with maps to zero, behind which nothing gets a gradient, and distributions of classes that the four samples
    # do not have; their own tests have a batch of all codes. GCNet reads these samples, of no dialogue, one by one, so
    # that no state comes back into its recurrences, and has nothing to complete of one modality.
    rare = ("prompts.lengthen", "recovery.")
    if name == "GCNet":
        idle_there = r"rnn\.weight_hh" if len(modalities) > 1 else r"rnn\.weight_hh|reconstruct"
        untouched = [key for key in untouched if not re.search(idle_there, key)]
    assert [key for key in untouched if not key.endswith(idle) and not key.startswith(rare)] == []


@pytest.mark.parametrize("name", SMALL)
def test_batch_size_does_not_matter(name: str) -> None:
    model, batch = make(name)
    whole = model.eval()(batch)
    for i in range(4):
        one = model(change(batch, functools.partial(rows, start=i, stop=i + 1)))
        torch.testing.assert_close(one.logits[0], whole.logits[i])
        torch.testing.assert_close(one.features[0], whole.features[i])


@pytest.mark.parametrize(("front", "behind"), [(3, 0), (0, 3), (2, 110)])
@pytest.mark.parametrize(("name", "modalities"), [case for case in CASES if case[0] in SANE], ids=str)
def test_padding_does_not_matter(name: str, modalities: tuple[str, ...], front: int, behind: int) -> None:
    model, batch = make(name, modalities=modalities)
    model.eval()

    def widen(modality: Modality) -> Modality:
        x = F.pad(torch.where(modality.mask[..., None], modality.x, 7.0), (0, 0, front, behind), value=7.0)
        return Modality(x, F.pad(modality.mask, (front, behind)))

    bare, wide = model(batch), model(change(batch, widen))
    assert (bare.hidden is None) == (wide.hidden is None)
    torch.testing.assert_close(wide.logits, bare.logits, atol=2e-5, rtol=1e-5)
    for key, value in (bare.hidden or {}).items():
        length = value.shape[1]
        torch.testing.assert_close((wide.hidden or {})[key][:, front : front + length], value, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", SANE)
def test_trimming_does_not_matter(name: str) -> None:
    model, batch = make(name)
    model.eval()
    short = change(batch, functools.partial(rows, start=1, stop=4))
    torch.testing.assert_close(model(short.trim()).logits, model(short).logits)


@pytest.mark.parametrize("empty", SUBSETS, ids="+".join)
@pytest.mark.parametrize("name", SMALL)
def test_empty_masks_give_finite_numbers(name: str, empty: tuple[str, ...]) -> None:
    model, batch = make(name)
    blanks = {}
    for key in empty:
        modality = batch.modality(key)
        mask = modality.mask.clone()
        mask[1:3] = False
        blanks[key] = Modality(modality.x * mask[..., None], mask)
    batch = batch.replace(**blanks)
    torch.autograd.backward(loss(model, batch))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    logits = model.eval()(batch).logits
    assert logits.isfinite().all()
    if name in SANE:
        one = change(batch, functools.partial(rows, start=1, stop=2)).trim()
        torch.testing.assert_close(model(one).logits[0], logits[1])


@pytest.mark.parametrize("name", SMALL)
def test_one_sample_of_one_step(name: str) -> None:
    model, batch = make(name, text_len=1, audio_len=1, vision_len=1)
    one = change(batch, functools.partial(rows, start=0, stop=1))
    assert model.eval()(one).logits.isfinite().all()
    torch.autograd.backward(model.train()(one).logits.sum())


@pytest.mark.parametrize("name", SMALL)
def test_token_ids(name: str) -> None:
    model, batch = make(name, tokens=True, vocab_size=200)
    torch.autograd.backward(model(batch).logits.square().sum())
    assert model.text_embedding is not None
    assert model.text_embedding.weight.grad is not None


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_autocast(name: str) -> None:
    model, batch = make(name)
    model.eval()
    exact = model(batch).logits
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(batch).logits
        torch.autograd.backward(loss(model, batch))
    torch.testing.assert_close(logits.float(), exact, atol=0.05, rtol=0.05)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", SMALL)
def test_copies_and_state_dicts_agree(name: str) -> None:
    model, batch = make(name)
    model.eval()
    model(batch)
    expected = model(batch).logits
    assert torch.equal(copy.deepcopy(model)(batch).logits, expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(batch).logits, expected)
    torch.manual_seed(5)
    other = SMALL[name](model.spec, model.task).eval()
    assert not torch.equal(other(batch).logits, expected)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(batch).logits, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", SMALL)
def test_gpu_agrees_with_cpu(name: str) -> None:
    model, batch = make(name)
    expected = model.eval()(batch).logits
    torch.testing.assert_close(model.cuda()(batch.to("cuda")).logits.cpu(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "option"),
    [
        (MulT, "variant"),
        (MulT, "pool"),
        (MulT, "positions"),
        (CIDerNet, "positions"),
        (PMR, "pool"),
        (SelfMM, "text_pool"),
    ],
)
def test_a_misspelt_option_is_refused(model: Callable[..., Backbone], option: str) -> None:
    with pytest.raises(MERError, match=f"unknown {option} 'tmie' of {model.__name__}; choose from"):
        model(DataSpec(), SentimentRegression(), **{option: "tmie"})
