"""Every file under configs/ runs fit, then test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
import yaml

from mer_zoo.cli import main
from mer_zoo.cli.bases import with_bases
from mer_zoo.data.ood.resplit import split_ood

pytestmark = [
    pytest.mark.filterwarnings("ignore:(MACI|CLUE) chose .* by an effective sample size"),
    pytest.mark.filterwarnings(
        "ignore:(PropensityWeighting|deconfounded metrics|the worst group)"
    ),  # so few samples tell nothing
]
ROOT = Path(__file__).parents[1] / "configs"
# Sweeps are run by tests/cli/sweeps, and what stands in base/ by the configurations that name it.
FOUND = [path for path in sorted(ROOT.rglob("*.yaml")) if path.parent.name not in ("sweeps", "base")]
CONFIGS = {str(path.relative_to(ROOT)): path for path in FOUND}
FILES = {"MOSI": "mult_mosi_noalign", "MOSEI": "mmsa_unaligned", "IEMOCAP": "mult_iemocap"}
CIDER = {"cider_patterns_aligned.yaml": "mmsa_aligned", "cider_mosei.yaml": "casp", "cider_mosi.yaml": "casp"}
TINY_BERT = "{model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8}"
PAPER = {"IV": ["mosi/cider", "mosi/cider_ood", "mosei/cider", "mosei/cider_ood"], "V": ["mosi/cider_ood"]}
PAPER |= {"VII": ["mosi/cider_mosei", "mosei/cider_mosi"], "IX": ["mosi/cider_availability"]}
PAPER |= {"VIII": ["mosi/cider_patterns", "mosi/cider_patterns_aligned"]}

# Of the best epoch, without moments: at published widths a checkpoint is written and read for longer than trained.
ONE_CHECKPOINT = ["--checkpoint.save_weights_only=true", "--last_checkpoint.every_n_epochs=2"]
ABLATIONS = {  # of Table V and of the method's options
    "w/o MACI": ["--model.wrappers=[MSSD]"],
    "w/o MSSD": ["--model.wrappers=[MACI]"],
    "plain": ["--model.wrappers=[]"],
    "w/o recon": ["--model.wrappers.alpha=0"],
    "w/o attn": ["--model.wrappers.beta=0"],
    "w/o joint": ["--model.wrappers.gamma=0"],
    "augmentation": [f"--model.wrappers.{weight}=0" for weight in ("alpha", "beta", "gamma")],
    "w/o counterfactual text": ["--model.wrappers=[{class_path: MACI, init_args: {language: false}}, MSSD]"],
    "released": ["--model.wrappers.rate=per_position", "--model.wrappers.accumulate_stage_gradients=true"],
}


def test_there_are_configs() -> None:
    assert {"quickstart.yaml", "mosi/mult.yaml"} <= CONFIGS.keys()


@pytest.mark.parametrize("table", PAPER)
def test_each_experiment_of_cider_has_its_file(table: str) -> None:
    for name in PAPER[table]:
        assert f"Table {table}" in CONFIGS[f"{name}.yaml"].read_text().split("base:")[0]


def test_a_configuration_says_what_differs() -> None:
    assert median(len(path.read_text().splitlines()) for path in FOUND) <= 16


def test_every_base_is_built_on() -> None:
    named: set[Path] = set()
    for path in ROOT.rglob("*.yaml"):
        bases = yaml.safe_load(path.read_text()).get("base", [])
        named |= {(path.parent / base).resolve() for base in ([bases] if isinstance(bases, str) else bases)}
    assert set((ROOT / "base").glob("*.yaml")) <= named


def corpus_of(config: Path, content: dict[str, Any], files: dict[str, Path]) -> Path:
    """The tiny corpus of the kind that a configuration asks for."""
    if not config.name.startswith("cider"):
        reads_words = content["data"]["init_args"].get("text") == "tokens" or config.name.endswith("propensity.yaml")
        is_glove = content["data"]["class_path"] == "MOSEI" and "causalmer" in config.name
        return files[
            "mmsa_unaligned" if reads_words else "mult_mosei" if is_glove else FILES[content["data"]["class_path"]]
        ]
    source = files[CIDER.get(config.name, "mmsa_unaligned")]
    if config.name != "cider_ood.yaml":
        return source
    split_ood(source, "ood", "binary", steps=20, min_count=2)
    return Path("ood")


def options_of(config: Path, files: dict[str, Path]) -> list[str]:
    """What makes a configuration small: a tiny corpus and a tiny text encoder, one batch of each loop."""
    content = yaml.safe_load(with_bases(config.read_text(), config))
    options = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--data.batch_size=3"]
    options += [f"--trainer.limit_{loop}_batches=1" for loop in ("train", "val", "test")]
    options += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    if content["data"]["class_path"] == "SyntheticMER":
        return [*options, "--data.scm.train=4", "--data.scm.valid=4", "--data.scm.test=4"]
    if content["model"]["backbone"].get("class_path") == "IMDer":
        options.append("--model.backbone.sampler_steps=4")  # the same widths; a hundred take minutes
    if content["model"]["backbone"].get("init_args", {}).get("text_encoder"):
        options.append(f"--model.backbone.text_encoder={TINY_BERT}")
    return [*options, f"--data.path={corpus_of(config, content, files)}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_fit_then_test(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    """Trains one batch at the published widths, then tests what was trained; only the corpus is tiny."""
    monkeypatch.chdir(tmp_path)
    for other in ("mosi.pkl", "mosei.pkl"):
        shutil.copy(corpus_files["mmsa_aligned"], other)
    given = [f"--config={CONFIGS[name]}", *options_of(CONFIGS[name], corpus_files)]
    main(["fit", *given, *ONE_CHECKPOINT])
    (checkpoint,) = tmp_path.glob("runs/**/best.ckpt")
    main(["test", *given, f"--ckpt_path={checkpoint}"])
    (results,) = tmp_path.glob("runs/**/results.json")
    conditions = json.loads(results.read_text())["conditions"]
    if name.endswith("cider_ood.yaml"):
        assert list(conditions) == ["ood", *(f"RMFM {step / 10}" for step in range(1, 11))]
    if name == "mosi/cider_mosei.yaml":
        assert list(conditions) == ["iid", "mosei", *(f"mosei RMFM {step / 10}" for step in range(1, 11))]


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_are_overrides(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = CONFIGS["mosi/cider_ood.yaml"]
    given = [f"--config={config}", *options_of(config, corpus_files), "--trainer.fast_dev_run=1", *ABLATIONS[name]]
    main(["fit", *given])


@pytest.mark.slow
def test_the_task_of_a_configuration_changes_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    """What is followed is the task's own: regression's val/MAE is no metric of classes."""
    monkeypatch.chdir(tmp_path)
    config = CONFIGS["mosi/dlf.yaml"]
    main(
        ["fit", f"--config={config}", *options_of(config, corpus_files), "--model.wrappers+=MACI", "--data.task=binary"]
    )
    (checkpoint,) = tmp_path.glob("runs/**/best.ckpt")
    callbacks = torch.load(checkpoint, weights_only=True)["callbacks"]
    assert {name.partition("{")[0] for name in callbacks if "'monitor': 'val/Acc3'" in name} >= {"ModelCheckpoint"}
