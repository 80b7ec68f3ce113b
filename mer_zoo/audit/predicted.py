"""What a run predicted without a test: the rows of predictions.csv beside the labels of the corpus."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

import numpy as np

from mer_zoo.audit.runs import Run
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular

__all__ = ["check_predictions"]

FILE = "predictions.csv"
LARGEST = 2**28  # bytes
FEWEST = 30
CONSTANT, SAME = 1e-6, 1e-3


def check_predictions(run: Run, material: Material) -> Iterator[Finding | NotChecked]:
    """See whether predicted scores are constant, or the labels themselves.

    Args:
        run: The run.
        material: The corpus.
    """
    if not (run.folder / FILE).is_file():
        return
    try:
        scores = _scores(run)
    except MERError as error:
        yield NotChecked(f"the answers in {FILE}", str(error), run.name)
        return
    if len(scores) < FEWEST:
        yield NotChecked(f"the answers in {FILE}", f"it has fewer than {FEWEST} scores", run.name)
        return
    values = np.array(list(scores.values()))
    if np.ptp(values) <= CONSTANT:
        yield Finding(
            "constant-answers",
            "warning",
            f"all {len(values)} samples of {FILE} have the same score",
            "see whether training diverged or stood still (metrics.csv), and train with another learning rate",
            {"samples": len(values)},
            run.name,
        )
    for name, part in material.parts.items():
        if part.labels is None or part.labels.ndim != 1 or part.labels.dtype.kind != "f":
            continue
        known = {one: float(label) for one, label in zip(part.ids, part.labels, strict=True) if one in scores}
        if len(known) < FEWEST or len(set(known.values())) < 2:
            continue
        if max(abs(scores[one] - label) for one, label in known.items()) <= SAME:
            yield Finding(
                "answers-are-labels",
                "leak",
                f"all {len(known)} scores of {FILE} are the labels of {name} themselves, which no model reaches",
                "see where the scores come from: an input that holds the label does this",
                {"samples": len(known), "split": name},
                run.name,
            )


def _scores(run: Run) -> dict[str, float]:
    """The score of each id; nothing where the task has several."""
    path = run.folder / FILE
    try:
        rows = list(csv.DictReader(io.StringIO(read_regular(path, LARGEST).decode("utf-8-sig"), newline="")))
        found = {row["id"]: float(row["score"]) for row in rows if row.get("score") is not None}
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, KeyError, TypeError) as error:
        raise MERError(f"{path} is no table of predictions ({type(error).__name__}); predict again") from None
    if not all(map(math.isfinite, found.values())):
        raise MERError(f"{path} holds scores that are not finite; predict again")
    return found
