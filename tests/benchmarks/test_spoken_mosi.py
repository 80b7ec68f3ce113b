"""Sentences spoken and heard: a few of them, by a synthesiser and a recogniser that are not there."""

from __future__ import annotations

import argparse
import csv
import json
import re
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import corpora
import pytest
import torch
import transformers

from benchmarks.studies import spoken_clips, spoken_mosi, spoken_settings
from benchmarks.studies.spoken_clips import Clip, Heard, clips_of, read_heard, setting_of
from benchmarks.studies.spoken_losses import telling_words
from benchmarks.studies.spoken_words import spelt, training_prompt, word_errors
from mer_zoo.data.store.store import open_corpus

LIBRARY: Any = transformers  # whose stubs do not tell of all its names
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *corpora.WORDS]


class Deaf:
    """Hears the first word of the texts that it is given beside the sound, and nothing of every fifth."""

    made = 0
    model = SimpleNamespace(encode=lambda features: features)

    def __init__(self, *_: object) -> None:
        type(self).made += 1
        self.count = 0

    def otherwise(self, *_: object) -> Deaf:
        return self

    def __call__(self, file: Path) -> Heard:
        self.count += 1
        return Heard("" if self.count % 5 == 0 else f"{corpora.WORDS[self.count % 7].upper()}!", 2.0, 0.5)


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a tiny encoder, beside voices and ears that are quick."""
    monkeypatch.setattr(spoken_clips, "say", lambda clip, file: file.write_bytes(clip.text.encode()))
    monkeypatch.setattr(spoken_clips, "Recogniser", Deaf)
    monkeypatch.setattr(Deaf, "made", 0)
    folder = tmp_path / "encoder"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    torch.manual_seed(0)
    LIBRARY.BertModel(LIBRARY.BertConfig(vocab_size=len(VOCABULARY), **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    LIBRARY.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def run(*args: object) -> None:
    spoken_mosi.main([str(arg) for arg in args])


def test_from_a_corpus_to_the_tables(studio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = corpora.dump(corpora.mmsa(3), tmp_path / "mosi.pkl")
    made = ["make", source, tmp_path / "spoken", "--encoder", studio]
    run(*made, "--splits", "test")
    assert not (tmp_path / "spoken" / "beam5.pkl").exists()
    run(*made)
    run(*made)
    assert Deaf.made == 2  # the third time all is heard
    assert re.search(r"beam5 +│ +test +│ +6 ", capsys.readouterr().out)
    lines = (tmp_path / "spoken" / "beam5.jsonl").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == sum(corpora.SIZES.values())
    heard = open_corpus(tmp_path / "spoken" / "beam5.pkl").splits["test"].heard
    assert heard is not None
    assert [bool(span.any()) for span in heard.span] == [bool(text) for text in heard.raw_text]
    assert "" in heard.raw_text
    assert all(text.islower() for text in heard.raw_text if text)

    out = tmp_path / "out"
    small = ["--seeds", "0", "--epochs", "1", "--networks", "LFLSTM", "--out", out]
    run("run", tmp_path / "spoken" / "beam5.pkl", *small, "--methods", "plain,heard,MSSD", "--modalities", "text,audio")
    run("table", out)
    shown = (out / "table.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| LF")]
    losses, metrics = rows[:3], rows[3:]
    assert [row[1] for row in losses] == ["plain", "heard", "MSSD"]
    assert ["(" in cell for row in losses for cell in row[3:5]] == [False] * 2 + [True] * 4
    assert [row[2] for row in metrics[:3]] == ["what was said", "what was heard", "without text"]
    accuracy = [row[4] for row in metrics if row[2] in ("what was said", "what was heard")]
    assert accuracy == [cell.split()[0] for row in losses for cell in row[3:5]]  # signs give the metric

    run("losses", source, tmp_path / "spoken", out, "--csv", tmp_path / "losses.csv")
    shown = (out / "losses.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines() if line.startswith("| LF")]
    assert rows[0][5:7] == [cell.split()[0] for cell in losses[0][3:5]]
    wrong = [int(row[3]) for row in rows if row[1] == "wrong"]
    assert sum(wrong) == sum(int(row[3]) for row in rows if row[1] == "voice") == int(rows[0][3]) == 6
    assert "CMU-MOSI spoken: lost words" in (tmp_path / "losses.csv").read_text()


def test_settings_are_compared_on_the_same_sentences(studio: Path, tmp_path: Path) -> None:
    source = corpora.dump(corpora.mmsa(3), tmp_path / "mosi.pkl")
    run("settings", source, tmp_path / "spoken", "--split", "train", "--every", 1, "--csv", tmp_path / "settings.csv")
    rows = list(csv.DictReader((tmp_path / "settings.csv").open(encoding="utf-8")))
    assert [row["model"] for row in rows] == list(spoken_settings.SETTINGS)
    assert [bool(row["difference"]) for row in rows] == [False] + [True] * (len(rows) - 1)
    assert rows[1]["against"] == rows[0]["model"]


def test_differences_to_the_first_setting_draw_recordings() -> None:
    """One recording alone is wrong otherwise, so that its clips say no more than it."""
    wrong = {"one": [1] * 40, "other": [0] * 20 + [1] * 20}
    together, apart = ["a"] * 20 + [str(n) for n in range(20)], [str(n) for n in range(40)]
    cells = [spoken_settings.errors_table(wrong, [5] * 40, groups).rows[1][1] for groups in (together, apart)]
    assert [cell.split()[0] for cell in cells] == ["10.0", "10.0"]
    assert cells[0] != cells[1]


def test_a_word_that_comes_with_other_scores_tells_the_sign() -> None:
    texts, scores = ["a bad film"] * 8 + ["a good film"] * 8, [-2.0] * 8 + [2.0] * 8
    split: Any = SimpleNamespace(raw_text=texts, labels=scores)
    assert telling_words(split) == {"bad", "good"}


def test_words_that_were_not_heard_are_counted() -> None:
    said = spelt("I don't like it, it's - BAD").split()
    assert said == ["i", "dont", "like", "it", "its", "bad"]
    heard = ("", "i dont like it its bad", "i do like it bad")
    assert [word_errors(said, other.split()) for other in heard] == [6, 0, 2]


def test_it_is_told_whole_sentences_of_neither_a_word_nor_a_page() -> None:
    texts = ["no", "one two three four five", "word " * 30, "six seven eight nine ten", "so"]
    assert sorted(training_prompt(texts, 10).split()) == sorted(f"{texts[1]} {texts[3]}".split())
    assert training_prompt(texts, 9) in texts
    assert training_prompt(texts, 4) == ""


def test_a_recording_has_one_voice_and_settings_have_names(tmp_path: Path) -> None:
    split = open_corpus(corpora.dump(corpora.mmsa(3), tmp_path / "mosi.pkl")).splits["test"]
    voices: dict[str, set[str]] = {}
    for clip in clips_of(split):
        voices.setdefault(clip.name.partition("$_$")[0], set()).add(clip.voice)
    assert all(len(own) == 1 for own in voices.values())
    options = argparse.Namespace(beam=1, vad=True, prompt="so", told=False, times=False)
    assert setting_of(options) == "beam1-vad-prompt"
    options = argparse.Namespace(beam=5, vad=False, prompt="so", told=True, times=True)
    assert setting_of(options) == "beam5-times-told"
    (tmp_path / "beam1.jsonl").write_text('{"id": "a", "heard": "so", "length": 1, "seconds": 2}\n{"id": "b", "he')
    assert read_heard(tmp_path / "beam1.jsonl") == {"a": Heard("so", 1, 2)}


def test_a_sentence_becomes_sound_of_the_right_rate(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    spoken_clips.say(Clip("a$_$1", "i dont like it", spoken_clips.VOICES[2]), tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as sound:
        assert sound.getframerate() == 16_000
        assert 0.5 < sound.getnframes() / 16_000 < 4
