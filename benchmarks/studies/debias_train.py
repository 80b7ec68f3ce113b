"""One training of a method in the benchmarks of debiasers, and what is tested of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack

from lightning.pytorch import seed_everything

import mer_zoo.backbones
from benchmarks.studies.debias import CHOICES, METRIC, TAUS, Comparison, build, labels
from benchmarks.studies.frame import Job, Place, Plan, Record, Results, about, fit, result_of, tested
from mer_zoo.confounding.strength import Selection
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.training import score
from mer_zoo.wrappers import MACI


def train(comparison: Comparison, job: Job) -> Results:
    """Train once, and test the chosen epoch of every choice."""
    backbone, trained, method = job.what
    seed_everything(job.seed, verbose=False)
    data = comparison.load(trained, job.seed)
    network = getattr(mer_zoo.backbones, backbone)(data.spec, data.task, **comparison.sizes[backbone])
    choices = {name: CHOICES[name] for name in comparison.choices}
    plan = Plan(comparison.rates[backbone], comparison.options["epochs"], choices, deconfounded=True)
    found = fit(build(method, network, comparison.prototypes), data, plan)
    return tested(found, lambda module: _test(comparison, job, module, data))


def _test(comparison: Comparison, job: Job, module: MERModule, data: MERDataModule) -> Results:
    """Results in each setting, and what they belong to."""
    _, trained, method = job.what
    model, weights = module.model, module.validation_weights
    valid = weights.attach(score(model, data.batch_source("valid"), weights.effects))
    records: dict[Place, Record] = {}
    for setting in dict.fromkeys(place[1] for place in job.places):
        here = data if setting == trained else comparison.load(setting, job.seed)
        here.load_scaler_state(data.scaler_state())
        scores = {"valid": valid, **{c.name: score(model, here.condition_source(c)) for c in here.conditions}}
        ids = {} if comparison.fresh else {c.name: _recordings(here.corpus.split(c.split).ids) for c in here.conditions}
        told = {**about(model, scores), "ids": ids}
        if comparison.attributes is not None:
            told["attributes"] = {c.name: comparison.attributes(here, c.split) for c in here.conditions}
        for label, result in answers(method, model, scores).items():
            records[job.what[0], setting, label] = {**told, "result": result}
    return records


def _recordings(ids: Sequence[str]) -> list[str]:
    return recordings(ids) or list(ids)


def answers(method: str, model: Model, scores: Mapping[str, Scores]) -> dict[str, Record]:
    """Metrics and predicted classes of every split, under each choice of tau where there is MACI.

    Args:
        method: Name of the method.
        model: The trained model.
        scores: Its scores on ``valid`` and on every test split.
    """
    macis = [each for each in model.nest if isinstance(each, MACI)]
    found = {}
    taus: Iterable[tuple[Selection, float]] = TAUS.values() if macis else [("fixed", 0.0)]
    for label, (selection, tau) in zip(labels(method), taus, strict=True):
        with ExitStack() as stack:
            for maci in macis:
                stack.enter_context(maci.language_bias.selecting(selection, tau))
            if macis:
                model.calibrate(scores["valid"])
            candidates = {
                name: model.oracle(each) or [model.rescore(each) if macis else each.logits]
                for name, each in scores.items()
            }
            splits = {name: result_of(model.task, scores[name], logits, METRIC) for name, logits in candidates.items()}
            found[label] = {"splits": splits, "diagnostics": model.diagnostics()}
    return found
