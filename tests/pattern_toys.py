"""Random batches for the missing patterns, and the released patterns' inputs and draws."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.data.missing.pattern import MissingPattern
from mer_zoo.task import build_task

TASK = build_task("seven")
GOLDEN = load_file(Path(__file__).parent / "golden" / "cider_missing.safetensors")


def make_batch(tokens: bool, size: int = 6, seed: int = 0, aligned: bool = False) -> tuple[Batch, DataSpec]:
    """A random batch with padding behind; token texts are [CLS] words [SEP] and hold at least these two."""
    audio, vision = (9, 9) if aligned else (8, 7)
    spec = DataSpec(tokens=tokens, text_len=9, audio_len=audio, vision_len=vision, aligned=aligned)
    batch = Batch.random(spec, TASK, size, seed)
    batch = batch.replace(index=torch.randperm(1000, generator=torch.Generator().manual_seed(seed))[:size])
    if tokens:
        lengths = batch.text.lengths.clamp(min=2)[:, None]
        place = torch.arange(spec.text_len)
        ids = torch.where(batch.text.mask, batch.text.x, 999)
        ids = ids.masked_fill(place == 0, spec.cls_id).masked_fill(place == lengths - 1, spec.sep_id)
        mask = place < lengths
        batch = batch.replace(text=Modality(ids.masked_fill(~mask, spec.pad_id), mask))
    if aligned:
        mask, generator = batch.text.mask, torch.Generator().manual_seed(seed)
        frames = {
            name: torch.randn(*mask.shape, spec.dim(name), generator=generator) * mask[..., None]
            for name in ("audio", "vision")
        }
        batch = batch.replace(**{name: Modality(x, mask) for name, x in frames.items()})
    return batch, spec


def each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with every tensor of its modalities changed."""
    parts = {}
    for name in MODALITIES:
        modality = batch.modality(name)
        parts[name] = Modality(change(modality.x), change(modality.mask), change(modality.observed))
    return batch.replace(**parts)


def rows(batch: Batch, chosen: list[int]) -> Batch:
    """Some samples of a batch."""
    return each(batch, lambda x: x[chosen]).replace(target=batch.target[chosen], index=batch.index[chosen])


def padded(batch: Batch, front: int, behind: int) -> Batch:
    """The batch with more padding on both sides."""

    def pad(x: Tensor) -> Tensor:
        ends = [x.new_zeros(len(x), steps, *x.shape[2:]) for steps in (front, behind)]
        return torch.cat([ends[0], x, ends[1]], 1)

    return each(batch, pad)


def golden_batch(aligned: bool = False) -> tuple[Batch, DataSpec]:
    """The inputs of the released patterns."""

    def modality(name: str, x: Tensor, lengths: str) -> Modality:
        return Modality(x, torch.arange(x.shape[1]) < GOLDEN[f"in.{lengths}_lengths"][:, None])

    end = "_al" if aligned else ""
    batch = Batch(
        modality("text", GOLDEN["in.text_ids"].long(), "text"),
        modality("audio", GOLDEN[f"in.audio{end}"], "text" if aligned else "audio"),
        modality("vision", GOLDEN[f"in.vision{end}"], "text" if aligned else "vision"),
        torch.zeros(4),
        torch.arange(4),
    )
    return batch, DataSpec(tokens=True, aligned=aligned)


def check_golden(pattern: MissingPattern, batch: Batch, spec: DataSpec, case: str) -> None:
    """Compare a pattern's view with the released one, exactly."""
    view = pattern(batch, spec, key=0)
    for name in MODALITIES:
        assert torch.equal(view.modality(name).x.float(), GOLDEN[f"out.{case}.{name}_m"])
        assert torch.equal(view.modality(name).observed.float(), GOLDEN[f"out.{case}.{name}_missing_mask"])
