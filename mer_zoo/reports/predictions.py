"""The rows of predictions.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mer_zoo.uncertainty import Answers

if TYPE_CHECKING:
    from mer_zoo.task import Task
    from mer_zoo.uncertainty import Thresholds

__all__ = ["on_cpu", "prediction_rows"]


def on_cpu(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction with all its tensors on the CPU, in single precision.

    Args:
        prediction: What ``MERModule.predict_step`` gives for a batch.
    """
    return {key: value if key in ("ids", "names") else _cpu(value) for key, value in prediction.items()}


def _cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cpu(item) for key, item in value.items()}
    return value.float().cpu() if value.is_floating_point() else value.cpu()


def prediction_rows(
    predictions: Sequence[Mapping[str, Any]], task: Task | None = None, thresholds: Thresholds | None = None
) -> list[dict[str, Any]]:
    """One row a sample, in the order of the split; a distributed sampler's repetitions are dropped.

    Args:
        predictions: From :func:`on_cpu`, of batches in any order.
        task: What the logits mean, so that what is predicted can be named.
        thresholds: The model's calibration, by which a row has a probability for each class, the classes of its
            conformal set, and where a score is predicted the ends of its interval.

    Example:
        >>> import torch
        >>> batch = {"ids": ["b", "a"], "index": torch.tensor([1, 0]), "logits": torch.tensor([[0.5], [-1.0]])}
        >>> batch |= {"scores": batch["logits"][:, 0], "effects": {}}
        >>> prediction_rows([batch])
        [{'id': 'a', 'logit': -1.0, 'score': -1.0}, {'id': 'b', 'logit': 0.5, 'score': 0.5}]
    """
    rows: dict[int, dict[str, Any]] = {}
    for part in predictions:
        scores, logits = part["scores"], part["logits"]
        columns = {"logit": logits, "score": scores, **{f"effect_{k}": v for k, v in part["effects"].items()}}
        named = None if task is None else task.name_predictions(logits)
        sure = None if task is None or thresholds is None else _certainty(part, task, thresholds)
        for place, index in enumerate(part["index"].tolist()):
            row: dict[str, Any] = {"id": part["ids"][place]}
            row |= {name: values[place] for name, values in part.get("names", {}).items()}
            if named is not None:
                row["class"] = named[place]
            if sure is not None:
                row |= sure[place]
            for name, value in columns.items():
                flat = value[place].flatten().tolist()
                row.update({name if len(flat) == 1 else f"{name}_{i}": number for i, number in enumerate(flat)})
            rows[index] = row
    return [rows[index] for index in sorted(rows)]


def _certainty(part: Mapping[str, Any], task: Task, thresholds: Thresholds) -> list[dict[str, Any]]:
    """The columns of each sample that say how sure its prediction is."""
    answers = Answers.of(task, part["logits"], part.get("available"), thresholds)
    names, problems = task.outcomes, task.problems
    shares = answers.probabilities.reshape(-1, len(problems), len(names)).tolist()
    sets = answers.sets.reshape(-1, len(problems), len(names)).tolist()
    rows: list[dict[str, Any]] = []
    for of_sample, inside in zip(shares, sets, strict=True):
        row: dict[str, Any] = {}
        for problem, values, members in zip(problems, of_sample, inside, strict=True):
            at = f"_{problem}" if problem else ""
            row |= {f"p{at}_{name}": value for name, value in zip(names, values, strict=True)}
            row[f"set{at}"] = " | ".join(name for name, is_in in zip(names, members, strict=True) if is_in)
        rows.append(row)
    if answers.low is not None and answers.high is not None:
        for row, low, high in zip(rows, answers.low.tolist(), answers.high.tolist(), strict=True):
            row |= {"low": low, "high": high}
    return rows
