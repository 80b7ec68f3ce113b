"""In the current folder only those modules are found that somebody has asked for by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Optional packages that libraries try to import; those which are installed do not count.
TRIED = ("brotli", "gmpy2", "h2", "opt_einsum", "pandas", "pydot", "tabulate", "tensorboard", "trio", "xarray")
PLANT = "from pathlib import Path\n(Path(__file__).parent / 'ran').open('a').write(__name__ + ' ')\n"
NETWORK = """
import torch
import neighbour
from torch import nn
import mer_zoo

class Mean(nn.Module):
    def forward(self, text, audio, vision):
        return torch.cat([text.mean(1), audio.mean(1), vision.mean(1)], dim=1)

def net(spec, task):
    return mer_zoo.adapt(Mean(), spec, task, feature_dim=neighbour.WIDTH + spec.audio_dim + spec.vision_dim)
"""
FIT = ["fit", "--data=SyntheticMER", "--data.task=binary", "--data.batch_size=4", "--trainer.max_epochs=1"]
FIT += ["--data.scm.train=8", "--data.scm.valid=4", "--data.scm.test=4", "--trainer.accelerator=cpu"]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-c", "from mer_zoo.cli import main; main()", *args]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_what_libraries_try_is_not_looked_for_in_the_current_folder(tmp_path: Path) -> None:
    for name in TRIED:
        (tmp_path / f"{name}.py").write_text(PLANT)
    done = run(tmp_path, *FIT, "--model.backbone=LFLSTM", "--trainer.logger=true")
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


def test_what_is_asked_for_is_found_there_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NETWORK)
    (tmp_path / "neighbour.py").write_text("WIDTH = 64\n")
    done = run(tmp_path, *FIT, "--model.backbone=mine:net", "--trainer.logger=false")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()
