"""Shuffled epochs: the zoo's loader against a plain Dataset with per-sample __getitem__ and default collation.

Prints JSON; big_data.py beside it starts it in a process of its own. Both deliver the same: padded float32 features,
masks, token ids, labels, positions, ids and transcripts, in batches of 32 and more, from the same arrays, which have
been read before.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from mer_zoo.batch import Batch
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.data.dataset import SplitDataset
from mer_zoo.data.synthetic.generate import SyntheticConfig

BATCHES, ROUNDS = (32, 128), 3
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "CPU": time.process_time}


class PlainDataset(Dataset[dict[str, Any]]):
    """What one writes first: one sample at a time, stacked by PyTorch's default collation.

    Args:
        dataset: Where the arrays come from.
    """

    def __init__(self, dataset: SplitDataset) -> None:
        self.split, self.scaler = dataset.split, dataset.scaler
        self.features = {name: self.split.features.get(name) for name in dataset.spec.modalities}

    def __len__(self) -> int:
        return len(self.split)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        split = self.split
        assert split.labels is not None
        sample: dict[str, Any] = {"index": index, "id": split.ids[index], "raw_text": split.raw_text[index]}
        sample["target"] = torch.tensor(split.labels[index])
        if split.token_ids is not None:
            sample["token_ids"] = torch.from_numpy(split.token_ids[index].astype(np.int64))
        for name, features in self.features.items():
            start, stop = map(int, split.spans[name][index])
            length = sample["token_ids"].shape[0] if features is None else features.shape[1]
            time = torch.arange(length)
            sample[f"{name}_mask"] = mask = (time >= start) & (time < stop)
            if features is not None:
                x = torch.from_numpy(np.array(features[index]))
                sample[name] = x if self.scaler is None else self.scaler(name, x) * mask[:, None]
        return sample


def epoch(loader: Iterable[Any], clock: Callable[[], float]) -> float:
    """Milliseconds a batch."""
    count, start = 0, clock()
    for _ in loader:
        count += 1
    return 1e3 * (clock() - start) / count


def copies(dataset: SplitDataset, size: int) -> Iterable[Any]:
    """Nothing but the numbers of shuffled batches copied out of the arrays, which every loader has to do."""
    order = torch.randperm(len(dataset)).numpy()
    arrays = list(dataset.split.features.values())
    for start in range(0, len(order), size):
        yield [array[order[start : start + size]] for array in arrays]


def check_equal(batch: Batch, plain: dict[str, Any]) -> None:
    """Make sure that both deliver the same numbers."""
    pairs = [(batch.target, plain["target"]), (batch.index, plain["index"])]
    for name in ("text", "audio", "vision"):
        modality = batch.modality(name)
        pairs += [(modality.mask, plain[f"{name}_mask"]), (modality.x, plain.get(name, plain["token_ids"]))]
    if not all(torch.equal(one, other) for one, other in pairs) or batch.ids != plain["id"]:
        sys.exit("the loaders deliver different batches")


def compare(name: str, data: MERDataModule) -> list[dict[str, Any]]:
    """Time epochs of both kinds in turn."""
    data.setup("fit")
    zoo = data.train_dataloader()
    dataset = zoo.dataset
    assert isinstance(dataset, SplitDataset)
    size = data.batch_size
    plain = DataLoader(PlainDataset(dataset), batch_size=size, shuffle=True)
    check_equal(dataset.__getitems__(range(size)), next(iter(DataLoader(plain.dataset, batch_size=size))))
    kinds: dict[str, Callable[[], Iterable[Any]]] = {
        "plain": lambda: plain,
        "zoo": lambda: zoo,
        "copy": lambda: copies(dataset, size),
    }
    width = sum(array[:1].nbytes for array in dataset.split.features.values())
    rows = []
    for clock in CLOCKS:
        times = {kind: [epoch(make(), CLOCKS[clock]) for _ in range(ROUNDS)] for kind, make in kinds.items()}
        medians = {kind: statistics.median(values) for kind, values in times.items()}
        about = {"corpus": name, "bytes": width, "batch": size, "standardize": data.standardize, "clock": clock}
        rows.append({**about, **medians})
    return rows


def main() -> None:
    """Compare on the store given and on a corpus of small samples in memory."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for standardize in (True, False):
        data = MERDataModule(sys.argv[1], batch_size=BATCHES[0], standardize=standardize)
        rows += compare("mapped store", data)
    small = SyntheticConfig(train=4096, valid=8, test=8)
    for size in BATCHES:
        rows += compare("SyntheticMER", SyntheticMER(small, batch_size=size))
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
