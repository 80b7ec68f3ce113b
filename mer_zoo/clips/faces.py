"""Views of a face: what is cut out around it, and where its eyes, nose and mouth are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from mer_zoo.clips.encoders import Features, PictureEncoder
from mer_zoo.clips.media import Media
from mer_zoo.clips.mtcnn import MTCNN
from mer_zoo.clips.tracks import SeenFace, Sighting, follow
from mer_zoo.clips.views import Guard, Seen
from mer_zoo.clips.weights import WEIGHTS, weights_folder
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["FaceCrops", "FaceFinder", "Landmarks", "cut_out", "landmarks"]

Frame = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

FILES = {"proposal": "pnet.pt", "refinement": "rnet.pt", "output": "onet.pt"}
SIDE, SMALLEST = 480, 40  # pixels of the pictures that are looked at, and of the smallest face in them
SHARP = 960  # pixels of the longer side of pictures that faces are cut out of
MARGIN = 1.3  # what is cut out, in sides of the box
POINTS = 15  # width of what tells where they are


class FaceFinder:
    """Finds the face of a clip by MTCNN.

    Args:
        rate: Pictures a second that are looked at.
        network: With its weights; those of facenet-pytorch by default.

    Raises:
        MERError: If they are not installed, or are others.
    """

    def __init__(self, rate: float = 2.0, network: MTCNN | None = None) -> None:
        self.rate, self.name = rate, "mtcnn (random)"
        if network is None:
            network, self.name = _load()
        self.network = network.eval().requires_grad_(False)

    def find(self, frames: Iterable[Frame]) -> SeenFace | None:
        """The face that is followed; None where there is none.

        Args:
            frames: Whole pictures, ``rate`` a second.
        """
        seen: list[list[Sighting]] = []
        for place, frame in enumerate(frames):
            height, width = frame.shape[:2]
            boxes, _, points = (x.double().numpy() for x in self.network(frame))
            found = [(box / height, own / height) for box, own in zip(boxes, points, strict=True)]
            time = (place + 0.5) / self.rate
            seen.append([Sighting(time, box, own, _weight(box, width / height)) for box, own in found])
        return follow(seen)

    def told(self, spec: FeatureSpec) -> FeatureSpec:
        """The spec of features of the face.

        Args:
            spec: Of the same features of whole pictures.
        """
        return replace(spec, faces=self.name, faces_rate=self.rate)


def _weight(box: Array, width: float) -> float:
    """The area of a face, less where it is far from the middle of a picture (1 high)."""
    left, top, right, bottom = box
    far = np.hypot((left + right - width) / 2, (top + bottom - 1) / 2) / (np.hypot(width, 1) / 2)
    return float(max(right - left, 0) * max(bottom - top, 0) * max(1 - far, 0))


def cut_out(frame: Frame, box: Array, size: int) -> Frame:
    """The square around a face, with a margin; black where it reaches beyond the picture.

    Args:
        frame: (H, W, 3).
        box: (4,) in heights of the picture.
        size: Height and width of what is made.

    Example:
        >>> frame = np.zeros((40, 60, 3), np.uint8)
        >>> frame[10:20, 30:40] = 200
        >>> cut = cut_out(frame, np.array([30, 10, 40, 20]) / 40, 26)
        >>> cut.shape, int(cut[13, 13, 0]), int(cut[1, 1, 0])
        ((26, 26, 3), 200, 0)
    """
    height, width = frame.shape[:2]
    left, top, right, bottom = np.clip(box, -1, 1 + width / height) * height
    side = max(2, round(MARGIN * max(right - left, bottom - top)))
    x, y = round((left + right - side) / 2), round((top + bottom - side) / 2)
    inside = frame[max(0, y) : max(0, y + side), max(0, x) : max(0, x + side)]
    square = np.zeros((side, side, 3), np.uint8)
    square[max(0, -y) :, max(0, -x) :][: inside.shape[0], : inside.shape[1]] = inside
    given = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    resized = interpolate(given, (size, size), mode="bilinear", antialias=True)
    cut: Frame = resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return cut


def landmarks(face: SeenFace, rate: float) -> Features:
    """Where a face and its eyes, nose and mouth are, one step for each picture that was looked at.

    Of a step the first ten are the points, from the middle of the box in its sides; then come where its middle is in
    the picture, the logarithms of its width and height in heights of the picture, and the turn of the line between the
    eyes.

    Args:
        face: Where it is.
        rate: Pictures a second that were looked at.

    Returns:
        (T, 15).

    Example:
        >>> landmarks(SeenFace(np.array([0.5]), np.arange(14.0)[None], 1), 1.0).shape
        (1, 15)
    """
    places = face.at(((np.arange(face.pictures) + 0.5) / rate).astype(np.float64))
    box, points = places[:, :4], places[:, 4:].reshape(-1, 5, 2)
    sides, middle = np.maximum(box[:, 2:] - box[:, :2], 1e-3), (box[:, 2:] + box[:, :2]) / 2
    relative = (points - middle[:, None]) / sides[:, None]
    across = points[:, 1] - points[:, 0]
    turn = np.arctan2(across[:, 1], across[:, 0])
    described = [relative.reshape(-1, 10), middle, np.log(sides), turn[:, None]]
    return np.concatenate(described, 1).astype(np.float32)


class Landmarks:
    """The view of where a face and its points are.

    Args:
        finder: What finds it.
    """

    def __init__(self, finder: FaceFinder) -> None:
        self.finder = finder
        self.seen: Seen | None = None
        self.spec = finder.told(FeatureSpec("landmarks", "1", "", "none", finder.rate, POINTS, _versions()))

    def features(self, media: Media, guard: Guard, faults: list[str]) -> Features:
        """See :class:`~mer_zoo.clips.views.View`."""
        face = self.finder.find(guard(media.pictures(self.finder.rate, SIDE, whole=True)))
        if face is None:
            return np.zeros((0, POINTS), np.float32)
        faults += face.faults
        self.seen = face.times, self.finder.rate
        return landmarks(face, self.finder.rate)


class FaceCrops:
    """The view of an encoder of pictures on a face; the pictures are decoded twice, to find it and to read it.

    Args:
        encoder: Of pictures.
        finder: What finds it.
        rate: Pictures a second that are read.
    """

    def __init__(self, encoder: PictureEncoder, finder: FaceFinder, rate: float) -> None:
        self.encoder, self.finder, self.rate = encoder, finder, rate
        self.seen: Seen | None = None
        self.spec = finder.told(encoder.spec)

    def features(self, media: Media, guard: Guard, faults: list[str]) -> Features:
        """See :class:`~mer_zoo.clips.views.View`."""
        face = self.finder.find(guard(media.pictures(self.finder.rate, SIDE, whole=True)))
        if face is None:
            return np.zeros((0, self.spec.dim), np.float32)
        faults += face.faults
        self.seen = face.times, self.finder.rate
        return self.encoder.encode(self._crops(guard(media.pictures(self.rate, SHARP, whole=True)), face))

    def _crops(self, frames: Iterator[Frame], face: SeenFace) -> Iterator[Frame]:
        for place, frame in enumerate(frames):
            time = np.array([(place + 0.5) / self.rate])
            yield cut_out(frame, face.at(time)[0, :4], self.encoder.size)


def _versions() -> str:
    return f"torch {str(torch.__version__).partition('+')[0]}"


def _load() -> tuple[MTCNN, str]:
    """The network with its published weights, and its name with their fingerprint."""
    network: Any = MTCNN(SMALLEST)
    folder = weights_folder("mtcnn")
    for part, name in FILES.items():
        weights = torch.load(folder / name, map_location="cpu", weights_only=True)
        getattr(network, part).load_state_dict(weights)
    return network, f"mtcnn ({WEIGHTS['mtcnn'].revision})"
