"""What can be fuzzed, by name: for each the making of an input and its reading, as a user's command would read it."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import torch
from file_fuzz import hostile_npy, hostile_safetensors
from fuzzing import Target
from json_fuzz import damage_bytes, hostile_json
from pickle_fuzz import hostile_pickle
from reader_fuzz import Datasets, Fields, Listings, Sequences, use
from size_fuzz import grown
from typing_extensions import override

from mer_zoo import load_pretrained, save_pretrained
from mer_zoo.backbones import LFLSTM, MulT
from mer_zoo.batch import DataSpec
from mer_zoo.cli.sweeps.config import load_sweep
from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.checks import fault_error
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.dataset import SplitDataset, check_labels
from mer_zoo.data.files import numpy_pickles
from mer_zoo.data.files.clips import fields_of_clips
from mer_zoo.data.files.features import check_present
from mer_zoo.data.files.formats import describe, read_draft
from mer_zoo.data.files.pickles import load_pickle
from mer_zoo.data.store.store import META, is_store, open_store, write_store
from mer_zoo.errors import MERError
from mer_zoo.foreign import Budget
from mer_zoo.task import SentimentClassification, SentimentRegression
from mer_zoo.wrappers import CLUE, CausalMER

__all__ = ["TARGETS"]

BERT = {"model_type": "bert", "vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
BERT |= {"intermediate_size": 8, "max_position_embeddings": 30}


class Pickles(Target):
    """Pickles, of interest if an array is built of what is in them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        build_array = numpy_pickles._array

        def noting(*args: Any) -> StoredArray:
            self.reached = True
            return build_array(*args)

        numpy_pickles._array = noting  # type: ignore[assignment]

    @override
    def make(self, seed: int) -> None:
        self.reached = False
        (self.folder / "corpus.pkl").write_bytes(hostile_pickle(seed))

    @override
    def read(self) -> bool:
        budget = Budget("corpus.pkl")
        tree = fields_of_clips(load_pickle(self.folder / "corpus.pkl", budget), budget)
        use(describe(tree, budget))
        return self.reached


class Files(Target):
    """Folders of .npy files and .npz archives."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tree = corpora.without(corpora.mmsa(), "raw_text", "text", "annotations", "classification_labels")
        self.arrays = {
            f"{split}/{key}": np.asarray(tree[split][key]) for split in ("train", "test") for key in tree[split]
        }
        self.sound = corpora.write_folder({split: tree[split] for split in ("train", "test")}, folder / "sound")

    @override
    def make(self, seed: int) -> None:
        rng = random.Random(seed)
        members = {name: (self.sound / f"{name}.npy").read_bytes() for name in self.arrays}
        hit = rng.choice(list(members))
        members[hit] = hostile_npy(rng, self.arrays[hit], members[hit])
        shutil.rmtree(self.folder / "own", ignore_errors=True)
        self.path = self.folder / rng.choice(["own", "own.npz"])
        if self.path.suffix:
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
                for name, data in members.items():
                    archive.writestr(f"{name}.npy", data)
            self.path.write_bytes(packed.getvalue() if rng.random() < 0.5 else damage_bytes(rng, packed.getvalue()))
        else:
            shutil.copytree(self.sound, self.path)
            (self.path / f"{hit}.npy").write_bytes(members[hit])

    @override
    def read(self) -> bool:
        use(read_draft(self.path))
        return True


class Forms(Target):
    """Tables beside one file a clip, maybe with what their labels mean, and files of torch.save."""

    ABOUT = ({"labels": "classes", "names": ["joy", "fear"]}, {"labels": "sentiment", "range": [-3, 3]})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        clips = [clip for own in corpora.clips().values() for clip in own]
        self.table = "id,mode,text,label,emotion,Speaker,Dialogue_ID,Utterance_ID,label_T\n" + "".join(
            f"{name},{('train', 'dev', 'test')[row % 3]},{' '.join(words)},{label.item()},joy,Ann,{row // 4},{row},1\n"
            for row, ((words, _, _), label, name) in enumerate(clips)
        )
        self.arrays = {f"audio/{name}": audio for (_, _, audio), _, name in clips}
        for name, array in self.arrays.items():
            (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / "own" / f"{name}.npy", array)
        self.sound = {name: (folder / "own" / f"{name}.npy").read_bytes() for name in self.arrays}
        self.hit = next(iter(self.arrays))
        audio = torch.ones(8, 5, 3)
        tree = {split: {"audio": audio, "labels": [0.5] * 8, "raw_text": ["so"] * 8} for split in ("train", "test")}
        torch.save(tree, folder / "sound.pt")
        self.archive = (folder / "sound.pt").read_bytes()

    @override
    def make(self, seed: int) -> None:
        rng = random.Random(seed)
        if rng.random() < 0.4:
            self.path = self.folder / "hostile.pt"
            self.path.write_bytes(damage_bytes(rng, self.archive))
            return
        self.path = self.folder / "own"
        table = self.table.encode()
        (self.path / "labels.csv").write_bytes(damage_bytes(rng, table) if rng.random() < 0.6 else table)
        (self.path / "about.json").unlink(missing_ok=True)
        if rng.random() < 0.4:
            (self.path / "about.json").write_bytes(hostile_json(rng, rng.choice(self.ABOUT)))
        (self.path / f"{self.hit}.npy").write_bytes(self.sound[self.hit])
        self.hit = rng.choice(sorted(self.arrays))
        sound = self.sound[self.hit]
        hostile = hostile_npy(rng, self.arrays[self.hit], sound) if rng.random() < 0.5 else sound
        (self.path / f"{self.hit}.npy").write_bytes(hostile)

    @override
    def read(self) -> bool:
        use(read_draft(self.path))
        return True


class Stores(Target):
    """Stores: their index, or one of their arrays."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tree = {split: fields for split, fields in corpora.mmsa().items() if split != "valid"}
        write_store(corpora.dump(tree, folder / "corpus.pkl"), folder / "sound")
        shutil.copytree(folder / "sound", folder / "store")
        self.sound = {path.name: path.read_bytes() for path in (folder / "sound").iterdir()}
        self.hit = META

    @override
    def make(self, seed: int) -> None:
        (self.folder / "store" / self.hit).write_bytes(self.sound[self.hit])
        rng = random.Random(seed)
        self.hit = META if rng.random() < 0.6 else rng.choice(sorted(self.sound))
        if self.hit == META:
            hostile = hostile_json(rng, json.loads(self.sound[META]))
        else:
            hostile = hostile_npy(rng, np.load(io.BytesIO(self.sound[self.hit])), self.sound[self.hit])
        (self.folder / "store" / self.hit).write_bytes(hostile)

    @override
    def read(self) -> bool:
        corpus = open_store(self.folder / "store", "store")
        for name in corpus.splits:
            use_corpus(corpus, name)
        return True


def use_corpus(corpus: Corpus, name: str) -> None:
    """Fetch a batch of a split, as training would."""
    split, task = corpus.split(name), SentimentRegression()
    check_labels(split, task, corpus.source)
    modalities = list(split.features)
    check_present(corpus, modalities)
    data = SplitDataset(split, corpus.spec(modalities, tokens=False), task)
    data.__getitems__([0, len(split) - 1])
    if split.token_ids is not None:
        corpus.spec(modalities, tokens=True)


class Exports(Target):
    """Folders of :func:`mer_zoo.load_pretrained`: the configuration, or the header of the weights."""

    lazy = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        torch.set_num_threads(1)
        spec = DataSpec(text_len=6, audio_len=5, vision_len=4, text_dim=3, audio_dim=3, vision_dim=3)
        tokens = DataSpec(**{**dict(spec), "tokens": True, "vocab_size": 50})
        task = SentimentClassification(3)
        models = [
            CLUE(LFLSTM(tokens, task, text_encoder=BERT, dim=4), lstm_dim=4, dim=4),
            CausalMER(LFLSTM(spec, task, dim=4)),
            MulT(spec, task, dim=4, heads=2, depth=1),
        ]
        for place, model in enumerate(models):
            save_pretrained(model, folder / f"sound{place}")

    @override
    def make(self, seed: int) -> None:
        rng = random.Random(seed)
        sound = self.folder / f"sound{rng.randrange(3)}"
        config, weights = ((sound / file).read_bytes() for file in ("config.json", "model.safetensors"))
        if rng.random() < 0.8:
            config = hostile_json(rng, json.loads(config))
        else:
            weights = hostile_safetensors(rng, weights)
        folder = self.folder / "export"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_bytes(config)
        (folder / "model.safetensors").write_bytes(weights)

    @override
    def read(self) -> bool:
        load_pretrained(self.folder / "export")
        return True


class Sizes(Target):
    """Few bytes that stand for much: corpora, stores and sweep files."""

    lazy = True

    @override
    def make(self, seed: int) -> None:
        shutil.rmtree(self.folder / "grown", ignore_errors=True)
        (self.folder / "grown").mkdir()
        self.path = grown(seed, self.folder / "grown")

    @override
    def read(self) -> bool:
        if self.path.suffix == ".yaml":
            load_sweep(self.path)
        elif is_store(self.path):
            corpus = open_store(self.path, "store")
            for name in corpus.splits:
                use_corpus(corpus, name)
        else:
            draft = read_draft(self.path)
            use(draft)
            if draft.faults:
                raise fault_error("corpus", draft.faults)
        return True


class Faults(Target):
    """Does in turn what no reader may do, and now and then nothing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seed = 0
        self.acts: list[Callable[[], object]] = [
            lambda: os.system("true"),
            lambda: (self.folder / "new").open("wb"),
            lambda: {"a": 1}["b"],
            _spin,
            lambda: bytearray(3 * 2**30),
            lambda: eval("1 + 1"),
            _hidden_hoard,
            bool,
            _spin_deaf,
            bool,
            lambda: os.kill(os.getpid(), signal.SIGSEGV),
        ]

    @override
    def make(self, seed: int) -> None:
        self.seed = seed

    @override
    def read(self) -> bool:
        if self.seed >= 3:  # the first three are read once to load what loads once
            self.acts[self.seed - 3]()
        if self.seed < 6:
            raise MERError("refused")
        return True


def _spin() -> None:
    while True:
        pass


def _spin_deaf() -> None:
    """Hang as code in C does, which looks at no signals."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF})
    _spin()


def _hidden_hoard() -> None:
    try:
        bytearray(3 * 2**30)
    except MemoryError as error:
        raise MERError("damaged") from error


TARGETS: dict[str, type[Target]] = {
    "pickles": Pickles,
    "files": Files,
    "forms": Forms,
    "fields": Fields,
    "listings": Listings,
    "datasets": Datasets,
    "sequences": Sequences,
    "stores": Stores,
    "exports": Exports,
    "sizes": Sizes,
    "faults": Faults,
}
