"""What CUMDF refuses, of its options and of the model inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from mer_zoo.batch import Batch, Step
from mer_zoo.data.missing.views import view_maker
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.options import check_choice
from mer_zoo.wrappers.cumdf.attribution import CounterfactualHead, Effect, Projection
from mer_zoo.wrappers.inner_checks import check_keeps_logits

__all__ = ["Role", "TeacherLabels", "check_inner", "check_numbers", "check_words", "only_step"]

Role = Literal["student", "teacher"]
TeacherLabels = Literal["truth", "expected"]
CHOICES: Mapping[str, Any] = {
    "role": Role,
    "teacher_labels": TeacherLabels,
    "projection": Projection,
    "effect": Effect,
    "counterfactual_head": CounterfactualHead,
}


def check_inner(inner: Model) -> None:
    """Refuse a model whose scores would be lost, that makes incomplete views itself, or takes several steps a batch.

    Raises:
        MERError: Naming both sides.
    """
    name = inner.name
    remedy = "put CUMDF inside, as in CausalMER(CUMDF(...)), or "
    check_keeps_logits("CUMDF", inner, remedy, "hidden sequences and features")
    maker = view_maker(inner)
    if maker is not None:
        raise MERError(
            f"CUMDF and {type(maker).__name__} both make the incomplete view; leave one of them out of the nest {name}"
        )
    if inner.blanks_modalities:
        raise MERError(
            f"CUMDF trains on incomplete views, in which modalities can't be weighed against each other as {name} does;"
            " leave one of them out"
        )
    if inner.num_steps > 1:
        raise MERError(
            f"CUMDF needs one optimiser step a batch inside, but {name} takes {inner.num_steps}; leave out one of the"
            f" two"
        )


def check_numbers(label_drop: float, views: int) -> None:
    """Refuse options out of range.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_numbers(label_drop=0.5, views=0)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: views of CUMDF is 0; give the number of incomplete views of a batch, at least 1
    """
    if not 0 < label_drop <= 1:
        raise MERError(
            f"label_drop of CUMDF is {label_drop}; give a probability above 0, or a teacher never learns to do without"
            f" the label"
        )
    if views < 1:
        raise MERError(f"views of CUMDF is {views}; give the number of incomplete views of a batch, at least 1")


def check_words(**words: str) -> None:
    """Refuse a word that is no choice of its option.

    Raises:
        MERError: Naming the option and its choices.

    Example:
        >>> check_words(role="pupil")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: unknown role 'pupil' of CUMDF; choose from student, teacher
    """
    for name, word in words.items():
        check_choice("CUMDF", name, word, get_args(CHOICES[name]))


def only_step(model: Model, batch: Batch) -> Step:
    """The one step of a model that takes one a batch.

    Raises:
        MERError: If it yields several.
    """
    steps = list(model.steps(batch))
    if len(steps) != 1:
        raise MERError(
            f"CUMDF needs one step a batch inside, but {model.name} yields {len(steps)}; leave out one of them"
        )
    return steps[0]
