from typing import Any

import pytest
import torch
from golden_cases import golden
from toys import TINY_BERT, loss_of

from mer_zoo.backbones import MISA
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.errors import MERError
from mer_zoo.task import SentimentClassification, SentimentRegression

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "ffn_dim": 16}
NAMES = {"text": "t", "audio": "a", "vision": "v"}


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def small(spec: DataSpec | None = None, **options: Any) -> MISA:
    torch.manual_seed(0)
    return MISA(spec or DataSpec(), TASK, **SMALL, **options)


def released(lengths: Any = "text") -> tuple[MISA, Batch]:
    config, params, given, _ = golden("misa")
    steps, frames = given["text"].shape[2], given["audio"].shape[1]
    dims: list[int] = config["feature_dims"]
    spec = DataSpec(dims[0], dims[1], dims[2], steps, frames, given["vision"].shape[1], tokens=True)
    encoder = {**TINY_BERT, "num_hidden_layers": 2, "vocab_size": 30522, "max_position_embeddings": 64}
    model = MISA(spec, TASK, encoder, dim=config["hidden_size"], lengths=lengths).eval()
    report = load_released(model, params, "misa")
    assert report.used.keys() | report.unused.keys() == params.keys()
    assert not [
        key for key in report.unused if not key.startswith(("bertmodel.model.pooler", "sp_disc", "tlayer_norm"))
    ]
    mask = given["text"][:, 1].bool()
    # The data's own lengths are full; the released code reads as many steps as the text has.
    full = torch.ones(len(mask), frames, dtype=torch.bool)
    text = Modality(given["text"][:, 0].long(), mask)
    audio, vision = (Modality(given[name], full) for name in ("audio", "vision"))
    return model, Batch(text, audio, vision, given["labels"], torch.arange(len(mask)))


def test_the_released_network() -> None:
    model, batch = released()
    out = golden("misa").outputs
    output = model(batch)
    close(output.logits, out["M"])
    for name, letter in NAMES.items():
        close(output.aux.utterance[name], out[f"utt_{letter}_orig"])
        close(output.aux.private[name], out[f"utt_private_{letter}"])
        close(output.aux.shared[name], out[f"utt_shared_{letter}"])
        close(output.aux.restored[name], out[f"utt_{letter}_recon"])
    losses = model.losses(output, batch)
    ours = {"difference": ("diff", 0.1), "similarity": ("cmd", 0.3), "restore": ("recon", 1.0)}
    for name, (theirs, weight) in ours.items():
        torch.testing.assert_close(losses[f"misa/{name}"] / weight, out[f"loss.{theirs}"], atol=0, rtol=1e-5)
    squared = (output.logits.squeeze(1) - batch.target).square().mean()  # their loss of the task
    torch.testing.assert_close(squared + sum(losses.values()), out["loss.total"], atol=0, rtol=1e-5)


def test_own_lengths_are_the_default_and_the_released_ones_read_columns() -> None:
    model, batch = released("own")
    assert not model.fixed_length
    assert not torch.allclose(model(batch).logits, golden("misa").outputs["M"], atol=1e-3)
    assert released()[0].fixed_length


@pytest.mark.parametrize("similarity", ["moments", "adversarial"])
@pytest.mark.parametrize("size", [1, 5])  # the signs of the absolute error may cancel in an even number
def test_gradients_reach_everything(similarity: Any, size: int) -> None:
    model = small(similarity=similarity)
    torch.autograd.backward(loss_of(model, Batch.random(DataSpec(), TASK, size=size)))
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_adversarial_codes_learn_against_their_judge() -> None:
    model, batch = small(similarity="adversarial", similarity_weight=1.0, reversal=2.0), Batch.random(DataSpec(), TASK)
    codes = model(batch).aux
    shared = {name: code.detach().requires_grad_() for name, code in codes.shared.items()}
    torch.autograd.backward(model._similarity(shared))
    assert model.domains is not None
    against = next(iter(shared.values())).grad
    plain = {name: code.detach().requires_grad_() for name, code in shared.items()}
    model.reversal = -1.0
    torch.autograd.backward(model._similarity(plain))
    assert against is not None
    torch.testing.assert_close(against, -2 * next(iter(plain.values())).grad)


def test_losses_of_weight_zero_have_no_parameters() -> None:
    model = small(reconstruction_weight=0.0, similarity_weight=0.0, difference_weight=0.0, similarity="adversarial")
    batch = Batch.random(DataSpec(), TASK, size=3)
    assert model.losses(model(batch), batch) == {}
    torch.autograd.backward(loss_of(model, batch))
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("modalities", [["text"], ["audio", "vision"]])
def test_fewer_modalities_have_fewer_pairs(modalities: list[str]) -> None:
    spec = DataSpec(modalities=modalities)
    model, batch = small(spec), Batch.random(spec, TASK, size=3)
    losses = model.losses(model(batch), batch)
    assert ("misa/similarity" in losses) == (len(modalities) > 1)
    assert model.feature_dim == 8 * len(modalities)


@pytest.mark.parametrize(
    ("spec", "encoder", "network"),
    [
        (DataSpec(), None, "mean"),
        (DataSpec(tokens=True, vocab_size=200), None, "lstm"),
        (DataSpec(tokens=True, vocab_size=200), {**TINY_BERT, "vocab_size": 200}, "mean"),
    ],
    ids=["features", "tokens", "bert"],
)
def test_how_text_is_read(spec: DataSpec, encoder: Any, network: str) -> None:
    model = small(spec, text_encoder=encoder)
    assert model.text_network == network
    assert ("text" in model.encoders) == (network == "lstm")
    other = small(spec, text_encoder=encoder, text_network="mean" if network == "lstm" else "lstm")
    assert other(Batch.random(spec, TASK, size=2)).logits.shape == (2, 1)


def test_bad_options_are_refused() -> None:
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        small(heads=3)
    with pytest.raises(MERError, match="0 heads do not divide a width of 8"):
        small(heads=0)
    with pytest.raises(MERError, match="unknown similarity 'cmd' of MISA"):
        small(similarity="cmd")
    with pytest.raises(MERError, match="reconstruction_weight of MISA is -1"):
        small(reconstruction_weight=-1)
    with pytest.raises(MERError, match="text is not in use"):
        small(DataSpec(modalities=["audio", "vision"]), lengths="text")


def test_classification_trains_on_the_same_codes() -> None:
    task = SentimentClassification(7)
    model = MISA(DataSpec(), task, **SMALL)
    (step,) = model.steps(Batch.random(DataSpec(), task, size=4))
    assert step.losses.keys() == {"misa/difference", "misa/similarity", "misa/restore"}
