from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from torch import Tensor

from mer_zoo.backbones import MFM
from mer_zoo.backbones.mfm.sequences import Decoder, decode
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
LETTERS = {"text": "l", "audio": "a", "vision": "v"}
SMALL: dict[str, Any] = {"hidden_dims": (8, 6, 6), "memory_dim": 8, "code_dims": (6, 5, 7, 8)}
SMALL |= {"factor_dims": (5, 6, 7, 8), "dropouts": (0.0,) * 4, "factor_dropouts": (0.0,) * 4}


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def released(name: str) -> tuple[MFM, Batch, dict[str, str]]:
    """The network of a case, with its draws, and its batch."""
    case = golden(name)
    config, given = case.config, case.inputs
    text_dim, audio_dim, vision_dim = config["feature_dims"]
    steps = config["T"]
    spec = DataSpec(text_dim, audio_dim, vision_dim, steps, steps, steps, aligned=True)
    model = MFM(
        spec,
        TASK,
        guesses=name == "mfm_missing",
        hidden_dims=tuple(config["hidden_dims"]),
        memory_dim=config["memsize"],
        attention_dim=config["NN1Config"]["shapes"],
        candidate_dim=config["NN2Config"]["shapes"],
        gate_dims=(config["gamma1Config"]["shapes"], config["gamma2Config"]["shapes"]),
        code_dims=tuple(config[f"z{letter}_size"] for letter in "lavy"),
        factor_dims=tuple(config[f"f{letter}_size"] for letter in "lavy"),
        generation_weights=tuple(config[f"lda_x{letter}"] for letter in "lav"),
        mmd_weight=config["lda_mmd"],
        variant="released",
    ).eval()
    report = load_released(model, case.params, "mfm")
    assert not report.kept
    noise = {part: given[f"noise.z{letter}"] for part, letter in (LETTERS | {"joint": "y"}).items()}
    model.draws = lambda part, like: noise[part]  # type: ignore[method-assign,assignment]
    mask = torch.ones(given["text"].shape[:2], dtype=torch.bool)
    text, audio, vision = (Modality(given[part], mask) for part in MODALITIES)
    return model, Batch(text, audio, vision, given["labels"], torch.arange(len(mask))), report.used


def check_gradients(name: str, model: MFM, used: dict[str, str], total: Tensor) -> None:
    torch.autograd.backward(total)
    parameters, expected = dict(model.named_parameters()), gradients(name)
    assert len(expected) == {"mfm": 11, "mfm_missing": 10}[name]
    for key, gradient in expected.items():
        close(parameters[used[key]].grad, gradient)


def test_the_released_network() -> None:
    model, batch, used = released("mfm")
    out = golden("mfm").outputs
    (step,) = model.steps(batch)
    state = step.output.aux
    for name, letter in (LETTERS | {"joint": "y"}).items():
        close(state.codes[name], out[f"z{letter}"])
        close(state.factors["complete"][name], out[f"f{letter}"])
    close(model.memory(batch).features, out["mfn_last"])
    factors = state.factors["complete"]
    made = model.make({name: (factors["joint"], factors[name]) for name in MODALITIES}, 6)
    for name, letter in LETTERS.items():
        close(made[name], out[f"recon_{letter}"])
    close(step.output.features, out["fy"])
    close(step.output.logits, out["output"])
    close(step.losses["mfm/generation"], out["loss.gen"])
    close(step.losses["mfm/mmd"], model.mmd_weight * out["loss.mmd"])
    task = (step.output.logits.squeeze(1) - batch.target).abs().mean()
    close(task, out["loss.l1"])
    total = task + sum(step.losses.values())
    close(total, out["loss.total"])
    check_gradients("mfm", model, used, total)


def test_the_released_guesses() -> None:
    model, batch, used = released("mfm_missing")
    out = golden("mfm_missing").outputs
    steps = list(model.steps(batch))
    state = steps[0].output.aux
    complete = state.factors["complete"]
    for name, letter in LETTERS.items():
        own, joint = state.guessed[name]
        close(own, out[f"z{letter}_no{letter}"])
        close(joint, out[f"zy_no{letter}"])
        factors = complete | state.factors[name]
        made = model.make({other: (factors["joint"], factors[other]) for other in MODALITIES}, 6)
        for other, its in LETTERS.items():
            close(made[other], out[f"no{letter}.recon_{its}"])
    names = ("all", "nol", "noa", "nov")
    for step, name in zip(steps, names, strict=True):
        close(step.output.logits, out[f"{name}.output"])
    tasks = torch.stack([(step.output.logits.squeeze(1) - batch.target).abs().mean() for step in steps]).sum()
    losses = steps[0].losses
    close(tasks, out["loss.disc"])
    close(losses["mfm/generation"], out["loss.gen"])
    close(losses["mfm/mmd"], model.mmd_weight * out["loss.mmd"])
    close(losses["mfm/guess"], out["loss.missing"])
    total = torch.stack([tasks, *losses.values()]).sum()
    close(total, out["loss.total"])
    check_gradients("mfm_missing", model, used, total)


@pytest.mark.parametrize(("name", "short"), [("text", "nol"), ("audio", "noa"), ("vision", "nov")])
def test_a_sample_takes_the_guess_of_what_it_lacks(name: str, short: str) -> None:
    model, batch, _ = released("mfm_missing")
    out = golden("mfm_missing").outputs
    gone = batch.modality(name)
    observed = gone.mask.clone()
    observed[1] = False
    x = gone.x.clone()
    x[1] = 0.0
    logits = model(batch.replace(**{name: Modality(x, gone.mask, observed)})).logits
    close(logits[1], out[f"{short}.output"][1])
    close(logits[[0, 2, 3]], out["all.output"][[0, 2, 3]])


def make(**options: Any) -> tuple[MFM, Batch]:
    torch.manual_seed(0)
    spec = DataSpec()
    return MFM(spec, TASK, **{**SMALL, **options}), Batch.random(spec, TASK, size=4)


def test_what_two_missing_modalities_would_say_hangs_on_the_third_alone() -> None:
    model, batch = make(guesses=True)
    model.eval()

    def without(value: float) -> Tensor:
        both = {}
        for name in ("audio", "vision"):
            modality = batch.modality(name)
            nothing = torch.zeros_like(modality.mask)
            both[name] = Modality(torch.full_like(modality.x, value), modality.mask, nothing)
        logits: Tensor = model(batch.replace(**both)).logits
        return logits

    torch.testing.assert_close(without(0.0), without(7.0))
    assert not torch.allclose(without(0.0), model(batch).logits)


def test_only_observed_words_are_to_be_made() -> None:
    model, batch = make()
    model.eval()
    state = model(batch).aux
    loss = model._generation(state)
    audio = torch.where(state.counted["audio"][..., None], state.x["audio"], 9.0)
    assert model._generation(state._replace(x=state.x | {"audio": audio})) == loss
    kept = batch.text.mask & (torch.arange(batch.text.mask.shape[1]) != 1)
    view = batch.replace(text=Modality(batch.text.x, batch.text.mask, kept))
    assert model(view).aux.counted["text"].sum() == kept.sum()


def test_a_decoder_reads_the_factors_and_then_its_own_states() -> None:
    torch.manual_seed(0)
    decoder, factors = Decoder(4, 3), torch.randn(2, 4)
    (made,) = decode({"text": decoder}, [("text", factors)], 3)
    given, state, expected = factors, None, []
    for _ in range(3):
        state = decoder.cell(given, state)
        given = state[0]
        expected.append(decoder.out(given))
    torch.testing.assert_close(made, torch.stack(expected, 1))


def test_a_prediction_makes_nothing() -> None:
    model, batch = make()
    model.eval().decoders.register_module("audio", None)
    assert model.predict(batch).logits.shape == (4, 1)


def test_refusals() -> None:
    pair = DataSpec(modalities=["text", "audio"])
    with pytest.raises(MERError, match="guesses a modality from two others, but in use are text, audio"):
        MFM(pair, TASK, guesses=True)
    with pytest.raises(MERError, match="MFM as released needs aligned data"):
        MFM(DataSpec(text_len=5, audio_len=6, vision_len=7), TASK, variant="released")
    with pytest.raises(MERError, match="mmd_weight"):
        make(mmd_weight=-1.0)
