"""Numbers computed by the released codes of the zoo, with their parameters;
copied from the reference runs by ``copy_case``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"
ROWS = "rows."  # prefix of the ids of the rows that a shortened embedding table still has
SPECIAL_TOKENS = (0, 100, 101, 102)


class Case(NamedTuple):
    """A case: what was configured, parameters by released name, inputs, and outputs (losses as ``loss.NAME``)."""

    config: dict[str, Any]
    params: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def golden(name: str) -> Case:
    """Read a case; a shortened embedding table gets its full size back, zero where no token of the case looks."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    meta = json.loads((FOLDER / f"{name}.json").read_text())
    for key in [key for key in tensors if key.startswith(ROWS)]:
        rows, short = tensors.pop(key), tensors[key.removeprefix(ROWS)]
        full = torch.zeros(meta["shapes"][key.removeprefix(ROWS)])
        full[rows] = short
        tensors[key.removeprefix(ROWS)] = full

    def under(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}

    return Case(meta["config"], under("param."), under("in."), under("out."))


def gradients(name: str) -> dict[str, Tensor]:
    """Gradients of a case's total loss, by released name, where the case has them."""
    tensors = load_file(FOLDER / f"{name}.safetensors")
    return {key.removeprefix("grad."): value for key, value in tensors.items() if key.startswith("grad.")}


def copy_case(source: Path, name: str, without: str = "^$") -> None:
    """Copy a case from a folder of reference runs, of large embedding tables only the rows in use,
    without the tensors whose names match a regular expression.
    """
    tensors = load_file(source / f"{name}.safetensors")
    tensors = {key: value for key, value in tensors.items() if not re.search(without, key)}
    texts = [value[:, 0].long() for key, value in tensors.items() if key.startswith("in.text") and value.dim() == 3]
    for key in [key for key in tensors if key.endswith("word_embeddings.weight") and len(tensors[key]) > 1000]:
        used = torch.tensor(sorted({*SPECIAL_TOKENS, *(int(i) for ids in texts for i in ids.flatten())}))
        tensors[ROWS + key] = used[used < len(tensors[key])]
        tensors[key] = tensors[key][tensors[ROWS + key]].clone()
    save_file(tensors, FOLDER / f"{name}.safetensors")
    meta = json.loads((source / f"{name}.json").read_text())
    meta["shapes"] = {key: meta["shapes"][key] for key in meta["shapes"] if ROWS + key in tensors}
    (FOLDER / f"{name}.json").write_text(json.dumps(meta, separators=(",", ":")) + "\n")
