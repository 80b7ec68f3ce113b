"""Transcripts whose speakers are known: splits by speaker, and the tables of the study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import speakers
from benchmarks.studies.transcripts import (
    CHANCE,
    OFFICIAL,
    SPEAKERS,
    Transcripts,
    read_meld,
    read_mustard,
)
from mer_zoo.data.ood.by_group import drawn_splits
from mer_zoo.errors import MERError
from mer_zoo.reports.measured import read_measured


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines of ten speakers, who have habits of their own."""
    draw = np.random.default_rng(0)
    speaker = np.repeat(np.arange(10), 30)
    label = (draw.random(300) < np.where(speaker % 2, 0.8, 0.2)).astype(np.int64)
    text = draw.standard_normal((300, 3, 4)).astype(np.float16)
    text[:, :, 0] += label[:, None]
    path = tmp_path_factory.mktemp("lines") / "lines.npz"
    names = np.array([f"line{row}" for row in range(300)])
    np.savez(
        path,
        text=text,
        tokens=np.ones((300, 3), np.int32),
        lengths=np.full(300, 3),
        classes=np.array(["no", "yes"]),
        said=names,
        name=names,
        label=label,
        speaker=np.array([f"speaker {who}" for who in speaker]),
        dialogue=names,
        split=np.array([""] * 300),
    )
    return path


def test_no_speaker_is_in_two_splits_by_speaker(file: Path) -> None:
    data = Transcripts(file, SPEAKERS, draw=1)
    of, splits = data.speakers, data.corpus.splits
    heard = {split: {of[name] for name in part.ids} for split, part in splits.items()}
    assert sum(map(len, heard.values())) == len(set.union(*heard.values())) == 10
    assert len(splits["test"]) == 60
    by_chance = Transcripts(file, CHANCE, draw=1)
    assert {of[name] for name in by_chance.corpus.split("test").ids} == set(of.values())
    with pytest.raises(MERError, match="no published folds"):
        Transcripts(file, OFFICIAL, draw=1)


def test_splits_are_those_of_their_draw() -> None:
    groups = [str(row // 3) for row in range(90)]
    assert drawn_splits(groups, 3) == drawn_splits(groups, 3) != drawn_splits(groups, 4)


@pytest.mark.filterwarnings("ignore:deconfounded metrics")
def test_the_study_has_a_table_for_each_setting(file: Path, tmp_path: Path) -> None:
    methods = f"{speakers.PLAIN},{speakers.WEIGHTED}"
    told = ["run", str(file), "--out", str(tmp_path / "runs"), "--seeds", "0,1", "--epochs", "1", "--methods", methods]
    speakers.main(told)
    kept = tmp_path / "figures.csv"
    speakers.main(["table", str(tmp_path / "runs"), "--csv", str(kept), "--benchmark", "lines"])
    found = [figure for figure in read_measured(kept) if figure.against]
    assert {(figure.model, figure.condition) for figure in found} == {
        (speakers.WEIGHTED, CHANCE),
        (speakers.WEIGHTED, SPEAKERS),
    }
    table = (tmp_path / "runs" / "table.md").read_text()
    assert table.count("| plain | 2 |") == table.count(f"| {speakers.WEIGHTED} | 2 |") == 2
    record = json.loads((tmp_path / "runs" / SPEAKERS / speakers.WEIGHTED / "seed0.json").read_text())
    said, truth = record["choices"]["F1"]["splits"]["iid"]["classes"], record["truth"]["iid"]
    right = np.mean([a == b for a, b in zip(said, truth, strict=True)])
    assert record["choices"]["F1"]["splits"]["iid"]["metrics"]["Acc"] == pytest.approx(right)


def test_published_files_are_read(tmp_path: Path) -> None:
    head = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}_sent_emo.csv").write_text(f'{head}1,"Oh, no.",Ann ,sadness,negative,0,1\n')
    lines, classes = read_meld(tmp_path)
    assert [line.name for line in lines] == ["train0_1", "valid0_1", "test0_1"]
    assert (classes[lines[0].label], lines[0].speaker, lines[0].text) == ("sadness", "Ann", "Oh, no.")
    row = {"utterance": "Great.", "speaker": "BEN", "show": "X", "sarcasm": True}
    (tmp_path / "sarcasm.json").write_text(json.dumps({"1_60": row}))
    (line,), classes = read_mustard(tmp_path / "sarcasm.json")
    assert (line.name, classes[line.label], line.speaker) == ("1_60", "sarcastic", "X: BEN")
