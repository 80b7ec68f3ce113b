from typing import Any

import pytest
import torch
from golden_cases import golden, gradients

from mer_zoo.backbones import MCTN
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()
CASE = golden("mctn_mmsa")


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def make(spec: DataSpec | None = None, **options: Any) -> MCTN:
    torch.manual_seed(0)
    return MCTN(spec or DataSpec(), TASK, **{"dim": 8, **options})


def released(**options: Any) -> tuple[MCTN, Batch, dict[str, str]]:
    config, given = CASE.config, CASE.inputs
    steps = config["T"]
    spec = DataSpec(config["output_dim"], config["audio_dim"], config["vision_dim"], steps, steps, steps, aligned=True)
    model = MCTN(spec, TASK, dim=config["hid_dim"], max_steps=config["max_seq_len"], **options).eval()
    report = load_released(model, CASE.params, "mctn")
    assert report.kept == {}
    assert all("weight_hh" in key for key in report.unused)
    mask = torch.ones(config["B"], steps, dtype=torch.bool)
    mask[:, config["max_seq_len"] :] = "variant" in options  # ours reads all real steps of the source
    text, audio, vision = (Modality(given[name], mask) for name in MODALITIES)
    return model, Batch(text, audio, vision, given["target"].squeeze(1), torch.arange(len(mask))), report.used


@pytest.mark.parametrize("prefix", ["", "time_first."])
def test_the_released_network(prefix: str) -> None:
    options = {"masked_targets": False} if prefix else {"variant": "released"}
    model, batch, used = released(**options)
    out, steps = CASE.outputs, CASE.config["max_seq_len"]
    (step,) = model.steps(batch)
    output = step.output
    close(output.logits, out[f"{prefix}pred"])
    assert output.hidden is not None
    close(output.hidden["text"][:, :steps], out[f"{prefix}joint2"])
    for ours, theirs in {"translation": "vision", "cycle": "text", "second": "audio"}.items():
        close(step.losses[f"mctn/{ours}"], 0.1 * out[f"{prefix}loss.{theirs}"])
    total = (output.logits.squeeze(1) - batch.target).abs().mean() + sum(step.losses.values())
    close(total, out[f"{prefix}loss.total"])
    torch.autograd.backward(total)
    parameters = dict(model.named_parameters())
    found = {key: parameters[used[key]].grad for key in used}
    expected = {key.removeprefix(prefix): value for key, value in gradients("mctn_mmsa").items()
                if key.startswith("time_first.") == bool(prefix)}  # fmt: skip
    assert expected.keys() >= {"decoder1.rnn.bias_hh_l0", "encoder2.rnn.weight_hh_l0"}
    for key in expected.keys() & used.keys():
        close(found[key], expected[key])
    assert not any(expected[key].any() for key in expected.keys() - used.keys())


def test_as_released_a_prediction_hangs_on_the_other_samples_and_ours_does_not() -> None:
    for variant, alike in (("released", False), ("ours", True)):
        spec = DataSpec(text_len=5, audio_len=5, vision_len=5, aligned=True)
        model, batch = make(spec, variant=variant).eval(), Batch.random(spec, TASK, size=4)
        one = batch.replace(**{n: Modality(batch.modality(n).x[1:2], batch.modality(n).mask[1:2]) for n in MODALITIES})
        assert torch.allclose(model(batch).logits[1], model(one).logits[0], atol=1e-6) == alike


def test_a_prediction_reads_the_source_alone() -> None:
    batch = Batch.random(DataSpec(), TASK, size=3)
    loud = {name: batch.modality(name).replace(x=batch.modality(name).x + 1) for name in MODALITIES}
    for chain in (("text", "vision", "audio"), ("audio", "text", "vision")):
        model = make(chain=chain).eval()
        for name in MODALITIES:
            same = torch.equal(model(batch).logits, model(batch.replace(**{name: loud[name]})).logits)
            assert same == (name != chain[0])


def test_losses_leave_out_what_is_no_target() -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=3)

    def loss(model: MCTN, given: Batch) -> float:
        return model.losses(model(given), given)["mctn/translation"].item()

    unseen = batch.vision.mask.clone()
    unseen[:, 2] = False
    gone = batch.replace(vision=batch.vision.replace(observed=unseen))
    assert loss(model, gone) != loss(model, batch)
    last = batch.vision.x.clone()
    last[:, -1] += 5  # nothing stands behind it that would be made of it
    without = batch.vision.mask.clone()
    without[:, -1] = False
    hidden = [batch.replace(vision=Modality(x, batch.vision.mask & without)) for x in (batch.vision.x, last)]
    assert loss(model, hidden[0]) == loss(model, hidden[1])
    everything = make(masked_targets=False).eval()
    assert loss(everything, batch) == loss(everything, gone)
    assert loss(everything, hidden[0]) == loss(everything, hidden[1])  # zeros are targets there


@pytest.mark.parametrize(("modalities", "losses"), [(["text"], 0), (["audio", "vision"], 2)])
def test_fewer_modalities_have_fewer_translations(modalities: list[str], losses: int) -> None:
    spec = DataSpec(modalities=modalities)
    (step,) = make(spec).steps(Batch.random(spec, TASK, size=2))
    assert len(step.losses) == losses


def test_refusals() -> None:
    with pytest.raises(MERError, match=r"chain of MCTN is \['text', 'audio'\]; name each of"):
        make(chain=("text", "audio"))
    with pytest.raises(MERError, match="max_steps of MCTN is 0"):
        make(max_steps=0)
    with pytest.raises(MERError, match="MCTN as released needs equal lengths"):
        make(DataSpec(text_len=5), variant="released")
