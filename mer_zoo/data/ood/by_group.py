"""``mer-zoo split``: the samples of a corpus in new splits that share no speaker, recording or other group."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mer_zoo.data.corpus.checks import plural
from mer_zoo.data.corpus.conversation import NAMED, Conversation, recordings
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.features import NanPolicy
from mer_zoo.data.files.groups import read_groups
from mer_zoo.data.label_options import add_label_options, other_options, told_labels
from mer_zoo.data.ood.pool import Pool
from mer_zoo.data.ood.regrouped import Regrouped, check_free, write_regrouped
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import Table, open_console

__all__ = ["drawn_splits", "main", "split_by_group"]

SPLITS = ("train", "valid", "test")
RECORDING = "recording"
SHARES = {"test": 0.2, "valid": 0.1}


def drawn_splits(groups: Sequence[str], seed: int, shares: Mapping[str, float] = SHARES) -> list[str]:
    """Deal samples out to test, valid and train, those of one group together.

    Args:
        groups: The group of each sample.
        seed: Of the draw.
        shares: Share of the samples of each split that is not train.

    Returns:
        The split of each sample; in the order of the draw, test gets groups until it has its share or more, then valid.

    Example:
        >>> splits = drawn_splits([name for name in "abcdefghij" for _ in range(5)], seed=0)
        >>> splits.count("train"), splits.count("valid"), splits.count("test")
        (35, 5, 10)
    """
    names, counts = np.unique(np.array(groups), return_counts=True)
    split_of, wanted, filled = {}, dict(shares), 0
    for group in np.random.default_rng(seed).permutation(len(names)):
        split = next(iter(wanted), "train")
        split_of[str(names[group])] = split
        filled += int(counts[group])
        if filled >= wanted.get(split, 1) * len(groups):
            wanted.pop(split, None)
            filled = 0
    return [split_of[group] for group in groups]


def split_by_group(
    source: str | Path,
    dest: str | Path,
    by: str,
    seed: int = 0,
    test: float = SHARES["test"],
    valid: float = SHARES["valid"],
    nan: NanPolicy = "error",
    told: Meaning | None = None,
    progress: bool = False,
) -> Table:
    """Distribute the labelled samples of a corpus anew so that no group is in two splits.

    Args:
        source: A corpus in any format of docs/data.md; nothing in it is changed.
        dest: The store to make, a folder that does not exist or is empty, with the splits train, valid and test.
        by: ``speaker`` or ``dialogue``, as the corpus tells them; ``recording``, as its ids do; or a CSV file of ids
            and groups, see :func:`~mer_zoo.data.files.groups.read_groups`.
        seed: Equal seeds give equal splits.
        test: Share of the samples that test gets, or a little more.
        valid: The same of valid.
        nan: Whether NaN and infinity in features are an error or become zero.
        told: What labels mean, as far as the user says it.
        progress: Whether to show progress bars.

    Returns:
        Samples and groups of each split.

    Raises:
        MERError: If the source cannot be used, the group of a sample is not known, there are too few groups, or the
            destination is taken.
    """
    source, dest = Path(source).expanduser(), Path(dest).expanduser()
    if seed < 0:
        raise MERError(f"seed is {seed}; give at least 0")
    if not (test > 0 and valid > 0 and test + valid < 1):
        raise MERError(f"test is {test} and valid {valid}; give shares above 0 that leave some samples to train on")
    check_free(source, dest)
    corpus = open_corpus(source, nan=nan, progress=progress, told=told)
    pool = Pool.labelled(corpus)
    groups = _groups(corpus, pool, by)
    splits = drawn_splits(groups, seed, {"test": test, "valid": valid})
    empty = [name for name in SPLITS if name not in splits]
    if empty:
        raise MERError(
            f"{corpus.source} has {plural(len(set(groups)), 'group')} by {by}, of which none is left for"
            f" {' and '.join(empty)}; take another --seed, smaller shares (--test, --valid), or other groups (--by)"
        )
    what = by if by in (*NAMED, RECORDING) else f"group of {Path(by).name}"
    note = f"splits made by mer-zoo split (by {what}, seed {seed}, test {test:g}, valid {valid:g}): no {what} is in two"
    left_out = sum(len(split) for split in corpus.splits.values()) - len(groups)
    notes = [note, *([f"{plural(left_out, 'sample')} without a label left out"] if left_out else [])]
    places = np.array([SPLITS.index(name) for name in splits])
    write_regrouped(Regrouped(corpus, pool, places, SPLITS), source, dest, note, lambda _: None, progress)
    rows = []
    for name in SPLITS:
        own = [group for group, split in zip(groups, splits, strict=True) if split == name]
        rows.append([name, str(len(own)), str(len(set(own)))])
    return Table(f"{source.name} by {what}", ["split", "samples", "groups"], rows, notes)


def _groups(corpus: Corpus, pool: Pool, by: str) -> list[str]:
    """The group of each sample of the pool."""
    ids = [name for part in pool.parts for name in part.ids]
    if by in NAMED:
        told = Conversation.joined([(len(part), part.conversation.completed(part.ids)) for part in pool.parts])
        groups = told.names().get(by, [""] * len(ids))
        remedy = f"give it a field {by}"
    elif by == RECORDING:
        groups = [name for part in pool.parts for name in recordings(part.ids) or [""] * len(part)]
        remedy = "give it ids such as video$_$clip"
    else:
        if ".csv" not in by.lower() and not Path(by).expanduser().exists():
            raise MERError(f"--by is {by[:60]!r}; take {', '.join(NAMED)}, {RECORDING} or a CSV file of ids and groups")
        of = read_groups(Path(by).expanduser() if ":" not in by else by, "--by")
        groups, remedy = [of.get(name, "") for name in ids], "give the file a line for each id"
    lacking = [name for name, group in zip(ids, groups, strict=True) if not group]
    if lacking:
        raise MERError(
            f"the {by} of {plural(len(lacking), 'sample')} of {corpus.source} is not told, {lacking[0]!r} for one;"
            f" {remedy}, or take other groups (--by, which may be a CSV file of ids and groups)"
        )
    return groups


def main(args: list[str]) -> None:
    """Make splits that share no group as the command line asks.

    Args:
        args: Arguments of ``mer-zoo split``.

    Raises:
        MERError: If it cannot be done.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo split",
        description="Distribute a corpus anew: no speaker, or other group, is in two splits.",
        allow_abbrev=False,
    )
    parser.add_argument("source", help="a corpus file or folder, see docs/data.md")
    parser.add_argument("dest", help="the folder to make, a store with the splits train, valid and test")
    parser.add_argument(
        "--by",
        required=True,
        metavar="WHAT",
        help="speaker, dialogue, recording, or a CSV file of ids and groups (FILE.csv or FILE.csv:COLUMN)",
    )
    parser.add_argument("--seed", type=int, default=0, help="equal seeds give equal splits")
    parser.add_argument("--test", type=float, default=SHARES["test"], help="share of the samples to test on")
    parser.add_argument("--valid", type=float, default=SHARES["valid"], help="share of the samples to validate on")
    parser.add_argument("--nan", choices=["error", "zero"], default="error", help="refuse NaN, or put 0 in its place")
    add_label_options(parser)
    parsed = parser.parse_args(args)
    console = open_console()
    split_by_group(**other_options(parsed), told=told_labels(parsed), progress=True).show(console)
    console.print(f"written to {parsed.dest}", markup=False, highlight=False, soft_wrap=True)
