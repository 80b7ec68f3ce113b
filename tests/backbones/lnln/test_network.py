from typing import Any

import pytest
import torch
from golden_cases import Case, golden
from torch import Tensor, nn
from toys import TINY_BERT
from typing_extensions import override

from mer_zoo.backbones.lnln import network as lnln
from mer_zoo.backbones.lnln.network import LNLN
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification, SentimentRegression

TASK = SentimentRegression()
TINY: dict[str, Any] = {"dim": 8, "heads": 1, "hyper_heads": 2, "tokens": 4}
CASES = ["lnln_small", "lnln_heads2"]
LETTERS = {"text": "l", "audio": "a", "vision": "v"}


class Given(nn.Module):
    """Makes the view that it was given."""

    def __init__(self, view: Batch) -> None:
        super().__init__()
        self.view = view

    @override
    def forward(self, batch: Batch, spec: DataSpec) -> Batch:
        return self.view


def released(case: Case) -> LNLN:
    """Our network with the parameters of a released one."""
    config = case.config
    text_len, audio_len, vision_len = config["lens"]
    spec = DataSpec(
        audio_dim=config["feature_dims"][0],
        vision_dim=config["feature_dims"][1],
        text_len=text_len,
        audio_len=audio_len,
        vision_len=vision_len,
        tokens=True,
    )
    bert = {**TINY_BERT, "hidden_size": config["bert"]["hidden"], "num_hidden_layers": 2, "max_position_embeddings": 64}
    layers = {"gather": "fe", "check": "cc", "proxy": "proxy", "language": "lang", "fusion": "fusion", "restore": "rec"}
    model = LNLN(
        spec,
        TASK,
        bert,
        config["dim"],
        config["heads"],
        config["heads_hyper"],
        discriminator_dim=config["disc_hidden"],
        **{f"{ours}_layers": config[f"depth_{theirs}"] for ours, theirs in layers.items()},
    )
    load_released(model, case.params, "lnln")
    return model.eval()


def batches(case: Case) -> tuple[Batch, Batch]:
    """The complete batch and its incomplete view."""
    ids, real = case.inputs["text"][:, 0].long(), case.inputs["text"][:, 1].bool()
    full = {name: torch.ones(case.inputs[name].shape[:2], dtype=torch.bool) for name in ("audio", "vision")}
    complete = Batch(
        Modality(ids, real),
        Modality(case.inputs["audio"], full["audio"]),
        Modality(case.inputs["vision"], full["vision"]),
        case.inputs["labels"],
        torch.arange(len(ids)),
    )
    left = case.inputs["text_m"][:, 0].long()
    view = {name: Modality(case.inputs[f"{name}_m"], full[name]) for name in full}
    return complete, complete.replace(text=Modality(left, real, real & (left == ids)), **view)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_parity_of_the_outputs(name: str) -> None:
    case = golden(name)
    model, (complete, view) = released(case), batches(case)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda _module, _args, output: seen.__setitem__(name, output)

    for part, module in {"h_p": model.proxy, "cc_token": model.check, "fused": model.fusion}.items():
        module.register_forward_hook(keep(part))
    model.hyper[-1].register_forward_hook(keep("hyper"))
    output = model(view)
    outputs = case.outputs
    for name_, letter in LETTERS.items():
        close(output.hidden[name_], outputs[f"h_1_{letter}"])
    close(seen["h_p"], outputs["h_p"])
    close(seen["cc_token"], outputs["cc_token"])
    close(output.aux.w, outputs["w"])
    close(output.effects["completeness"], outputs["w"].squeeze(1))
    close(output.aux.dominant, outputs["h_d_mixed"])
    states = model.language.states(output.aux.dominant)
    close(states[0], outputs["h_d"])
    for i, state in enumerate(states):
        close(state, outputs[f"lang_layer_{i}"])
    close(seen["hyper"], outputs["hyper"])
    close(seen["fused"], outputs["fused"][:, 1:])
    close(output.features, outputs["joint"])
    close(output.logits, outputs["sentiment_preds"])
    close(model.predict(view).logits, outputs["pred_test_mode"])
    given = {name_: complete.modality(name_) for name_ in ("audio", "vision")}
    tokens = model.gathered({**given, "text": model.encode_text(complete.text)})
    order = ("audio", "vision", "text")
    close(torch.cat([tokens[name_] for name_ in order], 1), outputs["complete_feats"])
    restored = [model.restore[name_](output.aux.tokens[name_]) for name_ in order]
    close(torch.cat(restored, 1), outputs["rec_feats"])
    judged = torch.cat([model.discriminator(x) for x in (output.aux.dominant, tokens["text"])])
    close(judged.flatten(0, 1), outputs["effectiveness_discriminator_out"])


@pytest.mark.parametrize("name", CASES)
def test_parity_of_the_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = golden(name)
    model, (complete, view) = released(case), batches(case)
    model.views = Given(view)  # type: ignore[assignment]
    # The released truth is the rate that was drawn; ours is the share of words that are there.
    monkeypatch.setattr(lnln, "text_completeness", lambda *_: 1 - case.inputs["missing_rate_l"])
    (step,) = model.steps(complete)
    expected = {
        "lnln/completeness": 0.9 * case.outputs["loss.l_cc"],
        "lnln/adversarial": 0.8 * case.outputs["loss.l_adv"],
        "lnln/restoration": 0.1 * case.outputs["loss.l_rec"],
    }
    torch.testing.assert_close(step.losses, expected, atol=0, rtol=1e-5)
    task = (step.output.logits.squeeze(1) - complete.target).square().mean()  # the released task loss
    torch.testing.assert_close(task, case.outputs["loss.l_sp"], atol=0, rtol=1e-5)
    torch.testing.assert_close(
        task + torch.stack(list(step.losses.values())).sum(), case.outputs["loss.loss"], atol=0, rtol=1e-5
    )
    at_test = model.losses(model(view), view)
    torch.testing.assert_close(task + at_test["lnln/completeness"], case.outputs["loss.eval_total"], atol=0, rtol=1e-5)


def tiny(spec: DataSpec, **options: Any) -> LNLN:
    torch.manual_seed(0)
    return LNLN(spec, SentimentClassification(3), **{**TINY, **options})


@pytest.mark.parametrize("others", [("audio",), ("vision",), ("audio", "vision")], ids="+".join)
def test_training_reaches_every_parameter(others: tuple[str, ...]) -> None:
    spec = DataSpec(modalities=["text", *others])
    model = tiny(spec)
    with torch.no_grad():
        model.hyper_start.normal_()  # the ones it starts with are zeros once normalised
    for size in (4, 1):
        batch = Batch.random(spec, model.task, size=size)
        model.zero_grad()
        (step,) = model.steps(batch)
        loss = (
            model.task.criterion(step.output.logits, batch.target).mean()
            + torch.stack(list(step.losses.values())).sum()
        )
        torch.autograd.backward(loss)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


def test_the_step_scores_an_incomplete_view_and_prediction_the_batch() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model = tiny(spec, seed=1)
    batch = Batch.random(spec, model.task, size=16)
    (step,) = model.steps(batch)
    assert (step.batch.text.x == spec.unk_id).any()
    assert (step.batch.audio.observed != batch.audio.observed).any()
    torch.testing.assert_close(step.output.logits, model(step.batch).logits)
    assert not torch.allclose(step.output.logits, model.predict(batch).logits)
    (again,) = model.steps(batch)
    assert not torch.equal(again.batch.audio.observed, step.batch.audio.observed)
    assert not step.batch.text.x.equal(batch.text.x)


def test_the_gradient_of_the_scores_reaches_the_proxy_reversed() -> None:
    spec = DataSpec()
    model = tiny(spec)
    batch = Batch.random(spec, model.task, size=4)

    def gradient() -> Tensor:
        model.zero_grad()
        torch.autograd.backward(model(batch).logits.square().sum())
        assert model.proxy.tokens is not None
        assert model.proxy.tokens.grad is not None
        return model.proxy.tokens.grad.clone()

    found = gradient()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lnln, "reverse_gradient", torch.clone)
        torch.testing.assert_close(found, -gradient())


def test_the_truth_of_the_completeness_counts_words() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model = tiny(spec, completeness_weight=1.0)
    ids = torch.tensor([[101, 110, 111, 112, 113, 102], [101, 110, 102, 0, 0, 0]])
    batch = Batch.random(spec, model.task, size=2)
    left = torch.tensor([[101, 110, 100, 112, 113, 102], [101, 100, 102, 0, 0, 0]])
    view = batch.replace(text=Modality(left, ids > 0, (ids > 0) & (ids == left)))
    output = model(view)
    w = output.effects["completeness"]
    expected = ((w[0] - 0.75) ** 2 + w[1] ** 2) / 2
    torch.testing.assert_close(model.losses(output, view)["lnln/completeness"], expected)


def test_parameters_at_mosi_sizes() -> None:
    spec = DataSpec(text_dim=768, audio_dim=5, vision_dim=20, text_len=50, audio_len=375, vision_len=500)
    assert sum(p.numel() for p in LNLN(spec, TASK).parameters()) == 6_483_012


@pytest.mark.parametrize("modalities", [["text"], ["audio", "vision"]])
def test_what_leads_and_what_stands_in_are_needed(modalities: list[str]) -> None:
    with pytest.raises(MERError, match="LNLN needs text and audio or vision, but the data is used with"):
        LNLN(DataSpec(modalities=modalities), TASK)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        tiny(DataSpec(), hyper_heads=3)
    with pytest.raises(MERError, match="heads is 0"):
        tiny(DataSpec(), heads=0)
    with pytest.raises(MERError, match="tokens of LNLN is 0; give at least 1"):
        tiny(DataSpec(), tokens=0)
    for loss in ("completeness", "adversarial", "reconstruction"):
        with pytest.raises(MERError, match=f"{loss}_weight of LNLN is -1.0; weights are finite and at least 0"):
            tiny(DataSpec(), **{f"{loss}_weight": -1.0})
    for part in ("gather", "check", "proxy", "fusion", "restore", "language"):
        with pytest.raises(MERError, match="number of layers is 0"):
            tiny(DataSpec(), **{f"{part}_layers": 0})


def test_another_length_than_the_spec_s_is_refused() -> None:
    model = tiny(DataSpec())
    batch = Batch.random(DataSpec(text_len=5), model.task)
    with pytest.raises(MERError, match="learned positions of 6 steps can't serve 5"):
        model(batch)
