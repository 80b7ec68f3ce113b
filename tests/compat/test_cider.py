"""Parity of CIDer, as a whole, with its released code:
golden vectors made by running it, see the JSON beside each file.
"""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.backbones import CIDerNet
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification
from mer_zoo.wrappers import MACI, MSSD

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = ["cider_full_unaligned", "cider_full_aligned", "cider_full_aligned_cross_dataset"]
MODALITIES = ("text", "audio", "vision")


@functools.cache
def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_file(GOLDEN / f"{stem}.safetensors"), json.loads((GOLDEN / f"{stem}.json").read_text())["config"]


def group(stem: str, kind: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{kind}."): x for key, x in load(stem)[0].items() if key.startswith(f"{kind}.")}


def close(actual: Tensor | None, expected: Tensor) -> None:
    assert actual is not None
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def network(stem: str) -> CIDerNet:
    config = load(stem)[1]
    hyp, bert = config["hyp"], config["bert"]
    spec = DataSpec(
        audio_dim=hyp["orig_d_a"],
        vision_dim=hyp["orig_d_v"],
        text_len=hyp["l_len"],
        audio_len=hyp["a_len"],
        vision_len=hyp["v_len"],
        aligned=hyp["aligned"],
        tokens=True,
        vocab_size=bert["vocab_size"],
    )
    task, encoder = SentimentClassification(hyp["output_dim"]), {"model_type": "bert", **bert}
    sizes = {"dim": hyp["embed_dim"], "heads": hyp["num_heads"], "depth": hyp["multimodal_layers"]}
    torch.manual_seed(0)
    return CIDerNet(spec, task, encoder, positions="released", **sizes).eval()


def view(stem: str, suffix: str = "", text: str | None = None) -> Batch:
    """The complete view, or with the suffix "_m" the incomplete one, whose masks are those of the complete one."""
    tensors = group(stem, "in")
    x = {"text": tensors[text or f"text{suffix}"][:, 0].long()}
    x |= {name: tensors[f"{name}{suffix}"] for name in ("audio", "vision")}
    masks = {name: tensors[f"{name}_mask"].bool() for name in MODALITIES}
    observed = {name: tensors[f"{name}_missing_mask"].bool() if suffix else masks[name] for name in MODALITIES}
    parts = {name: Modality(x[name], masks[name], observed[name]) for name in MODALITIES}
    labels = tensors["labels"]
    return Batch(parts["text"], parts["audio"], parts["vision"], labels, torch.arange(len(labels)))


@pytest.mark.parametrize("stem", CASES)
def test_network_alone(stem: str) -> None:
    model = network(stem)
    head = model.head.get_parameter("weight").clone()
    report = load_released(model, group(stem, "param"), "cider")
    assert torch.equal(model.head.get_parameter("weight"), head)
    assert report.kept == dict.fromkeys(["head.bias", "head.weight"], report.kept["head.bias"])
    assert report.used.keys() | report.unused.keys() == group(stem, "param").keys()
    assert not report.used.keys() & report.unused.keys()
    whys = {
        "recon_text.weight": "the wrapper MSSD",
        "classifiers.0.bias": "the wrapper MACI",
        "cls_encoders_v.0.weight": "the wrapper MACI",
        "text_model.model.pooler.dense.weight": "never run",
        "multimodal_transformer.embed_positions.pe": "computed here",
    }
    assert all(why in report.unused[key] for key, why in whys.items())
    assert ("a_compress.in_proj_weight" in report.unused) == model.spec.aligned
    assert {key.split("_")[0].split(".")[0] for key in report.unused} <= {
        "recon", "classifiers", "cls", "text", "multimodal", *("av" if model.spec.aligned else "")
    }  # fmt: skip
    complete, incomplete = model(view(stem)), model(view(stem, "_m"))
    close(complete.features, group(stem, "out.complete")["joint_rep"])
    close(complete.attention, group(stem, "out.complete")["attn"])
    close(complete.inputs["text"], group(stem, "out.complete")["text_for_recon"])
    for of in ("missing", "test"):
        close(incomplete.features, group(stem, f"out.{of}")["joint_rep_m"])
        close(incomplete.attention, group(stem, f"out.{of}")["attn_m"])
    counterfactual = model(view(stem, "_m", text="text_cf"))
    close(counterfactual.features, group(stem, "out.test")["cf_joint_rep_m"])
    close(counterfactual.attention, group(stem, "out.test")["cf_attn_m"])


def whole(stem: str) -> tuple[MSSD, MACI, dict[str, str]]:
    """CIDer with the released parameters and the class statistics of the case; and released key to our key."""
    hyp, tensors = load(stem)[1]["hyp"], group(stem, "in")
    maci = MACI(network(stem), dim=hyp["embed_dim"], layer_norm=hyp["cross_dataset"])
    model = MSSD(maci).eval()
    report = load_released(model, group(stem, "param"), "cider")
    statistics = {f"backbone.{name}" for name, _ in maci.named_buffers() if "backbone" not in name}
    assert {name for name in report.kept if not name.startswith("views.")} == statistics
    assert report.used.keys() >= {key for key in group(stem, "param") if key.startswith(("recon_", "cls", "proj"))}
    # Every sample comes with the same statistics, each class's vectors of the three modalities in a row.
    vectors = torch.stack([tensors[f"cls_feat_{i}"][:1] for i in range(hyp["output_dim"])], 1)
    means = dict(zip(MODALITIES, torch.split(vectors, [hyp[f"orig_d_{letter}"] for letter in "lav"], 2), strict=True))
    maci.head.set_statistics(tensors["cls_probs"][:1], means)
    maci.prepared.fill_(True)
    return model, maci, report.used


@pytest.mark.parametrize("stem", CASES)
def test_whole_method(stem: str) -> None:
    model, _, used = whole(stem)
    complete, incomplete = model(view(stem)), model(view(stem, "_m"))
    close(complete.logits, group(stem, "out.complete")["pred"])
    missing = group(stem, "out.missing")
    close(incomplete.logits, missing["pred_m"])
    for name in MODALITIES:
        close(model.decoders[name](incomplete.hidden[name]), missing[f"{name}_recon"])
    close(incomplete.logits, group(stem, "out.test")["pred_m"])
    counterfactual = model(view(stem, "_m", text="text_cf"))
    close(counterfactual.logits, group(stem, "out.test")["cf_pred_m"])
    loss = model.task.criterion(complete.logits, view(stem).target).mean()
    close(loss, load(stem)[0]["out.loss"])
    torch.autograd.backward(loss)
    expected = group(stem, "grad")
    assert expected
    for key, value in expected.items():
        close(model.get_parameter(used[key]).grad, value)


@pytest.mark.parametrize("wrappers", [[MACI], [MSSD], [MSSD, MACI]], ids=str)
def test_every_nest_finds_its_parameters(wrappers: list[Any]) -> None:
    stem = CASES[0]
    model: Any = network(stem)
    for wrapper in wrappers:
        model = wrapper(model, **({"dim": load(stem)[1]["hyp"]["embed_dim"]} if wrapper is MACI else {}))
    report = load_released(model, group(stem, "param"), "cider")
    state = model.state_dict()
    for key, name in report.used.items():
        assert torch.equal(state[name], group(stem, "param")[key])
    assert any("decoders" in name for name in report.used.values()) == (MSSD in wrappers)
    assert any("classifiers" in name for name in report.used.values()) == (MACI in wrappers)


def test_without_a_head_nothing_is_kept() -> None:
    model = network(CASES[0])
    model.drop_head()
    assert load_released(model, group(CASES[0], "param"), "cider").kept == {}


def test_a_checkpoint_of_other_sizes_changes_nothing() -> None:
    model, state = network(CASES[0]), group(CASES[2], "param")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(MERError, match="the checkpoint lacks"):
        load_released(model, state, "cider")
    state = group(CASES[0], "param") | {"proj1.weight": torch.zeros(3, 3)}
    with pytest.raises(MERError, match=r"'proj1.weight' has shape \(3, 3\) in the checkpoint, \(48, 48\) here"):
        load_released(model, state, "cider")
    state = group(CASES[0], "param") | {"proj3.weight": torch.zeros(3, 3)}
    with pytest.raises(MERError, match="'proj3.weight' .* has no place in CIDerNet"):
        load_released(model, state, "cider")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
