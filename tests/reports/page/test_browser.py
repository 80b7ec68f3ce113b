"""The page in a browser: it sorts by mouse and by keys, complains of nothing and asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Browser, chromium
from report_toys import write_run
from rich.console import Console

from mer_zoo.reports.report import report

EVIL = "<script>document.title='run'</script><img src=http://127.0.0.1:1/x onerror=\"document.title='run'\">"
PROGRAM = chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium or Chrome on the path")
STRENGTHS = {"TFN": 1.0, "MulT": 3.0, f"LMF{EVIL}": 2.0}
NAMES = "[...document.querySelector('#table-1 tbody').rows].map(row => row.cells[0].textContent)"
SORTED = "[...document.querySelectorAll('#table-1 th')].map(head => head.getAttribute('aria-sort'))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for number, (model, strength) in enumerate(STRENGTHS.items()):
        run = write_run(folder / str(number), model=model, strength=strength, size=200, sets=["{l}"], notes=[EVIL])
        (run / "config.yaml").write_text(f"model: {{backbone: '</pre>{EVIL}', dim: {number}}}\n".replace('"', ""))
    report([folder], samples=0, console=Console(quiet=True), html=folder / "report.html")
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    made = Browser(str(PROGRAM))
    made.open(page)
    yield made
    made.close()


def test_a_click_sorts(browser: Browser) -> None:
    original = browser.ask(NAMES)
    browser.click("document.querySelectorAll('#table-1 th button')[2]")  # iid
    assert browser.ask(SORTED)[:4] == [None, None, "descending", None]
    assert [name[:3] for name in browser.ask(NAMES)[:3]] == ["Mul", "LMF", "TFN"]
    browser.click("document.querySelectorAll('#table-1 th button')[2]")
    assert browser.ask(SORTED)[2] == "ascending"
    assert [name[:3] for name in browser.ask(NAMES) if name != "majority class"] == ["TFN", "LMF", "Mul"]
    browser.click("document.querySelectorAll('#table-1 th button')[2]")
    assert browser.ask(NAMES) == original
    assert set(browser.ask(SORTED)[:4]) == {None}


def test_keys_sort(browser: Browser) -> None:
    browser.ask("document.querySelector('#table-1 .wide').focus()")
    browser.press("Tab", 9)
    browser.press("Enter", 13, "\r")
    assert browser.ask(SORTED)[0] == "ascending"
    assert [name[:3] for name in browser.ask(NAMES)] == ["LMF", "maj", "Mul", "TFN"]
    assert "sorted by model, ascending" in browser.ask("document.getElementById('told').textContent")


def test_nothing_is_said_asked_for_or_run(browser: Browser, page: Path) -> None:
    assert browser.complaints == []
    assert browser.requests == [page.resolve().as_uri()]
    assert browser.ask("document.title") == "Comparison by Acc2_non0"
    assert browser.ask("document.querySelectorAll('img, link, iframe, script[src]').length") == 0
    assert EVIL in browser.ask("document.body.textContent")


def test_what_a_page_may_not_do_is_refused(browser: Browser) -> None:
    browser.ask('document.body.insertAdjacentHTML(\'beforeend\', `<img src="data:image/png;base64,AA" onerror="1">`)')
    browser.ask("1")
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
