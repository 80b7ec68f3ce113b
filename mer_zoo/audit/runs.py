"""The runs that an audit is given: results, scores and checkpoint of each, and whether it is of the corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from mer_zoo.data.survey.finding import NotChecked
from mer_zoo.data.survey.material import Material
from mer_zoo.errors import MERError
from mer_zoo.metrics import Convention
from mer_zoo.reports.kept_scores import KeptScores, read_scores
from mer_zoo.reports.record import ConditionResult, RunResults, find_results, load_results
from mer_zoo.runs.folder import CHECKPOINTS
from mer_zoo.task import Task, build_task
from mer_zoo.text import told
from mer_zoo.training.checkpoint import read_checkpoint

__all__ = ["Run", "check_same_corpus", "find_runs", "tested"]

_LEFT = ("results.json", "predictions.csv")
_FIRST = ("best.ckpt", "last.ckpt")


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Args:
        folder: The folder.
        results: What its test found; None where it was not tested.
        checkpoint: Its weights; None where there are none.
    """

    folder: Path
    results: RunResults | None
    checkpoint: Path | None

    @property
    def name(self) -> str:
        """What it is called on the page."""
        model = f" ({self.results.model})" if self.results is not None else ""
        return f"{self.folder}{model}"

    @property
    def task(self) -> Task | None:
        """What its logits mean; None where nothing tells."""
        if self.results is None or not self.results.task:
            return None
        convention = next((name for name in get_args(Convention) if name == self.results.convention), None)
        return None if convention is None else build_task(self.results.task, convention)


def find_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs in folders, or below them.

    Args:
        paths: Run folders, results.json files, or folders that hold runs at any depth.

    Raises:
        MERError: Where there is none.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        folder = path.parent if path.name == "results.json" else path
        if (folder / CHECKPOINTS).is_dir() or any((folder / name).is_file() for name in _LEFT):
            folders[folder] = None
        elif path.exists():
            folders |= dict.fromkeys(found.path.parent for found in find_results([path]))
        else:
            raise MERError(f"{path} does not exist; give the folder of a run")
    return [_read(folder) for folder in folders]


def _read(folder: Path) -> Run:
    results = load_results(folder) if (folder / "results.json").is_file() else None
    kept = sorted((folder / CHECKPOINTS).glob("*.ckpt"))
    named = [folder / CHECKPOINTS / name for name in _FIRST]
    checkpoint = next((file for file in [*named, *kept] if file.is_file()), None)
    return Run(folder, results, checkpoint)


def check_same_corpus(run: Run, material: Material) -> None:
    """Refuse a run of another corpus.

    Args:
        run: The run.
        material: The corpus.

    Raises:
        MERError: Naming both.
    """
    theirs, source = _origin(run)
    remedy = f"give the data of {run.folder}, or runs of {material.source}"
    if theirs is not None and material.sha256 is not None:
        if theirs != material.sha256:
            raise MERError(
                f"{run.folder} is a run of {told(source)} (SHA-256 {theirs[:8]}), not of {material.source}"
                f" ({material.sha256[:8]}); {remedy}"
            )
        return
    counts = {} if run.results is None else run.results.data.get("counts")
    sizes = {name: len(part.ids) for name, part in material.parts.items()}
    if isinstance(counts, Mapping) and counts and dict(counts) != sizes:
        raise MERError(
            f"{run.folder} is a run of {told(source)} with other samples than {material.source} has; {remedy}"
        )


def _origin(run: Run) -> tuple[str | None, str]:
    """Fingerprint and name of the data of a run."""
    data = {} if run.results is None else run.results.data
    sha256, source = data.get("sha256"), data.get("source")
    if isinstance(sha256, str):
        return sha256, str(source)
    if run.checkpoint is not None and run.results is None:
        about = read_checkpoint(run.checkpoint, "give another run").record.about
        if about is not None and about.data is not None:
            return about.data.sha256, str(about.data.source)
    return None, str(source)


def tested(run: Run) -> Iterator[tuple[ConditionResult, KeptScores | NotChecked]]:
    """The conditions under which nothing was missing, with their scores, or why there are none.

    Args:
        run: The run, which has results.
    """
    if run.results is None:
        return
    for condition in run.results.conditions.values():
        if not condition.complete:
            continue
        task = run.task
        if task is None:
            yield (
                condition,
                NotChecked(
                    f"the answers under {condition.name}",
                    "results.json names no task and convention of today",
                    run.name,
                ),
            )
            continue
        try:
            scores = read_scores(run.folder, condition.name, task.shape)
        except MERError as error:
            yield condition, NotChecked(f"the answers under {condition.name}", str(error), run.name)
            continue
        lacking = NotChecked(f"the answers under {condition.name}", "the run has kept no scores", run.name)
        yield condition, lacking if scores is None else scores
