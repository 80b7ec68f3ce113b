"""What a run answered: constantly, with the labels themselves, or no better than something simpler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import torch

from mer_zoo.audit.predicted import check_predictions
from mer_zoo.audit.runs import Run, tested
from mer_zoo.audit.text_head import check_text_alone, check_text_probe
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.probes import Sample
from mer_zoo.errors import MERError
from mer_zoo.metrics.significance import bootstrap
from mer_zoo.reports.groups import choose_metric
from mer_zoo.reports.kept_scores import KeptScores
from mer_zoo.reports.record import ConditionResult, RunResults
from mer_zoo.reports.tables import format_value
from mer_zoo.task import Task

__all__ = ["check_run"]

FEWEST, MANY = 30, 100
CONSTANT = 1e-3  # of the deviation of the labels
CLOSE = 0.02  # of the majority class
GOOD = 0.6
DRAWS = 200


def check_run(
    run: Run, material: Material, samples: Mapping[str, Sample], ceilings: Mapping[str, float]
) -> Iterator[Finding | NotChecked]:
    """Look at what a run's test left.

    Args:
        run: The run.
        material: The corpus.
        samples: Its labelled samples.
        ceilings: What is not to be believed, by metric: more, or of errors less, than this.
    """
    yield from check_predictions(run, material)
    if run.results is None:
        yield NotChecked("answers and metrics", "the run was not tested (mer-zoo test)", run.name)
        return
    kept: dict[str, KeptScores] = {}
    for condition, scores in tested(run):
        yield from _majority(run, run.results, condition)
        if isinstance(scores, NotChecked):
            yield scores
            continue
        kept[condition.name] = scores
        yield from _constant(run, condition, scores)
        yield from _labels(run, condition, scores, material)
    yield from _same_conditions(run, kept)
    yield from _ceilings(run, run.results, kept, ceilings)
    yield from check_text_alone(run, run.results)
    yield from check_text_probe(run, run.results, kept, material, samples)
    if "oracle" in run.results.model:
        yield Finding(
            "chosen-on-test",
            "warning",
            "the model has an option that takes what is best on the test split itself (oracle)",
            "leave the option out; the default chooses on the validation split",
            {"model": run.results.model},
            run.name,
        )


def _task(run: Run) -> Task:
    task = run.task
    if task is None:  # conditions without a task have no scores
        raise MERError(f"{run.folder} names no task; test it again")
    return task


def _constant(run: Run, condition: ConditionResult, scores: KeptScores) -> Iterator[Finding]:
    task = _task(run)
    if len(scores.logits) < FEWEST:
        return
    if task.is_classification:
        answers = scores.logits.argmax(-1).flatten(1) if scores.logits.dim() > 2 else scores.logits.argmax(-1)[:, None]
        share = max(
            float((answers[:, k] == answers[:, k].mode().values).double().mean()) for k in range(answers.shape[1])
        )
        constant = bool((answers == answers[0]).all())
    else:
        deviation = float(scores.logits.double().std())
        constant, share = deviation <= CONSTANT * max(float(scores.target.double().std()), 1e-9), 1.0
    if constant:
        yield Finding(
            "constant-answers",
            "warning",
            f"under {condition.name} all {len(scores.logits)} samples get the same answer",
            "see whether training diverged or stood still (metrics.csv), and train with another learning rate",
            {"condition": condition.name, "samples": len(scores.logits), "share": share},
            run.name,
        )


def _majority(run: Run, results: RunResults, condition: ConditionResult) -> Iterator[Finding]:
    metric = _accuracy(results)
    value, majority = condition.metrics.get(metric, math.nan), condition.majority.get(metric, math.nan)
    if not value <= majority + CLOSE or condition.place or condition.count < FEWEST:
        return
    what = "no better than" if value <= majority else "hardly better than"
    seems = value >= GOOD
    yield Finding(
        "majority-class",
        "warning" if seems else "note",
        f"{metric} under {condition.name} is {format_value(metric, value)}, {what} the most frequent class"
        f" ({format_value(metric, majority)})",
        "report that beside it, and a macro-averaged F1",
        {"condition": condition.name, "metric": metric, "value": value, "majority": majority},
        run.name,
    )


def _accuracy(results: RunResults) -> str:
    """The accuracy that the run is about."""
    main = choose_metric([results])
    accuracies = [name for name in results.metric_names if name.startswith("Acc")]
    return main if main.startswith("Acc") or not accuracies else accuracies[0]


def _labels(run: Run, condition: ConditionResult, scores: KeptScores, material: Material) -> Iterator[Finding]:
    """Answers that are the labels, labels that are others than the corpus has, samples that were trained on."""
    task, count = _task(run), len(scores.target)
    if count >= FEWEST:
        if task.is_classification:
            right = (scores.logits.argmax(-1) == task.encode(scores.target)).flatten(
                1 if scores.target.dim() > 1 else 0
            )
            same = bool(right.all()) and not bool((scores.target == scores.target[0]).all())
        else:
            left = (task.score(scores.logits).double() - scores.target.double()).abs()
            same = float(left.max()) <= CONSTANT and float(scores.target.double().std()) > 0
        if same:
            yield Finding(
                "answers-are-labels",
                "leak" if count >= MANY or not task.is_classification else "warning",
                f"under {condition.name} all {count} answers are the labels themselves, which hardly any model reaches",
                "see where the answers come from: code that stores the target as the prediction does this, and so does"
                " an input that holds it",
                {"condition": condition.name, "samples": count},
                run.name,
            )
    part = material.parts.get(condition.split)
    if scores.ids is None or part is None or part.labels is None or len(set(part.ids)) < len(part.ids):
        return
    train = material.parts.get("train")
    seen = set() if train is None or train.is_numbered else set(scores.ids) & set(train.ids)
    if seen:
        yield Finding(
            "tested-on-train",
            "leak",
            f"{len(seen)} of the {count} samples tested under {condition.name} are in train, {min(seen)} for one",
            "test on samples that were not trained on",
            {"condition": condition.name, "samples": len(seen), "of": count},
            run.name,
        )
    place = {name: row for row, name in enumerate(part.ids)}
    known = [(place[name], row) for row, name in enumerate(scores.ids) if name in place]
    if known and part.labels.ndim == scores.target.dim():
        theirs = scores.target[[row for _, row in known]].double().numpy()
        ours = np.asarray(part.labels)[[row for row, _ in known]].astype(np.float64)
        other = int((np.abs(theirs - ours) > 1e-5).reshape(len(known), -1).any(1).sum())
        if other:
            yield Finding(
                "other-labels",
                "warning",
                f"{other} of {len(known)} labels that {condition.name} was scored by are others than the corpus has",
                "test again: the corpus, or the file of scores, has been changed since",
                {"condition": condition.name, "samples": other, "of": len(known)},
                run.name,
            )


def _same_conditions(run: Run, kept: Mapping[str, KeptScores]) -> Iterator[Finding]:
    """Two conditions that are one, such as an OOD split that is the IID split."""
    for one, other in combinations(kept, 2):
        ours, theirs = kept[one], kept[other]
        alike = ours.logits.shape == theirs.logits.shape and len(ours.logits) > 1
        if alike and torch.equal(ours.target, theirs.target) and torch.equal(ours.logits, theirs.logits):
            yield Finding(
                "identical-conditions",
                "leak",
                f"{one} and {other} have the same answers and labels for all {len(ours.logits)} samples: they tested on"
                " one split, as of a published OOD split that was equal to its IID split",
                f"give {other} its own samples, and test again",
                {"one": one, "other": other, "samples": len(ours.logits)},
                run.name,
            )


def _ceilings(
    run: Run, results: RunResults, kept: Mapping[str, KeptScores], ceilings: Mapping[str, float]
) -> Iterator[Finding | NotChecked]:
    """Results beyond what annotators agree on."""
    if not ceilings:
        yield NotChecked(
            "whether results are above what annotators agree on",
            "no figure was given (--ceiling METRIC=VALUE)",
            run.name,
        )
        return
    task = run.task
    directions = {} if task is None else {name: bool(one.higher_is_better) for name, one in task.metrics().items()}
    for metric, ceiling in ceilings.items():
        if metric not in results.metric_names:
            yield NotChecked(f"{metric} against its ceiling", "the run has no such metric", run.name)
            continue
        sign = 1 if directions.get(metric, True) else -1
        for condition in results.conditions.values():
            value = condition.metrics.get(metric, math.nan)
            if not condition.complete or not sign * value > sign * ceiling:
                continue
            evidence: dict[str, float | int | str] = {"metric": metric, "value": value, "ceiling": ceiling}
            sure, scores = False, kept.get(condition.name)
            if scores is not None and task is not None:
                clusters = None if scores.ids is None else recordings(scores.ids)
                found = bootstrap(task.metrics()[metric], scores.logits, scores.target, DRAWS, clusters=clusters)
                evidence |= {"low": found.low, "high": found.high}
                sure = sign * (found.low if sign > 0 else found.high) > sign * ceiling
            yield Finding(
                "above-ceiling",
                "warning" if sure else "note",
                f"{metric} under {condition.name} is {format_value(metric, value)}, beyond"
                f" {format_value(metric, ceiling)}, which annotators agree on"
                f"{', with its whole interval' if sure else ''}",
                "look for the reason in the data before it is believed: the findings on leaks above",
                evidence,
                run.name,
            )
