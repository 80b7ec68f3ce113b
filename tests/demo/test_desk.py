"""What the page does with what is dropped, typed and switched, without a browser."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mer_zoo import LFLSTM, CausalMER, DataSpec, EmotionDetection, SentimentClassification, SentimentRegression
from mer_zoo.cli import main
from mer_zoo.clips import ClipFeatures
from mer_zoo.demo.answer import Answer, answer
from mer_zoo.demo.desk import Desk, Held
from mer_zoo.demo.markup import Given, page_of
from mer_zoo.demo.page import application
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.task import Task

EVIL = "<img src=x onerror=alert(1)>"
FOUND = ClipFeatures(
    {"text": np.ones((2, 6), np.float32), "audio": np.ones((3, 5), np.float32)}, ["no pictures"], EVIL, 1.5
)
ALL = ["text", "audio", "vision"]


class Toy:
    """A predictor of one recording."""

    looks_at = "The middle of its pictures"

    def __init__(self, model: Model) -> None:
        self.model = model.eval()

    def features(self, path: Path, text: str | None = None) -> ClipFeatures:
        content = Path(path).read_text()
        if content == "bad":
            raise MERError(f"{path} has no stream; give another clip")
        if content == "worse":
            raise RuntimeError("a bug")
        return replace(FOUND, text=text or "")

    def with_words(self, found: ClipFeatures | None, text: str) -> ClipFeatures:
        return replace(found or ClipFeatures({"text": FOUND.features["text"]}), text=text)

    def answer(self, found: ClipFeatures, available: Sequence[str] | None = None) -> Answer:
        return answer(self.model, found, available)


def desk(log: Any = lambda _told: None) -> Desk:
    return Desk(Toy(LFLSTM(DataSpec(), SentimentClassification(3))), log)  # type: ignore[arg-type]


def dropped(folder: Path, content: str = "good", name: str = "one.mp4") -> Path:
    """An upload, in a folder of its own as gradio makes it."""
    file = folder / "uploads" / "a1" / name
    file.parent.mkdir(parents=True)
    file.write_text(content)
    return file


def test_a_recording_is_answered_to_and_deleted(tmp_path: Path) -> None:
    file = dropped(tmp_path)
    held, shown = desk().take(str(file), " so good ", ALL)
    assert (held.name, held.text) == ("one.mp4", "so good")
    assert "one.mp4, 1.5 s; read, and deleted" in shown
    assert "so good" in shown
    assert "no pictures" in shown
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize("content", ["bad", "worse"])
def test_what_goes_wrong_is_a_sentence_without_a_path(tmp_path: Path, content: str) -> None:
    logged: list[str] = []
    file = dropped(tmp_path, content)
    held, shown = desk(logged.append).take(str(file), "", ALL)
    assert held == Held()
    assert shown.startswith('<p class="complaint" role="alert">')
    assert str(tmp_path) not in shown
    assert not file.exists()
    assert ("a bug" in "".join(logged)) == (content == "worse")


def test_what_is_typed_counts_with_the_recording_and_alone(tmp_path: Path) -> None:
    here = desk()
    held, shown = here.ask(Held(), "", ALL)
    assert "drop a recording, or type a sentence" in shown
    held, shown = here.ask(held, "so good", ALL)
    assert "<dd>text</dd>" in shown
    held, _ = here.take(str(dropped(tmp_path)), "", ALL)
    held, shown = here.ask(held, "so good", ALL)
    assert "as you typed them" in shown
    assert "<dd>text and audio</dd>" in shown
    _, again = here.ask(held, "so good", ALL)
    assert again == shown


def test_what_is_switched_off_is_told() -> None:
    here, held = desk(), Held(FOUND, "one.mp4")
    assert "switched off" not in here.show(held, ALL)
    shown = here.show(held, ["audio"])
    assert "With text switched off. With all that is there: " in shown
    assert "That is not promised" not in shown  # nothing was calibrated
    assert "switch on what the clip has" in here.show(held, ["vision"])


@pytest.mark.parametrize(
    "task", [SentimentClassification(7), SentimentRegression(), EmotionDetection(["joy", "fear"])], ids=lambda t: t.name
)
def test_answers_of_every_task_are_shown_and_nothing_in_them_runs(task: Task) -> None:
    model = CausalMER(LFLSTM(DataSpec(), task)) if task.is_classification else LFLSTM(DataSpec(), task)
    found = answer(model.eval(), FOUND)
    shown = page_of(Given(FOUND, EVIL, was_typed=True), found, found)
    assert EVIL not in shown
    assert shown.count("&lt;img src=x") == 2
    assert "without text" in shown
    assert "without vision" not in shown
    assert ("direct effect of text" in shown) == task.is_classification
    assert all(problem in shown for problem in task.problems)


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MERError, match=r"not installed; pip install 'mer-zoo\[demo\]'"):
        application(desk().predictor)


def test_ctrl_c_is_how_it_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ended: list[str] = []

    class Closing(Toy):
        def close(self) -> None:
            ended.append("closed")

    def interrupted(*_given: object) -> None:
        raise KeyboardInterrupt

    made = Closing(LFLSTM(DataSpec(), SentimentClassification(3)))
    monkeypatch.setattr("mer_zoo.cli.demo.Predictor", lambda *_given, **_named: made)
    monkeypatch.setattr("mer_zoo.cli.demo.serve", interrupted)
    with pytest.raises(SystemExit) as leaving:
        main(["demo", "RUN"])
    assert leaving.value.code == 0
    assert ended == ["closed"]
    assert capsys.readouterr().out == "the page is closed\n"


def test_a_run_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["demo", "nowhere", "--no-browser"])
    assert ended.value.code == 2
    assert "nowhere does not exist; give the folder of a run" in capsys.readouterr().err
