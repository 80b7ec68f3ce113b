"""What was written before modules moved and options got other names still loads, and gives the numbers of then.

The files, and how they came about, are described in ``before/README.md``. They can't be made again.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from inspect import signature
from itertools import takewhile
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml
import zoo_cases
from safetensors.torch import load_file
from torch import Tensor

import mer_zoo
import mer_zoo.backbones
import mer_zoo.data
import mer_zoo.wrappers
from mer_zoo.backbones import MulT
from mer_zoo.cli import main
from mer_zoo.data import SyntheticConfig
from mer_zoo.data.missing.pattern import MissingPattern
from mer_zoo.layers import together
from mer_zoo.renames import ADDED, current_path

pytestmark = [
    pytest.mark.filterwarnings("ignore:(MACI|CLUE) chose .* by an effective sample size"),
    pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics)"),  # so few samples tell nothing
]
BEFORE = Path(__file__).parent / "before"
EXPORTS = sorted(path.name for path in (BEFORE / "exports").glob("*"))
RUNS = sorted(path.name for path in BEFORE.glob("run_*"))
RESUMED = [name for name in RUNS if (BEFORE / name / "checkpoints" / "last.ckpt").exists()]
BITWISE = os.environ.get("MER_ZOO_BITWISE") == "1"  # on the kind of machine that wrote parameters.json
TRAINED = [("MulT",), ("MulT", "CausalMER"), ("CIDerNet", "MACI", "MSSD"), ("CUMDFNet", "CUMDF")]
PATTERNS: dict[str, dict[str, Any]] = {
    "MRMS": {"ratio": 0.6},
    "RMFM": {"rate": "per_sample"},
    "RMM": {"rate": 0.5},
    "RandomSMM": {"rate": 0.7},
    "SMM": {"available": ["text", "vision"]},
    "STMFM": {"rate": 0.4},
    "TMFM": {"rate": 0.4},
    "TraditionalRMFM": {"text": 0.1, "audio": 0.3, "vision": 0.6},
    "UnevenRMFM": {"spared": 0.25},
}
QUIET: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
QUIET |= {"enable_checkpointing": False, "accelerator": "cpu", "devices": 1}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in another order are other sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def answers(model: mer_zoo.Model) -> dict[str, Tensor]:
    """What a model says about a fixed batch: in evaluation, and in training, which tells its dropouts and weights."""
    batch = mer_zoo.Batch.random(model.spec, model.task, size=5, seed=3)
    with torch.no_grad():
        output = model.eval().predict(batch)
        said = {"logits": output.logits, **{f"effects.{name}": value for name, value in output.effects.items()}}
        model.prepare([zoo_cases.training_split(model.spec, model.task)])  # what only training needs is not exported
        torch.manual_seed(0)
        steps = list(model.train().steps(batch))
    said["training.logits"] = torch.stack([step.output.logits for step in steps])
    said["training.losses"] = torch.stack([sum(step.losses.values(), torch.zeros(())) for step in steps])
    return {name: value.detach().clone().contiguous() for name, value in said.items()}


def summary(model: torch.nn.Module) -> dict[str, Any]:
    """Parameters and buffers in the order of ``state_dict()``, in short; names do not matter."""
    state = {name: value for name, value in model.state_dict().items() if not name.endswith("_extra_state")}
    flat = torch.cat([value.detach().float().flatten() for value in state.values()])
    wide = flat.double()
    numbers = {"sum": repr(wide.sum().item()), "norm": repr(wide.norm().item())}
    return {"count": len(flat), "sha256": hashlib.sha256(flat.numpy().tobytes()).hexdigest(), **numbers}


def combinations() -> list[tuple[str, str | None]]:
    """Backbone and wrapper of what works today and worked before; what has come since is none of this file's matter."""
    pairs = [(backbone, wrapper) for backbone, wrapper, _, _ in zoo_cases.combinations(["three"], ["features"])]
    return [pair for pair in pairs if key(*pair) in stored("parameters.json")["initial"]]


def key(backbone: str, *wrappers: str | None) -> str:
    """The name of a nest, such as MSSD(MACI(CIDerNet))."""
    name = backbone
    for wrapper in filter(None, wrappers):
        name = f"{wrapper}({name})"
    return name


def meant_then(name: str) -> dict[str, float]:
    """Options that there were not yet, with what was meant without them."""
    return dict(ADDED[name][1]) if name in ADDED else {}


def train(backbone: str, *wrappers: str) -> tuple[mer_zoo.MERModule, dict[str, str]]:
    """Train three steps (two of two optimiser steps each, where a batch takes two), then test."""
    lightning.seed_everything(0, verbose=False)
    data = mer_zoo.SyntheticMER(SyntheticConfig(train=16, valid=6, test=8), batch_size=4)
    inner = getattr(mer_zoo.backbones, backbone)(data.spec, data.task, **zoo_cases.TINY[backbone])
    # eps: gradients of mere rounding stay small, so that another kind of machine comes near
    optimizer: Any = partial(torch.optim.Adam, lr=1e-3, eps=1e-3)
    made: list[Any] = [partial(getattr(mer_zoo.wrappers, name), **meant_then(name)) for name in wrappers]
    module = mer_zoo.MERModule(inner, made, optimizer)
    trainer = lightning.Trainer(max_steps=3, num_sanity_val_steps=0, **QUIET)
    trainer.fit(module, datamodule=data)
    tables = trainer.test(module, datamodule=data, verbose=False)
    return module, {name: repr(value) for table in tables for name, value in table.items()}


def resume(run: str) -> dict[str, str]:
    """Train the run in the working directory one more epoch, and return what metrics.csv says of that epoch."""
    config = yaml.safe_load((Path(run) / "config.yaml").read_text())
    epochs = config["trainer"]["max_epochs"] + 1
    main(
        [
            "fit",
            f"--config={run}/config.yaml",
            f"--ckpt_path={run}/checkpoints/last.ckpt",
            f"--trainer.max_epochs={epochs}",
        ]
    )
    with (Path(run) / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["epoch"] == str(epochs - 1)]
    return {name: value for row in rows for name, value in sorted(row.items()) if value}


def read_store() -> dict[str, Tensor]:
    """The training split of a converted store, standardised, as one batch."""
    data = mer_zoo.MOSI(str(BEFORE / "store"), batch_size=100)
    data.setup("fit")
    (batch,) = data.batch_source("train")
    kinds = {name: batch.modality(name) for name in ("text", "audio", "vision")}
    masks = {f"{name}.mask": kind.mask for name, kind in kinds.items()}
    return {**{name: kind.x for name, kind in kinds.items()}, **masks, "target": batch.target, "index": batch.index}


def draw_patterns() -> dict[str, Tensor]:
    """What every missing pattern leaves of a fixed batch, as the sum of each step's features."""
    spec = mer_zoo.DataSpec(text_len=9, audio_len=9, vision_len=9, aligned=True)
    batch = mer_zoo.Batch.random(spec, mer_zoo.SentimentRegression(), size=6, seed=3)
    left: dict[str, Tensor] = {}
    for name, options in PATTERNS.items():
        seen = getattr(mer_zoo.data, name)(**options)(batch, spec, 5)
        left |= {f"{name}.{kind}": seen.modality(kind).x.sum(2) for kind in ("text", "audio", "vision")}
    return left


def check_tensors(now: dict[str, Tensor], then: dict[str, Tensor]) -> None:
    assert now.keys() == then.keys()
    relative = 1e-6 if BITWISE else 1e-5
    for name, value in then.items():
        torch.testing.assert_close(now[name], value, rtol=relative, atol=1e-6, equal_nan=True, msg=name)


def values(state: dict[str, Any]) -> Tensor:
    """All numbers of a state dict by size, whatever they are called."""
    return torch.cat([value.flatten().float() for value in state.values() if isinstance(value, Tensor)]).sort().values


def stored(name: str) -> Any:
    return json.loads((BEFORE / name).read_text())


def copied(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run as it lay when it was made: in the working directory."""
    shutil.copytree(BEFORE / run, tmp_path / run)
    monkeypatch.chdir(tmp_path)
    return run


def check_numbers(now: dict[str, Any], then: dict[str, Any]) -> None:
    """Equal to the last digit on the same kind of machine, else to rounding; text alike."""
    assert now.keys() == then.keys()
    for name, value in then.items():
        try:
            expected = float(value)
        except ValueError:
            assert now[name] == value
            continue
        assert float(now[name]) == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True), name
        assert not BITWISE or str(now[name]) == str(value), name


def check_parameters(now: dict[str, Any], then: dict[str, Any]) -> None:
    assert now["count"] == then["count"]
    norm = float(then["norm"])
    assert float(now["norm"]) == pytest.approx(norm, rel=1e-6)
    rounding = 3e-8 * then["count"] ** 0.5 * norm  # a kind of machine may round all random numbers the same way
    assert float(now["sum"]) == pytest.approx(float(then["sum"]), rel=1e-6, abs=rounding)
    assert not BITWISE or now["sha256"] == then["sha256"]


def test_there_is_something_of_everything() -> None:
    plain = {name for name in EXPORTS if "(" not in name}
    assert len(plain) == 19
    assert plain <= set(mer_zoo.backbones.__all__)
    around = {name.partition("(")[0] for name in EXPORTS} - plain
    assert around == {"CausalMER", "MSSD", "CUMDF", "PropensityWeighting", "CLUE", "GEAR"}
    assert len(RUNS) == 4
    assert len(RESUMED) == 2


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """MulT read one target after another then, each encoder alone: with other draws of dropout than today."""
    together_now = MulT._remember

    def remember(
        self: MulT, sequences: dict[str, Tensor], masks: dict[str, Tensor | None]
    ) -> tuple[dict[str, Tensor], Tensor]:
        hidden: dict[str, Tensor] = {}
        read, targets = [], self.targets
        for name in targets:
            self.targets = [name]
            states, last = together_now(self, sequences, masks)
            hidden |= states
            read.append(last)
        self.targets = targets
        return hidden, torch.cat(read, 1)

    monkeypatch.setattr(together, "FEW", 0)
    monkeypatch.setattr(MulT, "_remember", remember)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_says_what_it_said(name: str) -> None:
    model = mer_zoo.load_pretrained(BEFORE / "exports" / name)
    assert model.name == name
    assert not model.training
    check_tensors(answers(model), load_file(BEFORE / "exports" / name / "answers.safetensors"))


@pytest.mark.parametrize(("backbone", "wrapper"), combinations())
def test_initial_parameters_are_what_they_were(backbone: str, wrapper: str | None) -> None:
    now = summary(zoo_cases.nest(backbone, wrapper))
    check_parameters(now, stored("parameters.json")["initial"][key(backbone, wrapper)])


def test_no_combination_is_lost() -> None:
    assert {key(*pair) for pair in combinations()} == stored("parameters.json")["initial"].keys()


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("nest", TRAINED, ids=lambda nest: key(*nest))
def test_training_gives_what_it_gave(nest: tuple[str, ...]) -> None:
    then = stored("parameters.json")["trained"][key(*nest)]
    module, metrics = train(*nest)
    check_parameters(summary(module), then["parameters"])
    check_numbers(metrics, then["metrics"])


@pytest.mark.parametrize("run", RUNS)
def test_a_checkpoint_is_tested_with_its_configuration(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path, monkeypatch)
    monkeypatch.setattr(MissingPattern, "draws", property(lambda self: self))  # each rate had draws of its own then
    main(["test", f"--config={run}/config.yaml", f"--ckpt_path={run}/checkpoints/best.ckpt"])
    now, then = json.loads((Path(run) / "results.json").read_text()), stored(f"{run}/results.json")
    assert (now["model"], now["task"], now["seed"]) == (then["model"], then["task"], then["seed"])
    assert now["weights"] == then["weights"] or not BITWISE  # its names are in it
    assert now["conditions"].keys() == then["conditions"].keys()
    for name, condition in then["conditions"].items():
        assert now["conditions"][name]["pattern"] == condition["pattern"]
        for part in ("metrics", "majority", "constant"):
            check_numbers(now["conditions"][name][part], condition[part])
    scores, before = load_file(f"{run}/scores.safetensors"), load_file(BEFORE / run / "scores.safetensors")
    check_tensors({name: scores[name] for name in before}, before)  # the ids beside them came later


@pytest.mark.parametrize("run", RUNS)
def test_a_checkpoint_is_exported(run: str, tmp_path: Path) -> None:
    checkpoint = BEFORE / run / "checkpoints" / "best.ckpt"
    options = ["--student"] if run == "run_cumdf" else []
    with pytest.raises(SystemExit) as leaving:
        main(["export", str(checkpoint), str(tmp_path / "shared"), *options])
    assert not leaving.value.code
    model = mer_zoo.load_pretrained(tmp_path / "shared")
    written = json.loads((tmp_path / "shared" / "config.json").read_text())
    assert (
        written["backbone"]["arguments"].keys()
        <= signature(getattr(mer_zoo, written["backbone"]["class"])).parameters.keys()
    )
    assert model.name == stored(f"{run}/results.json")["model"]
    if not options:  # else what only training needs is gone
        kept = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert values(model.state_dict()).equal(values(kept))


@pytest.mark.parametrize("run", RESUMED)
def test_a_run_is_resumed(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied(run, tmp_path, monkeypatch)
    check_numbers(resume(run), stored("resumed.json")[run])


def classes(config: Any) -> list[str]:
    """The classes that a configuration names, without their modules, in their order."""
    if isinstance(config, list):
        return [name for part in config for name in classes(part)]
    if not isinstance(config, dict):
        return []
    own = [config["class_path"].rpartition(".")[2]] if "class_path" in config else []
    return [*own, *(name for part in config.values() for name in classes(part))]


def test_a_printed_configuration_is_read_and_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["fit", f"--config={BEFORE / 'print_config.yaml'}"]
    with pytest.raises(SystemExit) as leaving:
        main([*given, "--print_config"])
    assert not leaving.value.code
    now, then = yaml.safe_load(capsys.readouterr().out), yaml.safe_load((BEFORE / "print_config.yaml").read_text())
    assert classes(now) == classes(then)
    assert len(now["data"]["init_args"]["conditions"]) == len(then["data"]["init_args"]["conditions"])
    main([*given, "--trainer.fast_dev_run=1"])


@pytest.mark.parametrize("path", (BEFORE / "class_paths.txt").read_text().split())
def test_a_class_path_of_a_configuration_leads_to_its_class(path: str) -> None:
    module, _, name = current_path(path).rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_a_store_is_read() -> None:
    check_tensors(read_store(), load_file(BEFORE / "store.safetensors"))


def test_missing_patterns_draw_what_they_drew() -> None:
    assert PATTERNS.keys() <= set(mer_zoo.data.__all__)
    check_tensors(draw_patterns(), load_file(BEFORE / "patterns.safetensors"))


def test_old_results_are_read_by_the_names_of_their_conditions(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["report", str(BEFORE), "--out", str(tmp_path), "--bootstrap=0"])
    assert not leaving.value.code
    now, then = ((folder / "report.md").read_text().splitlines() for folder in (tmp_path, BEFORE))
    assert table(now, "AUILC") == table(then, "AUILC")
    ours, theirs = ([cells(row) for row in table(lines, "Drop gap")] for lines in (now, then))
    assert [row[:-1] for row in ours] == [row[:-1] for row in theirs]
    # the population deviation stood there, and in results.json: what is shown is worked out from the sets' values
    larger = (6 / 5) ** 0.5
    for row, before in zip(ours[2:], theirs[2:], strict=True):
        assert float(row[-1]) == pytest.approx(larger * float(before[-1]), abs=0.05 + larger * 0.05)
    assert ours[2][-1] == "5.4"  # where 4.9 stood


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split("|")]


def table(lines: list[str], title: str) -> list[str]:
    """The rows of the table below a title of report.md."""
    start = next(place for place, line in enumerate(lines) if line.startswith(f"**{title}"))
    rows = list(takewhile(lambda line: line.startswith("|"), lines[start + 2 :]))
    assert len(rows) > 3
    return rows
