"""The two stages of MMIN and IF-MMIN: encoders that learn on complete data, and what they tell those of stage 2."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

from torch import nn
from typing_extensions import Self, override

from mer_zoo.backbones.mmin.encoders import start_kaiming
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone
from mer_zoo.options import check_choice
from mer_zoo.training.stage_one import read_stage_one

__all__ = ["Targets", "Teacher", "TeacherKind", "check_stage", "read_teacher", "start"]

TeacherKind = Literal["own", "frozen"]
Targets = Literal["reverse", "full"]
SHARED = ("encoders.", "invariant.", "text_encoder.", "text_embedding.")  # what stage 1 hands over


class Teacher(nn.Module):
    """Frozen copies of a network's parts, always in evaluation mode.

    Args:
        **parts: What to copy, by name.

    Example:
        >>> teacher = Teacher(encoders=nn.Dropout()).train()
        >>> teacher.encoders.training
        False
    """

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, deepcopy(part))
        self.requires_grad_(False)
        self.train()

    @override
    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def check_stage(model: Backbone, stage: int, pretrained: str | None, teacher: TeacherKind | None) -> TeacherKind:
    """Refuse options that do not go together, and say which teacher a network has.

    Args:
        model: The network, so far that its data are known.
        stage: 1 or 2.
        pretrained: Checkpoint of stage 1.
        teacher: What the user asked for.

    Raises:
        MERError: For another stage, a teacher in the first, or a single modality.
    """
    if stage not in (1, 2):
        raise MERError(f"stage of {model.name} is {stage}; give 1, on complete data, or 2")
    if stage == 1 and (pretrained is not None or teacher == "frozen"):
        raise MERError(f"{model.name} with stage: 1 has no teacher; give pretrained to stage: 2")
    if len(model.spec.modalities) < 2:
        raise MERError(
            f"{model.name} imagines missing modalities and needs at least two, but the data is used with"
            f" {', '.join(model.spec.modalities)}; take another network"
        )
    kind: TeacherKind = ("own" if pretrained is None else "frozen") if teacher is None else teacher
    check_choice(model.name, "teacher", kind, ("own", "frozen"))
    return kind


def start(model: Backbone, kaiming: bool, text_is_frozen: bool) -> None:
    """Start a network.

    Args:
        model: The network.
        kaiming: Whether its linear maps start as in the released code.
        text_is_frozen: Whether its text encoder does not learn, as its teacher does not.
    """
    for name, part in model.named_children():
        if kaiming and name not in ("text_encoder", "text_embedding"):
            start_kaiming(part)
    if text_is_frozen and model.text_encoder is not None:
        model.text_encoder.frozen = True
        model.text_encoder.requires_grad_(False)
    if text_is_frozen and model.text_embedding is not None:
        model.text_embedding.requires_grad_(False)


def read_teacher(path: str, model: Backbone) -> None:
    """Give a network and its teacher what a checkpoint of stage 1 holds; nothing in the file is executed.

    Args:
        path: Checkpoint of a run of the same network with stage 1.
        model: The network, in stage 2, with a :class:`Teacher` in ``teacher``.

    Raises:
        MERError: If the file does not exist, can't be read, or holds another network, or one of other sizes.
    """
    name = type(model).__name__
    first = f"train {name} with stage: 1 first, and give the checkpoint of its run"
    found = read_stage_one(path, model, first, name, lambda key: key.startswith(SHARED))
    copies = {f"teacher.{key}": value for key, value in found.items() if not key.startswith("text_")}
    model.load_state_dict(found | copies, strict=False)
