"""The teacher of CUMDF: a second network with its guided head, trained beside the student or read from a checkpoint."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.text import shown
from mer_zoo.training.checkpoint import check_state, describe_model, read_checkpoint
from mer_zoo.training.record import Record
from mer_zoo.wrappers.cumdf.guided_head import Guided, GuidedHead

__all__ = ["Teacher", "load_teacher"]


class Teacher(nn.Module):
    """A copy of a network and of the guided head behind it.

    Args:
        backbone: The network.
        guided: The head.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> net, batch = LFLSTM(spec, task), Batch.random(spec, task)
        >>> Teacher(net, GuidedHead(net))(batch, batch.target).h.shape
        torch.Size([2, 192])
    """

    def __init__(self, backbone: Model, guided: GuidedHead) -> None:
        super().__init__()
        self.backbone, self.guided = deepcopy(backbone), deepcopy(guided)

    @override
    def forward(self, batch: Batch, target: Tensor | None = None) -> Guided:
        """What the teacher makes of a batch, whose labels it is told or not."""
        found: Guided = self.guided(self.backbone, self.backbone(batch), batch, target)
        return found

    def freeze(self) -> Teacher:
        """Evaluation mode, and no gradient ever."""
        for parameter in self.parameters():
            parameter.grad = None
        return self.eval().requires_grad_(False)


def load_teacher(path: str, student: Model, backbone: Model, guided: GuidedHead) -> Teacher:
    """Build a frozen teacher from the checkpoint of a run of CUMDF, with role teacher or student.

    Args:
        path: The checkpoint; nothing in it is executed.
        student: The wrapper, whose nest and task the checkpoint must have.
        backbone: The student's network.
        guided: The student's guided head.

    Raises:
        MERError: If the file does not exist, can't be read, or holds another model.
    """
    remedy = "train one with role: teacher, and give its checkpoint"
    checkpoint = read_checkpoint(path, remedy, role="the teacher ")
    _check_record(path, checkpoint.record, student)
    teacher = Teacher(backbone, guided)
    kept = tuple(f"{name}." for name, _ in teacher.named_children())
    theirs = {name: value for name, value in checkpoint.model_state.items() if name.startswith(kept)}
    check_state(theirs, teacher.state_dict(), f"teacher {path} of {student.name}")
    teacher.load_state_dict(theirs)
    return teacher.freeze()


def _check_record(path: str, record: Record, student: Model) -> None:
    found = describe_model(student).difference(record)
    if found is not None:
        key, theirs, wanted = found
        raise MERError(
            f"the teacher {path} holds {key} {shown(theirs[:100])}, but the student is {wanted}; train a teacher"
            " with the same network and task"
        )
