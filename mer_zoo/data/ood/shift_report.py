"""What shifted between the splits of a corpus: the classes, and which class a word goes along with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.ood.partition import Floats, Ints, WordTable, class_given_word, word_shift
from mer_zoo.data.ood.shares import SPLITS, positive_share
from mer_zoo.reports.tables import Table

__all__ = ["ShiftReport"]

_TRAIN, _VALID, _TEST = range(3)
SHOWN = 40


@dataclass
class ShiftReport:
    """The shift of words between splits.

    Args:
        classes: C names.
        words: W frequent words.
        objective: Mean total variation of P(class | word): between train and test of the source's splits (``source``),
            of random ones of the same sizes (``random``) and of the new ones (``ood``), and between the new train and
            valid (``valid``).
        marginals: (3, C) samples of each class in train, valid and test_ood.
        source_marginals: The same for the source's splits, its test splits together.
        train: (W, C) samples of train with a word, by class.
        test: (W, C) the same for test_ood.
        prior: (C,) share of each class in all samples.
        shared_recordings: Samples of test_ood from a recording that train has samples of; None where ids do not tell.
        settings: How the splits were made.
    """

    classes: Sequence[str]
    words: Sequence[str]
    objective: dict[str, float]
    marginals: Ints
    source_marginals: Ints
    train: Floats
    test: Floats
    prior: Floats
    shared_recordings: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, table: WordTable, labels: Ints, classes: Sequence[str], partitions: Mapping[str, Ints], ids: Sequence[str]
    ) -> ShiftReport:
        """Measure the shift.

        Args:
            table: The frequent words.
            labels: (N,) class of each sample.
            classes: C names.
            partitions: (N,) split of each sample in the partitions ``source``, ``random`` and ``ood``.
            ids: N ids.
        """
        prior = np.bincount(labels, minlength=len(classes)) / len(labels)

        def counts(name: str, split: int) -> Floats:
            return table.counts(partitions[name] == split, labels, len(classes))

        def distance(name: str, split: int = _TEST) -> float:
            return float(word_shift(counts(name, _TRAIN), counts(name, split), prior).mean())

        def marginals(name: str) -> Ints:
            return np.stack([np.bincount(labels[partitions[name] == s], minlength=len(classes)) for s in range(3)])

        objective = {name: distance(name) for name in partitions} | {"valid": distance("ood", _VALID)}
        return cls(
            classes,
            table.words,
            objective,
            marginals("ood"),
            marginals("source"),
            counts("ood", _TRAIN),
            counts("ood", _TEST),
            prior,
            _shared_recordings(partitions["ood"], ids),
        )

    @property
    def shifts(self) -> Floats:
        """(W,) total variation of each word."""
        return word_shift(self.train, self.test, self.prior)

    def note(self) -> str:
        """One sentence for the notes of the corpus."""
        made = ", ".join(f"{key} {self.settings[key]}" for key in ("task", "seed", "steps") if key in self.settings)
        train, _, test = self.positive
        labels = (
            f"; of the samples not neutral {100 * train:.1f} % are positive in train, {100 * test:.1f} % in test_ood"
        )
        return (
            f"splits made by mer-zoo split-ood ({made}): test_ood is out of distribution, mean word shift "
            f"{self.objective['ood']:.3f} where random splits have {self.objective['random']:.3f}"
            + (labels if self.shifts_labels else "")
        )

    @property
    def shifts_labels(self) -> bool:
        """Whether a label shift was asked for."""
        return "label_shift" in self.settings

    @property
    def positive(self) -> list[float]:
        """Share of positive samples among those not neutral in train, valid and test_ood."""
        return [positive_share(counts) for counts in self.marginals]

    def tables(self, shown: int = SHOWN) -> list[Table]:
        """The report as tables.

        Args:
            shown: Words to show, those with the largest shift weighted by the root of their count first.
        """
        return [self._objectives(), self._sizes(), self._words(shown)]

    def _objectives(self) -> Table:
        rows = {
            "source": "before: train and test of the source",
            "random": "train and test of random splits of these sizes",
            "ood": "after: train and test_ood",
            "valid": "after: train and valid",
        }
        table = Table("Word shift", ["between", "shift"], [[rows[key], f"{self.objective[key]:.3f}"] for key in rows])
        table.notes.append(
            f"The total variation between P(class | word) in one and in the other, mean over {len(self.words)} frequent"
            f" words: "
            "0 where a word goes along with the same classes, 1 where with others."
        )
        return table

    def _sizes(self) -> Table:
        rows = []
        for where, marginals in (("source's ", self.source_marginals), ("", self.marginals)):
            for place, name in enumerate(SPLITS):
                counts = marginals[place]
                shares = [f"{count} ({100 * count / max(counts.sum(), 1):.1f} %)" for count in counts]
                rows.append([where + (name.removesuffix("_ood") if where else name), str(counts.sum()), *shares])
        table = Table("Samples of each class", ["split", "samples", *self.classes], rows)
        if self.shifts_labels:
            train, valid, test = (f"{100 * share:.1f} %" for share in self.positive)
            reached, asked = self.positive[_TEST] - self.positive[_TRAIN], self.settings["label_shift"]
            table.notes.append(
                f"Of the samples that are not neutral {train} are positive in train, {valid} in valid and {test} in"
                f" test_ood: a label shift of {reached:+.3f}, asked for {asked:+.3f}."
            )
        if self.shared_recordings is not None:
            table.notes.append(
                f"{self.shared_recordings} of {self.marginals[_TEST].sum()} samples of test_ood come from recordings"
                f" that "
                "train has samples of: samples are distributed one by one."
            )
        return table

    def _words(self, shown: int) -> Table:
        shifts = self.shifts
        # P(class | word) of rare words is noise to a large part, which goes down with the root of the count
        order = np.argsort(-shifts * np.sqrt((self.train + self.test).sum(1)), kind="stable")[:shown]
        given = [class_given_word(counts, self.prior) for counts in (self.train, self.test)]
        rows = [
            [self.words[w], f"{shifts[w]:.2f}"]
            + [
                cell
                for counts, shares in zip((self.train, self.test), given, strict=True)
                for cell in (f"{counts[w].sum():.0f}", " / ".join(f"{100 * share:.0f}" for share in shares[w]))
            ]
            for w in order
        ]
        names = " / ".join(self.classes)
        header = ["word", "shift", "in train", f"% {names}", "in test_ood", f"% {names}"]
        return Table("Words and the classes they go along with (smoothed)", header, rows)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""

        def named(marginals: Ints) -> dict[str, dict[str, int]]:
            rows = (dict(zip(self.classes, row, strict=True)) for row in marginals.tolist())
            return dict(zip(SPLITS, rows, strict=True))

        columns = zip(self.words, self.shifts.tolist(), self.train.tolist(), self.test.tolist(), strict=True)
        return {
            **self.settings,
            "objective": self.objective,
            "samples": dict(zip(SPLITS, self.marginals.sum(1).tolist(), strict=True)),
            "classes": named(self.marginals),
            "classes_before": {name.removesuffix("_ood"): row for name, row in named(self.source_marginals).items()},
            **self._labels_as_json(),
            "test_samples_of_recordings_in_train": self.shared_recordings,
            "words": [dict(zip(("word", "shift", "train", "test_ood"), row, strict=True)) for row in columns],
        }

    def _labels_as_json(self) -> dict[str, Any]:
        if not self.shifts_labels:
            return {}
        reached = self.positive[_TEST] - self.positive[_TRAIN]
        return {"positive_share": dict(zip(SPLITS, self.positive, strict=True)), "label_shift_reached": reached}

    def save(self, folder: Path) -> None:
        """Write ``split_report.json`` and ``split_report.md``.

        Args:
            folder: Where.
        """
        (folder / "split_report.json").write_text(json.dumps(self.as_json(), indent=1), encoding="utf-8")
        settings = "\n".join(f"- {key}: {value}" for key, value in self.settings.items())
        tables = "\n\n".join(table.markdown() for table in self.tables())
        (folder / "split_report.md").write_text(
            f"# Out-of-distribution splits\n\n{settings}\n\n{tables}\n", encoding="utf-8"
        )


def _shared_recordings(splits: Ints, ids: Sequence[str]) -> int | None:
    of = recordings(ids)
    if of is None:
        return None
    trained = {recording for recording, split in zip(of, splits, strict=True) if split == _TRAIN}
    return sum(recording in trained for recording, split in zip(of, splits, strict=True) if split == _TEST)
