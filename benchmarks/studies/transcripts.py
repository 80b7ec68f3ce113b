"""Transcripts of MELD and MUStARD, read by an encoder once, and their splits, by chance or by speaker.

    python -m benchmarks.studies.transcripts meld FOLDER meld.npz --encoder MODEL
    python -m benchmarks.studies.transcripts mustard sarcasm_data.json mustard.npz --encoder MODEL

FOLDER holds MELD's three files, such as train_sent_emo.csv. MODEL is any encoder of Hugging Face on disk; its last
hidden states are the features. Speakers, dialogues and labels go along.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from typing_extensions import override

from mer_zoo.data.corpus.conversation import Conversation
from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.datamodule import MERDataModule
from mer_zoo.data.ood.by_group import drawn_splits
from mer_zoo.errors import MERError
from mer_zoo.runs.files import whole_file

OFFICIAL, CHANCE, SPEAKERS = "official folds", "at random", "by speaker"
EMOTIONS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
MELD_FILES = {"train": "train", "dev": "valid", "test": "test"}
TOLD = ("name", "label", "speaker", "dialogue", "split")
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Line:
    """What somebody says.

    Args:
        name: Its id.
        text: The transcript.
        label: Number of its class.
        speaker: Who says it.
        dialogue: Of which conversation it is a part.
        split: Its published split; empty where there is none.
    """

    name: str
    text: str
    label: int
    speaker: str
    dialogue: str
    split: str = ""


def read_meld(folder: Path) -> tuple[list[Line], Sequence[str]]:
    """The lines of MELD, whose numbers of dialogues begin anew in each split, and its emotions."""
    lines = []
    for file, split in MELD_FILES.items():
        with (folder / f"{file}_sent_emo.csv").open(encoding="utf-8", newline="") as rows:
            for row in csv.DictReader(rows):
                dialogue = f"{split}{row['Dialogue_ID']}"
                name = f"{dialogue}_{row['Utterance_ID']}"
                emotion = EMOTIONS.index(row["Emotion"])
                lines.append(Line(name, row["Utterance"], emotion, row["Speaker"].strip(), dialogue, split))
    return lines, EMOTIONS


def read_mustard(file: Path) -> tuple[list[Line], Sequence[str]]:
    """The lines of MUStARD, each a dialogue of its own, and its two classes."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    lines = [
        Line(name, row["utterance"], int(row["sarcasm"]), f"{row['show']}: {row['speaker']}", name)
        for name, row in rows.items()
    ]
    return lines, ("sincere", "sarcastic")


READERS: dict[str, Callable[[Path], tuple[list[Line], Sequence[str]]]] = {"meld": read_meld, "mustard": read_mustard}


def encode(lines: Sequence[Line], classes: Sequence[str], model: str, length: int) -> dict[str, Array]:
    """The lines as arrays, with the states of an encoder in half precision.

    Args:
        lines: The lines, N of them.
        classes: Names of the classes.
        model: The encoder, on disk.
        length: Tokens L a line, at most.

    Returns:
        ``text`` (N, L, D), ``tokens`` (N, L), ``lengths`` (N,) and what the lines hold.
    """
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    network = AutoModel.from_pretrained(model, local_files_only=True).eval()
    ids = tokenizer([line.text for line in lines], padding="max_length", truncation=True, max_length=length)
    tokens, mask = torch.tensor(ids["input_ids"]), torch.tensor(ids["attention_mask"])
    states = torch.zeros(len(lines), length, network.config.hidden_size, dtype=torch.half)
    with torch.inference_mode():
        for rows in torch.split(mask.sum(1).argsort(), 64):
            most = int(mask[rows].sum(1).max())
            given = {"input_ids": tokens[rows, :most], "attention_mask": mask[rows, :most]}
            states[rows, :most] = (network(**given).last_hidden_state * mask[rows, :most, None]).half()
    told = {name: np.array([getattr(line, name) for line in lines]) for name in TOLD}
    lengths = mask.sum(1).numpy()
    return {
        "text": states.numpy(),
        "tokens": (tokens * mask).int().numpy(),
        "lengths": lengths,
        "classes": np.array(classes),
        "said": np.array([line.text for line in lines]),
        **told,
    }


class Transcripts(MERDataModule):
    """Transcripts that were read by an encoder, under a split of one's choice.

    Args:
        path: A file of this script.
        setting: ``official folds``, ``at random`` (dialogues stay whole) or ``by speaker``.
        draw: Seed of the split.
        batch_size: Samples a batch.

    Raises:
        MERError: For a setting that there is not, or published folds where there are none.
    """

    def __init__(self, path: Path, setting: str, draw: int, batch_size: int = 64) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.arrays: dict[str, Array] = dict(file)
        self.setting, self.draw = setting, draw
        names = [str(name) for name in self.arrays["classes"]]
        super().__init__(str(path), batch_size, "classes", ["text"], labels="classes", label_names=names)

    @property
    def speakers(self) -> dict[str, str]:
        """Who says a line, by its id."""
        return dict(zip(self._told("name"), self._told("speaker"), strict=True))

    def _told(self, name: str) -> list[str]:
        return [str(value) for value in self.arrays[name]]

    def _splits(self) -> list[str]:
        if self.setting == OFFICIAL:
            splits = self._told("split")
            if not all(splits):
                raise MERError(f"{self.path} has no published folds; take the settings {CHANCE} and {SPEAKERS}")
            return splits
        if self.setting not in (CHANCE, SPEAKERS):
            raise MERError(f"there is no setting {self.setting!r}; choose from {OFFICIAL}, {CHANCE} and {SPEAKERS}")
        return drawn_splits(self._told("speaker" if self.setting == SPEAKERS else "dialogue"), self.draw)

    @override
    def read(self) -> Corpus:
        splits = np.array(self._splits())
        parts = {name: self._part(np.flatnonzero(splits == name)) for name in ("train", "valid", "test")}
        return Corpus(parts, aligned=False, source=f"{self.path}, {self.setting}")

    def _part(self, rows: Array) -> SplitData:
        names, texts = self._told("name"), self._told("said")
        spans = np.stack([np.zeros(len(rows)), self.arrays["lengths"][rows]], 1).astype(np.int32)
        return SplitData(
            {"text": self.arrays["text"][rows].astype(np.float32)},
            {"text": spans},
            self.arrays["tokens"][rows].astype(np.int32),
            self.arrays["label"][rows].astype(np.int64),
            [names[row] for row in rows],
            [texts[row] for row in rows],
            conversation=Conversation(self._told("speaker"), self._told("dialogue")).take(rows.tolist()),
        )


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=sorted(READERS))
    parser.add_argument("source", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--encoder", required=True, help="folder of an encoder of Hugging Face")
    parser.add_argument("--length", type=int, default=40, help="tokens a line, at most")
    return parser


def main(args: Iterable[str] | None = None) -> None:
    """Read transcripts by an encoder, and write them to a file."""
    options = parser().parse_args(None if args is None else list(args))
    lines, classes = READERS[options.corpus](options.source)
    arrays = encode(lines, classes, options.encoder, options.length)
    with whole_file(options.dest) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


if __name__ == "__main__":
    main()
