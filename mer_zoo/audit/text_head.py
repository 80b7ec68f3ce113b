"""Is a fused model better than its text?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from mer_zoo.audit.runs import Run
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.probes import Sample, choose
from mer_zoo.data.survey.targets import Targets
from mer_zoo.metrics.significance import paired_bootstrap
from mer_zoo.reports.groups import choose_metric
from mer_zoo.reports.kept_scores import KeptScores
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.tables import format_value, is_fraction
from mer_zoo.task import EmotionDetection, Task

__all__ = ["check_text_alone", "check_text_probe"]

FEWEST = 30
DRAWS = 200


def check_text_alone(run: Run, results: RunResults) -> Iterator[Finding]:
    """The same model with nothing but its text, where that was tested.

    Args:
        run: The run.
        results: What its test found.
    """
    metric = choose_metric([results])
    for condition in results.conditions.values():
        full = results.full(condition)
        if condition.available != ("text",) or full is None or condition.curve is not None:
            continue
        alone, whole = condition.metrics.get(metric, math.nan), full.metrics.get(metric, math.nan)
        lower = metric in ("MAE", "loss")
        if (alone <= whole) if lower else (alone >= whole):
            yield Finding(
                "text-alone",
                "warning",
                f"with its text alone the model has {metric} {format_value(metric, alone)}, with all modalities"
                f" {format_value(metric, whole)}: the others add nothing under {full.name}",
                "compare with a text-only network of the same size before fusion is claimed to help",
                {"metric": metric, "text": alone, "all": whole, "condition": full.name},
                run.name,
            )


def check_text_probe(
    run: Run, results: RunResults, kept: Mapping[str, KeptScores], material: Material, samples: Mapping[str, Sample]
) -> Iterator[Finding | NotChecked]:
    """Compare a ridge regression on the pooled text with the model.

    Args:
        run: The run.
        results: What its test found.
        kept: Its scores by condition.
        material: The corpus.
        samples: Its labelled samples.
    """
    what, task, train = "whether a text-only head beats the model", run.task, samples.get("train")
    first = next((one for one in results.conditions.values() if one.complete and one.name in kept), None)
    if task is None or first is None or train is None or "text" not in train.vectors or first.split not in samples:
        yield NotChecked(what, "it takes kept scores, and text and labels of train and test", run.name)
        return
    test, scores = samples[first.split], kept[first.name]
    whole = len(material.parts[first.split].ids) == len(test) == len(scores.target)
    if not whole or not torch.equal(scores.index, torch.arange(len(test))):
        yield NotChecked(what, f"the scores are not those of all of {first.split}, in its order", run.name)
        return
    if results.data.get("modalities") == ["text"]:
        return
    logits = _probe_logits(task, train, test, samples.get("valid"), material)
    metric = choose_metric([results])
    if metric not in task.metrics():
        return
    clusters = None if scores.ids is None else recordings(scores.ids)
    found = paired_bootstrap(task.metrics()[metric], logits, scores.logits, scores.target, DRAWS, clusters=clusters)
    better = found.difference < 0 if metric in ("MAE", "loss") else found.difference > 0
    if better:
        points = 100 if is_fraction(metric) else 1
        yield Finding(
            "text-head-wins",
            "warning" if found.significant else "note",
            f"a ridge regression on the pooled text of {first.split}"
            f" {'beats' if found.significant else 'is no worse than'} the model: {metric}"
            f" {found.difference * points:+.3g} (95 % interval of the difference"
            f" {found.low * points:+.3g} to {found.high * points:+.3g})",
            "tune the text part first; a fused model that is below its text has not learnt to fuse",
            {"metric": metric, "difference": found.difference, "low": found.low, "high": found.high},
            run.name,
        )


def _probe_logits(task: Task, train: Sample, test: Sample, valid: Sample | None, material: Material) -> Tensor:
    """(N, *task shape) logits of a ridge regression on text, of the task's own classes."""

    def encoded(sample: Sample, name: str) -> Sample:
        labels = material.parts[name].labels
        target = torch.from_numpy(np.asarray(labels)[material.parts[name].kept])
        if not task.is_classification or isinstance(task, EmotionDetection):
            return sample
        columns = torch.nn.functional.one_hot(task.encode(target).long(), task.shape[-1]).double()
        return Sample(sample.vectors, Targets("classes", columns), sample.groups)

    train = encoded(train, "train")
    choice = choose("text", train, None if valid is None or len(valid) < FEWEST else encoded(valid, "valid"))
    scores = choice.scores(test).float()
    return torch.stack([1 - scores, scores], -1) if isinstance(task, EmotionDetection) else scores
