"""Does a model look at labels or at ids when it predicts, and what was its scaler fitted on?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mer_zoo.audit.runs import Run
from mer_zoo.batch import MODALITIES, Batch
from mer_zoo.data.corpus.corpus import SplitData
from mer_zoo.data.dataset import SplitDataset, check_labels
from mer_zoo.data.scaler import Scaler
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material, Part
from mer_zoo.data.survey.moments import Moments
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import gaps_of
from mer_zoo.model import Model
from mer_zoo.sharing.pretrained import load_model
from mer_zoo.sharing.recipe import Modules

__all__ = ["check_checkpoint", "check_prediction", "check_scaler_of", "first_samples"]

ASKED = 64  # samples that are predicted
SCALED_ALIKE = 1e-3  # deviations


def check_checkpoint(run: Run, material: Material, modules: Modules = ()) -> Iterator[Finding | NotChecked]:
    """Predict with a run's checkpoint while labels and ids change, and compare its scaler with the splits.

    Args:
        run: The run.
        material: The corpus.
        modules: Modules of models that are not of the zoo.
    """
    what = "whether labels are read at prediction, and what the scaler was fitted on"
    if run.checkpoint is None:
        yield NotChecked(what, f"there is no checkpoint in {run.folder}/checkpoints", run.name)
        return
    part = next((one for one in [*material.tests, *material.parts.values()] if one.labels is not None), None)
    if part is None:
        yield NotChecked(what, "no split has labels", run.name)
        return
    try:
        model, _ = load_model(run.checkpoint, modules)
        batch = first_samples(model, part, material.source)
    except MERError as error:
        yield NotChecked(what, str(error), run.name)
        return
    yield from check_prediction(model, batch, run.name)
    yield from check_scaler_of(run, model, material)


def check_prediction(model: Model, batch: Batch, name: str) -> Iterator[Finding]:
    """Predict a batch again with other labels, then with other ids; the answers must not move.

    Args:
        model: The model.
        batch: At least two samples.
        name: The run, for the findings.

    Example:
        >>> from mer_zoo import LFLSTM, Batch, DataSpec, SentimentClassification
        >>> net = LFLSTM(DataSpec(), SentimentClassification(3))
        >>> list(check_prediction(net, Batch.random(net.spec, net.task, size=4), "mine"))
        []
    """
    model.eval()
    model.calibrating = False
    first = _answers(model, batch)
    noise = _moved(first, _answers(model, batch))
    turned = [batch.target.roll(1, 0), batch.target.flip(0), torch.zeros_like(batch.target)]
    by_labels = max(_moved(first, _answers(model, batch.replace(target=target))) for target in turned)
    ids = [f"other {place}" for place in range(len(batch))]
    by_ids = _moved(first, _answers(model, batch.replace(ids=ids, index=batch.index + len(batch))))
    for kind, moved, what, remedy in (
        ("labels-read", by_labels, "labels", "take the target out of what the model reads when it predicts"),
        ("ids-read", by_ids, "ids and places", "predict from features and tokens alone, not from who it is"),
    ):
        if moved > 10 * noise + 1e-6:
            yield Finding(
                kind,
                "leak",
                f"the answers for {len(batch)} samples move by up to {moved:.3g} when their {what} are exchanged, and"
                f" by {noise:.3g} when nothing is: the model reads them",
                remedy,
                {"moved": moved, "noise": noise, "samples": len(batch)},
                name,
            )


def _answers(model: Model, batch: Batch) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model.predict(batch).logits.double()


def _moved(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().nan_to_num(torch.inf, torch.inf).max())


def first_samples(model: Model, part: Part, source: str) -> Batch:
    """The first samples of a split, as the model's own training had them.

    Args:
        model: The model, of a checkpoint.
        part: The split.
        source: Of which file, for messages.

    Raises:
        MERError: If the split has not what the model reads.
    """
    split, spec = _head(part, ASKED), model.spec
    for name in spec.modalities:
        if name == "text" and spec.tokens:
            if split.token_ids is None:
                raise MERError(
                    f"{source} has no token ids, which {model.name} reads; give the data that it was trained on"
                )
        elif name not in split.features or split.features[name].shape[2] != spec.dim(name):
            raise MERError(
                f"{source} has no {name} of width {spec.dim(name)}, which {model.name} reads; give the data that it was"
                " trained on"
            )
    check_labels(split, model.task, source)
    state = model.scaler_state
    scaler = None if state is None else Scaler(state["mean"], state["std"])
    with torch.random.fork_rng(devices=[]):
        dataset = SplitDataset(split, spec, model.task, scaler, fit_lengths=True, gaps=gaps_of(model.made_by))
        return dataset.__getitems__(range(len(split)))


def _head(part: Part, most: int) -> SplitData:
    """The first samples, in memory."""
    draft, count = part.draft, min(most, len(part.ids))
    features = {key: _first_rows(draft.features[key].blocks(2**20), count) for key in draft.features}
    spans = {key: np.zeros((count, 2), np.int32) for key in MODALITIES}
    spans |= {key: part.features[key].spans[:count] for key in features}
    if draft.tokens is not None:
        words = draft.token_spans if draft.token_spans is not None else part.features["text"].spans
        spans["text"] = words[:count]
    return SplitData(
        features,
        spans,
        None if draft.tokens is None else draft.tokens[:count],
        None if draft.labels is None else draft.labels[:count],
        draft.ids[:count],
        [""] * count if draft.raw_text is None else draft.raw_text[:count],
        conversation=draft.conversation.take(range(count)),
    )


def _first_rows(blocks: Iterator[npt.NDArray[np.float32]], count: int) -> npt.NDArray[np.float32]:
    rows: list[npt.NDArray[np.float32]] = []
    for block in blocks:
        with np.errstate(over="ignore", invalid="ignore"):
            rows.append(np.nan_to_num(np.array(block, np.float32), nan=0.0, posinf=0.0, neginf=0.0))
        if sum(map(len, rows)) >= count:
            break
    return np.concatenate(rows)[:count]


def check_scaler_of(run: Run, model: Model, material: Material) -> Iterator[Finding]:
    """Compare the statistics in a checkpoint with those of train and of all splits.

    Args:
        run: The run.
        model: Its model, with the statistics.
        material: The corpus.
    """
    state = model.scaler_state
    if state is None or "train" not in material.parts:
        return
    for kind, mean in state["mean"].items():
        moments = [part.features[kind].moments for part in material.parts.values() if kind in part.features]
        train = material.parts["train"].features.get(kind)
        if train is None or len(moments) < 2 or any(len(one.total) != len(mean) for one in moments):
            continue
        deviation = state["std"][kind].double().numpy()
        center = mean.double().numpy()
        if not _fits(center, deviation, [train.moments]) and _fits(center, deviation, moments):
            yield Finding(
                "scaler-of-test",
                "leak",
                f"the scaler in the checkpoint has the mean and deviation of {kind} over all splits, not over train",
                "fit the scaler on train alone, and train again",
                {"modality": kind, "columns": len(center)},
                run.name,
            )


def _fits(center: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64], parts: Sequence[Moments]) -> bool:
    whole = reduce(add, parts)
    varies = whole.deviation > 1e-5 * np.maximum(np.abs(whole.mean), 1e-5)
    near = SCALED_ALIKE * whole.deviation[varies]
    return bool(
        (np.abs(center - whole.mean)[varies] <= near).all()
        and (np.abs(deviation - whole.deviation)[varies] <= near).all()
    )
