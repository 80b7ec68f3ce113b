"""What a test leaves behind, and how it is read back: results.json and what is drawn from it.

More than 300 lines, because every field is named, checked and written in one place.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer_zoo.batch import LETTERS, MODALITIES, availability_name, available_modalities
from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.foreign import read_json
from mer_zoo.reports.complexity import Complexity, read_complexity
from mer_zoo.reports.identities import nest_of
from mer_zoo.reports.kept_scores import save_scores
from mer_zoo.reports.tables import is_fraction
from mer_zoo.runs.files import whole_file
from mer_zoo.uncertainty import ASSESSED, UNBOUNDED, Thresholds

if TYPE_CHECKING:
    from mer_zoo.scores import Scores

__all__ = ["ConditionResult", "RunResults", "find_results", "load_results", "parse_results", "save_results"]

RESULTS = "results.json"
_REMEDY = "write it anew with mer-zoo test"
LARGEST = 4 * 2**20  # bytes of the file; a condition takes some 2,000
_MOST = 1000  # conditions


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
        uncertainty: What :func:`mer_zoo.uncertainty.assess` tells, and the ``level`` of its sets and intervals; empty
            where the weights were not calibrated.
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
    uncertainty: dict[str, float] = field(default_factory=dict)

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
        names: Names of the classes or emotions, of a task that has none of its own.
        seed: Random seed.
        parameters: Number of parameters.
        data: Description of the corpus.
        notes: What a reader must know, one sentence each.
        diagnostics: Numbers that the model reports about itself, such as a chosen tau; NaN where undefined.
        weights: SHA-256 of the weights that were tested, empty where unknown.
        nest: Class and options of each model, the outermost first; empty where unknown.
        conditions: By name, in the order of testing.
        contributions: Complete condition -> modality -> contribution to right predictions, and ``std``, where every set
            of the modalities was tested.
        complexity: Size and cost of training; None where unknown.
        calibration: By which predictions say how sure they are; None where the weights were not calibrated.
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
    nest: tuple[tuple[str, Mapping[str, Any]], ...]
    conditions: dict[str, ConditionResult] = field(repr=False)
    contributions: dict[str, dict[str, float]] = field(default_factory=dict, repr=False)
    complexity: Complexity | None = None
    calibration: Thresholds | None = field(default=None, repr=False)
    names: tuple[str, ...] = ()

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
        MERError: For a field that is missing or odd, naming it.

    Example:
        >>> parse_results({"model": "MulT"}, Path("results.json"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: results.json has no conditions; write it anew with mer-zoo test
    """
    given = Fields(raw, str(path), _REMEDY)
    conditions = given.part("conditions")
    if not conditions.content:
        raise MERError(f"{path} holds no tested condition; {_REMEDY}")
    if len(conditions.content) > _MOST:
        raise MERError(f"{path} holds {len(conditions.content):,} conditions, and a report has room for {_MOST:,}")
    data = _data(given)
    used = data.get("modalities") or MODALITIES
    summary, _ = given.optional_part("summary"), given.optional_part("provenance")  # the latter for other readers
    return RunResults(
        path=path,
        model=given.text("model"),
        task=given.optional_text("task") or "",
        convention=given.optional_text("convention") or "mmsa",
        seed=given.optional_count("seed"),
        parameters=None if given.content.get("parameters") is None else given.count("parameters"),
        data=data,
        notes=list(given.texts("notes")),
        diagnostics=_numbers(given, "diagnostics"),
        weights=given.optional_text("weights") or "",
        nest=nest_of(given),
        conditions={name: _condition(name, conditions.part(name), used) for name in conditions.content},
        contributions={} if summary is None else _contributions(summary, conditions),
        complexity=read_complexity(given),
        calibration=_calibration(given),
        names=given.texts("names") if "names" in given.content else (),
    )


def _calibration(given: Fields) -> Thresholds | None:
    part = given.optional_part("calibration")
    if part is None or part.optional_text("refused") is not None:
        return None
    return Thresholds.read(part)


def _contributions(summary: Fields, conditions: Fields) -> dict[str, dict[str, float]]:
    """The contributions that a test wrote down, of conditions that are there."""
    given = summary.optional_part("contribution")
    if given is None:
        return {}
    known = (*MODALITIES, "std")
    for name in given.content:
        part = given.part(name)
        if name not in conditions.content or not set(part.content) <= set(known):
            raise given.refusal(name, f"the contributions of {', '.join(MODALITIES)} under a tested condition")
    return {name: _numbers(given, name) for name in given.content}


def _data(given: Fields) -> dict[str, Any]:
    """The description of the corpus, of which names and modalities are used and all is shown."""
    part = given.optional_part("data")
    if part is None:
        return {}
    for name in ("corpus", "source"):
        part.optional_text(name)
    if set(part.texts("modalities")) - set(MODALITIES):
        raise part.refusal("modalities", f"some of {', '.join(MODALITIES)}")
    return {name: part.plain(name) for name in part.content}


def _condition(name: str, entry: Fields, used: Sequence[str]) -> ConditionResult:
    entry.part("metrics")
    source, pattern = entry.optional_text("source"), entry.optional_text("pattern")
    split = (entry.optional_text("split") or "test") + (f" of {Path(source).name}" if source else "")
    count = 0 if entry.content.get("count") is None else entry.count("count")
    metrics, majority, constant = (_numbers(entry, key) for key in ("metrics", "majority", "constant"))
    place, curve, rate, available = (
        _position(entry) if "curve" in entry.content else _position_by_name(name, str(pattern))
    )
    if all(modality in available for modality in used):
        available = ()
    uncertainty = _uncertainty(entry)
    return ConditionResult(
        name, split, pattern is None, count, metrics, majority, constant, place, curve, rate, available, uncertainty
    )


def _uncertainty(entry: Fields) -> dict[str, float]:
    numbers = _numbers(entry, "uncertainty")
    for name, value in numbers.items():
        is_share = name not in UNBOUNDED
        if name not in (*ASSESSED, "level") or (is_share and not (math.isnan(value) or 0 <= value <= 1)):
            wanted = "a share between 0 and 1" if name in ASSESSED else "one of the numbers of an uncertainty"
            raise entry.part("uncertainty").refusal(name, wanted)
    return numbers


_Position = tuple[str, str | None, float | None, tuple[str, ...]]  # place, curve, rate, available


def _position(entry: Fields) -> _Position:
    """What is missing, as the test wrote it down."""
    place, curve = entry.optional_text("place"), entry.optional_text("curve")
    rate = None if entry.content.get("rate") is None else entry.number("rate")
    if (curve is None) != (rate is None) or (rate is not None and not 0 <= rate <= 1):
        raise entry.refusal("rate", "the missing rate of a curve, from 0 to 1")
    modalities: tuple[str, ...] = ()
    if entry.content.get("available") is not None:
        try:
            modalities = available_modalities(entry.texts("available"))
        except MERError:
            raise entry.refusal("available", f"some of {', '.join(MODALITIES)}") from None
    at = f"{place} " if place else ""
    return place or "", f"{at}{curve}" if curve else None, rate, modalities


def _position_by_name(name: str, pattern: str) -> _Position:
    """The same of a file that does not say it, but whose conditions are named as the presets do."""
    family, _, arguments = pattern.partition("(")
    rated = re.fullmatch(rf"(?:(.*) )?{re.escape(family)} (\d+(?:\.\d+)?)", name)
    if (
        rated
        and float(rated[2]) <= 1
        and {float(number) for number in re.findall(r"=(\d+(?:\.\d+)?)", arguments)} == {float(rated[2])}
    ):
        return rated[1] or "", name.rpartition(" ")[0], float(rated[2]), ()
    whole = re.fullmatch(r"(?:(.*) )?\{([lav](?:,[lav])*)\}", name)
    letters = whole[2].split(",") if whole else []
    if whole and family == "SMM" and len(set(letters)) == len(letters):
        names = {letter: modality for modality, letter in LETTERS.items()}
        return whole[1] or "", None, None, available_modalities([names[letter] for letter in letters])
    return "", None, None, ()


def _numbers(given: Fields, name: str) -> dict[str, float]:
    """Numbers by name, NaN where one is undefined; shares lie between 0 and 1."""
    part = given.optional_part(name)
    numbers = {} if part is None else {key: part.number(key) for key in part.content}
    for key, value in numbers.items():
        if name != "diagnostics" and is_fraction(key) and not (math.isnan(value) or 0 <= value <= 1):
            raise part.refusal(key, "a share between 0 and 1")  # type: ignore[union-attr]
    return numbers


def load_results(path: Path) -> RunResults:
    """Read a results.json.

    Args:
        path: The file or its folder.

    Raises:
        MERError: For a file that is missing or odd.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        raw = read_json(file, LARGEST, strict=True)
    except FileNotFoundError:
        raise MERError(f"{file} does not exist; give a run folder that mer-zoo test has written") from None
    except OSError as error:
        raise MERError(f"{file} can't be read ({error.strerror}); {_REMEDY}") from None
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
        whole = path / RESULTS if path.is_dir() else path
        inside = path.is_dir() and not os.path.lexists(whole)
        below = (Path(folder) / RESULTS for folder, *names in os.walk(path) if any(RESULTS in some for some in names))
        found = sorted(below) if inside else [whole]
        if not found:
            raise MERError(f"no results.json in or below {path}; run mer-zoo test first or give another folder")
        files.update(dict.fromkeys(map(_followed, found)))
    if not files:
        raise MERError("no run to report; give run folders or results.json files")
    return [load_results(file) for file in files]


def _followed(file: Path) -> Path:
    """Where a link leads, so that a file is read once; one that leads to no file stays, to be named."""
    real = Path(os.path.realpath(file))  # pathlib's own raises a RuntimeError for links in a circle
    return real if real.is_file() else file.absolute()


def _for_json(value: Any) -> Any:
    """Plain JSON values: NaN, which JSON lacks, becomes null, and float32 noise beyond seven decimals is cut."""
    if isinstance(value, Mapping):
        return {str(key): _for_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_for_json(item) for item in value]
    if isinstance(value, float):
        return round(value, 7) if math.isfinite(value) else None
    return value


def save_results(folder: Path, results: Mapping[str, Any], scores: Mapping[str, Scores]) -> RunResults:
    """Write results.json and scores.safetensors, each whole or not at all.

    Args:
        folder: The run folder.
        results: Content of results.json.
        scores: Scores of each condition that was tested now; those of the others in ``results`` stay as they are.

    Raises:
        MERError: Where ``results`` is not a result.
    """
    plain = _for_json(results)
    parsed = parse_results(plain, folder / RESULTS)
    save_scores(folder, scores, parsed.conditions.keys() - scores.keys())
    with whole_file(folder / RESULTS) as part:
        part.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return parsed
