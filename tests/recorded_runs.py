"""A small run on features of recordings, calibrated on enough of them."""

from __future__ import annotations

from pathlib import Path

import torch
from media_toys import write_media

from mer_zoo.cli import main
from mer_zoo.clips import extract

SPLITS = ["train"] * 6 + ["valid"] * 20 + ["test"] * 2
QUIET = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]
QUIET += ["--trainer.enable_model_summary=false"]


def recorded_run(folder: Path, *options: str) -> Path:
    """Write recordings of a tenth of a second or so, fit a network to their features; the run's folder.

    Args:
        folder: Where all lies.
        *options: More of mer-zoo fit.
    """
    lines = ["id,split,text,label"]
    for place, split in enumerate(SPLITS):
        write_media(folder / "clips" / f"c{place}.mp4", hertz=100 + 20 * place, seconds=0.6, brightness=place / 30)
        lines.append(f"c{place},{split},so this is {place},{place % 7 - 3}")
    (folder / "clips" / "labels.csv").write_text("\n".join(lines))
    extract(folder / "clips", folder / "clips.pkl")
    model = ["--model.backbone=LFLSTM", "--model.backbone.dim=8", "--data=MERDataModule"]
    where = [f"--data.path={folder / 'clips.pkl'}", f"--trainer.logger.save_dir={folder / 'runs'}"]
    main(["fit", *QUIET, *model, *where, *options])
    return next((folder / "runs").rglob("config.yaml")).parent


def changed(run: Path, to: Path, **features: str) -> Path:
    """A checkpoint of a run that tells otherwise what made its features, or nothing."""
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    data = content["mer_zoo"]["about"]["data"]
    if not features:
        del data["made_by"]
    for name, value in features.items():
        data["made_by"]["audio"][name] = value
    torch.save(content, to)
    return to
