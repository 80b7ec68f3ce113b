"""Runs as a test leaves them, made from random scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mer_zoo.reports import write_results
from mer_zoo.scores import Scores, baselines
from mer_zoo.task import build_task

COMPLETE = {"iid": "test_iid", "ood": "test_ood"}
RATES = [step / 10 for step in range(1, 11)]
SETS = ["{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]


def content(
    model: str = "MulT",
    seed: int | None = 0,
    strength: float = 1.5,
    task: str = "binary",
    size: int = 60,
    curves: Sequence[str] = (),
    sets: Sequence[str] = SETS,
    draw: int = 0,
    **changes: Any,
) -> tuple[dict[str, Any], dict[str, Scores]]:
    """Content of results.json and the scores: conditions iid, ood, availability sets,
    and rates 0.1 to 1 of patterns; each ``draw`` has labels of its own.
    """
    built = build_task(task)
    conditions, scores = {}, {}
    patterns: dict[str, str | None] = {**dict.fromkeys(COMPLETE), **{name: f"SMM({name})" for name in sets}}
    for curve in curves:
        family = curve.split()[-1]
        patterns |= {f"{curve} {rate}": f"{family}(rate={rate})" for rate in RATES}
    for place, (name, pattern) in enumerate(patterns.items()):
        split = "test_ood" if name.startswith("ood") else "test_iid"
        labels = torch.Generator().manual_seed(1000 * draw + len(split) + (split == "test_ood"))
        target = built.random_target(size, labels)
        target = target.round() if target.is_floating_point() else target
        noise = torch.Generator().manual_seed(1000 * (seed or 0) + place)
        logits = torch.randn(size, *built.shape, generator=noise)
        pull = strength * (1.0 if name in COMPLETE else 0.4)
        if pattern is not None and "rate=" in pattern:
            pull = strength * (1 - float(name.split()[-1]))
        if built.is_classification:
            logits.scatter_add_(-1, built.encode(target)[..., None], torch.full((*target.shape, 1), pull))
        else:
            logits = logits + pull * target[:, None]
        metrics = built.metrics()
        metrics.update(logits, target)
        conditions[name] = {
            "split": split,
            "pattern": pattern,
            "source": None,
            "count": size,
            "metrics": {"loss": 0.5, **{key: float(value) for key, value in metrics.compute().items()}},
            **baselines(built, target),
        }
        scores[name] = Scores(logits, {}, target, torch.arange(size))
    data = {"corpus": "SyntheticMER", "source": None, "modalities": ["text", "audio", "vision"]}
    results: dict[str, Any] = {
        "model": model,
        "task": task,
        "convention": "mmsa",
        "data": data,
        "seed": seed,
        "notes": [],
    }
    return {**results, "conditions": conditions, **changes}, scores


def write_run(folder: Path, **options: Any) -> Path:
    """Write such a run without pictures."""
    results, scores = content(**options)
    write_results(folder, results, scores, pictures=False)
    return folder
