"""Whether the weights that results are of are those that their run has now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mer_zoo.foreign.archives import read_archive
from mer_zoo.reports.groups import Group
from mer_zoo.reports.record import RunResults
from mer_zoo.runs.folder import CHECKPOINTS
from mer_zoo.runs.provenance import weights_sha256

__all__ = ["other_weights", "told_of_weights"]

_OTHER, _UNKNOWN = "[other weights]", "[other weights?]"


def other_weights(run: RunResults) -> tuple[str, str] | None:
    """A mark and a sentence for results of other weights than those their run has now.

    A run that went on training after its test has a younger ``best.ckpt``. Only such a one is read: weights that were
    there before the test were not what was to be tested.

    Args:
        run: The results, as they lie in the folder of the run.

    Returns:
        Mark and sentence; None where the weights are those that were tested.

    Example:
        >>> from mer_zoo.reports.record import parse_results
        >>> raw = {"model": "MulT", "conditions": {"iid": {"metrics": {}}}}
        >>> other_weights(parse_results(raw, Path("nowhere/results.json"))) is None
        True
    """
    folder = run.path.parent / CHECKPOINTS
    best, last = folder / "best.ckpt", folder / "last.ckpt"
    if not best.is_file() or best.stat().st_mtime <= run.path.stat().st_mtime:
        return None
    remedy = f"test it with mer-zoo test --config {run.path.parent / 'config.yaml'} --overwrite=true"
    found = [_hash_of(path) for path in (best, last) if path.is_file()]
    if run.weights and run.weights in found:
        return None
    if not run.weights or found[0] is None:
        return _UNKNOWN, f"{best} is younger than these results, and it can't be said whether they are of it; {remedy}"
    return _OTHER, f"{best} is younger than these results, which are of other weights; {remedy}"


def _hash_of(checkpoint: Path) -> str | None:
    """Of the weights in a checkpoint; None where it can't be read."""
    try:
        return weights_sha256(read_archive(checkpoint)["state_dict"])
    except Exception:  # torch has an error of its own for each way in which a file is broken
        return None


def told_of_weights(groups: list[Group]) -> list[Group]:
    """Groups that are marked where a run of theirs has other weights by now, with the sentence among its notes.

    Args:
        groups: The groups.
    """
    told = []
    for group in groups:
        found = [other_weights(run) for run in group.runs]
        runs = [
            run if one is None else replace(run, notes=[*run.notes, one[1]])
            for run, one in zip(group.runs, found, strict=True)
        ]
        marks = dict.fromkeys(one[0] for one in found if one is not None)
        told.append(Group(" ".join([group.label, *marks]), runs))
    return told
