"""The page in a browser: a recording dropped, what is answered, a modality switched off; and nobody else is asked."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("gradio")

import uvicorn
from chromium import Browser, chromium
from media_toys import write_media
from recorded_runs import recorded_run

from mer_zoo.demo import Predictor
from mer_zoo.demo.page import application, listening, room

PROGRAM = chromium()
WAIT = 60.0
HERE = ("127.0.0.1", "localhost", "::1")
UPLOAD = "#clip input[type=file]"
SCORE = "document.querySelector('#answer .score').innerText"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium or Chrome on the path"),
]


class Watch:
    """Who is asked for, by name or address, while it is on."""

    def __init__(self) -> None:
        self.is_on, self.asked = False, set[str]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self.is_on and event in ("socket.connect", "socket.getaddrinfo"):
            address = args[1] if event == "socket.connect" else args
            self.asked.add(str(address[0]) if isinstance(address, tuple) else str(address))


def until(is_so: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + WAIT
    while not is_so():
        assert time.monotonic() < deadline, f"{what} does not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, watch: Watch, uploads: Path) -> Iterator[Browser]:
    predictor = Predictor(recorded_run(tmp_path_factory.mktemp("run")))
    watch.is_on = True
    with room(uploads), listening(0) as line:
        server = uvicorn.Server(uvicorn.Config(application(predictor), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [line]}, daemon=True)
        thread.start()
        made = Browser(str(PROGRAM))
        made.call("Page.navigate", url=f"http://127.0.0.1:{line.getsockname()[1]}/")
        until(lambda: made.ask(f"!!document.querySelector('{UPLOAD}')"), "the page")
        yield made
        made.close()
        server.should_exit = True
        thread.join(WAIT)
    watch.is_on = False


def drop(browser: Browser, file: Path) -> None:
    root = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=root, selector=UPLOAD)["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


def test_a_dropped_recording_is_answered_to(browser: Browser, watch: Watch, uploads: Path, tmp_path: Path) -> None:
    drop(browser, write_media(tmp_path / "own.mp4", seconds=1.0))
    until(lambda: browser.ask("!!document.querySelector('#answer .score')"), "an answer")
    told = browser.ask("document.querySelector('#answer').innerText")
    assert "for 90 of 100 clips between" in told
    assert "own.mp4, 1.0 s; read, and deleted" in told
    assert "no transcript" in told
    assert "without audio" in told
    assert browser.ask("document.querySelectorAll('#answer .bar').length") > 2
    assert (
        browser.ask("[...document.querySelectorAll('#answer img')].map(i => i.naturalWidth > 0 && !!i.alt)")
        == [True] * 4
    )
    before = browser.ask(SCORE)

    browser.ask("document.querySelector('#modalities input').focus()")
    browser.press("Tab", 9)
    assert browser.ask("document.activeElement.closest('label').innerText.trim()") == "audio"
    browser.press(" ", 32, " ")
    until(lambda: browser.ask("!!document.querySelector('#answer .beside')"), "an answer without audio")
    assert "With audio switched off" in browser.ask("document.querySelector('#answer').innerText")
    assert browser.ask(SCORE) != before

    (tmp_path / "bad.mp4").write_bytes(b"no film")
    drop(browser, tmp_path / "bad.mp4")
    until(lambda: browser.ask("!!document.querySelector('#answer [role=alert]')"), "a complaint")
    assert "Recording bad.mp4: it is no recording" in browser.ask("document.querySelector('#answer').innerText")

    for folder in (uploads, tmp_path):
        assert str(folder) not in browser.ask("document.documentElement.outerHTML")
    assert [file for file in uploads.rglob("*") if file.is_file() and file.stat().st_size] == []
    assert "prohibited in the European Union (AI Act" in browser.ask("document.body.innerText")
    check_names(browser)
    asked = {address.split("/")[2].split(":")[0] for address in browser.requests if address.startswith("http")}
    assert asked == {"127.0.0.1"}
    assert not watch.asked.difference(HERE)
    assert [told for told in browser.complaints if "Content Security Policy" in told or "exception" in told] == []


def check_names(browser: Browser) -> None:
    """Whatever can be pressed, typed into or chosen has a name that is read out."""
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    named = {"button": set[str](), "checkbox": set[str](), "textbox": set[str](), "combobox": set[str]()}
    for node in nodes:
        role = node.get("role", {}).get("value")
        if not node.get("ignored") and role in named:
            named[role].add(node.get("name", {}).get("value", "").strip())
    assert "" not in set().union(*named.values()), named
    assert named["checkbox"] == {"text", "audio", "vision"}
    assert "Predict" in named["button"]
    assert any(name.startswith("What is said") for name in named["textbox"])
