"""What mer_zoo writes into a checkpoint about its model, and reads from it: each field checked once, here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from mer_zoo.batch import MODALITIES
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, read_specs
from mer_zoo.fields import Fields
from mer_zoo.text import told
from mer_zoo.uncertainty import Uncertainty

__all__ = ["RECORD", "About", "DataAbout", "Record", "ScalerState", "check_scaler"]

RECORD = "mer_zoo"  # the key of a checkpoint under which the description stands
REMEDY = "use a checkpoint as mer-zoo fit wrote it"
ScalerState = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class DataAbout:
    """What a model was trained on.

    Attributes:
        corpus: Name of the datamodule's class.
        source: Name of the file.
        sha256: Its SHA-256.
        modalities: Those in use.
        text: ``tokens`` or ``features``.
        task: Short name of the task.
        convention: Metric convention.
        made_by: What makes the features, by modality, as far as it is known.
    """

    corpus: str | None = None
    source: str | None = None
    sha256: str | None = None
    modalities: tuple[str, ...] = ()
    text: str | None = None
    task: str | None = None
    convention: str | None = None
    made_by: Mapping[str, FeatureSpec] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Fields) -> DataAbout:
        """Read what :meth:`plain` wrote."""
        names = [own.name for own in fields(cls) if own.name not in ("modalities", "made_by")]
        texts: dict[str, Any] = {name: given.optional_text(name) for name in names}
        made_by = given.optional_part("made_by")
        specs = {} if made_by is None else read_specs(made_by, MODALITIES)
        return cls(**texts, modalities=given.texts("modalities"), made_by=specs)

    def plain(self) -> dict[str, Any]:
        """Plain values."""
        made_by = {key: spec.plain() for key, spec in self.made_by.items()}
        told = {name: value for name, value in vars(self).items() if name != "made_by"}
        return {**told, "modalities": list(self.modalities), **({"made_by": made_by} if made_by else {})}


@dataclass(frozen=True)
class About:
    """What readers of a model should know beside how it is built.

    Attributes:
        model: Its label.
        parameters: How many it has.
        notes: One sentence each.
        packages: Versions of the packages that it was trained with.
        python: Version of Python.
        commit: That of the package's source, where it stood under git.
        dirty: Whether the source differed from it.
        data: What it was trained on.
        selection: How the weights were chosen.
        licence: Name of the licence.
        seed: The seed of training.

    Example:
        >>> About("MulT", notes=("slow",)).plain()["notes"]
        ['slow']
    """

    model: str
    parameters: int | None = None
    notes: tuple[str, ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    python: str | None = None
    commit: str | None = None
    dirty: bool = False
    data: DataAbout | None = None
    selection: str | None = None
    licence: str | None = None
    seed: int | None = None

    @classmethod
    def read(cls, given: Fields) -> About:
        """Read what :meth:`plain` wrote."""
        git, data, packages = (given.optional_part(name) for name in ("git", "data", "packages"))
        return cls(
            model=given.text("model"),
            parameters=given.optional_count("parameters"),
            notes=given.texts("notes"),
            packages=() if packages is None else tuple((name, packages.text(name)) for name in packages.content),
            python=given.optional_text("python"),
            commit=None if git is None else git.optional_text("commit"),
            dirty=git is not None and git.flag("dirty"),
            data=None if data is None else DataAbout.read(data),
            selection=given.optional_text("selection"),
            licence=given.optional_text("licence"),
            seed=given.optional_count("seed"),
        )

    def plain(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            "notes": list(self.notes),
            "packages": dict(self.packages),
            "python": self.python,
            "git": None if self.commit is None else {"commit": self.commit, "dirty": self.dirty},
            "data": None if self.data is None else self.data.plain(),
            "selection": self.selection,
            "licence": self.licence,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Record:
    """What a checkpoint, or an export, says about its model.

    Attributes:
        model: Name of the nest.
        task: Name of the task and shape of its logits.
        seed: The seed of training.
        scaler: The datamodule's statistics; None without standardisation.
        recipe: How to build the model, plain values that are checked when it is built; None where that can't be said.
        refused: Why not.
        about: What readers should know.
        uncertainty: What validation data told of how sure its predictions are; None where nothing was fitted for these
            weights.

    Example:
        >>> Record.read({"model": "MulT", "task": 3}, "last.ckpt")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: last.ckpt: mer_zoo: task is 3, not a text; use a checkpoint as mer-zoo fit wrote it
    """

    model: str
    task: str
    seed: int | None = None
    scaler: ScalerState | None = None
    recipe: dict[str, Any] | None = None
    refused: str = ""
    about: About | None = None
    uncertainty: Uncertainty | None = None

    @property
    def trained_on(self) -> DataAbout | None:
        """What the model was trained on, where it is known."""
        return None if self.about is None else self.about.data

    @property
    def made_by(self) -> Mapping[str, FeatureSpec]:
        """What makes the features that it was trained on, by modality, as far as it is known."""
        return {} if self.trained_on is None else self.trained_on.made_by

    @classmethod
    def read(cls, content: object, where: str) -> Record:
        """Check what stands under :data:`RECORD`.

        Args:
            content: What stands there.
            where: The file, for messages.

        Raises:
            MERError: For a field that is missing or odd; the message names it.
        """
        given = Fields(content, f"{where}: {RECORD}", REMEDY)
        recipe, about = given.plain("recipe"), given.optional_part("about")
        refused = "it was written by an older version; train again"
        if recipe is not None:
            inner = given.part("recipe")
            refused = inner.optional_text("refused") or ""
            recipe = None if refused else dict(inner.content)
        return cls(
            model=given.text("model"),
            task=given.text("task"),
            seed=given.optional_count("seed"),
            scaler=_scaler(given),
            recipe=recipe,
            refused=refused,
            about=None if about is None else About.read(about),
            uncertainty=_uncertainty(given),
        )

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str) -> Record:
        """Read the record of a checkpoint.

        Args:
            content: The content of the checkpoint.
            where: The file, for messages.

        Raises:
            MERError: If it has none, or one with an odd field.
        """
        if content.get(RECORD) is None:
            raise MERError(f"{where} was not written by mer_zoo; load released ones with mer_zoo.compat.load_released")
        return cls.read(content[RECORD], where)

    def plain(self) -> dict[str, Any]:
        """Values that a checkpoint may hold."""
        return {
            "model": self.model,
            "task": self.task,
            "scaler": self.scaler,
            "seed": self.seed,
            "recipe": {"refused": self.refused} if self.recipe is None else self.recipe,
            "about": None if self.about is None else self.about.plain(),
            "uncertainty": None if self.uncertainty is None else self.uncertainty.plain(),
        }


def _uncertainty(given: Fields) -> Uncertainty | None:
    part = given.optional_part("uncertainty")
    return None if part is None else Uncertainty.read(part.content, part.where, REMEDY)


def _scaler(given: Fields) -> ScalerState | None:
    part = given.optional_part("scaler")
    if part is None:
        return None
    state: ScalerState = {kind: dict(part.part(kind).content) for kind in ("mean", "std")}
    check_scaler(state, part.where, REMEDY)
    return {kind: {name: value.detach() for name, value in values.items()} for kind, values in state.items()}


def check_scaler(state: Mapping[str, Mapping[str, Any]], where: str, remedy: str) -> None:
    """Refuse statistics of the data that are none.

    Args:
        state: ``mean`` and ``std`` of modalities.
        where: Where they stand, for messages.
        remedy: What to do about it.

    Raises:
        MERError: If a modality is unknown or has one of them alone, or anything in it is no vector of finite numbers,
            deviations being positive.

    Example:
        >>> import torch
        >>> zeros = {"audio": torch.zeros(3)}
        >>> check_scaler({"mean": zeros, "std": zeros}, "last.ckpt", "train again")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: last.ckpt: std of audio is no vector of positive numbers; train again
    """
    mean, std = state["mean"], state["std"]
    for name in {**mean, **std}:
        if name not in MODALITIES:
            raise MERError(f"{where} holds {told(name)}, which is no statistic of the data; {remedy}")
        if name not in mean or name not in std:
            raise MERError(f"{where} holds means and deviations of different modalities; {remedy}")
        for kind, values in (("mean", mean[name]), ("std", std[name])):
            is_vector = isinstance(values, Tensor) and values.dim() == 1 and values.dtype is torch.float32
            if not is_vector or not values.isfinite().all():
                raise MERError(f"{where}: {kind} of {name} is no vector of finite numbers; {remedy}")
        if not (std[name] > 0).all():
            raise MERError(f"{where}: std of {name} is no vector of positive numbers; {remedy}")
        if std[name].shape != mean[name].shape:
            raise MERError(f"{where}: mean and std of {name} have different shapes; {remedy}")
