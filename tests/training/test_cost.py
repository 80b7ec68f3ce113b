"""What training costs is told by a run's record, whoever tests it."""

import json
import math
import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from report_toys import write_run
from rich.console import Console

import mer_zoo
from mer_zoo.callbacks import RunRecord
from mer_zoo.data import SyntheticConfig
from mer_zoo.reports import load_results
from mer_zoo.reports.complexity import Complexity
from mer_zoo.reports.report import report
from mer_zoo.training.cost import CUDA_PEAK, PROCESS_PEAK, EpochClock, parameter_counts, read_cost

TINY = {
    "model_type": "bert",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}
DATA: dict[str, Any] = {"standardize": False, "batch_size": 4}
SCM = SyntheticConfig(train=8, valid=4, test=4)


def trainer(folder: Path, **options: Any) -> lightning.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    callbacks = [RunRecord(str(folder), pictures=False), *options.pop("callbacks", [])]
    return lightning.Trainer(
        accelerator="cpu", default_root_dir=folder, callbacks=callbacks, num_sanity_val_steps=0, **quiet, **options
    )


class Slow(lightning.Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(0.05)


def module(data: mer_zoo.data.MERDataModule, frozen: bool = False) -> mer_zoo.MERModule:
    encoder: Any = {"config": {**TINY, "vocab_size": data.spec.vocab_size}, "frozen": frozen}
    return mer_zoo.MERModule(mer_zoo.LFLSTM(data.spec, data.task, dim=4, text_encoder=encoder))


@pytest.mark.parametrize("frozen", [False, True])
def test_parameters_with_and_without_the_text_encoder(frozen: bool) -> None:
    data = mer_zoo.SyntheticMER(SCM, **DATA)
    model = module(data, frozen).model
    assert isinstance(model, mer_zoo.LFLSTM)
    assert model.text_encoder is not None
    whole, encoder = (sum(p.numel() for p in part.parameters()) for part in (model, model.text_encoder))
    assert parameter_counts(model) == {
        "trained": whole - encoder if frozen else whole,
        "all": whole,
        "trained_without_text_encoder": whole - encoder,
        "all_without_text_encoder": whole - encoder,
    }


def test_a_run_tells_what_it_cost(tmp_path: Path) -> None:
    data = mer_zoo.SyntheticMER(SCM, **DATA)
    model = module(data)
    trainer(tmp_path, max_epochs=3, callbacks=[Slow()]).fit(model, data)
    kept = json.loads((tmp_path / "cost.json").read_text())
    assert kept["epochs_timed"] == 3
    trainer(tmp_path).test(model, data, verbose=False)  # as another process would, by the folder alone
    found = load_results(tmp_path).complexity
    assert found is not None
    assert found.trained_without < found.trained == found.whole
    assert 0.1 < found.seconds < 5  # two batches an epoch
    assert found.seconds == kept["seconds_per_epoch"]
    assert (found.measure, found.device, found.on_gpu) == (PROCESS_PEAK, "cpu", False)
    assert found.memory is not None
    assert 2**27 < found.memory < 2**35  # torch alone takes more than the one


def test_weights_that_were_not_trained_here_have_no_cost(tmp_path: Path) -> None:
    data = mer_zoo.SyntheticMER(SCM, **DATA)
    trainer(tmp_path, max_epochs=1).fit(module(data), data)
    other = mer_zoo.MERModule(mer_zoo.LMF(data.spec, data.task))
    trainer(tmp_path).test(other, data, verbose=False)
    found = load_results(tmp_path).complexity
    assert found is not None
    assert math.isnan(found.seconds)
    assert found.memory is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1]", "holds a list"),
        ('{"model": 3}', "model is 3, not a text"),
        ("{", ""),
        ('{"model": "MulT", "peak_memory": {"bytes": -1}}', "bytes is -1"),
    ],
)
def test_an_odd_file_is_told(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "cost.json").write_text(text)
    with pytest.raises(mer_zoo.MERError, match=rf"cost.json.*{fault}"):
        read_cost(tmp_path, "MulT")


def test_an_epoch_that_was_not_seen_to_begin_does_not_count() -> None:
    clock = EpochClock(torch.device("cpu"))
    clock.end()
    assert clock.told()["epochs_timed"] == 0
    assert clock.told()["seconds_per_epoch"] is None


def test_memory_of_a_gpu_is_that_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    reset: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    clock = EpochClock(torch.device("cuda", 1))
    assert reset == [torch.device("cuda", 1)]
    assert clock.told()["peak_memory"] == {"bytes": 3 * 2**30, "measure": CUDA_PEAK}
    assert clock.told()["device"] == "a GPU"


@pytest.mark.parametrize("measure", [CUDA_PEAK, PROCESS_PEAK])
def test_the_table_of_a_report(tmp_path: Path, measure: str) -> None:
    counts = {"trained": 5, "all": 12345, "trained_without_text_encoder": 4, "all_without_text_encoder": 10}
    data = {"corpus": "MOSI", "source": None, "modalities": ["text", "audio", "vision"]}
    for seed, seconds in enumerate([2.0, 3.0]):
        cost = {
            "seconds_per_epoch": seconds,
            "peak_memory": {"bytes": 2**31, "measure": measure},
            "device": "a machine",
        }
        complexity = {"parameters": counts, **cost}
        write_run(tmp_path / str(seed), seed=seed, model="EMTDLFR", data=data, complexity=complexity)
    write_run(tmp_path / "older", model="LMF", data=data)
    assert load_results(tmp_path / "0").complexity == Complexity(5, 12345, 4, 10, 2.0, 2**31, measure, "a machine")
    tables = report([tmp_path], samples=0, with_published=True, console=Console(quiet=True)).tables
    (table,) = (table for table in tables if table.title == "Complexity")
    assert table.rows == [["EMTDLFR", "5", "12,345", "4", "10", "2.500 ±0.707", "2.000 ±0.000", "a machine"]]
    (printed,) = (table.rows for table in tables if table.title.startswith("Printed"))
    beside = {row[3].split()[0]: row[4:] for row in printed if "table VI" in row[1]}
    expected = {"parameters_without_bert": ["2,322,779", "4"]}
    if measure == CUDA_PEAK:
        expected |= {"gpu_memory_GiB": ["11.8", "2.000 ±0.000 on a machine"]}
        expected |= {"seconds_per_epoch": ["11.8", "2.500 ±0.707 on a machine"]}
    assert beside == expected


def test_without_any_there_is_no_table(tmp_path: Path) -> None:
    write_run(tmp_path)
    tables = report([tmp_path], samples=0, console=Console(quiet=True)).tables
    assert "Complexity" not in [table.title for table in tables]
