"""Processes that crash or hang are replaced, and everything else is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import pytest

from mer_zoo.clips.workers import Failed, Kept, run_all
from mer_zoo.errors import MERError


def dangerous(beat: Callable[[float], None], number: int) -> int:
    if number == 1:
        os._exit(11)
    if number == 2:
        beat(0.1)
        time.sleep(60)
    if number == 3:
        raise MERError("it is odd")
    return 10 * number


def make(beat: Callable[[float], None]) -> Callable[[int], int]:
    return partial(dangerous, beat)


def make_nothing(_beat: Callable[[float], None]) -> Callable[[int], int]:
    os._exit(3)


def test_what_crashes_or_hangs_is_told_and_the_rest_is_done() -> None:
    found = dict(run_all(make, range(5), processes=2))
    assert {number: found[number] for number in (0, 4)} == {0: 0, 4: 40}
    reasons = [found[number].reason.split(";")[0] for number in (1, 2, 3)]
    assert reasons == ["the decoder crashed on it", "decoding it does not go on", "it is odd"]
    assert all(isinstance(found[number], Failed) for number in (1, 2, 3))


def test_a_process_that_cannot_be_started_ends_it() -> None:
    with pytest.raises(MERError, match="__main__"):
        list(run_all(make_nothing, [1], processes=1))


def test_a_process_that_is_kept_is_made_anew_when_it_crashed() -> None:
    kept = Kept[int](make)
    try:
        assert kept(4) == 40
        assert kept(3) == Failed("it is odd")
        assert kept(1) == Failed("the decoder crashed on it; convert it to another format, or leave it out")
        assert kept(0) == 0
    finally:
        kept.end()
