"""Commands that are stopped end with the code of what stopped them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from mer_zoo.cli.signals import stoppable


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """The tests may themselves run under nohup, which has SIGHUP ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("given", "code"), [((signal.SIGTERM,), 143), ((signal.SIGHUP,), 129), ((), 130), (("what somebody says",), 130)]
)
def test_the_code_is_that_of_the_signal(
    given: tuple[object, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving, stoppable("the search was stopped"):
        raise KeyboardInterrupt(*given)
    assert leaving.value.code == code
    assert capsys.readouterr().err == "mer-zoo: the search was stopped\n"
