"""What wrappers that look at groups have in common: what they offer, whom they refuse, what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence

from mer_zoo.confounding.partition import Partition
from mer_zoo.confounding.trace import WordRule
from mer_zoo.confounding.word_rule import word_rule
from mer_zoo.errors import MERError
from mer_zoo.model import Model

__all__ = ["FEW", "beside_gear", "check_draws", "check_weighs_alone", "few", "group_parts", "group_rule"]

FEW = 30
"""Training samples below which a group's loss says little."""


def check_weighs_alone(owner: Model, inner: Model) -> None:
    """Refuse an inner model that weighs samples for the same end, since neither would have the weights it asks for.

    Nor does a bias that is added to the logits go along with weights, as it is that of samples that count alike.

    Args:
        owner: The wrapper.
        inner: The model that it stands around.

    Raises:
        MERError: Naming both.
    """
    own = type(owner).__name__
    found = next((type(model).__name__ for model in inner.nest if model.reweighs), None)
    if found and owner.reweighs:
        raise MERError(
            f"{own} and {found} both weigh the training samples of {inner.name}, so that neither gets the weights it"
            " chooses; keep one of them"
        )
    if (found and owner.trains_other_logits) or (owner.reweighs and inner.trains_other_logits):
        adding = next(type(model).__name__ for model in reversed([owner, *inner.nest]) if model.trains_other_logits)
        raise MERError(
            f"{found or own} weighs the training samples of {inner.name}, but what {adding} adds to the logits is what"
            " words say of samples that count alike; keep one of them"
        )


def beside_gear(owner: Model) -> list[str]:
    """A sentence where GEAR stands inside, which weighs samples for another end."""
    name = type(owner).__name__
    if all(type(model).__name__ != "GEAR" for model in owner.nest[1:]):
        return []
    return [f"{name}: GEAR weighs the samples too, so that groups count as {name} asks before GEAR's weights alone"]


def check_draws(owner: Model, partition: Partition, draw: bool) -> None:
    """Refuse to draw samples where each has several labels, so that no draw evens the groups of all out.

    Raises:
        MERError: Naming the option.
    """
    if draw and partition.problems > 1:
        raise MERError(
            f"{type(owner).__name__} can't draw samples so that the groups of each of {partition.problems} emotions are"
            " even; set draw: false, so that each emotion's loss has weights of its own"
        )


def group_rule(owner: str, groups: object, words: str | None) -> WordRule:
    """Which words groups are made of.

    Args:
        owner: The wrapper.
        groups: Its option ``groups``.
        words: Its option ``words``; see :func:`~mer_zoo.confounding.word_rule.word_rule`.

    Raises:
        MERError: If it can't be read, or would not be used.
    """
    if groups != "words" and words not in (None, "frequent"):
        raise MERError(f"words is {words}, but groups {groups} of {owner} do not use it; set groups: words")
    return word_rule(owner, words)


def group_parts(partition: Partition) -> Sequence[object]:
    """The partition and its propensities, for validation by the worst group and under weights."""
    return (partition,) if partition.propensity is None else (partition, partition.propensity)


def few(owner: str, partition: Partition) -> list[str]:
    """A sentence where groups are small."""
    rows = partition.rows() if partition.fitted else []
    small = [row for row in rows if row["samples"] < FEW]
    if not small:
        return []
    least = min(small, key=lambda row: row["samples"])
    return [
        f"{owner}: {len(small)} of {len(rows)} groups have fewer than {FEW} training samples, {least['group']} with"
        f" {least['samples']} the fewest"
    ]
