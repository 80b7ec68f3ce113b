"""Missing patterns: which real positions of a batch are kept, and the incomplete view that results.

A pattern decides, :func:`~mer_zoo.data.missing.drop.drop` carries out. Decisions are functions of a key, the sample's
index and the place alone, so that they do not change with the batch size, the order of the samples, the number of
workers or the device.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec, available_modalities
from mer_zoo.data.missing.drop import drop
from mer_zoo.errors import MERError
from mer_zoo.functional.draws import dropped_at, uniform

__all__ = [
    "AVAILABILITY",
    "RMM",
    "SMM",
    "MissingPattern",
    "check_rate",
    "derive_key",
]

# The seven sets, the complete one last.
AVAILABILITY: tuple[tuple[str, ...], ...] = (
    ("text",),
    ("audio",),
    ("vision",),
    ("text", "audio"),
    ("text", "vision"),
    ("audio", "vision"),
    ("text", "audio", "vision"),
)


def check_rate(rate: float) -> float:
    """Return a rate as a float, or refuse it.

    Raises:
        MERError: If it lies outside [0, 1].

    Example:
        >>> check_rate(1)
        1.0
    """
    if not 0 <= rate <= 1:
        raise MERError(f"rate is {rate}; give a number in [0, 1]")
    return float(rate)


def derive_key(seed: int, split_or_step: str | int, pattern: object) -> int:
    """Key the random choices of a pattern, in evaluation by the split, in training by the global step.

    Args:
        seed: Seed of the experiment.
        split_or_step: Name of the split, or number of the step.
        pattern: The pattern, whose arguments take part in the key by its ``repr``, or the name of what is drawn, as
            :attr:`MissingPattern.draws` in tests.

    Returns:
        A key in [0, 2^63).

    Example:
        >>> derive_key(0, "test", RMM(0.5)) == derive_key(0, "test", RMM(0.4))
        False
    """
    text = repr((seed, split_or_step, pattern))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


class MissingPattern(ABC):
    """A rule for what is missing.

    Subclasses implement :meth:`kept` and hold their arguments as their only attributes: these make up ``repr``, and
    with it equality and the random key.

    Attributes:
        aligned_only: Whether the modalities have to share a time axis.
        rate_arguments: The arguments that say how much is missing; where they are one number, it places the pattern on
            a curve.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> class NoAudio(MissingPattern):
        ...     def kept(self, batch, spec, key):
        ...         return {"audio": torch.zeros_like(batch.audio.mask)}
        >>> batch = NoAudio()(Batch.random(DataSpec(), SentimentRegression()), DataSpec(), key=0)
        >>> bool(batch.audio.observed.any()), bool(batch.vision.observed.any())
        (False, True)
    """

    aligned_only: ClassVar[bool] = False
    rate_arguments: ClassVar[tuple[str, ...]] = ("rate",)

    @property
    def point(self) -> tuple[str, float] | None:
        """Name of the curve that the pattern is a point of, and its rate there; None where no one number is its rate.

        Patterns that differ in more than the rate lie on different curves.

        Example:
            >>> RMM(0.3).point, SMM(["text"]).point
            (('RMM', 0.3), None)
        """
        arguments = dict(vars(self))
        rates = [arguments.pop(name, None) for name in self.rate_arguments]
        rate = rates[0]
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            return None
        if any(other != rate for other in rates):
            return None
        others = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({others})" if others else type(self).__name__, float(rate)

    @property
    def draws(self) -> str:
        """The pattern without its rates, by which tests key random choices, so that all rates share their draws.

        Whatever is missing at one rate then is at every larger one, too: curves are smoother, and a position that is
        decided alike at two rates need not be read twice.

        Example:
            >>> RMM(0.3).draws == RMM(0.4).draws != SMM(["text"]).draws
            True
        """
        others = {name: value for name, value in vars(self).items() if name not in self.rate_arguments}
        return _called(self, others)

    @abstractmethod
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        """Decide what is kept.

        Args:
            batch: The batch; only masks and indices are to be read.
            spec: Shapes of the data.
            key: From :func:`derive_key`.

        Returns:
            What :func:`drop` takes: a bool tensor for each modality of which something may be dropped.
        """

    def check(self, spec: DataSpec) -> None:
        """Refuse data that the pattern does not suit; data modules call it before any model runs.

        Args:
            spec: Shapes of the data.

        Raises:
            MERError: If it does not.
        """
        if self.aligned_only and not spec.aligned:
            raise MERError(
                f"{self!r} drops the same time steps of all modalities and needs aligned data, which this is not;"
                " take aligned files, or RMFM"
            )

    def __call__(self, batch: Batch, spec: DataSpec, key: int) -> Batch:
        """Return the incomplete view of a batch; arguments as for :meth:`kept`."""
        self.check(spec)
        return drop(batch, self.kept(batch, spec, key), spec)

    def __repr__(self) -> str:
        return _called(self, vars(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MissingPattern) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


def _called(pattern: MissingPattern, arguments: Mapping[str, object]) -> str:
    return f"{type(pattern).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"


class SMM(MissingPattern):
    """The same modalities are missing in every sample.

    Args:
        available: The modalities that are there; of missing token text [CLS] and [SEP] remain.

    Raises:
        MERError: For an empty set, or an unknown or repeated name; when called, if the data lacks one of them.

    Example:
        >>> SMM(["vision", "text"])
        SMM(available=('text', 'vision'))
    """

    def __init__(self, available: Sequence[str]) -> None:
        self.available = available_modalities(available)

    @override
    def check(self, spec: DataSpec) -> None:
        unused = [name for name in self.available if name not in spec.modalities]
        if unused:
            raise MERError(
                f"{self!r} keeps {', '.join(unused)}, but the data is used with {', '.join(spec.modalities)} only;"
                " choose sets of these"
            )

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        missing = [name for name in spec.modalities if name not in self.available]
        return {name: torch.zeros_like(batch.modality(name).mask) for name in missing}


class RMM(MissingPattern):
    """Whole modalities are missing at random, each independently of the others, anew for every sample.

    Args:
        rate: Probability that a modality is missing; all of a sample's may be.

    Raises:
        MERError: If the rate lies outside [0, 1].

    Example:
        >>> RMM(1)
        RMM(rate=1.0)
    """

    def __init__(self, rate: float) -> None:
        self.rate = check_rate(rate)

    @override
    def kept(self, batch: Batch, spec: DataSpec, key: int) -> dict[str, Tensor]:
        draws = uniform(key, batch.index, torch.arange(len(MODALITIES), device=batch.index.device))
        keep = ~dropped_at(self.rate, draws)
        return {name: keep[:, [i]] for i, name in enumerate(MODALITIES) if name in spec.modalities}
