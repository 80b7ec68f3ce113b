"""What a test leaves behind, and how it is read back: results.json and what is drawn from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mer_zoo.batch import LETTERS, MODALITIES, availability_name, available_modalities
from mer_zoo.errors import MERError
from mer_zoo.runs.files import whole_file

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = ["ConditionResult", "RunResults", "find_results", "load_results", "parse_results", "save_results"]

_REMEDY = "write it anew with mer-zoo test"


@dataclass(frozen=True)
class ConditionResult:
    """Metrics under one test condition; fractions, NaN where undefined.

    Attributes:
        name: Name of the condition.
        split: The split tested on.
        complete: Whether nothing was missing by intent.
        count: Number of samples.
        metrics: The model's metrics.
        majority: The same of the majority class.
        constant: The same of the best constant prediction.
        place: Name of the complete condition of its split; empty for the first test split.
        curve: The curve that it is a point of, such as ``RMFM``, or ``ood RMFM`` at another place; else None.
        rate: The missing rate there.
        available: The modalities that are there, where some are left out of every sample; else empty.
    """

    name: str
    split: str
    complete: bool
    count: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    majority: dict[str, float] = field(default_factory=dict)
    constant: dict[str, float] = field(default_factory=dict)
    place: str = ""
    curve: str | None = None
    rate: float | None = None
    available: tuple[str, ...] = ()

    @property
    def set_name(self) -> str:
        """The set of modalities as the papers write it, such as ``{l,a}``; empty where there is none."""
        return availability_name(self.available) if self.available else ""


@dataclass(frozen=True)
class RunResults:
    """The results of one run.

    Attributes:
        path: The results.json, or where it is going to be.
        model: Label of the model: wrappers and marks included, such as ``MACI[oracle tau](CIDerNet)``.
        task: Short name of the task, empty where unknown.
        convention: Metric convention.
        seed: Random seed.
        parameters: Number of parameters.
        data: Description of the corpus.
        notes: What a reader must know, one sentence each.
        diagnostics: Numbers that the model reports about itself, such as a chosen tau; NaN where undefined.
        weights: SHA-256 of the weights that were tested, empty where unknown.
        conditions: By name, in the order of testing.
    """

    path: Path
    model: str
    task: str
    convention: str
    seed: int | None
    parameters: int | None
    data: dict[str, Any]
    notes: list[str]
    diagnostics: dict[str, float]
    weights: str
    conditions: dict[str, ConditionResult] = field(repr=False)

    @property
    def metric_names(self) -> list[str]:
        """Metrics that every condition has."""
        tables = [condition.metrics for condition in self.conditions.values()]
        return [name for name in tables[0] if all(name in table for table in tables)] if tables else []

    def full(self, condition: ConditionResult) -> ConditionResult | None:
        """The complete condition of the same split, which a condition with missing data is compared with."""
        matching = (c for c in self.conditions.values() if c.complete and c.split == condition.split)
        return next(matching, None)


def parse_results(raw: Any, path: Path) -> RunResults:
    """Check the content of a results.json.

    Args:
        raw: The parsed JSON.
        path: Where it stands, for messages.

    Raises:
        MERError: Where a part is missing or of another type.

    Example:
        >>> parse_results({"model": "MulT"}, Path("results.json"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: results.json has no 'conditions', so it is no result of a test; ...
    """
    if not isinstance(raw, Mapping):
        raise MERError(f"{path} holds no JSON object, so it is no result of a test; {_REMEDY}")
    for key, kind in (("model", str), ("conditions", Mapping)):
        if not isinstance(raw.get(key), kind):
            raise MERError(f"{path} has no {key!r}, so it is no result of a test; {_REMEDY}")
    if not raw["conditions"]:
        raise MERError(f"{path} holds no tested condition; {_REMEDY}")
    seed, parameters, data = raw.get("seed"), raw.get("parameters"), raw.get("data")
    data = dict(data) if isinstance(data, Mapping) else {}
    used = data.get("modalities")
    used = used if isinstance(used, list) else list(MODALITIES)
    return RunResults(
        path=path,
        model=raw["model"],
        task=str(raw.get("task") or ""),
        convention=str(raw.get("convention") or "mmsa"),
        seed=seed if isinstance(seed, int) else None,
        parameters=parameters if isinstance(parameters, int) else None,
        data=data,
        notes=[str(note) for note in raw.get("notes") or []],
        diagnostics=_numbers(raw.get("diagnostics") or {}, "the diagnostics", path),
        weights=str(raw.get("weights") or ""),
        conditions={name: _condition(name, entry, path, used) for name, entry in raw["conditions"].items()},
    )


def _condition(name: str, entry: Any, path: Path, used: Sequence[str]) -> ConditionResult:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("metrics"), Mapping):
        raise MERError(f"{path}: condition {name!r} has no 'metrics'; {_REMEDY}")
    source = entry.get("source")
    split = str(entry.get("split") or "test") + (f" of {Path(str(source)).name}" if source else "")
    where, pattern = f"condition {name!r}", entry.get("pattern")
    metrics, majority, constant = (
        _numbers(entry.get(key) or {}, where, path) for key in ("metrics", "majority", "constant")
    )
    count = int(entry.get("count") or 0)
    place, curve, rate, available = (
        _position(entry, where, path) if "curve" in entry else _position_by_name(name, str(pattern))
    )
    if all(modality in available for modality in used):
        available = ()
    return ConditionResult(
        name, split, pattern is None, count, metrics, majority, constant, place, curve, rate, available
    )


_Position = tuple[str, str | None, float | None, tuple[str, ...]]  # place, curve, rate, available


def _position(entry: Mapping[str, Any], where: str, path: Path) -> _Position:
    """What is missing, as the test wrote it down."""
    place, curve, rate, available = (entry.get(key) for key in ("place", "curve", "rate", "available"))
    fault = next((key for key in ("place", "curve") if not isinstance(entry.get(key), (str, NoneType))), None)
    on_curve = isinstance(rate, (int, float)) and not isinstance(rate, bool) and 0 <= rate <= 1
    if (fault is None and (curve is not None) != (rate is not None)) or (rate is not None and not on_curve):
        fault = "rate"
    modalities: tuple[str, ...] = ()
    if available is not None:
        try:
            modalities = available_modalities(available)
        except (MERError, TypeError):
            fault = "available"
    if fault is not None:
        raise MERError(f"{path}: {fault} of {where} is {str(entry.get(fault))[:100]!r}; {_REMEDY}")
    at = f"{place} " if place else ""
    return place or "", f"{at}{curve}" if curve else None, None if rate is None else float(rate), modalities


def _position_by_name(name: str, pattern: str) -> _Position:
    """The same of a file that does not say it, but whose conditions are named as the presets do."""
    family, _, arguments = pattern.partition("(")
    rated = re.fullmatch(rf"(?:(.*) )?{re.escape(family)} (\d+(?:\.\d+)?)", name)
    if rated and {float(number) for number in re.findall(r"=(\d+(?:\.\d+)?)", arguments)} == {float(rated[2])}:
        return rated[1] or "", name.rpartition(" ")[0], float(rated[2]), ()
    whole = re.fullmatch(r"(?:(.*) )?\{([lav](?:,[lav])*)\}", name)
    letters = whole[2].split(",") if whole else []
    if whole and family == "SMM" and len(set(letters)) == len(letters):
        names = {letter: modality for modality, letter in LETTERS.items()}
        return whole[1] or "", None, None, available_modalities([names[letter] for letter in letters])
    return "", None, None, ()


def _numbers(table: Any, where: str, path: Path) -> dict[str, float]:
    if not isinstance(table, Mapping):
        raise MERError(f"{path}: {where} holds {table!r}, not numbers by name; {_REMEDY}")
    numbers = {}
    for name, value in table.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise MERError(f"{path}: {name} of {where} is {value!r}, not a number; {_REMEDY}")
        numbers[name] = math.nan if value is None else float(value)
    return numbers


def load_results(path: Path) -> RunResults:
    """Read a results.json.

    Args:
        path: The file or its folder.

    Raises:
        MERError: For a file that is missing or odd.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MERError(f"{file} does not exist; give a run folder that mer-zoo test has written") from None
    except (OSError, ValueError) as error:
        raise MERError(f"{file} cannot be read as JSON ({error}); {_REMEDY}") from None
    return parse_results(raw, file)


def find_results(paths: Sequence[Path]) -> list[RunResults]:
    """Read the results named by files, by run folders, or by folders that hold runs at any depth.

    Args:
        paths: Files and folders; each result is read once.

    Raises:
        MERError: Where a path holds no results.
    """
    files: dict[Path, None] = {}
    for path in paths:
        inside = path.is_dir() and not (path / "results.json").exists()
        found = sorted(path.rglob("results.json")) if inside else [path / "results.json" if path.is_dir() else path]
        if not found:
            raise MERError(f"no results.json in or below {path}; run mer-zoo test first or give another folder")
        files.update(dict.fromkeys(file.resolve() for file in found))
    if not files:
        raise MERError("no run to report; give run folders or results.json files")
    return [load_results(file) for file in files]


def _plain(value: Any) -> Any:
    """Plain JSON values: NaN, which JSON lacks, becomes null, and float32 noise beyond seven decimals is cut."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value


def _kept_scores(path: Path, names: Set[str]) -> dict[str, Tensor]:
    """Scores of an earlier test, by the names of their conditions."""
    if not names or not path.is_file():
        return {}
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys() if key.rpartition(".")[0] in names}  # noqa: SIM118


def save_results(folder: Path, results: Mapping[str, Any], scores: Mapping[str, Scores]) -> RunResults:
    """Write results.json and scores.safetensors, each whole or not at all.

    Args:
        folder: The run folder.
        results: Content of results.json.
        scores: Scores of each condition that was tested now; those of the others in ``results`` stay as they are.

    Raises:
        MERError: Where ``results`` is not a result.
    """
    plain = _plain(results)
    parsed = parse_results(plain, folder / "results.json")
    tensors = _kept_scores(folder / "scores.safetensors", parsed.conditions.keys() - scores.keys())
    for name, score in scores.items():
        for key in ("logits", "target", "index"):
            # clones, because the file format refuses tensors that share memory
            tensors[f"{name}.{key}"] = getattr(score, key).detach().cpu().clone().contiguous()
    if tensors:
        with whole_file(folder / "scores.safetensors") as part:
            # by way of bytes: the library's own writer makes files that only their owner may read
            part.write_bytes(save(tensors))
    with whole_file(folder / "results.json") as part:
        part.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return parsed
