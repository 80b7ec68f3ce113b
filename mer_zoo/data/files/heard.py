"""The fields of a second text, what was heard: their names, and how they go with the text itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mer_zoo.data.files.drafts import HeardDraft, SplitDraft

__all__ = [
    "HEARD_BERT",
    "HEARD_FEATURES",
    "HEARD_FIELDS",
    "HEARD_LENGTHS",
    "HEARD_TEXT",
    "check_heard",
    "heard_span",
]

HEARD_TEXT = "heard_text"
HEARD_FEATURES, HEARD_LENGTHS, HEARD_BERT = (f"{HEARD_TEXT}_{name}" for name in ("features", "lengths", "bert"))
HEARD_FIELDS = (HEARD_TEXT, HEARD_FEATURES, HEARD_LENGTHS, HEARD_BERT)


def check_heard(heard: HeardDraft, split: SplitDraft) -> Iterator[tuple[str, str]]:
    """What does not go with the text that it is to be taken for, as fields and messages.

    Args:
        heard: The second text of a split.
        split: Its first.

    Example:
        >>> import io
        >>> from mer_zoo.data.corpus.arrays import StoredArray
        >>> text, other = (StoredArray(np.dtype("f4"), (2, 3, width), io.BytesIO) for width in (4, 5))
        >>> list(check_heard(HeardDraft(["so", ""], other), SplitDraft(features={"text": text})))
        [('heard_text_features', 'heard_text_features has width 5, but text has 4')]
    """
    if heard.features is not None:
        text = split.features.get("text")
        if text is None:
            yield HEARD_FEATURES, f"{HEARD_FEATURES} is there, but text is not"
        elif text.shape[2] != heard.features.shape[2]:
            width = heard.features.shape[2]
            yield HEARD_FEATURES, f"{HEARD_FEATURES} has width {width}, but text has {text.shape[2]}"


def heard_span(span: npt.NDArray[np.int32], texts: Sequence[str]) -> npt.NDArray[np.int32]:
    """Real positions of what was heard; none where there are no words, whatever an encoder makes of an empty text.

    Args:
        span: (N, 2) start and stop.
        texts: N transcripts.

    Example:
        >>> heard_span(np.array([[0, 3], [0, 2]], np.int32), ["so good", " "]).tolist()
        [[0, 3], [0, 0]]
    """
    there = np.array([bool(text.strip()) for text in texts])
    found: npt.NDArray[np.int32] = np.where(there[:, None], span, 0).astype(np.int32)
    return found
