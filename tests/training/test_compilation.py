"""Compiled networks give the numbers of those that are not, are saved under the same names, and work under wrappers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from scale_cases import PLAIN, SMALL_CLUE, SMALL_GEAR, Case, make, measure, synthetic_batch
from torch._dynamo.utils import counters
from toys import MeanNet
from zoo_cases import BACKBONES, NEEDS_THREE

from mer_zoo import load_pretrained
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.cli import main
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.sharing.export import export_checkpoint
from mer_zoo.task import SentimentClassification, Task
from mer_zoo.wrappers import CUMDF, MACI, MSSD, CausalMER

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the compiler warns of what it leaves to Python
PAIR = ("text", "audio")  # tracing takes long, and of two modalities as of three there is every kind of layer
NESTS: dict[str, tuple[Any, ...]] = {
    "CausalMER": (CausalMER,),
    "CLUE(GEAR)": (SMALL_GEAR, SMALL_CLUE),
    "MSSD(MACI)": (MACI, MSSD),
    "CUMDF": (CUMDF,),
}
COMPILERS = ("g++", "c++", "clang++")


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    torch._dynamo.reset()
    counters.clear()


def short_batch(modalities: Sequence[str]) -> tuple[DataSpec, Task, Batch]:
    """Sequences of a few steps: a recurrence that is written in Python is traced step by step."""
    lengths: dict[str, Any] = {"text_len": 4, "audio_len": 5, "vision_len": 4}
    spec, task = DataSpec(**lengths, modalities=modalities, tokens=True, vocab_size=200), SentimentClassification(2)
    return spec, task, Batch.random(spec, task, size=4)


def distance(case: Case, backend: str | bool, given: tuple[DataSpec, Task, Batch], test: bool = True) -> float:
    """Largest relative difference that compiling makes, once it is sure that something was compiled."""
    spec, task, batch = given
    plain = measure(make(case, spec, task), batch, test=test)
    assert counters["stats"]["unique_graphs"] == 0
    compiled = measure(make(case, spec, task, compile=backend), batch, test=test)
    assert counters["stats"]["unique_graphs"] > 0
    return max(plain.distance(compiled))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_network_trains_compiled(name: str) -> None:
    modalities = ("text", "audio", "vision") if name in NEEDS_THREE else PAIR
    assert distance(Case(name), "aot_eager", short_batch(modalities), test=False) < 1e-5


@pytest.mark.parametrize("nest", NESTS)
def test_wrappers_around_a_compiled_network(nest: str) -> None:
    assert distance(Case("MAGBERT", NESTS[nest]), "aot_eager", synthetic_batch("binary", PAIR)) < 1e-5


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="the default backend needs a C++ compiler")
def test_the_default_backend() -> None:
    """On a network of few operations, since each has to go through the C++ compiler."""
    spec, task, batch = synthetic_batch("binary", PAIR)
    measured = []
    for compiled in (False, True):
        torch.manual_seed(0)
        measured.append(measure(MERModule(MeanNet(spec, task), [CausalMER], compile=compiled), batch, test=False))
    assert counters["stats"]["unique_graphs"] > 0
    assert counters["inductor"]["fxgraph_cache_miss"] + counters["inductor"]["fxgraph_cache_hit"] > 0
    assert max(measured[0].distance(measured[1])) < 1e-5


def test_a_compiled_run_is_saved_exported_and_tested_like_any_other(tmp_path: Path) -> None:
    data = SyntheticMER(SyntheticConfig(train=11, valid=6, test=6), batch_size=8, modalities=PAIR)
    case, options = Case("MAGBERT", (MSSD,)), {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(default_root_dir=tmp_path, max_epochs=1, enable_model_summary=False, **options)  # type: ignore[arg-type]
    compiled, plain = (make(case, data.spec, data.task, compile=backend) for backend in ("aot_eager", False))
    names = list(plain.state_dict())
    trainer.fit(compiled, datamodule=data)
    assert counters["stats"]["unique_graphs"] > 0
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    trainer.test(compiled, datamodule=data, verbose=False)
    assert list(compiled.state_dict()) == names
    trainer.test(plain, datamodule=data, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    torch.testing.assert_close(plain.test_scores["iid"].logits, compiled.test_scores["iid"].logits)
    export_checkpoint(tmp_path / "last.ckpt", tmp_path / "shared")
    shared = load_pretrained(tmp_path / "shared")
    assert shared.state_dict().keys() == plain.model.state_dict().keys()


def test_a_backend_that_does_not_exist_is_refused() -> None:
    spec, task, _ = synthetic_batch("binary")
    with pytest.raises(MERError, match="compile is 'fast', which torch.compile does not know"):
        make(PLAIN["LMF"], spec, task, compile="fast")


@pytest.mark.parametrize("given", ["true", "aot_eager"])
def test_on_the_command_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data=SyntheticMER", "--model.backbone=LMF", f"--model.compile={given}", "--print_config"])
    assert f"  compile: {given}\n" in capsys.readouterr().out
