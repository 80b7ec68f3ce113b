"""The face that is followed through a clip: of all that are in its pictures the largest and most central one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["SeenFace", "Sighting", "follow"]

Array = npt.NDArray[np.float64]

SAME = 0.2  # of two boxes, what both cover of what either does, from which on they are one face
GAP = 2.0  # seconds for which a face may be out of sight
SEVERAL, SELDOM = 0.2, 0.5  # shares of pictures from which on it is told of: with others, with none


@dataclass(frozen=True)
class Sighting:
    """A face in a picture; places are in heights of the picture, from its top left corner on.

    Args:
        time: Seconds.
        box: (4,) left, top, right, bottom.
        points: (5, 2) the eyes, the nose, the corners of the mouth.
        weight: How large and how central it is.
    """

    time: float
    box: Array
    points: Array
    weight: float


@dataclass(frozen=True)
class SeenFace:
    """The face that is followed through a clip.

    Args:
        times: (K,) seconds at which it was seen, rising.
        places: (K, 14) its box and its five points.
        pictures: How many pictures were looked at.
        faults: What is to be told, one sentence each.
    """

    times: Array
    places: Array
    pictures: int
    faults: list[str] = field(default_factory=list)

    def at(self, times: Array) -> Array:
        """(T, 14) places at any time: between those before and behind, or the nearest.

        Args:
            times: (T,) seconds.

        Example:
            >>> face = SeenFace(np.array([1.0, 2.0]), np.arange(28.0).reshape(2, 14), 2)
            >>> face.at(np.array([0.0, 1.5]))[:, 0].tolist()
            [0.0, 7.0]
        """
        return np.stack([np.interp(times, self.times, column) for column in self.places.T], 1)


def follow(seen: Sequence[Sequence[Sighting]]) -> SeenFace | None:
    """Of all faces the one that is largest and most central over the clip; while it is away, the next one.

    Args:
        seen: The faces of each picture.

    Returns:
        Where it is; None where no picture has a face.

    Example:
        >>> def face(time, left, size):
        ...     return Sighting(time, np.array([left, 0.2, left + size, 0.2 + size]), np.zeros((5, 2)), size**2)
        >>> face = follow([[face(0.0, 0.2, 0.4), face(0.0, 0.8, 0.2)], [face(0.5, 0.82, 0.2), face(0.5, 0.21, 0.4)]])
        >>> face.places[:, 0].tolist(), face.faults
        ([0.2, 0.21], ['several faces in 100 % of its pictures; the larger, more central one is read'])
    """
    tracks: list[list[Sighting]] = []
    for faces in seen:
        free = [track for track in tracks if faces and faces[0].time - track[-1].time <= GAP]
        for face in sorted(faces, key=lambda face: -face.weight):
            nearest = max(free, key=lambda track: _shared(track[-1].box, face.box), default=None)
            if nearest is not None and _shared(nearest[-1].box, face.box) > SAME:
                nearest.append(face)
                free = [track for track in free if track is not nearest]
            else:
                tracks.append([face])
    if not tracks:
        return None
    tracks.sort(key=lambda track: -sum(face.weight for face in track))
    kept: list[tuple[int, Sighting]] = []
    for number, track in enumerate(tracks):
        taken = np.array([face.time for _, face in kept])
        kept += [(number, face) for face in track if np.abs(taken - face.time).min(initial=np.inf) > GAP]
    kept.sort(key=lambda pair: pair[1].time)
    times, places = _joined(kept)
    with_any = [len(faces) for faces in seen if faces]
    return SeenFace(times, places, len(seen), list(_faults(with_any, len(seen))))


def _shared(one: Array, other: Array) -> float:
    """Intersection over union."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(sides.clip(0).prod())
    whole = sum(float((box[2:] - box[:2]).clip(0).prod()) for box in (one, other)) - both
    return both / whole if whole > 0 else 0.0


def _joined(kept: Sequence[tuple[int, Sighting]]) -> tuple[Array, Array]:
    """Times and places; where another face is followed from then on, the place jumps half-way between."""
    times, places = [], []
    before: tuple[int, float, Array] | None = None
    for number, face in kept:
        place = np.concatenate([face.box, face.points.reshape(-1)])
        if before is not None and before[0] != number:
            middle = (before[1] + face.time) / 2
            times += [middle, middle]
            places += [before[2], place]
        times.append(face.time)
        places.append(place)
        before = number, face.time, place
    return np.array(times), np.stack(places)


def _faults(with_any: Sequence[int], pictures: int) -> Iterable[str]:
    several = sum(count > 1 for count in with_any) / pictures
    if several >= SEVERAL:
        yield f"several faces in {100 * several:.0f} % of its pictures; the larger, more central one is read"
    if len(with_any) / pictures < SELDOM:
        yield f"no face in {100 * (1 - len(with_any) / pictures):.0f} % of its pictures"
