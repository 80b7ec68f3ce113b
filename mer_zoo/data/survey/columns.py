"""Columns of features that say nothing, and those whose size is far from that of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.survey.finding import Finding, listed
from mer_zoo.data.survey.material import Material
from mer_zoo.data.survey.moments import Moments

__all__ = ["check_columns"]

FAR = 1000.0  # times the median of the columns
Bools = npt.NDArray[np.bool_]


def check_columns(material: Material) -> Iterator[Finding]:
    """Look for columns that are constant, and for some that are far larger or smaller than the others.

    Args:
        material: The corpus.

    Example:
        >>> from mer_zoo.data.survey.material import draft_of, read_material
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> corpus = generate(SyntheticConfig(train=6, valid=4, test=4))
        >>> for split in corpus.splits.values():
        ...     split.features["audio"][..., 2] = 0
        >>> [finding.message for finding in check_columns(read_material(draft_of(corpus), "SyntheticMER"))]
        ['1 of 8 columns of audio is constant (2)']
    """
    for modality in material.modalities:
        moments = {name: part.features[modality].moments for name, part in material.parts.items()}
        found = {name: one for name, one in moments.items() if one.count}
        if found and len({len(one.low) for one in found.values()}) == 1:
            yield from _constant(modality, found)
            yield from _scaled(modality, next(iter(found.values())))


def _constant(modality: str, moments: dict[str, Moments]) -> Iterator[Finding]:
    low = np.min([one.low for one in moments.values()], axis=0)
    high = np.max([one.high for one in moments.values()], axis=0)
    everywhere = low == high
    width = len(low)
    if everywhere.any():
        count = int(everywhere.sum())
        verb = "is" if count == 1 else "are"
        yield Finding(
            "constant-columns",
            "note",
            f"{count} of {plural(width, 'column')} of {modality} {verb} constant ({_named(everywhere)})",
            f"leave {modality} out (data.modalities)" if count == width else f"leave them out of {modality}",
            {"columns": count, "of": width},
        )
    train = moments.get("train")
    if train is None or train.count < 2:
        return
    here = (train.low == train.high) & ~everywhere
    if here.any():
        count = int(here.sum())
        verb, others = ("is", "varies") if count == 1 else ("are", "vary")
        yield Finding(
            "constant-columns",
            "note",
            f"{count} of {plural(width, 'column')} of {modality} {verb} constant in train, and {others} elsewhere"
            f" ({_named(here)})",
            "nothing can be learnt of them, and what they are elsewhere is new to a model",
            {"columns": count, "of": width, "split": "train"},
        )


def _scaled(modality: str, first: Moments) -> Iterator[Finding]:
    varying = first.low < first.high
    if varying.sum() < 2:
        return
    size = np.maximum(np.abs(first.low), np.abs(first.high))
    usual = float(np.median(size[varying]))
    for what, far in (("above", size > FAR * usual), ("below", size * FAR < usual)):
        wrong: Bools = far & varying
        if wrong.any():
            least, largest = float(first.low[wrong].min()), float(first.high[wrong].max())
            count = int(wrong.sum())
            yield Finding(
                "scaled-columns",
                "note",
                f"{plural(count, 'column')} of {modality} ({_named(wrong)}), from {least:.3g} to {largest:.3g},"
                f" {'is' if count == 1 else 'are'} {FAR:g} times and more {what} the size of the others"
                f" (median {usual:.3g})",
                "bring its columns to one scale, which data.standardize does for audio and vision alone"
                if modality == "text"
                else "leave data.standardize on, which brings them to one scale",
                {"columns": count, "of": len(size), "median": usual},
            )


def _named(columns: Bools) -> str:
    return listed(np.flatnonzero(columns).tolist())
