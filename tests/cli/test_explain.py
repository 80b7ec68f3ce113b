"""The command explains samples of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from explained_runs import trained_run

from mer_zoo.cli import main
from mer_zoo.cli.explain import main as explain_samples


def test_a_sample_of_a_run_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained_run(tmp_path / "run")
    given = ["explain", str(tmp_path / "run"), "--sample", "test_ood_00003"]
    explain_samples([*given[1:], "--condition", "ood RMM 0.3", "--out", str(tmp_path / "told"), "--data.seed=2"])
    told = capsys.readouterr().out
    assert "## test_ood_00003" in told
    assert "- condition: ood RMM 0.3" in told
    assert {path.name for path in (tmp_path / "told").iterdir()} == {
        "explain.md",
        "effects.csv",
        "explain.png",
        "explain.svg",
    }
    for words, sentence in (
        ([*given, "--clips"], "explain has no option --clips"),
        ([*given[:3], "test_ood_3"], "the nearest ids are"),
        ([*given, "--condition", "{x}"], "there is no condition '{x}'"),
        ([*given, "--condition", "iid"], "no sample 'test_ood_00003' in the split 'test_iid'"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert sentence in capsys.readouterr().err
