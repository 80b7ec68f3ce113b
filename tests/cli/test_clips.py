"""``mer-zoo predict --clips``: a run on extracted features predicts recordings."""

from __future__ import annotations

import csv
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from media_toys import write_media

from mer_zoo.cli import main
from mer_zoo.cli.opening import open_run
from mer_zoo.clips import Settings, extract
from mer_zoo.data import MOSI
from mer_zoo.data.store import is_store
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec

FIT = ["fit", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
FIT += ["--trainer.enable_model_summary=false", "--model.backbone=LFLSTM", "--model.backbone.dim=4", "--data=MOSI"]


def done(*args: str) -> int:
    """Run a command; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    lines = ["id,split,text,label"]
    for place, split in enumerate(["train"] * 4 + ["valid"] * 2 + ["test"] * 2):
        write_media(folder / f"c{place}.mp4", hertz=100 + 20 * place)
        lines.append(f"c{place},{split},so this is {place},{place / 2 - 2}")
    (folder / "labels.csv").write_text("\n".join(lines))
    extract(folder, folder.with_suffix(".pkl"), Settings(fps=4))
    out = folder.with_name("run")
    main([*FIT, f"--data.path={folder.with_suffix('.pkl')}", f"--trainer.logger.save_dir={out}"])
    return next(out.rglob("config.yaml")).parent


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_media(Path("own/one.mp4"), seconds=2.0)
    write_media(Path("own/two.wav"), brightness=None)
    return Path("own")


def test_recordings_are_predicted(run: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    assert done("predict", f"--ckpt_path={checkpoint}", f"--clips={clips}", "--processes=0", "--record.folder=out") == 0
    with Path("out/predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["one", "two"]
    assert rows[0]["score"] != rows[1]["score"]
    told = capsys.readouterr()
    assert "its vision has 8 steps, of which the model takes the first 4" in told.err
    assert "two: no pictures; no transcript" in told.err


def test_features_of_another_maker_are_refused(run: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips / "labels.csv").write_text("id,text\none,so\ntwo,good")
    extract(clips, "other.pkl", Settings(fps=5))
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    options = ["--data.path=other.pkl", "--data.conditions=default", "--record.folder=out"]
    assert done("predict", f"--config={run / 'config.yaml'}", f"--ckpt_path={checkpoint}", *options) == 2
    assert "the checkpoint and other.pkl have vision of rate 4.0 and 5.0; extract" in capsys.readouterr().err


def test_a_run_is_not_opened_on_features_of_another_maker(run: Path, clips: Path) -> None:
    (clips / "labels.csv").write_text("id,text\none,so\ntwo,good")
    extract(clips, "other.pkl", Settings(fps=4, audio="none"), lengths={"text": 4, "vision": 4})
    tree = pickle.loads(Path("other.pkl").read_bytes())
    tree["test"]["audio"] = np.ones((2, 21, 56), np.float32)
    tree["about"]["features"]["vision"]["revision"] = "2"
    Path("same_shape.pkl").write_bytes(pickle.dumps(tree))
    options = ["--data.path=same_shape.pkl", "--data.conditions=default", "--data.standardize=true"]
    with pytest.raises(MERError, match="have vision of revision '1' and '2'"):
        open_run(run, options)


def test_extract_makes_features_like_those_of_a_checkpoint(run: Path, clips: Path) -> None:
    from mer_zoo import MERDataModule

    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    assert done("extract", str(clips), "like.pkl", "--like", str(checkpoint), "--fps=9") == 2
    assert done("extract", str(clips), "like.pkl", "--like", str(checkpoint), "--processes=0") == 0
    data = MERDataModule("like.pkl", standardize=False)
    assert data.corpus.made_by["vision"] == FeatureSpec(**{**vars(data.corpus.made_by["vision"]), "rate": 4.0})
    assert data.spec.vision_len == 4


def test_none_that_can_be_used_is_told(run: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(clips)
    clips.mkdir()
    (clips / "bad.mp4").write_bytes(b"no film")
    checkpoint = next((run / "checkpoints").glob("best*.ckpt"))
    assert done("predict", f"--ckpt_path={checkpoint}", f"--clips={clips}", "--processes=0") == 2
    assert "none of the clips can be used" in capsys.readouterr().err


def test_a_name_without_an_ending_makes_a_store(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["extract", str(clips), "made", "--fps=4", "--processes=0"]
    assert done(*asked) == 0
    assert is_store(Path("made"))
    assert not Path("made.pkl").exists()
    assert not Path("made.pkl.parts").exists()
    extract(clips, "file.pkl", Settings(fps=4))
    batches = []
    for source in ("made", "file.pkl"):
        data = MOSI(source, modalities=["audio", "vision"], conditions=[], standardize=False)
        assert data.corpus.made_by["vision"].rate == 4
        batches.append(list(data.batch_source("test")))
    ((one,), (other,)) = batches
    assert torch.equal(one.audio.x, other.audio.x)
    assert torch.equal(one.vision.observed, other.vision.observed)
    assert done(*asked) == 2
    assert "made exists; give another name, or replace it by --overwrite" in capsys.readouterr().err
    assert done(*asked, "--overwrite") == 0
    Path("folder").mkdir()
    assert done("extract", str(clips), "folder") == 2
    assert "folder exists, and is no store; give another name, or call it folder.pkl" in capsys.readouterr().err
