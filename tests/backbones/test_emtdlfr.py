"""EMT-DLFR against the numbers of its released code, and what is its own."""

from typing import Any

import pytest
import torch
from golden_cases import Case, golden
from torch import Tensor

from mer_zoo.backbones.emtdlfr import EMTDLFR, Restoration
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.compat.released import LoadReport
from mer_zoo.task import SentimentRegression

CASES = ["emt_dlfr_shared", "emt_dlfr_unshared"]
RELEASED = {"tokens": "gmc_tokens", "text": "text", "audio": "audio", "vision": "video"}


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def network(case: Case) -> tuple[EMTDLFR, LoadReport]:
    config = case.config
    lengths, dims = (
        dict(zip(("text", "audio", "vision"), config[key], strict=True)) for key in ("lens", "feature_dims")
    )
    spec = DataSpec(
        tokens=True,
        **{f"{name}_len": length for name, length in lengths.items()},
        **{f"{name}_dim": dim for name, dim in dims.items()},
    )
    bert = {
        "model_type": "bert",
        "hidden_size": config["bert"]["hidden"],
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    bert |= {"intermediate_size": 2 * config["bert"]["hidden"], "max_position_embeddings": 64}
    predictors = tuple(config[f"{name}_pred_dim"] for name in RELEASED.values())
    model = EMTDLFR(
        spec,
        SentimentRegression(),
        bert,
        d_model=config["d_model"],
        layers=config["fusion_layers"],
        heads=config["heads"],
        lstm_dims=(config["a_lstm_hidden_size"], config["v_lstm_hidden_size"]),
        utterance_dims=(config["audio_out"], config["video_out"]),
        ff_expansion=config["ff_expansion"],
        share_directions=config["mpu_share"],
        share_modalities=config["modality_share"],
        share_layers=config["layer_share"],
        pool_activation=config["attn_act_fn"],
        fusion_dim=config["post_fusion_dim"],
        predictor_dims=(predictors[0], predictors[1], predictors[2], predictors[3]),
        frame_loss="mse" if config["recon_loss"] == "MSELoss" else "smooth_l1",
        attraction_weight=config["loss_attra_weight"],
        reconstruction_weight=config["loss_recon_weight"],
    ).eval()
    return model, load_released(model, case.params, "emtdlfr")


def view(case: Case, suffix: str = "") -> Batch:
    """The complete view, or with the suffix "_m" the incomplete one, whose masks are those of the complete one."""
    given = case.inputs
    x = {
        "text": given[f"text{suffix}"][:, 0].long(),
        **{name: given[f"{name}{suffix}"] for name in ("audio", "vision")},
    }
    masks = {"text": given["text"][:, 1].bool(), **{name: given[f"{name}_mask"].bool() for name in ("audio", "vision")}}
    observed = {name: given[f"{name}_missing_mask"].bool() if suffix else masks[name] for name in masks}
    parts = {name: Modality(x[name], masks[name], observed[name]) for name in masks}
    labels = given["labels"]
    return Batch(parts["text"], parts["audio"], parts["vision"], labels, torch.arange(len(labels)))


@pytest.fixture(params=CASES)
def run(request: pytest.FixtureRequest) -> tuple[Case, EMTDLFR, Output, Output]:
    """The case, our network, its output on the complete view alone, and on both."""
    case = golden(request.param)
    model = network(case)[0]
    return case, model, model(view(case)), model.both(view(case), view(case, "_m"))


def test_outputs_of_both_views(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, alone, output = run
    aux: Restoration = output.aux
    close(alone.logits, case.outputs["pred"])
    close(alone.features, case.outputs["joint"])
    close(output.logits, case.outputs["pred_m"])
    for part, suffix in ((aux.complete, ""), (aux.incomplete, "_m")):
        close(part.features, case.outputs[f"joint{suffix}"])
        close(part.vectors["tokens"], case.outputs[f"gmc_tokens{suffix}"].flatten(1))
        close(part.vectors["audio"], case.outputs[f"audio_utt{suffix}"])
        vectors = [part.vectors[name] for name in ("text", "audio", "vision", "tokens")]
        close(torch.cat(vectors, 1), case.outputs[f"fusion_input{suffix}"])
        for name, released in RELEASED.items():
            z, p = model.simsiam[name](part.vectors[name])
            close(z, case.outputs[f"z_{released}{suffix}"])
            close(p, case.outputs[f"p_{released}{suffix}"])


def test_steps_of_both_views(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, alone, output = run
    aux: Restoration = output.aux
    batch = view(case)
    assert alone.hidden is not None
    for name, released in (("text", "text"), ("audio", "audio"), ("vision", "video")):
        first = name == "text"  # the released sequences of text start behind [CLS]
        real = batch.modality(name).mask[:, first:]
        for states, suffix in ((alone.hidden[name], ""), (aux.incomplete.hidden[name], "_m")):
            expected = case.outputs[f"{name}_seq_out{suffix}"]
            real = real[:, : expected.shape[1]]
            states = states[:, first:][:, : expected.shape[1]]
            close(states[real], expected[real])
            if suffix:
                close(model.decoders[name](states)[real], case.outputs[f"{released}_recon"][real])
    close(aux.frames["text"][:, 1:][batch.text.mask[:, 1:]], case.outputs["text_for_recon"][batch.text.mask[:, 1:]])
    close(model.encoders["audio"](batch.audio.x, batch.audio.mask)[0][:, :23], case.outputs["audio_seq"])


def test_losses(run: tuple[Case, EMTDLFR, Output, Output]) -> None:
    case, model, _, output = run
    batch = view(case, "_m")
    losses = {name.removeprefix("emtdlfr/"): loss for name, loss in model.losses(output, batch).items()}
    expected = {name.removeprefix("loss."): x for name, x in case.outputs.items() if name.startswith("loss.")}
    attracted, restored = case.config["loss_attra_weight"], case.config["loss_recon_weight"]
    pairs = {f"attraction_{ours}": attracted * expected[f"attra_{name}"] for ours, name in RELEASED.items()}
    pairs |= {
        f"reconstruction_{ours}": restored * expected[f"recon_{RELEASED[ours]}"] for ours in ("text", "audio", "vision")
    }
    pairs["complete"] = attracted * expected["pred"]
    assert losses.keys() == pairs.keys()
    for name, value in pairs.items():
        torch.testing.assert_close(losses[name], value, atol=0, rtol=1e-5)
    task = model.task.criterion(output.logits, batch.target).mean()
    torch.testing.assert_close(task, expected["pred_m"], atol=0, rtol=1e-5)
    torch.testing.assert_close(task + sum(losses.values()), expected["total"], atol=0, rtol=1e-5)
