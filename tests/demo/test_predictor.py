"""A recording is made into what the model was trained on, and answered to with all that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from media_toys import write_media
from recorded_runs import changed, recorded_run

from mer_zoo.cli.opening import open_run
from mer_zoo.clips import extract
from mer_zoo.demo import Predictor
from mer_zoo.demo.answer import batch_of
from mer_zoo.errors import MERError
from mer_zoo.explain.samples import complete_condition


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded_run(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def predictor(run: Path) -> Predictor:
    return Predictor(run)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_media(tmp_path / "one.mp4", seconds=1.5)


def test_the_model_gets_what_a_test_would_give(predictor: Predictor, run: Path, tmp_path: Path) -> None:
    write_media(tmp_path / "own" / "long.mp4", seconds=1.5)
    write_media(tmp_path / "own" / "dark.wav", brightness=None)
    (tmp_path / "own" / "labels.csv").write_text("id,text\nlong,so good and so on and on\ndark,")
    spec = predictor.model.spec
    lengths = {name: spec.length(name) for name in spec.modalities}
    extract(tmp_path / "own", tmp_path / "own.pkl", lengths=lengths, for_prediction=True)
    data = open_run(run, [f"--data.path={tmp_path / 'own.pkl'}", "--data.conditions=default"]).data
    texts = {"long": "so good and so on and on", "dark": None}
    for place, name in enumerate(data.corpus.split("test").ids):
        file = next((tmp_path / "own").glob(f"{name}.*"))
        wanted = data.samples(complete_condition(data, "test"), [place])
        made = batch_of(predictor.features(file, texts[name]), predictor.model)
        for key in spec.modalities:
            torch.testing.assert_close(made.modality(key).x, wanted.modality(key).x)
            assert made.modality(key).mask.equal(wanted.modality(key).mask), (name, key)


def test_an_answer_is_as_sure_as_the_calibration_says(predictor: Predictor, clip: Path) -> None:
    found = predictor.answer(predictor.features(clip, "so good"))
    assert (found.there, found.used) == (("text", "audio", "vision"),) * 2
    assert found.score is not None
    assert found.sureness.interval is not None
    low, high = found.sureness.interval
    assert low < found.score < high
    (shares,) = found.sureness.probabilities.values()
    assert sum(shares.values()) == pytest.approx(1)
    assert found.sureness.is_promised
    assert predictor.model.uncertainty is not None
    assert (high - low) / 2 in predictor.model.uncertainty.groups["{l,a,v}"].distance  # type: ignore[operator]


def test_what_is_switched_off_changes_the_answer(predictor: Predictor, clip: Path) -> None:
    features = predictor.features(clip, "so good")
    whole, without = predictor.answer(features), predictor.answer(features, ["text", "vision"])
    assert without.used == ("text", "vision")
    assert without.score == whole.without["audio"].score != whole.score
    assert whole.lost("audio") == whole.score - without.score  # type: ignore[operator]
    assert list(whole.without) == ["text", "audio", "vision"]
    assert predictor.answer(features, ["text"]).without == {}
    with pytest.raises(MERError, match="leaves the model nothing"):
        predictor.answer(predictor.features(clip), ["text"])


def test_some_of_what_the_model_is_shown_is_kept(predictor: Predictor, clip: Path) -> None:
    shown = predictor.features(clip).pictures
    assert len(shown) == 4
    brightness = [float(picture.mean()) for picture in shown]
    assert brightness == sorted(brightness)
    assert brightness[0] < brightness[-1]
    assert predictor.features(write_media(clip.with_suffix(".wav"), brightness=None)).pictures == []


def test_words_may_be_given_afterwards(predictor: Predictor, clip: Path) -> None:
    at_once, later = predictor.features(clip, "so good"), predictor.with_words(predictor.features(clip), "so  good")
    assert at_once.features.keys() == later.features.keys()
    assert all(np.array_equal(x, later.features[key]) for key, x in at_once.features.items())
    assert (later.text, later.seconds, later.faults) == ("so good", at_once.seconds, [])
    silent = predictor.features(write_media(clip.with_suffix(".wav"), brightness=None))
    assert (silent.faults, predictor.with_words(silent, "so good").faults) == (
        ["no pictures", "no transcript"],
        ["no pictures"],
    )
    assert predictor.with_words(None, "so good").features.keys() == {"text"}
    with pytest.raises(MERError, match="there are no words"):
        predictor.with_words(None, " ")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {},
            "does not tell what made the text and audio and vision features .*; train on a corpus that mer-zoo extract",
        ),
        ({"revision": "2"}, "was trained on, and this version makes, audio of revision '2' and '1'; train again"),
        (
            {"encoder": "nobody/wavlm", "layers": "last"},
            "'nobody/wavlm' can't be .* once where .* by hf download nobody/wavlm --revision 1; or",
        ),
    ],
    ids=["untold", "of another version", "not on the disk"],
)
def test_features_that_cannot_be_made_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: dict[str, str], message: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MERError, match=message):
        Predictor(changed(run, tmp_path / "changed.ckpt", **features))


def test_a_run_without_a_calibration_tells_why(
    predictor: Predictor, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor.model, "uncertainty", None)
    sureness = predictor.answer(predictor.features(clip)).sureness
    assert (sureness.interval, sureness.level, dict(sureness.probabilities)) == (None, None, {})
    assert "take the best checkpoint" in sureness.refused


def test_a_level_that_the_data_cannot_promise_is_told(run: Path, clip: Path) -> None:
    predictor = Predictor(run, level=0.999)
    assert "can't promise 99.9 %; give at least" in predictor.answer(predictor.features(clip)).sureness.refused
