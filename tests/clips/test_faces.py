"""The face of a clip: found, followed, cut out; missing where there is none."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from damaged_clips import beside, portrait
from media_toys import write_media, write_pictures
from PIL import Image

from mer_zoo.clips import Clip, Extractor, Settings
from mer_zoo.clips.faces import FaceFinder
from mer_zoo.clips.mtcnn import MTCNN
from mer_zoo.clips.settings import LANDMARKS
from mer_zoo.clips.tracks import Sighting, follow
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, differing, read_specs
from mer_zoo.fields import Fields

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("facenet_pytorch") is None, reason="weights of facenet-pytorch are not installed"
)


@needs_weights
def test_a_face_is_found_where_it_is() -> None:
    """As facenet-pytorch's own code finds it, of which none runs here."""
    network = FaceFinder().network
    network.smallest = 20
    image = Image.fromarray(portrait(512))
    image.thumbnail((480, 480))
    boxes, scores, points = network(np.asarray(image))
    assert boxes.tolist() == [pytest.approx([136.6, 88.5, 284.4, 264.6], abs=1.0)]
    assert scores.item() > 0.99
    (left_eye, right_eye, nose, left_mouth, right_mouth) = points[0].tolist()
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_all_stages_take_what_they_are_given() -> None:
    """Random weights that take everything for a face."""
    torch.manual_seed(0)
    network = MTCNN(smallest=40).eval()
    for stage in (network.proposal, network.refinement, network.output):
        head: Any = stage.get_submodule(stage.heads[0])
        with torch.no_grad():
            head.bias.copy_(torch.tensor([-9.0, 9.0]))
    boxes, scores, points = network(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    assert len(boxes) == len(scores) == len(points) > 0
    assert points.shape[1:] == (5, 2)
    assert torch.isfinite(boxes).all()


@pytest.mark.parametrize("shape", [(1, 1), (11, 900), (900, 3)])
def test_a_narrow_picture_has_no_face(shape: tuple[int, int]) -> None:
    assert len(MTCNN()(np.zeros((*shape, 3), np.uint8))[0]) == 0


@needs_weights
def test_the_encoder_sees_the_face(tmp_path: Path) -> None:
    """It moves to the right, and its crops stay alike, where whole pictures change."""
    own = portrait(300)
    write_pictures(tmp_path / "a.mp4", [beside((40 * place, own)) for place in range(6)])
    whole, face = (
        Extractor(Settings("none", "none", fps=2, faces=faces))(Clip(tmp_path / "a.mp4")).features["vision"][:, :16]
        for faces in ("none", "mtcnn")
    )
    assert face.shape == whole.shape == (6, 16)
    assert face.std(0).mean() < 0.3 * whole.std(0).mean()
    assert face.std(0).mean() > 0


@needs_weights
def test_landmarks_tell_where_the_face_is(tmp_path: Path) -> None:
    own = portrait(300)
    write_pictures(tmp_path / "a.mp4", [beside((40 * place, own)) for place in range(6)])
    extractor = Extractor(Settings("none", "none", LANDMARKS))
    x = extractor(Clip(tmp_path / "a.mp4")).features["vision"]
    assert x.shape == (6, extractor.specs["vision"].dim)
    assert np.diff(x[:, 10]) == pytest.approx(40 / 360, abs=0.02)  # heights of the picture that its middle moves by
    assert np.abs(np.diff(x[:, :10], axis=0)).max() < 0.1


@needs_weights
def test_of_two_faces_the_larger_is_read_and_told_of(tmp_path: Path) -> None:
    large, small = portrait(280), portrait(150)
    write_pictures(tmp_path / "a.mp4", [beside((30, large), (450, small))] * 3)
    found = Extractor(Settings("none", "none", LANDMARKS))(Clip(tmp_path / "a.mp4"))
    assert found.faults == ["several faces in 100 % of its pictures; the larger, more central one is read"]
    assert found.features["vision"][:, 10].max() < 0.6


@needs_weights
def test_without_a_face_vision_is_missing(tmp_path: Path) -> None:
    write_media(tmp_path / "a.mp4")
    found = Extractor(Settings("none", "mel", faces="mtcnn"))(Clip(tmp_path / "a.mp4"))
    assert list(found.features) == ["audio"]
    assert found.faults == ["no face"]
    write_media(tmp_path / "b.wav", brightness=None)
    assert Extractor(Settings("none", faces="mtcnn"))(Clip(tmp_path / "b.wav")).faults == ["no pictures"]


@needs_weights
def test_a_face_that_is_seldom_seen_is_told_of(tmp_path: Path) -> None:
    grey = beside()
    write_pictures(tmp_path / "a.mp4", [beside((100, portrait(300))), grey, grey, grey])
    found = Extractor(Settings("none", "none", fps=2, faces="mtcnn"))(Clip(tmp_path / "a.mp4"))
    assert found.faults == ["no face in 75 % of its pictures"]
    assert len(found.features["vision"]) == 4


def face_at(time: float, left: float, size: float = 0.2) -> Sighting:
    return Sighting(time, np.array([left, 0.4, left + size, 0.4 + size]), np.zeros((5, 2)), size**2)


def test_a_cut_leads_to_the_face_behind_it() -> None:
    """Who is followed is away for longer than a moment; between the two nothing is read half-way."""
    first = [[face_at(t / 2, 0.1)] for t in range(20)]
    second = [[face_at(10 + t / 2, 0.7)] for t in range(10)]
    found = follow(first + second)
    assert found is not None
    places = found.at(np.array([0.0, 9.5, 9.7, 12.5, 14.0]))[:, 0]
    assert places.tolist() == pytest.approx([0.1, 0.1, 0.1, 0.7, 0.7])
    assert not found.faults


def test_who_is_away_for_a_moment_is_waited_for() -> None:
    """The other one is there all the time."""
    seen = [[face_at(t / 2, 0.7), *([] if t in (4, 5) else [face_at(t / 2, 0.1, 0.4)])] for t in range(10)]
    found = follow(seen)
    assert found is not None
    assert found.at(np.arange(10) / 2)[:, 0].tolist() == [0.1] * 10


@needs_weights
def test_the_spec_tells_of_the_finder() -> None:
    settings = Settings("none", "none", "frame", fps=4, faces="mtcnn", faces_fps=1.0)
    specs = Extractor(settings).specs
    assert Settings.of(specs) == settings
    assert Settings.of(Extractor(replace(settings, vision=LANDMARKS)).specs).vision == LANDMARKS
    plain = {key: spec.plain() for key, spec in specs.items()}
    assert read_specs(Fields(plain, "file", "extract again"), ["vision"]) == specs
    without = {"vision": replace(specs["vision"], faces="", faces_rate=0.0)}
    assert "vision of faces 'mtcnn (" in str(differing(specs, without))


def test_specs_from_before_faces_are_read() -> None:
    plain = FeatureSpec("frame", "1", "", "none", 5.0, 50).plain()
    assert "faces" not in plain
    assert read_specs(Fields({"vision": plain}, "file", "extract again"), ["vision"])["vision"].faces == ""


def test_without_weights_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from mer_zoo.clips import weights

    weights.weights_folder.cache_clear()
    monkeypatch.setattr(weights, "find_spec", lambda _name: None)
    with pytest.raises(MERError, match="pip install --no-deps facenet-pytorch==2.6.0"):
        Extractor(Settings("none", "none", faces="mtcnn"))


@pytest.mark.parametrize(("given", "told"), [({"faces": "opencv"}, "faces is"), ({"faces_fps": 0}, "faces_fps is 0")])
def test_settings_that_make_no_sense_are_refused(given: Any, told: str) -> None:
    with pytest.raises(MERError, match=told):
        Settings(**given)
