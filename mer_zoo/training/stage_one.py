"""What a network that is trained in two stages begins its second one with."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.text import shown
from mer_zoo.training.checkpoint import check_state, read_checkpoint

__all__ = ["continue_stage_one", "read_stage_one"]

OWN = ("views.", "head.", "prepared")  # draws and classifier are of the second stage


def read_stage_one(path: str, model: Model, first: str, of: str, handed: Callable[[str], bool]) -> dict[str, Tensor]:
    """Weights that a network begins its second stage with; nothing in the file is executed.

    Args:
        path: Checkpoint of a run of the first stage.
        model: The network.
        first: What to do where there is no such file.
        of: Name of the network of the first stage.
        handed: Whether a name of its state is handed over.

    Raises:
        MERError: If the file does not exist, can't be read, or holds another network, or one of other sizes.

    Example:
        >>> from mer_zoo.backbones import MPLMM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> model = MPLMM(DataSpec(), SentimentRegression(), dim=8, heads=2, depth=1)
        >>> read_stage_one("nowhere.ckpt", model, "train MulT first", "MulT", lambda name: name.startswith("memory."))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: pretrained nowhere.ckpt does not exist; train MulT first
    """
    checkpoint = read_checkpoint(path, first, role="pretrained ")
    found = checkpoint.record.model
    if found != of:
        raise MERError(
            f"pretrained {path} holds {shown(found[:100])}; give the checkpoint of a run of {of} without wrappers"
        )
    theirs, mine = (
        {name: value for name, value in state.items() if handed(name)}
        for state in (checkpoint.model_state, model.state_dict())
    )
    check_state(theirs, mine, f"{model.name} as its pretrained {path}")
    return theirs


def continue_stage_one(path: str, model: Model, setting: str) -> None:
    """Give a network the weights of a run of the same network, but for its classifier and its draws.

    Args:
        path: Checkpoint of that run.
        model: The network.
        setting: What makes its training the first stage.

    Raises:
        MERError: As :func:`read_stage_one`.

    Example:
        >>> from mer_zoo.backbones import DCCA
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.task import SentimentRegression
        >>> continue_stage_one("nowhere.ckpt", DCCA(DataSpec(), SentimentRegression()), "task_weight: 0")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: pretrained nowhere.ckpt does not exist; train DCCA with task_weight: 0 first, ...
    """
    name = type(model).__name__
    first = f"train {name} with {setting} first, and give the checkpoint of its run"
    found = read_stage_one(path, model, first, name, lambda key: not key.startswith(OWN))
    model.load_state_dict(found, strict=False)
