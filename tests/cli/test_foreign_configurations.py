"""Configurations of others are read within bounds, or refused in one sentence."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mer_zoo.cli import main


def bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return "\n".join([*lines, "seed_everything: *a8"])


CONTENTS = {
    "aliases": (bomb(), "is refused: reading it would take more than 65,536 steps"),
    "many": ("model:\n" + "".join(f"  k{i}: 1\n" for i in range(60_000)), "would take more than 65,536 steps"),
    "large": ("model: " + "x" * 2**21, "is refused: it is no configuration, of more than 1,048,576 bytes"),
    "number": ("seed_everything: " + "9" * 5000, "holds a number beyond 64 bits"),
    "deep": ("model: " + "[" * 500 + "]" * 500, "levels of nesting; make it flatter"),
}


@pytest.mark.parametrize("base", [False, True], ids=["alone", "as a base"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_it_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, base: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content, words = CONTENTS[kind]
    Path("foreign.yaml").write_text(content)
    Path("own.yaml").write_text("base: foreign.yaml\n")
    begin = time.process_time()
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", "own.yaml" if base else "foreign.yaml", "--data=SyntheticMER"])
    assert time.process_time() - begin < 20
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("mer-zoo: error:") == 1
    assert words in said or (base and kind == "aliases" and "can't stand in a file that has a base or is one" in said)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config=pipe.yaml", "--data=SyntheticMER"])
    assert stopped.value.code == 2
    assert "pipe.yaml is not a regular file" in capsys.readouterr().err
