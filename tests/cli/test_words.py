"""``mer-zoo words`` lists what a training split's words tell, and writes a file that wrappers read."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_zoo.cli.words import main
from mer_zoo.data.files.word_list import read_word_list
from mer_zoo.errors import MERError


def corpus(folder: Path) -> Path:
    """Two splits, in both of which one word goes with the class; that of the test split is another one."""
    draws = np.random.default_rng(0)
    fields: dict[str, Any] = {}
    for split, word in (("train", "film"), ("test", "book")):
        y = draws.integers(0, 2, 80) * 2.0 - 1.0
        fields[f"{split}/text"] = np.ones((80, 2, 3), dtype=np.float32)
        fields[f"{split}/regression_labels"] = y
        fields[f"{split}/raw_text"] = np.array([f"a {word if value > 0 else 'plain'} \x1b[2J=1+1" for value in y])
    np.savez(folder / "corpus.npz", **fields)
    return folder / "corpus.npz"


def test_words_of_the_training_split_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "words.csv"
    main([str(corpus(tmp_path)), "--out", str(out), "--draws", "1"])
    told = capsys.readouterr().out
    assert "2 words that go along with the label" in told
    assert "\x1b[2J" not in told
    for title in ("placebo", "random common cause", "subset"):
        assert any(title in line and "holds" in line for line in told.splitlines()), title
    assert read_word_list(out) == {"film": False, "plain": False}  # and no book, a word of the test split
    rows = {row["word"]: row for row in csv.DictReader(out.read_text(encoding="utf-8").splitlines())}
    assert float(rows["film"]["positive"]) == 1.0
    assert "film" in rows["film"]["example"]
    with pytest.raises(MERError, match="--draws is -1; give at least 0"):
        main([str(tmp_path), "--draws", "-1"])
