"""CASP's mathematics against the released code's numbers, and what its parts are for."""

from __future__ import annotations

import torch
from golden_cases import golden

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.drop import blanked
from mer_zoo.functional.adaptation import matched_affine, nt_xent, pseudo_labels, stability
from mer_zoo.task import SentimentRegression


def test_the_contrastive_loss_as_released() -> None:
    outputs = golden("casp_adapt").outputs
    loss = nt_xent(outputs["representation"], outputs["representation_augmented"])
    torch.testing.assert_close(loss, outputs["loss"].reshape(()), atol=1e-5, rtol=1e-5)


def test_the_view_without_a_modality_as_released() -> None:
    case = golden("casp_adapt")
    (text, audio, vision), draw = case.config["dims"], float(case.inputs["draw"])
    gone = "text" if draw < 0.33 else "audio" if draw < 0.66 else "vision"
    steps, frames, pictures = (case.inputs[name].shape[1] for name in ("text", "audio", "vision"))
    spec = DataSpec(text, audio, vision, steps, frames, pictures)
    batch = Batch.random(spec, SentimentRegression(), size=4)
    whole = {
        name: batch.modality(name).replace(x=case.inputs[name], mask=torch.ones_like(case.inputs[name][..., 0]).bool())
        for name in ("text", "audio", "vision")
    }
    view = blanked(batch.replace(**whole), [name for name in whole if name != gone], spec)
    for name in whole:
        torch.testing.assert_close(view.modality(name).x, case.outputs[f"augmented.{name}"])


def test_pseudo_labels_as_released_are_those_that_changed_most() -> None:
    case = golden("casp_adapt")
    kept, quantile = case.inputs["checkpoints"], case.config["quantile"]
    places, labels = pseudo_labels(kept, quantile, stable="above")
    assert places.tolist() == case.outputs["selected"].tolist()
    torch.testing.assert_close(labels, case.outputs["selected_labels"], atol=1e-5, rtol=1e-5)
    sane, _ = pseudo_labels(kept, 1 - quantile)
    assert stability(kept)[sane].max() < stability(kept)[places].min()


def test_stability_of_several_outputs_is_their_mean() -> None:
    kept = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stability(kept), torch.stack([stability(kept[..., k]) for k in range(3)]).mean(0))


def test_outputs_get_the_moments_that_are_wanted() -> None:
    z = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.5, 0.0])
    weight, bias = torch.tensor([1.0, -2.0, 0.5, 1.0]), torch.tensor([0.0, 1.0, -1.0, 3.0])
    out = z * weight + bias
    wanted = torch.tensor([0.5, 0.0, 2.0, 1.0]), torch.tensor([1.0, 3.0, 0.1, 1.0])
    weight, bias = matched_affine(weight, bias, (out.mean(0), out.std(0, correction=0)), wanted)
    found = z * weight + bias
    torch.testing.assert_close(found.mean(0)[:3], wanted[0][:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.std(0, correction=0)[:3], wanted[1][:3], atol=1e-5, rtol=1e-5)
    assert [float(weight[3]), float(bias[3])] == [1.0, 3.0]
