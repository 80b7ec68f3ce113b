"""A run is opened again with its weights and its data, or told why it can't be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from explained_runs import trained_run

from mer_zoo.cli.opening import open_run
from mer_zoo.errors import MERError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    trained_run(folder)
    return folder


def test_weights_data_and_scale_are_those_of_the_run(run: Path) -> None:
    saved = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    for opened in (open_run(run), open_run(run / "checkpoints" / "best.ckpt")):
        assert opened.folder == run
        assert not opened.model.training
        for name, value in opened.model.state_dict().items():
            assert value.equal(saved["state_dict"][f"model.{name}"])
        assert [condition.name for condition in opened.data.conditions][:2] == ["iid", "{l}"]
        scaler = opened.data.scaler_state()
        assert scaler is not None
        assert scaler["mean"]["audio"].equal(saved["mer_zoo"]["scaler"]["mean"]["audio"])


def test_options_of_the_data_may_be_changed(run: Path) -> None:
    data = open_run(run, ["--data.conditions=[default,robustness:RMM]", "--data.seed=3"]).data
    assert {"ood", "RMM 0.3"} < {condition.name for condition in data.conditions}
    assert data.seed == 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--data.modalities=[text,audio]"], "was trained on"),
        (
            ["--data.task=seven"],
            r"for the task SentimentClassification \[7\], and .* for SentimentClassification \[3\]",
        ),
        (["--data.no_such_option=1"], "no_such_option"),
    ],
)
def test_data_that_do_not_fit_are_refused(run: Path, options: list[str], told: str) -> None:
    with pytest.raises(MERError, match=told):
        open_run(run, options)


def test_what_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(MERError, match=r"has no config\.yaml"):
        open_run(tmp_path)
    shutil.copy(run / "config.yaml", tmp_path)
    with pytest.raises(MERError, match="has no best checkpoint"):
        open_run(tmp_path)
    (tmp_path / "config.yaml").write_text("model: {}\n")
    (tmp_path / "checkpoints").mkdir()
    shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "checkpoints")
    with pytest.raises(MERError, match="names no data"):
        open_run(tmp_path)
