"""Recordings of the structural causal model: the emotion is in the voice and the face, and comes out of the files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from mer_zoo.clips import Settings, extract
from mer_zoo.clips.drawn import draw_face, speak
from mer_zoo.clips.sound import describe_sound
from mer_zoo.clips.synthesise import synthesise
from mer_zoo.data import MERDataModule, SyntheticConfig
from mer_zoo.errors import MERError

WORDS = ["baba", "kiga", "domu"]


def test_a_voice_tells_its_mood() -> None:
    sad, glad = (speak(WORDS, mood, np.random.default_rng(0)) for mood in (-1.5, 1.5))
    octaves = [np.median(x[x[:, 55] > 0.6, 54]) for x in map(describe_sound, (sad, glad))]
    assert octaves[1] - octaves[0] == pytest.approx(3 * 0.12 / np.log(2), abs=0.1)
    assert len(glad) < len(sad)


def test_a_face_tells_its_mood() -> None:
    """The corners of the mouth, dark red, stand higher in a glad one."""
    heights = []
    for mood in (-1.0, 1.0):
        face = draw_face(mood, 0.0, np.random.default_rng(0)).astype(int)
        red = (face[..., 0] - face[..., 1] > 70) & (face[..., 1] < 70)
        columns = np.flatnonzero(red.any(0))
        heights.append(np.flatnonzero(red[:, columns[0]]).mean())
    assert heights[1] < heights[0] - 2


def test_the_whole_chain(tmp_path: Path) -> None:
    config = SyntheticConfig(train=2, valid=1, test=1)
    table = synthesise(tmp_path / "made", config)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["split"] for row in rows] == ["train"] * 2 + ["valid"] + ["test_iid", "test_ood", "test_rct"]
    assert extract(table, tmp_path / "features.pkl", Settings()).exit_code == 0
    data = MERDataModule(str(tmp_path / "features.pkl"), task="binary")
    assert list(data.corpus.splits) == ["train", "valid", "test_iid", "test_ood", "test_rct"]
    assert data.corpus.split("train").raw_text == [row["text"] for row in rows[:2]]
    with pytest.raises(MERError, match="not an empty folder"):
        synthesise(tmp_path / "made", config)
