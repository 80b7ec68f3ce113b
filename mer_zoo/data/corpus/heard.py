"""A second text of samples: what was heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.mapped import attach, detach

__all__ = ["HeardText"]


@dataclass(frozen=True)
class HeardText:
    """A second text of the N samples of a split: what was heard, as by speech recognition, beside what was said.

    Args:
        raw_text: N transcripts, empty strings where nothing was heard.
        span: Int32 (N, 2) real positions, start <= t < stop; empty where nothing was heard.
        features: Float32 (N, T, d) of the width of the text's own, or None.
        token_ids: Int32 (N, T), or None.
    """

    raw_text: list[str]
    span: npt.NDArray[np.int32]
    features: npt.NDArray[np.float32] | None = None
    token_ids: npt.NDArray[np.int32] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: detach(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({name: attach(value) for name, value in state.items()})
