"""What is counted of a corpus, before it is put into tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.drafts import Draft
from mer_zoo.data.outcomes import Outcome, outcomes
from mer_zoo.data.survey.material import Material, Part
from mer_zoo.data.survey.moments import Moments

__all__ = ["ALL", "Facts", "SplitFacts", "facts_of"]

ALL = "all"
_SHOWN = {
    "sentiment": ("regression", "binary", "five", "seven"),  # of the last two the finer
    "classes": ("classes",),
    "binary": ("classes",),
    "emotions": ("emotions",),
}
"""The tasks whose classes are shown, by what labels mean."""


@dataclass(frozen=True)
class SplitFacts:
    """One split.

    Args:
        samples: How many.
        recordings: The recording of each; None where the ids do not tell.
        speakers: Who says each, empty where it is not told; None where nobody is.
        dialogues: The dialogue of each, likewise.
        words: The words of each, token ids where there is no text; None without either.
        steps: (N,) real steps by modality, those of token ids where text has no features.
        moments: Of the features, by modality.
        labels: How many samples have one.
        heard: Of how many samples something was heard; None where the file does not tell.
    """

    samples: int
    recordings: list[str] | None
    speakers: list[str] | None
    dialogues: list[str] | None
    words: list[list[str]] | None
    steps: Mapping[str, npt.NDArray[np.int64]]
    moments: Mapping[str, Moments]
    labels: int
    heard: int | None = None


@dataclass(frozen=True)
class Facts:
    """A corpus.

    Args:
        source: Its name.
        splits: By name.
        shapes: Steps and width of a sample of each modality; of token ids the width is None.
        outcomes: What the tasks that suit the labels make of them, coarsest first.
        meaning: What the labels mean; empty where there are none.
        has_text: Whether words are those of transcripts, and not token ids.
        aligned: Whether the modalities share one time axis.
        notes: What has to be told beside the figures.
    """

    source: str
    splits: Mapping[str, SplitFacts]
    shapes: Mapping[str, tuple[int, int | None]]
    outcomes: Sequence[Outcome]
    meaning: str
    has_text: bool
    aligned: bool
    notes: Sequence[str]

    @property
    def coarsest(self) -> Outcome | None:
        """The task with the fewest classes; None without classes."""
        return next((one for one in self.outcomes if one.counts), None)

    @property
    def finest(self) -> Outcome | None:
        """The task with the most classes; None without classes."""
        return next((one for one in reversed(self.outcomes) if one.counts), None)


def facts_of(draft: Draft, material: Material, told: Meaning | None = None) -> Facts:
    """Count what is in a corpus.

    Args:
        draft: Its description, without faults.
        material: What one pass over it has shown.
        told: What the user says about its labels.

    Example:
        >>> from pathlib import Path
        >>> from mer_zoo.data.drafting import draft_any
        >>> from mer_zoo.data.survey.material import read_material
        >>> draft = draft_any(Path("SyntheticMER"))
        >>> facts = facts_of(draft, read_material(draft, "SyntheticMER", kept=1))
        >>> facts.shapes["audio"], facts.splits["train"].samples == len(draft.splits["train"].ids)
        ((40, 8), True)
    """
    tried = [] if draft.question else outcomes(draft, material.source, told)
    notes = [f"What the labels mean is not clear: {draft.question}."] if draft.question else []
    return Facts(
        material.source,
        {name: _split(part, material) for name, part in material.parts.items()},
        _shapes(draft),
        _chosen(draft, {one.task: one for one in tried if not one.refusal}),
        str(draft.meaning) if tried else "",
        any(part.draft.raw_text is not None and any(part.draft.raw_text) for part in material.parts.values()),
        draft.aligned,
        notes,
    )


def _chosen(draft: Draft, fitting: Mapping[str, Outcome]) -> list[Outcome]:
    """What to show of the tasks that suit the labels."""
    shown = _SHOWN["sentiment" if draft.meaning is None or draft.meaning.kind is None else draft.meaning.kind]
    kinds = {split.labels.dtype.kind for split in draft.splits.values() if split.labels is not None}
    if shown is _SHOWN["sentiment"] and kinds <= {"i"}:  # classes in order, of as few as there are
        return [fitting[task] for task in ("two", "binary", "five", "seven") if task in fitting][:1]
    return [fitting[task] for task in shown if task in fitting and not (task == "five" and "seven" in fitting)]


def _split(part: Part, material: Material) -> SplitFacts:
    conversation = part.draft.conversation.completed(part.ids)
    recordings = (material.recordings() or {}).get(part.name)
    steps = part.steps()
    if "text" not in steps and part.draft.token_spans is not None:
        spans = part.draft.token_spans
        steps = {"text": (spans[:, 1] - spans[:, 0]).astype(np.int64), **steps}
    return SplitFacts(
        len(part.ids),
        recordings,
        conversation.speaker,
        conversation.dialogue,
        part.words(),
        steps,
        {key: features.moments for key, features in part.features.items()},
        0 if part.labels is None else len(part.ids),
        None if part.draft.heard is None else sum(bool(text.strip()) for text in part.draft.heard.raw_text),
    )


def _shapes(draft: Draft) -> dict[str, tuple[int, int | None]]:
    shapes: dict[str, tuple[int, int | None]] = {}
    for split in draft.splits.values():
        for key, array in split.features.items():
            shapes.setdefault(key, (array.shape[1], array.shape[2]))
        if split.tokens is not None:
            shapes.setdefault("token ids", (split.tokens.shape[1], None))
    return shapes
