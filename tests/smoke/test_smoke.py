"""What has to work with every set of versions that the package declares; imports nothing of the source tree.

``scripts/compat.py`` runs it on the installed package. numpy1.pkl and numpy2.pkl hold one corpus, written with numpy
1.26 and 2.4.
"""

from __future__ import annotations

import csv
import json
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

import mer_zoo
from mer_zoo.cli import main

HERE = Path(__file__).parent
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]
DATA = ["--data=SyntheticMER", "--data.task=seven", "--data.batch_size=8"]
DATA += ["--data.scm.train=16", "--data.scm.valid=8", "--data.scm.test=8"]
MULT = [
    "--model.backbone=MulT",
    "--model.backbone.dim=8",
    "--model.backbone.heads=2",
    "--model.backbone.depth=1",
]
NEST = ["--model.wrappers+=CausalMER", "--model.wrappers.fusion=sum", "--model.wrappers+=MSSD"]
TINY_BERT: dict[str, Any] = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 1536}
TINY_BERT |= {"num_attention_heads": 2, "intermediate_size": 16}


def command(*args: str) -> None:
    """Run a command that has to succeed; the tools leave by SystemExit, fit and test return."""
    codes: list[object] = []
    try:
        main(list(args))
    except SystemExit as leaving:
        codes.append(leaving.code)
    assert codes in ([], [0], [None]), args


def test_the_package_is_whole() -> None:
    assert all(hasattr(mer_zoo, name) for name in mer_zoo.__all__)
    assert metadata.version("mer-zoo") == mer_zoo.__version__
    files = resources.files("mer_zoo")
    assert files.joinpath("py.typed").is_file()
    assert "MulT" in files.joinpath("reports").joinpath("published_results.csv").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a nest trained by the command line, logged offline to W&B too."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        wandb = ["--trainer.logger=WandbLogger", "--trainer.logger.offline=true", "--trainer.logger.save_dir=runs"]
        command("fit", *DATA, *MULT, *NEST, *QUIET, "--trainer.max_epochs=2", *wandb)
    (checkpoint,) = folder.glob("runs/**/checkpoints/best.ckpt")
    return checkpoint.parents[1]


def test_fit_test_predict_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[2])
    with_best = ["--config", str(run / "config.yaml"), f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"]
    command("test", *with_best, "--data.conditions=[default,availability]")
    command("predict", *with_best)
    results = json.loads((run / "results.json").read_text())
    assert results["model"].startswith("MSSD(CausalMER(MulT))")
    assert {"iid", "ood", "{l}"} <= results["conditions"].keys()
    assert len(list(csv.DictReader((run / "predictions.csv").open()))) == 8
    command("report", str(run), "--out", "report", "--published")
    assert (run / "conditions.png").stat().st_size > 1000
    with (run / "metrics.csv").open() as file:
        assert any(row["val/loss"] for row in csv.DictReader(file))


def test_resume(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[2])
    last = run / "checkpoints" / "last.ckpt"
    logger = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=again"]
    options = [*DATA, *MULT, *NEST, *QUIET, *logger, f"--ckpt_path={last}"]
    command("fit", *options, "--trainer.max_epochs=3")
    (resumed,) = Path("again").glob("**/last.ckpt")
    assert torch.load(resumed, weights_only=True)["epoch"] == 2


def test_export_and_load(run: Path, tmp_path: Path) -> None:
    command("export", str(run / "checkpoints" / "best.ckpt"), str(tmp_path / "shared"))
    model = mer_zoo.load_pretrained(tmp_path / "shared")
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    state = model.state_dict()
    assert all(torch.equal(value, content[f"model.{name}"]) for name, value in state.items())
    assert model.scaler_state is not None
    batch = mer_zoo.Batch.random(model.spec, model.task, size=3)
    assert model.predict(batch).logits.shape == (3, 7)


@pytest.mark.filterwarnings("ignore:.* by an effective sample size of")
@pytest.mark.parametrize("name", ["cider", "encoder"])
def test_nests_from_python(name: str, tmp_path: Path) -> None:
    small = mer_zoo.data.SyntheticConfig(train=16, valid=8, test=8)
    data = mer_zoo.SyntheticMER(small, task="binary", batch_size=8, conditions="robustness")
    if name == "cider":
        inner: Any = mer_zoo.CIDerNet(data.spec, data.task, dim=8, heads=2, depth=1)
        module = mer_zoo.MERModule(inner, wrappers=[mer_zoo.MACI, mer_zoo.MSSD])
    else:
        inner = mer_zoo.LFLSTM(data.spec, data.task, text_encoder=TINY_BERT, dim=4)
        module = mer_zoo.MERModule(mer_zoo.CLUE(mer_zoo.GEAR(inner, dim=8)))
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=1, logger=False, default_root_dir=tmp_path, **quiet)
    trainer.fit(module, datamodule=data)
    trainer.test(module, datamodule=data, verbose=False)
    mer_zoo.save_pretrained(module.model, tmp_path / "shared")
    batch = mer_zoo.Batch.random(data.spec, data.task, size=3)
    again = mer_zoo.load_pretrained(tmp_path / "shared")
    assert torch.equal(again.predict(batch).logits, module.model.eval().predict(batch).logits)


def test_a_sweep_of_two_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = ["--checkpoint.monitor=val/loss", "--checkpoint.mode=min"]
    fixed = json.dumps(["${env}", "mer-zoo", "fit", *DATA, *MULT, *QUIET, *kept, "--trainer.max_epochs=1", "${args}"])
    searched = "{model.optimizer.lr: {distribution: log_uniform_values, min: 1.0e-4, max: 1.0e-2}}"
    metric = "{name: val/loss, goal: minimize}"
    lines = ["program: mer-zoo", "name: smoke", "method: bayes", f"metric: {metric}", f"parameters: {searched}"]
    Path("sweep.yaml").write_text("\n".join([*lines, f"command: {fixed}"]))
    command("sweep", "sweep.yaml", "--trials", "2", "--jobs", "2")
    assert "val/loss" in Path("runs/sweeps/smoke/trials.md").read_text()
    assert len(list(Path("runs/sweeps/smoke").glob("trial_*/checkpoints/best.ckpt"))) == 2


@pytest.mark.parametrize("name", ["numpy1", "numpy2"])
def test_pickles_of_both_generations_of_numpy(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.pkl"
    source.write_bytes((HERE / source.name).read_bytes())
    command("validate-data", str(source))
    data = mer_zoo.MERDataModule(str(source), batch_size=4, task="regression", cache_dir=str(tmp_path / "store"))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.audio.x.shape == (4, 9, 3)
    assert data.corpus.splits["train"].raw_text[0]
