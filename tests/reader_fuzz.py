"""Hostile corpora in forms that come from elsewhere: sequences, data sets, lists of clips, fields beside them."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
from fuzzing import Target
from json_fuzz import damage_bytes, hostile_json
from typing_extensions import override

from mer_zoo.clips.labels import read_labelling
from mer_zoo.clips.listing import SplitBy, list_clips, with_splits
from mer_zoo.data.corpus.checks import fault_error
from mer_zoo.data.files.drafts import Draft
from mer_zoo.data.files.features import scan_split
from mer_zoo.data.files.formats import read_draft

__all__ = ["Datasets", "Fields", "Listings", "Sequences", "use"]

NUMBERS = [0, 1, 2, 7, 255, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
CELLS = ["", " ", "nan", "inf", "-1", "1e999", "0x1", "9" * 5000, "1:2:3:4", "::", "0:61", "\x00", "\ud800", "\x85"]
CELLS += [
    "x" * 70_000,
    '"',
    '""',
    "'",
    "\n",
    "\r",
    "a,b",
    "../../etc/passwd",
    "/dev/zero",
    "train",
    "dev",
    "test_$",
    "joy",
]
ITEMS: list[Any] = [None, True, 7, -1, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x" * 10_000, "\ud800"]
ITEMS += ["\x00", "7", "7.0", "-", b"b", [], {}, (), {1}, [1, 2], ["so", "good"], [[[]]], np.float32(1), np.ones(2)]


def use(draft: Draft) -> None:
    """Read the features too, as a conversion would."""
    for name, split in draft.splits.items():
        scan_split(name, split, "error")


def _use_whole(draft: Draft) -> bool:
    use(draft)
    if draft.faults:
        raise fault_error("corpus", draft.faults)
    return True


def _anew(path: Path, data: bytes) -> None:
    """Write a file that is not the one of before, which may still be mapped."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _overwrite(rng: random.Random, data: bytes) -> bytes:
    """Put large and odd numbers where others stand."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        size = rng.choice([1, 2, 4, 8])
        place = rng.randrange(len(damaged) // size) * size
        damaged[place : place + size] = (rng.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
    return bytes(damaged)


def _damage(rng: random.Random, data: bytes) -> bytes:
    return _overwrite(rng, data) if rng.random() < 0.7 else damage_bytes(rng, data)


class Sequences(Target):
    """Folders of .csd files: their bytes, what they hold, or the table of splits."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "sdk"
        self.path.mkdir()
        rng = np.random.default_rng(0)
        names = ("aaa", "bbb", "ccc")
        clips, edges = np.array([(0.0, 2.0), (2.0, 5.0)]), np.arange(6.0)
        steps = np.stack([edges[:-1], edges[1:]], 1)
        words = np.array([[b"so"], [b"sp"], [b"good"], [b"now"], [b"yes"]])
        self.parts: dict[str, dict[str, Any]] = {
            "labels.csd": {name: (rng.uniform(-3, 3, (2, 1)), clips) for name in names},
            "covarep.csd": {name: (rng.normal(size=(5, 4)).astype("f4"), steps) for name in names},
            "words.csd": dict.fromkeys(names, (words, steps)),
        }
        for name, content in self.parts.items():
            self._write(name, content)
        rows = zip(names, ("train", "dev", "test"), strict=True)
        (self.path / "splits.csv").write_text("id,split\n" + "".join(f"{name},{split}\n" for name, split in rows))
        self.sound = {path.name: path.read_bytes() for path in self.path.iterdir()}
        self.hit = "words.csd"
        use(read_draft(self.path))  # loads what h5py loads once

    def _write(self, name: str, content: dict[str, Any], **options: Any) -> None:
        import h5py

        (self.path / name).unlink(missing_ok=True)
        with h5py.File(self.path / name, "w") as file:
            data = file.create_group("part").create_group("data")
            for recording, (features, intervals) in content.items():
                group = data.create_group(recording)
                group.create_dataset("features", data=features, **options)
                group.create_dataset("intervals", data=intervals)

    def _write_odd(self, rng: random.Random, name: str) -> None:
        import h5py

        content = dict(self.parts[name])
        recording = rng.choice(list(content))
        features, intervals = content[recording]
        odd = [features[:0], features[:, :0], features[:1], features[None], features.astype("S3"), intervals[::-1]]
        odd += [np.full_like(intervals, value) for value in (np.nan, np.inf, 1e308, -1.0)]
        odd += [np.zeros((5, 2), "c8"), np.zeros(5, "i8,f4"), np.zeros((5, 4), "f2"), np.zeros((1, 99_999), "f4")]
        places = (rng.choice(odd), intervals) if rng.random() < 0.5 else (features, rng.choice(odd))
        kinds: list[dict[str, Any]] = [{}, {}, {"compression": "gzip"}, {"chunks": True}, {"maxshape": (None, None)}]
        options = rng.choice(kinds)
        content[recording] = places if not options else (features, intervals)
        self._write(name, content, **options)
        link = rng.choice(["", "", "/part", "/part/data", f"/part/data/{recording}", "outside"])
        if link:
            with h5py.File(self.path / name, "r+") as file:
                place = rng.choice([f"part/data/{recording}", f"part/data/{recording}/features", "part/data/ddd"])
                if place in file:
                    del file[place]
                outside = h5py.ExternalLink(str(self.path / "covarep.csd"), "part/data/aaa")
                file[place] = outside if link == "outside" else h5py.SoftLink(link)

    @override
    def make(self, seed: int) -> None:
        _anew(self.path / self.hit, self.sound[self.hit])
        rng = random.Random(seed)
        self.hit = rng.choice(sorted(self.sound))
        if self.hit in self.parts and rng.random() < 0.3:
            self._write_odd(rng, self.hit)
        else:
            _anew(self.path / self.hit, _damage(rng, self.sound[self.hit]))

    @override
    def read(self) -> bool:
        return _use_whole(read_draft(self.path))


class Datasets(Target):
    """Folders of Hugging Face datasets: the bytes of their blocks, their columns, or what the JSON beside them says."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "set"
        for split in ("train", "validation", "test"):
            (self.path / split).mkdir(parents=True)
            self._write(split, self._columns(split))
            (self.path / split / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
            about = {"features": {"emotion": {"names": ["joy", "fear"], "_type": "ClassLabel"}}}
            (self.path / split / "dataset_info.json").write_text(json.dumps(about))
        (self.path / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
        files = [path for path in self.path.rglob("*") if path.is_file()]
        self.sound = {str(path.relative_to(self.path)): path.read_bytes() for path in files}
        self.hit = "dataset_dict.json"
        use(read_draft(self.path))  # loads what pyarrow loads once

    def _columns(self, split: str) -> dict[str, Any]:
        import pyarrow as pa

        rng = np.random.default_rng(len(split))
        audio = [rng.normal(size=(1 + row, 3)).tolist() for row in range(5)]
        return {
            "id": pa.array([f"{split}_{row}" for row in range(5)]),
            "text": pa.array(["so good"] * 5),
            "speaker": pa.array(["Ann", "Bob", None, "Ann", "Bob"]),
            "dialogue_id": pa.array([0, 0, 1, 1, 1]),
            "emotion": pa.array([0, 1, 1, 0, 1]),
            "audio": pa.array(audio, pa.list_(pa.list_(pa.float32()))),
            "vision": pa.array(rng.normal(size=(5, 2)).tolist(), pa.list_(pa.float64(), 2)),
        }

    def _odd(self, rng: random.Random) -> Any:
        import pyarrow as pa

        numbers = pa.array([[0.5], [], None, [1.0, 2.0], [float("nan")]])
        makers: list[Callable[[], Any]] = [
            lambda: pa.array(["a", "b", "a", None, "b"]).dictionary_encode(),
            lambda: pa.array([{"a": 1}] * 5),
            lambda: pa.array([b"\xff\x00"] * 5),
            lambda: pa.array([0, 1, 2, 3, None], pa.timestamp("s")),
            lambda: pa.nulls(5),
            lambda: pa.array([[["a"]], [[]], [None], None, []]),
            lambda: pa.array([[[[0.5]]]] * 5),
            lambda: pa.array([[True, None]] * 5),
            lambda: pa.array([[[0.5], None], [[1.0, 2.0], [3.0]], [], None, [[]]]),
            lambda: pa.array([[]] * 5, pa.list_(pa.list_(pa.float32(), 0))),
            lambda: pa.array(["x" * 70_000] * 5),
            lambda: pa.array([2**63, 0, 1, 2, 3], pa.uint64()),
            lambda: pa.array([float("inf"), -1.5, None, 0.0, 1e308]),
            lambda: numbers,
            lambda: numbers.cast(pa.list_(pa.float16())),
            lambda: pa.DictionaryArray.from_arrays(pa.array([0] * 5), pa.array(["a"])),
        ]
        return rng.choice(makers)()

    def _write(self, split: str, columns: dict[str, Any], **options: Any) -> None:
        import pyarrow as pa

        batch = pa.record_batch(list(columns.values()), list(columns))
        packed = io.BytesIO()
        with pa.ipc.new_stream(packed, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
            for start in (0, 3):
                out.write_batch(batch.slice(start, 3))
        _anew(self.path / split / "data.arrow", packed.getvalue())

    @override
    def make(self, seed: int) -> None:
        _anew(self.path / self.hit, self.sound[self.hit])
        rng = random.Random(seed)
        self.hit = rng.choice(sorted(self.sound)) if rng.random() < 0.4 else "train/data.arrow"
        if self.hit.endswith(".json"):
            _anew(self.path / self.hit, hostile_json(rng, json.loads(self.sound[self.hit])))
        elif rng.random() < 0.3:
            split = self.hit.partition("/")[0]
            columns = self._columns(split)
            columns[rng.choice([*columns, "label", "turn", "split", "label_T"])] = self._odd(rng)
            self._write(split, columns, **({"compression": "lz4"} if rng.random() < 0.1 else {}))
        else:
            _anew(self.path / self.hit, _damage(rng, self.sound[self.hit]))

    @override
    def read(self) -> bool:
        return _use_whole(read_draft(self.path))


class Fields(Target):
    """Pickles whose fields hold what they should not: who speaks, labels of modalities, further splits by option."""

    ROLES = (None, None, {"train": "train_mix"}, {"valid": "nowhere"}, {"train": "test"}, {"test_more": "train_mix"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.roles: dict[str, str] | None = None
        tree = corpora.mmsa(lists=True)
        for fields in tree.values():
            count = len(fields["id"])
            fields |= {"Speaker": ["Ann", "Bob"] * (count // 2) + ["Ann"] * (count % 2), "turn": list(range(count))}
            fields |= {"dialogue_id": np.arange(count) // 3, "regression_labels_T": np.linspace(-1, 1, count)}
            fields |= {"regression_labels_A": [None, *[0.5] * (count - 1)]}
        mixed = {**tree["train"], "id": [f"mixed_{row}" for row in range(len(tree["train"]["id"]))]}
        key = "regression_labels"
        mixed[key] = [None, *np.asarray(mixed[key]).tolist()[1:]]
        self.tree = {**tree, "train_mix": mixed}

    @staticmethod
    def _odd(rng: random.Random, count: int) -> Any:
        item = rng.choice(ITEMS)
        makers: list[Callable[[], Any]] = [
            lambda: item,
            lambda: [item] * count,
            lambda: [item] * rng.choice([0, 1, count - 1, count + 1, 5000]),
            lambda: tuple([item] * count),
            lambda: dict.fromkeys(range(count), item),
            lambda: [[item, item]] * count,
            lambda: np.array([*[None] * (count - 1), "a"], object),
            lambda: rng.choice([np.zeros, np.ones])(
                rng.choice([count, (count, 1), (count, 0), (0, count), (count, 2, 2)])
            ),
            lambda: np.full(count, rng.choice([np.nan, np.inf, -1e300])),
            lambda: np.zeros(count, rng.choice(["c8", "M8[s]", "S3", "U3", "U0", "i8,f4", "?", "f2", "u8", "V4"])),
        ]
        return rng.choice(makers)()

    @override
    def make(self, seed: int) -> None:
        rng = random.Random(seed)
        self.roles = rng.choice(self.ROLES)
        tree: dict[Any, Any] = {split: dict(fields) for split, fields in self.tree.items()}
        own = ["Speaker", "dialogue_id", "turn", "speaker_id", "regression_labels_T", "regression_labels_A"]
        for _ in range(rng.choice([1, 1, 2, 4])):
            split = rng.choice(list(self.tree))
            fields, count = tree[split], len(self.tree[split]["id"])
            key = rng.choice(own if rng.random() < 0.6 else [*fields, "regression_labels_V", "labels"])
            if rng.random() < 0.3 and isinstance(fields.get(key), list) and fields[key]:
                fields[key] = list(fields[key])
                fields[key][rng.randrange(len(fields[key]))] = rng.choice(ITEMS)
            elif rng.random() < 0.9:
                fields[key] = self._odd(rng, count)
            else:
                fields.pop(key, None)
        if rng.random() < 0.1:
            tree[rng.choice(["train_mix", "dev", "more", 7, None, "about"])] = rng.choice(ITEMS)
        corpora.dump(tree, self.folder / "corpus.pkl")

    @override
    def read(self) -> bool:
        return _use_whole(read_draft(self.folder / "corpus.pkl", roles=self.roles))


class Listings(Target):
    """Tables of recordings to extract features of, alone or beside the recordings."""

    COLUMNS = ("path", "start", "end", "text", "label", "emotion", "label_T", "label_joy", "id", "split", "speaker")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.path = folder / "clips.csv"
        self.by: SplitBy | None = None
        (folder / "own").mkdir()
        for row in range(6):
            (folder / "own" / f"{row}.wav").touch()
        self.rows = [
            [
                f"{row}.wav",
                f"{row}.5",
                f"0:0{row + 2}",
                "so good",
                "0.5",
                "",
                "1",
                "",
                f"v{row // 2}$_${row}",
                "",
                "Ann",
            ]
            for row in range(6)
        ]

    @override
    def make(self, seed: int) -> None:
        rng = random.Random(seed)
        columns, rows = list(self.COLUMNS), [list(row) for row in self.rows]
        for _ in range(rng.choice([0, 1, 1, 2, 5])):
            kind, place = rng.randrange(8), rng.randrange(len(columns))
            if kind == 0:
                columns[place] = rng.choice([*CELLS, "path", "ID", "label_", "label_A", "label_x", "video", "Path "])
            elif kind == 1 and rows:
                rows.append(rng.choice(rows) * rng.choice([1, 1, 2]))
            elif kind == 2:
                cell = rng.choice(CELLS)
                rows = [[*row[:place], cell, *row[place + 1 :]] for row in rows]
            elif kind == 3:
                rows = [list(row) for row in rows[:6] * rng.choice([0, 2, 200])]
            elif rows:
                row = rng.choice(rows)
                row[rng.randrange(len(row))] = rng.choice(CELLS)
        packed = io.StringIO()
        csv.writer(packed, quoting=rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])).writerows([columns, *rows])
        data = packed.getvalue().encode("utf-8", "surrogatepass")
        self.by = rng.choice([None, "video", "speaker", "clip"])
        self.path = rng.choice([self.folder / "clips.csv", self.folder / "own"])
        table = self.path if self.path.suffix else self.path / "labels.csv"
        table.write_bytes(damage_bytes(rng, data) if rng.random() < 0.4 else data)

    @override
    def read(self) -> bool:
        clips = list_clips(self.path)
        labelling = read_labelling(clips)
        clips = with_splits(clips, self.by)
        for split in {clip.split for clip in clips}:
            labelling.fields([clip for clip in clips if clip.split == split and labelling.is_labelled(clip)])
        labelling.about()
        return True
