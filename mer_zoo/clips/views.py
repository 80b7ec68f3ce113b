"""What is looked at of a clip's pictures: the contract, and the view of whole pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mer_zoo.clips.encoders import Features, PictureEncoder
from mer_zoo.clips.media import Media
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["Guard", "Seen", "View", "WholePictures"]

Guard = Callable[[Iterator[Any]], Iterator[Any]]
"""Lets pieces through up to a damage, of which it tells."""
Seen = tuple[npt.NDArray[np.float64], float]
"""Seconds at which something was seen, and how many times a second it was looked for."""


class View(Protocol):
    """Turns what is to be seen of a clip into steps.

    Attributes:
        seen: When something was seen in the last clip; None where all of it is seen.
    """

    spec: FeatureSpec
    seen: Seen | None

    def features(self, media: Media, guard: Guard, faults: list[str]) -> Features:
        """(T, d); T is 0 where there is nothing to be seen.

        Args:
            media: The streams of the clip.
            guard: To be put around what comes of them.
            faults: What else is to be told is added to them.
        """
        ...


class WholePictures:
    """The view of an encoder on the middle squares of pictures.

    Args:
        encoder: Of pictures.
        rate: Pictures a second.
    """

    def __init__(self, encoder: PictureEncoder, rate: float) -> None:
        self.encoder, self.rate, self.spec = encoder, rate, encoder.spec
        self.seen: Seen | None = None

    def features(self, media: Media, guard: Guard, faults: list[str]) -> Features:  # noqa: ARG002  # the contract's
        """See :class:`View`."""
        return self.encoder.encode(guard(media.pictures(self.rate, self.encoder.size)))
