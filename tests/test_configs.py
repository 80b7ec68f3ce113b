"""Every file under configs/ runs fit, then test."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mer_zoo.cli import main

ROOT = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(ROOT.rglob("*.yaml"))
FILES = {"MOSI": "mult_mosi_noalign", "MOSEI": "mmsa_unaligned", "IEMOCAP": "mult_iemocap"}


def test_there_are_configs() -> None:
    assert {"quickstart.yaml", "mosi/mult.yaml"} <= {str(path.relative_to(ROOT)) for path in CONFIGS}


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_fit_then_test(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    """Runs one batch of each loop at the published widths; only the corpus is tiny."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(config.read_text())
    corpus = content["data"]["class_path"]
    given = [f"--config={config}", "--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--data.batch_size=2"]
    if corpus == "SyntheticMER":
        given += ["--data.scm.train=4", "--data.scm.valid=4", "--data.scm.test=4"]
    else:
        given += [f"--data.path={corpus_files[FILES[corpus]]}"]
    for command in ("fit", "test"):
        main([command, *given])
