"""Leaks that are planted into a clean corpus, each to be found by `mer-zoo audit`, and clean sets to be left alone.

    python -m benchmarks.faults.audit --seeds 3 --mosi mosi/unaligned_50.pkl --clean mosi/clean_unaligned_50.pkl

The clean corpus is SyntheticMER in recordings of ten clips. A leak counts as found where a finding of its own kind is
called a leak. Clean sets are SyntheticMER under each seed, text and audio of the CMU-MOSI file, and the other file, of
which nobody knows a leak. Exit code 1 where a leak is missed, or a clean set is blamed.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.table import Table
from typing_extensions import override

from mer_zoo import SyntheticMER
from mer_zoo.audit import Page, audit
from mer_zoo.audit.prediction import check_prediction
from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, Output
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.survey.finding import Finding
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate

CLIPS = 10  # of a recording
Splits = dict[str, SplitData]


def clean(size: float = 1, seed: int = 0) -> Corpus:
    """SyntheticMER with a score as its label, in recordings, without the splits of another distribution."""
    train, valid, test = (int(number * size) for number in (400, 100, 200))
    whole = generate(SyntheticConfig(train=train, valid=valid, test=test, seed=seed), "continuous")
    splits = {
        name: whole.splits[source] for name, source in (("train", "train"), ("valid", "valid"), ("test", "test_iid"))
    }
    named = {
        name: replace(split, ids=[f"{name}{row // CLIPS}$_${row % CLIPS}" for row in range(len(split))])
        for name, split in splits.items()
    }
    return replace(whole, splits=named, source="planted")


def rows_of(split: SplitData, rows: Sequence[int] | npt.NDArray[np.int64], **changes: Any) -> SplitData:
    """Some samples, each as often as it is named."""
    at = np.asarray(rows)
    assert split.labels is not None
    assert split.token_ids is not None
    return replace(
        split,
        features={key: x[at] for key, x in split.features.items()},
        spans={key: x[at] for key, x in split.spans.items()},
        token_ids=split.token_ids[at],
        labels=split.labels[at],
        ids=[split.ids[row] for row in at],
        raw_text=[split.raw_text[row] for row in at],
        **changes,
    )


def joined(*splits: SplitData) -> SplitData:
    """Samples of several splits in one."""
    first = splits[0]
    whole: dict[str, Any] = {
        "features": {key: np.concatenate([one.features[key] for one in splits]) for key in first.features},
        "spans": {key: np.concatenate([one.spans[key] for one in splits]) for key in first.spans},
        "token_ids": np.concatenate([one.token_ids for one in splits if one.token_ids is not None]),
        "labels": np.concatenate([one.labels for one in splits if one.labels is not None]),
        "ids": [name for one in splits for name in one.ids],
        "raw_text": [text for one in splits for text in one.raw_text],
    }
    return SplitData(**whole)


def label_of(split: SplitData) -> npt.NDArray[np.float32]:
    """The scores."""
    assert split.labels is not None
    return np.asarray(split.labels, np.float32)


def changed(
    split: SplitData, key: str, change: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
) -> SplitData:
    """A split with other features of a modality."""
    return replace(split, features={**split.features, key: change(split.features[key].copy())})


def same_samples(splits: Splits) -> Splits:
    """Samples of train are tested on, under their own ids."""
    return {**splits, "test": joined(splits["test"], rows_of(splits["train"], range(12)))}


def renamed_copies(splits: Splits) -> Splits:
    """The same under other ids, stored in half precision meanwhile."""
    copied = rows_of(splits["train"], range(12))
    copied = replace(copied, ids=[f"new{row}$_$0" for row in range(12)])
    for key in copied.features:
        copied = changed(copied, key, lambda x: x.astype(np.float16).astype(np.float32))
    return {**splits, "test": joined(splits["test"], copied)}


def ood_is_iid(splits: Splits) -> Splits:
    """An OOD split that is the IID split."""
    return {**splits, "test_ood": splits["test"]}


def shared_recordings(splits: Splits) -> Splits:
    """Clips of one recording, which have one mood, stand in train and in test."""
    found = dict(splits)
    for name in ("train", "test"):
        moods = np.sign(label_of(splits[name])).astype(int)
        ids = [f"video{mood}{row % 7}$_${name}{row}" for row, mood in enumerate(moods)]
        found[name] = replace(splits[name], ids=ids)
    return found


def repeated_sentences(splits: Splits) -> Splits:
    """Sentences of train with one word less are tested on, with other sound and picture."""
    test, train = splits["test"], splits["train"]
    assert test.token_ids is not None
    assert train.token_ids is not None
    longest = sorted(range(len(train)), key=lambda row: -len(train.raw_text[row].split()))[:20]
    tokens, spans, texts = test.token_ids.copy(), test.spans["text"].copy(), list(test.raw_text)
    for place, row in enumerate(longest):
        tokens[place], spans[place] = train.token_ids[row], train.spans["text"][row]
        texts[place] = " ".join(train.raw_text[row].split()[:-1])
    return {**splits, "test": replace(test, token_ids=tokens, raw_text=texts, spans={**test.spans, "text": spans})}


def label_as_feature(splits: Splits) -> Splits:
    """One of the features of audio is the label."""

    def write(split: SplitData) -> SplitData:
        def change(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            x[:, :, 3] = label_of(split)[:, None] + 0.1 * x[:, :, 3]
            return x

        return changed(split, "audio", change)

    return {name: write(split) for name, split in splits.items()}


def trained_features(splits: Splits) -> Splits:
    """The network behind vision was trained with the labels of two thirds of the recordings, as in a CMU-MOSI file."""
    direction = np.random.default_rng(0).normal(size=splits["train"].features["vision"].shape[2])

    def write(split: SplitData) -> SplitData:
        knows = np.array([int(re.findall(r"\d+", name)[0]) % 3 > 0 for name in split.ids])

        def change(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            moved: npt.NDArray[np.float32] = x + np.outer(np.sign(label_of(split)) * knows, direction)[:, None].astype(
                "f4"
            )
            return moved

        return changed(split, "vision", change)

    return {name: write(split) for name, split in splits.items()}


def scaled_by_all(splits: Splits) -> Splits:
    """Vision is standardised by all splits together."""
    steps = np.concatenate([split.features["vision"].reshape(-1, 10) for split in splits.values()])
    mean, deviation = steps.mean(0), steps.std(0)
    return {name: changed(split, "vision", lambda x: (x - mean) / deviation) for name, split in splits.items()}


def vocabulary_of_all(splits: Splits) -> Splits:
    """Words are numbered as they come, those of test too."""
    number = {0: 0, 101: 1, 102: 2}  # [PAD], [CLS], [SEP]
    found = {}
    for name, split in splits.items():
        assert split.token_ids is not None
        for token in split.token_ids.reshape(-1).tolist():
            number.setdefault(token, len(number))
        tokens = np.vectorize(number.__getitem__)(split.token_ids).astype(np.int32)
        found[name] = replace(split, token_ids=tokens)
    return found


def telling_length(splits: Splits) -> Splits:
    """What is sad is cut later."""

    def write(split: SplitData) -> SplitData:
        keep = (24 - 4 * np.round(label_of(split))).astype(int)[:, None]
        return changed(split, "audio", lambda x: x * (np.arange(x.shape[1]) < keep)[..., None])

    return {name: write(split) for name, split in splits.items()}


PLANTED: Mapping[str, tuple[Callable[[Splits], Splits], str]] = {
    "samples of train in test": (same_samples, "overlap"),
    "copies under other ids": (renamed_copies, "copied-clips"),
    "OOD split equal to the IID split": (ood_is_iid, "identical-splits"),
    "recordings in train and test": (shared_recordings, "shared-recordings"),
    "sentences of train in test": (repeated_sentences, "near-duplicate-sentences"),
    "a feature that is the label": (label_as_feature, "label-in-features"),
    "features trained with some labels": (trained_features, "too-telling"),
    "scaled by all splits": (scaled_by_all, "scaled-by-test"),
    "a vocabulary of all splits": (vocabulary_of_all, "vocabulary-of-test"),
    "lengths that tell the label": (telling_length, "telling-length"),
}


class FedTheLabel(LFLSTM):
    """An encoder that is fed the label."""

    @override
    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return output.replace(logits=output.logits + 0.1 * batch.target[:, None].to(output.logits))


def found_in_corpus(name: str, size: float = 1, seed: int = 0) -> tuple[bool, Page]:
    """Plant a leak, and see whether it is found."""
    plant, kind = PLANTED[name]
    corpus = clean(size, seed)
    page = audit(replace(corpus, splits=plant(corpus.splits)))
    return any(one.kind == kind and one.severity == "leak" for one in page.findings), page


def found_in_model(fed: bool = True, seed: int = 0) -> list[Finding]:
    """What is found of an encoder that is fed the label, or of the same one that is not."""
    torch.manual_seed(seed)
    data = SyntheticMER(SyntheticConfig(train=8, valid=8, test=16, seed=seed), task="regression", conditions=[])
    model = (FedTheLabel if fed else LFLSTM)(data.spec, data.task, dim=8)
    (batch,) = data.batch_source("test_iid")
    return list(check_prediction(model, batch, "model"))


def clean_sets(seeds: int, mosi: Path | None, unleaking: Path | None) -> Iterable[tuple[str, Page]]:
    """The page of each set in which nothing is wrong."""
    for seed in range(seeds):
        yield f"SyntheticMER, seed {seed}", audit(generate(SyntheticConfig(seed=seed)))
    if mosi is not None:
        yield f"{mosi.name}, text and audio", audit(mosi, modalities=("text", "audio"))
    if unleaking is not None:
        yield unleaking.name, audit(unleaking)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seeds", type=int, default=3, help="clean corpora of SyntheticMER, and seeds of planted leaks"
    )
    parser.add_argument("--size", type=float, default=1.0, help="times 400 training samples of planted corpora")
    parser.add_argument("--mosi", type=Path, help="a CMU-MOSI file whose text and audio are clean")
    parser.add_argument("--clean", type=Path, help="another file in which nothing is wrong")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Plant, look, and show what was found."""
    options = parser().parse_args(args)
    table, failed = Table("planted or clean", "as it should be", "found", "seconds"), 0

    def row(name: str, right: bool, findings: Iterable[Finding], began: float) -> None:
        told = ", ".join(f"{one.kind} ({one.severity})" for one in findings) or "nothing"
        table.add_row(name, "yes" if right else "NO", told, f"{time.perf_counter() - began:.1f}")

    for seed in range(options.seeds):
        for name in PLANTED:
            began = time.perf_counter()
            right, page = found_in_corpus(name, options.size, seed)
            failed += not right
            row(f"{name}, seed {seed}", right, page.sorted, began)
    for fed in (True, False):
        began = time.perf_counter()
        findings = found_in_model(fed)
        right = [one.kind for one in findings] == (["labels-read"] if fed else [])
        failed += not right
        row("an encoder fed the label" if fed else "the same, not fed", right, findings, began)
    began = time.perf_counter()
    for name, page in clean_sets(options.seeds, options.mosi, options.clean):
        right = all(one.severity == "note" for one in page.findings)
        failed += not right
        row(name, right, page.sorted, began)
        began = time.perf_counter()
    Console(width=160).print(table)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
