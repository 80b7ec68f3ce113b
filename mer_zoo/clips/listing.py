"""Which clips there are: a folder of recordings, or a table of them, with what is known of each."""

from __future__ import annotations

import csv
import io
import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mer_zoo.clips.clip import Clip
from mer_zoo.clips.columns import columns_of
from mer_zoo.clips.media import SUFFIXES
from mer_zoo.data.corpus.checks import MAX_ID, MAX_SAMPLES, NOT_IN_IDS, NOT_IN_TEXT, SPLIT_NAME
from mer_zoo.data.files.splits import ALIASES
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_regular

__all__ = ["SplitBy", "list_clips", "notes_on", "with_splits"]

SplitBy = Literal["video", "speaker", "clip"]

TABLE = "labels.csv"
LARGEST = 64 * 2**20
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
PICTURES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")  # endings of what may have a picture


def list_clips(source: Path) -> list[Clip]:
    """List the clips of a folder or a table.

    Args:
        source: A folder with one recording a clip, and maybe a table ``labels.csv`` that tells of them by ``path`` or
            ``id``; or a CSV file with a column ``path`` and any of ``start``, ``end``, ``text``, ``label``,
            ``emotion``, ``label_NAME``, ``id``, ``split``, ``speaker`` and ``video``.

    Returns:
        The clips, in the order of the table, or of their names. What lacks a file, or a row, has a place that says so
        when it is opened.

    Raises:
        MERError: If there is nothing, or the table can't be used; the message names the row.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> _ = (folder / "hello.wav").write_bytes(b"")
        >>> [clip.id for clip in list_clips(folder)]
        ['hello']
    """
    if not source.exists():
        raise MERError(f"{source} does not exist; give a folder of recordings, or a CSV file with a column path")
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        table = source / TABLE
        clips = _in_folder(table, files) if table.is_file() else _alone(source, files)
    elif source.suffix.lower() in SUFFIXES:
        clips = [Clip(source)]
    else:
        clips = _rows(source, {})
    if not clips:
        raise MERError(f"{source} holds no recordings ({', '.join(SUFFIXES)}); give a folder that does")
    _check_ids(clips, source)
    return clips


def notes_on(source: Path) -> list[str]:
    """What is to be told of a source beside its clips.

    Args:
        source: As :func:`list_clips` takes it.

    Returns:
        A sentence on columns that nothing reads, where there are some.
    """
    table = source / TABLE if source.is_dir() else source
    if table.suffix.lower() in SUFFIXES or not table.is_file():
        return []
    first = next(csv.reader(io.StringIO(_text(table), newline="")), [])
    unread = columns_of(first, str(table)).unread
    return [f"{table.name}: nothing reads {', '.join(unread)}"] if unread else []


def _alone(source: Path, files: Sequence[Path]) -> list[Clip]:
    """A clip for each recording of a folder."""
    beside = _beside(files)
    left_out = {path for others in beside.values() for path in others}
    return [
        Clip(path, _id_of(path.relative_to(source)), faults=_told(beside.get(path, ())))
        for path in files
        if path not in left_out
    ]


def _in_folder(table: Path, files: Sequence[Path]) -> list[Clip]:
    """The clips of the table of a folder, and the recordings that it does not tell of."""
    beside = _beside(files)
    named = {name: path for path in files for name in (path.name, path.stem)}
    named |= {path.stem: path for path in beside}
    clips = _rows(table, named)
    told = {clip.path for clip in clips}
    partner = {path: {kept, *others} - {path} for kept, others in beside.items() for path in (kept, *others)}
    clips = [replace(clip, faults=_told(sorted(partner.get(clip.path, set()) - told))) for clip in clips]
    told |= {path for one in told for path in partner.get(one, ())}
    told |= {path for others in beside.values() for path in others}
    return clips + [
        Clip(path, place=f"{TABLE} has no row for it", faults=_told(beside.get(path, ())))
        for path in files
        if path not in told
    ]


def _beside(files: Iterable[Path]) -> dict[Path, list[Path]]:
    """Recordings with pictures, and those of sound alone that have their name beside them."""
    named: dict[Path, list[Path]] = {}
    for path in files:
        named.setdefault(path.with_suffix(""), []).append(path)
    found = {}
    for same in named.values():
        seen = [path for path in same if path.suffix.lower() in PICTURES]
        if len(seen) == 1 and len(same) > 1:
            found[seen[0]] = [path for path in same if path != seen[0]]
    return found


def _told(left_out: Iterable[Path]) -> tuple[str, ...]:
    return tuple(f"{path.name} has the same name, and is left out" for path in left_out)


def _id_of(path: Path) -> str:
    """The name of a file as an id, in which line ends and the like have no place."""
    return NOT_IN_IDS.sub("_", ".".join(path.with_suffix("").parts))


def _rows(table: Path, files: dict[str, Path]) -> list[Clip]:
    rows = csv.DictReader(io.StringIO(_text(table), newline=""), strict=True)
    try:
        written = [str(name) for name in rows.fieldnames or []]
        columns = columns_of(written, str(table))
        if "path" not in columns.known and not (files and "id" in columns.known):
            raise MERError(f"{table} has no column path; add one with the file of each clip{_hint(written)}")
        clips = []
        for number, row in enumerate(rows, 2):
            if number > MAX_SAMPLES:
                raise MERError(f"{table} has more than {MAX_SAMPLES} rows; give fewer clips at a time")
            if None in row or any(row[name] is None for name in written):
                raise MERError(f"{table}, row {number} has another number of columns than the first row; mend it")
            values = {key: row[name].strip() for key, name in columns.known.items()}
            own = {key: row[name].strip() for key, name in columns.labels.items()}
            clips.append(_clip(table, number, values, own, files))
    except csv.Error as error:
        raise MERError(f"{table}, row {rows.line_num} cannot be read as CSV ({error}); save it again") from None
    if not clips:
        raise MERError(f"{table} has no row of a clip; add one for each")
    return clips


def _hint(written: Iterable[str]) -> str:
    """What else may be meant, where a table in another form of CSV looks as if it had one column."""
    return ", and keep columns apart by commas" if any(re.search(r"[;\t|]", str(name)) for name in written) else ""


def _text(table: Path) -> str:
    data = read_regular(table, LARGEST)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise MERError(f"{table}, row {row} is not in UTF-8; save the table as CSV UTF-8") from None


def _clip(table: Path, number: int, values: dict[str, str], labels: dict[str, str], files: dict[str, Path]) -> Clip:
    place, path, name = f"row {number}", values.get("path", ""), values.get("id", "")
    found = table.parent / path if path else files.get(name)
    start, end = (_seconds(values.get(key, ""), table, place) for key in ("start", "end"))
    split = values.get("split", "")
    split = ALIASES.get(split.lower(), split)
    split = split.lower() if SPLIT_NAME.fullmatch(split.lower()) else split
    if split and not SPLIT_NAME.fullmatch(split):
        raise MERError(f"{table}, {place} is of the split {split!r}; write train, valid, test or test_NAME")
    text = values.get("text")
    if text and NOT_IN_TEXT.search(text):
        raise MERError(f"{table}, {place} has a text with zeros or halves of characters; mend it")
    if NOT_IN_TEXT.search(path):
        raise MERError(f"{table}, {place} has a path with zeros or halves of characters; mend it")
    if not path and not name:
        raise MERError(f"{table}, {place} names no file; give its path")
    if not name:
        name = Path(path).stem + (f"_{start:g}" if start is not None else "")
    video = values.get("video", "")
    is_whole = "$_$" in name or not video
    return Clip(
        found or table.parent / name,
        name if is_whole else f"{video}$_${name}",
        start or 0.0,
        end,
        text,
        split,
        values.get("speaker", ""),
        video or (name.split("$_$")[0] if "$_$" in name else (path or name)),
        labels,
        place,
    )


def _seconds(text: str, table: Path, place: str) -> float | None:
    if not text:
        return None
    try:
        seconds = sum(float(part) * 60.0**power for power, part in enumerate(reversed(text.split(":"))))
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise MERError(f"{table}, {place} has the time {text[:40]!r}; give seconds, or hours:minutes:seconds")
    return seconds


def _check_ids(clips: Sequence[Clip], source: Path) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        if len(clip.id) > MAX_ID or NOT_IN_IDS.search(clip.id):
            raise MERError(f"{source}: the id of {clip.place or clip.path.name} has odd characters; rename it")
        if clip.id in seen:
            both = (seen[clip.id], clip)
            places = " and ".join(one.place if one.place.startswith("row ") else str(one.path) for one in both)
            raise MERError(f"{source}: {places} have the same id {clip.id!r}; give each clip its own")
        seen[clip.id] = clip


def with_splits(clips: Iterable[Clip], by: SplitBy | None, seed: int = 0) -> list[Clip]:
    """Give every clip its split.

    Args:
        clips: Clips, of which all have a split, or none.
        by: What stays together: all clips of a ``video``, or of a ``speaker``; or nothing (``clip``). None leaves clips
            with their own split, and without one puts them all into ``test``, for predictions.
        seed: Of the draw of 70, 10 and 20 % into train, valid and test.

    Raises:
        MERError: If some clips have a split and some have none, or what they are split by is not known.

    Example:
        >>> clips = [Clip(Path(f"{v}{i}.mp4"), video=v) for v in "abcdefghij" for i in "01"]
        >>> splits = {(clip.video, clip.split) for clip in with_splits(clips, "video")}
        >>> len(splits), sorted(split for _, split in splits).count("train")
        (10, 7)
    """
    clips = list(clips)
    if by is None:
        lacking = [clip for clip in clips if not clip.split]
        if lacking and len(lacking) < len(clips):
            raise MERError(f"{lacking[0].place or lacking[0].id} has no split, others have; give all one, or none")
        return [clip if clip.split else replace(clip, split="test") for clip in clips]
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        group = {"video": clip.video or clip.id, "speaker": clip.speaker, "clip": clip.id}[by]
        if not group:
            raise MERError(f"{clip.place or clip.id} has no speaker to split by; give it one, or split by video")
        groups.setdefault(group, []).append(clip)
    names = sorted(groups)
    if len(names) < len(SHARES):
        raise MERError(f"{len(names)} groups of clips by {by} make no three splits; give splits of your own")
    random.Random(seed).shuffle(names)  # noqa: S311  # a draw, not a secret
    counts = {name: max(1, round(share * len(names))) for name, share in SHARES.items() if name != "train"}
    order = [name for name, count in counts.items() for _ in range(count)]
    chosen = dict(zip(names, order, strict=False))
    return [replace(clip, split=chosen.get(group, "train")) for group, own in groups.items() for clip in own]
