"""What a reader accepts comes out again, also where the terminal and the system know few characters."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ODD = [
    "\u00e9\u6f22",
    "\U0001f600 id",
    "$\\frac{$",
    "a|b",
    "[bold]x[/]",
    "<script>",
    "=1+1",
    " lead",
    'x,y"z',
    "\u202eabc",
]
RUN = """
import sys
from mer_zoo.cli import main
for command in sys.argv[1].split(";"):
    sys.argv[1:] = command.split()
    main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="locales have other names")
def test_ids_and_texts_survive_to_every_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = {}
    ids: dict[str, list[str]] = {}
    for split in ("train", "valid", "test"):
        ids[split] = [f"{name}_{split}" for name in ODD]
        fields[f"{split}/audio"] = rng.normal(size=(len(ODD), 5, 3)).astype("f4")
        fields[f"{split}/id"] = np.array(ids[split])
        fields[f"{split}/raw_text"] = np.array([f"{name}\n\t" for name in ids[split]])
        fields[f"{split}/regression_labels"] = rng.uniform(-3, 3, len(ODD)).astype("f4")
    np.savez(tmp_path / "own.npz", **fields)
    data = "--data MERDataModule --data.path own.npz --data.modalities [audio] --trainer.accelerator cpu"
    fit = f"fit {data} --model.backbone LFLSTM --trainer.max_epochs 1"
    run = "runs/mer_zoo/version_0"
    rest = [
        f"{what} --config {run}/config.yaml --ckpt_path {run}/checkpoints/best.ckpt" for what in ("test", "predict")
    ]
    few = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", RUN, ";".join([fit, *rest])]
    environment = {**os.environ, **few, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with (tmp_path / run / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ids["test"]
    for name in ("results.json", "results.md", "conditions.png", "config_predict.yaml"):
        assert (tmp_path / run / name).stat().st_size
