"""Groups of test samples: by recording, by label, by what a test has kept of each sample, or by columns of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from mer_zoo.data.corpus.conversation import NAMED, recordings
from mer_zoo.data.files.groups import read_columns
from mer_zoo.errors import MERError
from mer_zoo.reports.clusters import UNKNOWN, names_of, values_by_id
from mer_zoo.reports.kept_scores import KeptScores
from mer_zoo.task import Task

__all__ = ["SampleGroups", "quarters"]

RECORDING, LABEL = ("recording", "video"), "label"
MANY = 10  # different numbers, above which they are grouped by quarters


class SampleGroups:
    """The groups of samples.

    Args:
        by: ``recording`` (or ``video``), ``speaker``, ``dialogue``, ``label``, a fact that tests keep, such as
            ``words``, or a CSV file with a column ``id`` and others, of which ``FILE.csv:COLUMN`` takes one.

    Raises:
        MERError: If a file cannot be read as such.

    Example:
        >>> from mer_zoo.task import build_task
        >>> test = KeptScores(torch.zeros(2, 1), torch.tensor([-1.0, 2.0]), torch.arange(2), ["a$_$1", "b$_$1"])
        >>> [SampleGroups(by).of([test], build_task("regression")) for by in ("video", "label")]
        [{'video': [['a', 'b']]}, {'label': [['negative', 'positive']]}]
    """

    def __init__(self, by: str) -> None:
        self.by = by
        is_file = "." in by or "/" in by
        self.columns = read_columns(by) if is_file else None

    def of(self, tests: Sequence[KeptScores], task: Task) -> dict[str, list[list[str]]]:
        """The group of each sample of each test, by what the groups are called after.

        Args:
            tests: The tests, of which numbers are put into quarters together.
            task: What the labels mean.

        Raises:
            MERError: Where a test does not tell the group of a sample.
        """
        if self.columns is not None:
            return {name: self._of_column(name, values, tests) for name, values in self.columns.items()}
        return {self.by: self._of_field(tests, task)}

    def _of_column(self, name: str, values: dict[str, str], tests: Sequence[KeptScores]) -> list[list[str]]:
        file = self.by.removesuffix(f":{name}")
        found = [values_by_id(f"{file}, column {name}", values, test.ids) for test in tests]
        numbers = [[_number(value) for value in each] for each in found]
        known = {number for each in numbers for number in each}
        return quarters(numbers) if len(known) > MANY and not any(map(math.isnan, known)) else found

    def _of_field(self, tests: Sequence[KeptScores], task: Task) -> list[list[str]]:
        if self.by in RECORDING:
            named = [recordings(test.ids or []) for test in tests]
            found = [names for names in named if names is not None]
            if len(found) < len(named):
                raise MERError(
                    f"--groups {self.by}: ids of the test do not tell the recording; give a CSV file of ids and groups"
                )
            return found
        if self.by in NAMED:
            return [names_of(self.by, test, f"--groups {self.by}") for test in tests]
        if self.by == LABEL:
            return [_labels(test, task) for test in tests]
        if any(self.by not in test.facts for test in tests):
            kept = list(dict.fromkeys(name for test in tests for name in test.facts))
            others = f"; or one of {', '.join(kept)}" if kept else "; runs tested anew also know words"
            raise MERError(
                f"--groups {self.by}: tests have kept nothing of this name; give recording, speaker, dialogue, label,"
                f" or a CSV file of ids and groups{others}"
            )
        return quarters([test.facts[self.by].tolist() for test in tests])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _labels(test: KeptScores, task: Task) -> list[str]:
    """The label of each sample in words."""
    if not task.is_classification:
        return task.name_predictions(test.target.float().view(-1, 1))
    classes = task.encode(test.target)
    return task.name_predictions(torch.nn.functional.one_hot(classes, task.shape[-1]).float())


def quarters(values: Sequence[Sequence[float]]) -> list[list[str]]:
    """Four groups of about as many samples, named by their smallest and largest number; fewer where numbers repeat.

    Args:
        values: Numbers of the samples of each test; NaN where one is not known.

    Example:
        >>> quarters([[3, 9, 1, 4], [7, 8, 2, 25]])
        [['3 to 4', '9 to 25', '1 to 2', '3 to 4'], ['7 to 8', '7 to 8', '1 to 2', '9 to 25']]
    """
    known = torch.tensor([x for each in values for x in each if not math.isnan(x)], dtype=torch.float64)
    if not len(known):
        return [[UNKNOWN] * len(each) for each in values]
    marks = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    edges = torch.tensor(sorted(set(known.quantile(marks, interpolation="lower").tolist())), dtype=torch.float64)
    places = torch.bucketize(known, edges)
    names = {
        place: f"{known[places == place].min():g} to {known[places == place].max():g}" for place in set(places.tolist())
    }
    return [
        [
            UNKNOWN if math.isnan(x) else names[int(torch.bucketize(torch.tensor(x, dtype=torch.float64), edges))]
            for x in each
        ]
        for each in values
    ]
