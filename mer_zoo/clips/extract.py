"""From recordings to a corpus file: every clip is extracted, extracted with faults, or failed with one sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.extractor import Extractor
from mer_zoo.clips.labels import Labelling, read_labelling
from mer_zoo.clips.listing import SplitBy, list_clips, notes_on, with_splits
from mer_zoo.clips.output import write_corpus
from mer_zoo.clips.parts import Parts
from mer_zoo.clips.settings import Settings
from mer_zoo.clips.workers import Failed, run_all
from mer_zoo.errors import MERError
from mer_zoo.runs.files import write_rows

__all__ = ["Extraction", "extract"]


@dataclass
class Extraction:
    """What became of all clips.

    Args:
        sound: How many have no fault.
        faulty: Clips with what is wrong with them.
        failed: Clips that are not in the file, with the reason.
        notes: What is to be told of the list itself, one sentence each.
    """

    sound: int = 0
    faulty: list[tuple[Clip, str]] = field(default_factory=list)
    failed: list[tuple[Clip, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 where all clips are in the file, 3 where some are, 2 where none is."""
        return 0 if not self.failed else 3 if self.sound or self.faulty else 2

    def __str__(self) -> str:
        counts = ((self.sound, "extracted"), (len(self.faulty), "extracted with faults"), (len(self.failed), "failed"))
        return ", ".join(f"{count} {what}" for count, what in counts)


def extract(
    source: str | Path,
    dest: str | Path,
    settings: Settings | None = None,
    split_by: SplitBy | None = None,
    seed: int = 0,
    processes: int = 0,
    progress: bool = False,
    lengths: Mapping[str, int] | None = None,
    for_prediction: bool = False,
    overwrite: bool = False,
) -> Extraction:
    """Make a corpus file of recordings; what is done already is not done again.

    Args:
        source: A folder of recordings or a table of clips, see :func:`~mer_zoo.clips.listing.list_clips`.
        dest: The pickle to make; ``DEST.faults.csv`` beside it lists what is wrong with which clip.
        settings: Which encoders.
        split_by: See :func:`~mer_zoo.clips.listing.with_splits`.
        seed: Of the splits.
        processes: How many work at a time; 0 does all in this one, which a damaged file can then end. More than 0
            needs a main module that may be imported, as every use of processes in Python does.
        progress: Whether to show a progress bar.
        lengths: Steps of each modality, as a model takes them; by default those of the longest clip.
        for_prediction: Put all clips into one split, and leave their labels out.
        overwrite: Replace the file that is there.

    Raises:
        MERError: If the list can't be used, or the file is there. Of single clips the result tells.

    Example:
        >>> extract("nowhere", "features.pkl")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: nowhere does not exist; give a folder of recordings, or a CSV file with a column path
    """
    source, dest, settings = Path(source).expanduser(), Path(dest).expanduser(), settings or Settings()
    if dest.is_dir() or dest.suffix not in (".pkl", ".pickle"):
        raise MERError(f"{dest} is no name of a pickle; call it features.pkl")
    if dest.exists() and not overwrite:
        raise MERError(f"{dest} exists; give another name, or replace it by --overwrite")
    clips = list_clips(source)
    if for_prediction:
        clips = [replace(clip, split="", labels={}) for clip in clips]
    labelling = read_labelling(clips)
    clips = with_splits(clips, split_by, seed)
    specs = Extractor(settings).specs
    beside = settings.speech is not None and settings.speech.beside
    parts = Parts(dest.with_name(f"{dest.name}.parts"), specs, settings.longest, beside)
    result = _extract_all(clips, parts, settings, labelling, processes, progress, lengths or {})
    result.notes += notes_on(source)
    lost = {clip.id for clip, _ in result.failed}
    kept = [clip for clip in clips if clip.id not in lost]
    if kept:
        write_corpus(dest, kept, parts, labelling, specs, lengths)
    _write_faults(dest.with_name(f"{dest.stem}.faults.csv"), result)
    parts.remove()
    return result


def _extract_all(
    clips: Sequence[Clip],
    parts: Parts,
    settings: Settings,
    labelling: Labelling,
    processes: int,
    progress: bool,
    lengths: Mapping[str, int],
) -> Extraction:
    result = Extraction()
    labelled = {clip.split for clip in clips if labelling.is_labelled(clip)}
    to_do = []
    for clip in clips:
        reason = _refusal(clip, labelling if clip.split in labelled else Labelling())
        if reason:
            result.failed.append((clip, reason))
        else:
            to_do.append(clip)
    with _bar(len(to_do), progress) as advance:
        left = []
        for clip in to_do:
            found = parts.find(clip)
            if found is None:
                left.append(clip)
            else:
                _sort_in(result, clip, found, lengths)
                advance()
        for clip, found in run_all(partial(Extractor, settings), left, min(processes, len(left))):
            if isinstance(found, Failed):
                result.failed.append((clip, found.reason))
            else:
                parts.keep(clip, found)
                _sort_in(result, clip, found, lengths)
            advance()
    return result


def _refusal(clip: Clip, labelling: Labelling) -> str:
    """Why a clip can't be taken, before it is opened."""
    if not clip.path.is_file():
        return f"there is no file {clip.path}; mend its path"
    if not labelling.is_labelled(clip):
        return f"it has no label, where others of {clip.split} have one; give it one, or leave it out"
    return ""


def _sort_in(result: Extraction, clip: Clip, found: ClipFeatures, lengths: Mapping[str, int]) -> None:
    faults = [*clip.faults, *found.faults]
    for key, x in found.features.items():
        if len(x) > lengths.get(key, len(x)):
            faults.append(f"its {key} has {len(x)} steps, of which the model takes the first {lengths[key]}")
    if faults:
        result.faulty.append((clip, "; ".join(faults)))
    else:
        result.sound += 1


def _write_faults(file: Path, result: Extraction) -> None:
    outcomes = [(result.failed, "failed"), (result.faulty, "extracted with faults")]
    rows = [
        {"id": clip.id, "file": str(clip.path), "place": clip.place, "outcome": outcome, "fault": fault}
        for found, outcome in outcomes
        for clip, fault in sorted(found, key=lambda pair: pair[0].id)
    ]
    write_rows(file, ["id", "file", "place", "outcome", "fault"], rows)


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
