"""Words that are heard, by a Whisper that is none: it hears every burst of sound as a word."""

from __future__ import annotations

import importlib.machinery
import pickle
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("av")

from mer_zoo.cli.extract import main
from mer_zoo.clips import Clip, Extractor, Settings, extract
from mer_zoo.clips.encoders import HashedWords
from mer_zoo.clips.output import TIMES
from mer_zoo.clips.speech import Hearing, Recogniser
from mer_zoo.clips.views import Seen
from mer_zoo.clips.words import Word
from mer_zoo.data import open_corpus
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, SpeechSpec, differing, read_specs
from mer_zoo.fields import Fields

RATE = 16000
WORDS = ("so", "this", "is", "very", "good")


class FakeWhisper:
    """Hears a burst as a word, the number of which is in its loudness."""

    supported_languages = ("en", "de")

    def __init__(self, folder: str, **_options: Any) -> None:
        if not (Path(folder) / "model.bin").is_file():
            raise RuntimeError("Unable to open file 'model.bin'")
        self.asked: list[tuple[float, dict[str, Any]]] = []

    def transcribe(self, x: np.ndarray, **options: Any) -> tuple[Iterator[Any], None]:
        self.asked.append((len(x) / RATE, options))
        loud = np.abs(np.concatenate([[0], x, [0]])) > 0.05
        edges = np.flatnonzero(loud[1:] != loud[:-1])
        words = [
            SimpleNamespace(word=f" {WORDS[round(10 * float(x[a])) - 1]}", start=a / RATE, end=b / RATE)
            for a, b in zip(edges[::2], edges[1::2], strict=True)
        ]
        return iter([SimpleNamespace(words=words)]), None


def bursts(*places: tuple[float, float, int], seconds: float) -> np.ndarray:
    x = np.zeros(round(seconds * RATE), np.float32)
    for start, stop, word in places:
        x[round(start * RATE) : round(stop * RATE)] = (word + 1) / 10
    return x


def write(file: Path, x: np.ndarray) -> None:
    with wave.open(str(file), "wb") as opened:
        opened.setparams((1, 2, RATE, len(x), "NONE", ""))
        opened.writeframes((x * 32767).astype("<i2").tobytes())


@pytest.fixture
def whisper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    library: Any = ModuleType("faster_whisper")
    library.__spec__ = importlib.machinery.ModuleSpec("faster_whisper", None)
    library.__version__, library.WhisperModel = "0", FakeWhisper

    def fetch(model: str) -> str:
        raise ValueError(f"Invalid model size {model!r}")

    library.download_model = fetch
    monkeypatch.setitem(sys.modules, "faster_whisper", library)
    folder = tmp_path / "whisper"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    return str(folder)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write(folder / "spoken.wav", bursts((0.5, 0.9, 0), (1.2, 1.5, 2), (1.5, 1.5, 0), (2.0, 2.6, 4), seconds=3))
    write(folder / "given.wav", bursts((0.4, 0.8, 0), (1.0, 1.4, 4), seconds=2))
    write(folder / "noise.wav", np.full(RATE, 0.01, np.float32))
    (folder / "labels.csv").write_text("id,text\ngiven,So very good\n")
    return folder


def test_words_of_a_long_sound_keep_their_times(whisper: str) -> None:
    places = [(0.8 * place, 0.8 * place + 0.4, place % 5) for place in range(100)]
    x = bursts(*places, seconds=80)
    recogniser, heard = Recogniser(Hearing(whisper)), list[Word]()
    passed = list(recogniser.listen(iter(np.array_split(x, 37)), heard))
    assert np.array_equal(np.concatenate(passed), x)
    assert [word.text for word in heard] == [WORDS[place % 5] for place in range(100)]
    assert np.allclose([(word.start, word.end) for word in heard], [place[:2] for place in places], atol=1e-3)
    assert max(seconds for seconds, _ in recogniser.model.asked) <= 30
    assert recogniser.model.asked[0][1]["beam_size"] == 5


def test_silence_is_not_listened_to(whisper: str) -> None:
    recogniser, heard = Recogniser(Hearing(whisper)), list[Word]()
    list(recogniser.listen(iter([np.zeros(RATE, np.float32)]), heard))
    assert not heard
    assert not recogniser.model.asked


def test_a_transcript_stays_and_others_are_heard(whisper: str, clips: Path, tmp_path: Path) -> None:
    settings = Settings(vision="none", speech=Hearing(whisper, language="en"))
    result = extract(clips, tmp_path / "f.pkl", settings)
    assert {clip.id: fault for clip, fault in result.faulty} == {"noise": "no speech was heard"}
    tree = pickle.loads((tmp_path / "f.pkl").read_bytes())
    test = tree["test"]
    assert dict(zip(test["id"], test["raw_text"], strict=True)) == {
        "given": "So very good",
        "spoken": "so is good",
        "noise": "",
    }
    assert test[TIMES][test["id"].index("spoken")] == pytest.approx(
        np.array([[0.5, 0.9], [1.2, 1.5], [2.0, 2.6]]), abs=0.001
    )
    assert np.isnan(test[TIMES][test["id"].index("given")]).all()  # nobody listened
    assert not test["text"][test["id"].index("noise")].any()
    assert "heard_text" not in test
    told = tree["about"]["features"]
    assert told["text"]["speech"]["model"] == whisper
    assert told["text"]["speech"]["language"] == "en"
    assert "speech" not in told["audio"]
    assert Settings.of(open_corpus(str(tmp_path / "f.pkl"), tmp_path / "cache").made_by).speech == settings.speech


def test_what_is_heard_beside_a_transcript(whisper: str, clips: Path, tmp_path: Path) -> None:
    extract(clips, tmp_path / "f.pkl", Settings(vision="none", speech=Hearing(whisper, beside=True)))
    test = pickle.loads((tmp_path / "f.pkl").read_bytes())["test"]
    row = test["id"].index("given")
    assert (test["raw_text"][row], test["heard_text"][row]) == ("So very good", "so good")
    assert test["heard_text"][test["id"].index("noise")] == ""
    assert np.array_equal(test["heard_text_features"][row, :2], HashedWords().encode(["so", "good"]))
    assert test[TIMES][row] == pytest.approx(np.array([[0.4, 0.8], [0.8, 1.0], [1.0, 1.4]]), abs=0.001)


def test_sound_that_nobody_describes_is_heard(whisper: str, clips: Path) -> None:
    extractor = Extractor(Settings(audio="none", vision="none", speech=Hearing(whisper)))
    found = extractor(Clip(clips / "spoken.wav"))
    assert (found.text, found.features["text"].shape, found.seconds) == ("so is good", (3, 128), 3.0)


def test_an_aligned_file_has_one_time_axis(whisper: str, clips: Path, tmp_path: Path) -> None:
    settings = Settings(vision="none", speech=Hearing(whisper), aligned=True)
    extract(clips, tmp_path / "f.pkl", settings)
    test = pickle.loads((tmp_path / "f.pkl").read_bytes())["test"]
    assert test["text"].shape[:2] == test["audio"].shape[:2] == (3, 3)
    row = test["id"].index("spoken")
    loud = Extractor(Settings(text="none", vision="none"))(Clip(clips / "spoken.wav")).features["audio"]
    assert test["audio"][row, 2] == pytest.approx(loud[40:52].mean(0), abs=1e-5)  # 2.0 to 2.6 s at 20 a second
    corpus = open_corpus(str(tmp_path / "f.pkl"), tmp_path / "cache")
    assert corpus.aligned
    assert corpus.made_by["audio"].aligned
    assert Settings.of(corpus.made_by) == settings


def test_times_have_to_be_heard() -> None:
    with pytest.raises(MERError, match="aligned features need the words' times"):
        Settings(aligned=True)


def test_a_model_that_is_not_there(whisper: str, tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"speech 'enormous' can't be loaded \(Invalid model size 'enormous'\); give wh"):
        Recogniser(Hearing("enormous"))
    with pytest.raises(MERError, match=r"can't be loaded \(Unable to open file 'model\.bin'\)"):
        Recogniser(Hearing(str(tmp_path)))
    with pytest.raises(MERError, match="does not know the language 'xx'; give one of en, de"):
        Recogniser(Hearing(whisper, language="xx"))


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MERError, match=r"faster-whisper, which is not installed; pip install 'mer-zoo\[clips\]'"):
        Extractor(Settings(speech=Hearing("whisper-tiny.en")))
    assert Extractor(Settings(vision="none"))(Clip(clips / "spoken.wav")).features.keys() == {"audio"}


def test_options_of_hearing_need_a_model(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="--hear-all are of --speech; name its model, too"):
        main([str(tmp_path), str(tmp_path / "f.pkl"), "--beam", "2"])


SPEECH = SpeechSpec("whisper-tiny.en", "5e0d", "en", 5, True, "faster-whisper 1")
TEXT = FeatureSpec("minilm", "c1", "last", "mean", 0.0, 384, speech=SPEECH)


def test_a_spec_goes_through_a_file() -> None:
    given = Fields({"text": TEXT.plain()}, "file", "extract again")
    assert read_specs(given, ["text"]) == {"text": TEXT}
    assert "speech" not in FeatureSpec("hash", "1", "", "none", 0.0, 128).plain()


def test_words_of_two_models_are_not_mixed_but_with_transcripts() -> None:
    other = SpeechSpec("small", "aa", "en", 5, True)
    given = {"text": FeatureSpec("minilm", "c1", "last", "mean", 0.0, 384)}
    theirs = {"text": FeatureSpec("minilm", "c1", "last", "mean", 0.0, 384, speech=other)}
    assert differing({"text": TEXT}, given) is None
    assert "speech 'whisper-tiny.en (5e0d), en" in str(differing({"text": TEXT}, theirs))
    assert (
        differing({"text": TEXT}, {"text": FeatureSpec("minilm", "c1", "last", "mean", 0.0, 384, speech=SPEECH)})
        is None
    )


class Glimpses:
    """A view that sees something at 0.75 and 2.25 s alone, and says how things look in between."""

    spec = FeatureSpec("glimpses", "1", "", "none", 4.0, 2, faces="mtcnn", faces_rate=2.0)
    seen: Seen | None = (np.array([0.75, 2.25]), 2.0)

    def features(self, media: Any, guard: Any, faults: list[str]) -> np.ndarray:
        return np.ones((12, 2), np.float32)


def test_a_word_during_which_no_face_was_seen_is_missing(whisper: str, clips: Path) -> None:
    extractor = Extractor(Settings(text="none", audio="none", speech=Hearing(whisper), aligned=True))
    extractor.vision = Glimpses()
    assert extractor(Clip(clips / "spoken.wav")).features["vision"].tolist() == [[1, 1], [0, 0], [1, 1]]
