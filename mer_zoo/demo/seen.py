"""Some of the pictures that an encoder is given, so that a person sees what a model looks at."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from mer_zoo.clips.encoders import Features, PictureEncoder
from mer_zoo.clips.faces import FaceCrops
from mer_zoo.clips.views import View, WholePictures

__all__ = ["Watched", "as_address", "watch"]

MOST = 4
Frame = npt.NDArray[np.uint8]


class Watched:
    """An encoder of pictures that keeps some of those that it is given.

    Args:
        encoder: The encoder.
        most: How many are kept, spread over all.

    Example:
        >>> from mer_zoo.clips.encoders import FrameStatistics
        >>> watched = Watched(FrameStatistics(5.0))
        >>> _ = watched.encode(np.full((watched.size, watched.size, 3), place, np.uint8) for place in range(100))
        >>> [int(picture[0, 0, 0]) for picture in watched.taken()]
        [0, 32, 64, 96]
    """

    def __init__(self, encoder: PictureEncoder, most: int = MOST) -> None:
        self.encoder, self.most = encoder, most
        self.spec, self.size = encoder.spec, encoder.size
        self._kept: list[Frame] = []

    def encode(self, frames: Iterator[Frame]) -> Features:
        """See :class:`~mer_zoo.clips.encoders.PictureEncoder`."""
        return self.encoder.encode(self._watched(frames))

    def taken(self) -> list[Frame]:
        """Those of the last clip; they are forgotten."""
        kept, self._kept = self._kept, []
        places = np.linspace(0, len(kept) - 1, min(self.most, len(kept))).round().astype(int)
        return [kept[place] for place in places]

    def _watched(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        """All of them; as nobody knows how many there are before the end, those kept are thinned out on the way."""
        self._kept, every = [], 1
        for place, frame in enumerate(frames):
            if len(self._kept) == 2 * self.most:
                self._kept, every = self._kept[::2], 2 * every
            if place % every == 0:
                self._kept.append(frame)
            yield frame


def watch(view: View | None) -> Watched | None:
    """Have a view's pictures kept; None where it shows none.

    Args:
        view: Of pictures or faces.
    """
    if not isinstance(view, (WholePictures, FaceCrops)):
        return None
    view.encoder = watched = Watched(view.encoder)
    return watched


def as_address(picture: Frame) -> str:
    """A picture as an address that holds it.

    Args:
        picture: (h, w, 3).

    Example:
        >>> as_address(np.zeros((2, 2, 3), np.uint8))[:22]
        'data:image/png;base64,'
    """
    room = io.BytesIO()
    Image.fromarray(picture).save(room, "png")
    return f"data:image/png;base64,{base64.b64encode(room.getvalue()).decode()}"
