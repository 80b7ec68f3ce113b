"""Every backbone at a tiny size, every wrapper, every kind of task and data, and what is refused with which reason."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.model import Model
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

BACKBONES = mer_zoo.backbones.__all__
WRAPPERS = [None, *mer_zoo.wrappers.__all__]
TASKS: dict[str, Task] = {
    "regression": SentimentRegression(),
    "three": SentimentClassification(3),
    "seven": SentimentClassification(7),
    "emotions": EmotionDetection(),
}
SPECS = {
    "features": DataSpec(),
    "tokens": DataSpec(tokens=True, vocab_size=200),
    "text+audio": DataSpec(modalities=["text", "audio"]),
}
CROSSMODAL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "kernels": (1, 1, 1)}
# Dropout of one unit in a layer of a few would now and then leave a parameter without gradient: what can be off is off.
TINY: dict[str, dict[str, Any]] = {
    "MulT": {"dim": 8, "heads": 2, "depth": 1},
    "CIDerNet": {"dim": 8, "heads": 2, "depth": 1},
    "CUMDFNet": {"dim": 8, "heads": 2, "out_dropout": 0.0},
    "EFLSTM": {"dim": 8, "depth": 1},
    "LFLSTM": {"dim": 8},
    "DMD": {**CROSSMODAL, "shared_hidden": 8, "private_hidden": 8},
    "DLF": CROSSMODAL,
    "PMR": {"dim": 8, "heads": 2, "depth": 1},
    "MPLMM": {"dim": 8, "heads": 2, "depth": 1, "prompt_length": 2, "drop_rate": 1.0, "seed": 0},
    "EMTDLFR": {
        "dim": 8,
        "depth": 1,
        "heads": 2,
        "lstm_dims": (8, 8),
        "utterance_dims": (8, 8),
        "fusion_dim": 8,
        "predictor_dims": (8, 8, 8, 8),
        "out_dropout": 0.0,
        "rate": 0.5,
        "seed": 0,
    },
    "LNLN": {"dim": 16, "heads": 2, "hyper_heads": 2, "tokens": 2, "discriminator_dim": 8},
    "TFN": {"hidden_dims": (8, 8, 8), "text_out": 8, "fusion_dim": 8, "embed_dropout": 0.0, "out_dropout": 0.0},
    "LMF": {"hidden_dims": (8, 8, 8), "embed_dropout": 0.0},
    "LFDNN": {"hidden_dims": (8, 8, 8), "text_out": 8, "fusion_dim": 8, "embed_dropout": 0.0, "out_dropout": 0.0},
    "MFM": {
        "hidden_dims": (8, 8, 8),
        "memory_dim": 8,
        "attention_dim": 8,
        "candidate_dim": 8,
        "gate_dims": (8, 8),
        "code_dims": (8, 8, 8, 8),
        "factor_dims": (8, 8, 8, 16),
        "dropouts": (0.0, 0.0, 0.0, 0.0),
        "factor_dropouts": (0.0, 0.0, 0.0, 0.0),
        "generation_weights": (1.0, 1.0, 1.0),  # so small a network hardly acts on audio at a hundredth
    },
    "MFN": {
        "hidden_dims": (8, 8, 8),
        "memory_dim": 8,
        "attention_dim": 8,
        "candidate_dim": 8,
        "gate_dims": (8, 8),
        "head_dim": 8,
    },
    "CubeMLP": {"dim": 16, "hidden_dims": ((6, 3, 8), (6, 3, 8))},
    "MISA": {"dim": 8, "ffn_dim": 16},
    "SelfMM": {"lstm_dims": (8, 8), "out_dims": (8, 8), "fusion_dim": 16, "post_dims": (8, 8, 8)},
    "MAGBERT": {"dim": 16, "depth": 1, "heads": 2},
    "MCTN": {"dim": 8},
    "IMDer": {
        "dim": 64,
        "heads": 2,
        "depth": 1,
        "kernels": (1, 1, 1),
        "channels": (8, 8, 8),
        "time_dim": 8,
        "score_heads": 2,
        "score_depth": 1,
        "groups": (4, 4),
        "sampler_steps": 2,
        "refinement_depth": 1,
        "drop_rate": 1.0,
        "seed": 0,
    },
    "TFRNet": {
        "dim": 8,
        "heads": 2,
        "depth": 1,
        "fusion_dims": (8, 8, 8),
        "gru_depth": 1,
        "hidden_dim": 8,
        "rate": 0.5,
        "seed": 0,
    },
    "RAVEN": {"dim": 8, "nonverbal_dim": 8, "frame_dropout": 0.0, "word_dropout": 0.0},
    "TransM": {
        "dim": 8,
        "rnn_dim": 8,
        "heads": 2,
        "ffn_dim": (8, 8),
        "encoder_depth": 1,
        "rnn_dropout": 0.0,
        "map_dropout": 0.0,
        "dropout": 0.0,
    },
    "FDMER": {"dim": 8, "heads": 2, "attn_dropout": 0.0, "relu_dropout": 0.0, "res_dropout": 0.0, "out_dropout": 0.0},
    "RMFN": {
        "hidden_dims": (8, 8, 8),
        "cross_dim": 8,
        "stages": 2,
        "highlight_dim": 8,
        "fuse_dim": 8,
        "summary_dim": 8,
        "summary_dropout": 0.0,
        "out_dropout": 0.0,
    },
    "IFMMIN": {"dim": 8, "cascade_dims": (16, 8), "blocks": 2, "head_dims": (16,), "out_dropout": 0.0, "seed": 0},
    "MMIN": {"dim": 8, "cascade_dims": (16, 8), "blocks": 2, "head_dims": (16,), "out_dropout": 0.0, "seed": 0},
    "DiCMoR": {
        "dim": 32,
        "heads": 2,
        "depth": 1,
        "kernels": (1, 1, 1),
        "flow_steps": 2,
        "flow_dim": 8,
        "refinement_depth": 1,
        "drop_rate": 1.0,
        "text_dropout": 0.0,
        "out_dropout": 0.0,
        "seed": 0,
    },
    "DCCA": {"dim": 4, "hidden_dim": 16},
    "DCCAE": {"dim": 4, "hidden_dim": 16},
    "GCNet": {"dim": 8, "dropout": 0.0, "rate": 0.4, "seed": 0},
    "GLoMo": {
        "dim": 8,
        "heads": 2,
        "depth": 1,
        "experts": (2, 2, 2),
        "fusion_depth": 1,
        "ffn_dim": 16,
        "attn_dropout": 0.0,
        "fusion_dropout": 0.0,
        "pool_dropout": 0.0,
    },
}
NEEDS_CLASSES = {"CausalMER", "CLUE", "MACI", "MulDeF"}
# Wrappers that ask nothing of a network but what every Output has are tried around some that differ, not around all.
SOME = ("CIDerNet", "GCNet", "LFLSTM", "MISA", "MPLMM", "SelfMM")
AROUND_SOME = {"AGM", "CASP", "DFR", "GBlend", "GroupDRO", "MCIS", "MMPareto", "MulDeF", "OGMGE", "RWG"}
# In training CASP is the network, and GBlend trains it four times beforehand.
FEW = {"CASP": ("CIDerNet", "LFLSTM"), "GBlend": ("CIDerNet", "LFLSTM")}
# Of first trainings; one epoch of a few samples gains nothing by chance, where GBlend's own rule trains no head.
FIRST: dict[str, dict[str, Any]] = {"GBlend": {"epochs": 1, "rule": "printed"}, "JTT": {"epochs": 1}}
NO_LAYER_NORM = {"GCNet", "LFLSTM", "SelfMM"}  # of SOME
MAKES_VIEWS = {"DiCMoR", "EMTDLFR", "GCNet", "IFMMIN", "IMDer", "LNLN", "MMIN", "MPLMM", "TFRNet"}
NEEDS_THREE = {"DiCMoR", "IMDer", "MPLMM"}
NO_HIDDEN_SEQUENCES = {"DCCA", "DCCAE", "FDMER", "IFMMIN", "LFDNN", "LMF", "MISA", "MMIN", "SelfMM", "TFN"}
READS_PADDING = {
    "CIDerNet",
    "CubeMLP",
    "DLF",
    "DMD",
    "DiCMoR",
    "IMDer",
    "LNLN",
    "MPLMM",
    "MSSD",
}  # by construction or, as their papers do, by default


def refusal(backbone: str, wrapper: str | None, task: str = "three", spec: str = "features") -> str | None:
    """What the refusal of a combination says, as a regular expression; None where it works."""
    if backbone in NEEDS_THREE and spec == "text+audio":
        return backbone
    if wrapper == "MMPareto" and backbone in NO_HIDDEN_SEQUENCES | {"GCNet"}:
        return f"MMPareto reads hidden sequences of known shape of each modality, which {backbone} does not"
    if wrapper == "OGMGE" and backbone == "GCNet":
        return "acts on the parameters of single modalities, of which GCNet has none"
    if wrapper in NEEDS_CLASSES and task == "regression":
        return f"{wrapper} needs classes, but SentimentRegression has a single output"
    if wrapper == "CASP" and backbone in NO_LAYER_NORM:
        return f"{backbone} has no LayerNorm"
    if wrapper in ("CUMDF", "MSSD") and backbone in MAKES_VIEWS:
        return f"{wrapper} and {backbone} both make the incomplete view"
    if wrapper == "CUMDF" and backbone in NO_HIDDEN_SEQUENCES:
        return f"{backbone} offers none"
    if wrapper == "MSSD" and backbone in NO_HIDDEN_SEQUENCES:
        return f"{backbone} does not offer; give its hidden_shape, as to mer_zoo.adapt, or set alpha to 0"
    return None


def nest(backbone: str, wrapper: str | None, task: str = "three", spec: str = "features", **options: Any) -> Model:
    """A tiny backbone under a wrapper, not yet prepared."""
    torch.manual_seed(0)
    model: Model = getattr(mer_zoo.backbones, backbone)(SPECS[spec], TASKS[task], **TINY[backbone])
    factory: Any = getattr(mer_zoo.wrappers, wrapper) if wrapper else None
    return factory(model, **options) if factory else model


def build(backbone: str, wrapper: str | None, task: str = "three", spec: str = "features") -> Model:
    """A tiny backbone under a wrapper with the statistics of a few samples."""
    model = nest(backbone, wrapper, task, spec, **FIRST.get(wrapper or "", {}))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "PropensityWeighting")  # that so few samples tell nothing
        warnings.filterwarnings("ignore", "(OGMGE|MMPareto) has little")  # that is a modality's own
        model.prepare([training_split(SPECS[spec], TASKS[task])])
    return model


@cache
def shared(backbone: str, wrapper: str | None) -> Model:
    """What :func:`build` makes, once for all tests of a process that only read it; it is in evaluation mode."""
    return build(backbone, wrapper).eval()


def training_split(spec: DataSpec, task: Task) -> Batch:
    """A batch with every class of the task, and with transcripts."""
    batch = Batch.random(spec, task, size=15)
    batch = batch.replace(raw_text=[f"well this is {'so' if i % 2 else 'not'} bad" for i in range(15)])
    every = torch.arange(15) % task.num_outputs
    return batch if batch.target.dim() == 2 else batch.replace(target=every)


def pairs() -> list[tuple[str, str | None]]:
    """Backbone and wrapper of what is tried."""
    return [(b, w) for b in BACKBONES for w in WRAPPERS if w not in AROUND_SOME or b in FEW.get(w, SOME)]


def combinations(tasks: list[str], specs: list[str], works: bool = True) -> list[tuple[str, str | None, str, str]]:
    """Backbone, wrapper, task and spec of what works, or of what is refused; data other than features for one task
    only; seven classes, emotions and tokens under wrappers around some networks only, those among them that do with
    labels or tokens what no other network does.
    """
    few = {"seven": SOME, "emotions": (*SOME, "DMD", "DLF"), "tokens": (*SOME, "MAGBERT", "EMTDLFR")}
    return [
        (b, w, t, s)
        for b, w in pairs()
        for t in tasks
        for s in specs
        if (s == "features" or t == "three")
        and (w is None or all(b in few[kind] for kind in few.keys() & {t, s}))
        and (refusal(b, w, t, s) is None) == works
    ]
