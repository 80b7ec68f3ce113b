"""Files of released checkpoints: what is found in them, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mer_zoo.compat import load_released_file, read_state_dict
from mer_zoo.errors import MERError
from mer_zoo.layers.transformer import TransformerEncoder


def released() -> dict[str, Tensor]:
    return {"layer_norm.weight": torch.full((8,), 2.0), "layer_norm.bias": torch.full((8,), 3.0)}


@pytest.mark.parametrize(
    "content",
    [
        released(),
        {"epoch": 3, "state_dict": released()},
        {"model": {f"module.{name}": value for name, value in released().items()}, "best": 0.5},
    ],
)
def test_the_state_dict_is_found(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "net.pt")
    encoder = TransformerEncoder(8, heads=2, depth=0)
    report = load_released_file(encoder, tmp_path / "net.pt", source="mult")
    assert report.used == {"layer_norm.weight": "norm.weight", "layer_norm.bias": "norm.bias"}
    assert encoder.get_parameter("norm.bias").tolist() == [3.0] * 8


def test_named_entries_and_safetensors(tmp_path: Path) -> None:
    torch.save({"student": released(), "teacher": {}}, tmp_path / "two.pt")
    assert read_state_dict(tmp_path / "two.pt", key="student").keys() == released().keys()
    with pytest.raises(MERError, match=r"two\.pt has no entry 'net' \(it has student, teacher\); give the name"):
        read_state_dict(tmp_path / "two.pt", key="net")
    with pytest.raises(MERError, match=r"two\.pt holds no state dict; name its entry by key"):
        read_state_dict(tmp_path / "two.pt")
    save_file(released(), tmp_path / "net.safetensors")
    assert read_state_dict(tmp_path / "net.safetensors")["layer_norm.weight"].tolist() == [2.0] * 8


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_nothing_is_executed(tmp_path: Path) -> None:
    torch.save({"state_dict": released(), "extra": Hostile(tmp_path / "made")}, tmp_path / "hostile.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    (tmp_path / "rubbish.pt").write_bytes(b"rubbish")
    (tmp_path / "rubbish.safetensors").write_bytes(b"rubbish")
    for name in ("hostile.pt", "whole.pt", "rubbish.pt"):
        with pytest.raises(
            MERError, match=rf"{name} is damaged or holds more than tensors.*save model\.state_dict\(\)"
        ):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "made").exists()
    with pytest.raises(MERError, match=r"rubbish\.safetensors can't be read .*; copy it again"):
        read_state_dict(tmp_path / "rubbish.safetensors")
    with pytest.raises(MERError, match=r"nowhere\.pt does not exist"):
        read_state_dict(tmp_path / "nowhere.pt")
