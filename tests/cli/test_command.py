"""The command line from the first fit to the report, and what it says when something is wrong."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import corpora
import pytest
import torch
import wandb
import yaml

import mer_zoo
from mer_zoo.cli import main

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    f"--config={CONFIG}",
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--model.backbone.dim=8",
    "--model.backbone.heads=2",
    "--data.batch_size=8",
    "--data.scm.train=16",
    "--data.scm.valid=8",
    "--data.scm.test=8",
]


@pytest.fixture
def bad_files(tmp_path_factory: pytest.TempPathFactory, corpus_files: dict[str, Path]) -> dict[str, Path]:
    """Files that do not suit a regression, or are broken or hostile, beside sound ones."""
    folder = tmp_path_factory.mktemp("bad")
    sound = corpus_files["mmsa_unaligned"].read_bytes()
    truncated = folder / "truncated.pkl"
    truncated.write_bytes(sound[: len(sound) * 6 // 10])
    return {
        **corpus_files,
        "truncated": truncated,
        "evil": corpora.dump(corpora.evil(folder / "marker"), folder / "evil.pkl"),
        "wrong_keys": corpora.dump(corpora.wrong_keys(), folder / "wrong_keys.pkl"),
        "nan": corpora.dump(corpora.with_nan(), folder / "nan.pkl"),
        "mismatched": corpora.dump(corpora.mismatched(), folder / "mismatched.pkl"),
    }


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a command that must fail; return its one sentence."""
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    assert stopped.value.code != 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mer-zoo: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("mer-zoo: error: ")


def fit(folder: Path, *args: str) -> Path:
    """Train the small quickstart; return the best checkpoint."""
    logger = [f"--trainer.logger.save_dir={folder}", "--trainer.logger.name=run", "--trainer.logger.version="]
    main(["fit", *SMALL, *logger, *args])
    return folder / "run" / "checkpoints" / "best.ckpt"


@pytest.mark.slow
def test_fit_test_predict_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    best = fit(tmp_path, "--model.wrappers+=CausalMER", "--model.wrappers.fusion=sum")
    run = best.parents[1]
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert settings["model"]["wrappers"][0]["init_args"]["fusion"] == "sum"
    curves = list(csv.DictReader((run / "metrics.csv").open()))
    assert {"train/loss", "val/loss", "val/Acc3"} <= set(curves[0])

    capsys.readouterr()
    main(["test", "--config", str(run / "config.yaml"), f"--ckpt_path={best}"])
    assert "Acc2_non0" in capsys.readouterr().out
    assert (run / "config_test.yaml").exists()
    results = json.loads((run / "results.json").read_text())
    assert results["model"] == "CausalMER(MulT)"
    assert list(results["conditions"]) == ["iid", "ood", "rct", "{l}", "{a}", "{v}", "{l,a}", "{l,v}", "{a,v}"]
    assert results["conditions"]["{a}"]["pattern"].startswith("SMM(")
    assert (run / "results.md").exists()
    assert (run / "conditions.png").stat().st_size > 1000
    assert list(csv.DictReader((run / "metrics.csv").open())) == curves

    main(["predict", "--config", str(run / "config.yaml"), f"--ckpt_path={best}", "--data.predict_split=test_ood"])
    rows = list(csv.DictReader((run / "predictions.csv").open()))
    assert [row["id"] for row in rows] == [f"test_ood_{i:05d}" for i in range(8)]
    assert {"score", "logit_0", "effect_tie_0"} <= set(rows[0])
    for row in rows:
        logits = [float(row[f"logit_{place}"]) for place in range(3)]
        assert row["class"] == ("negative", "neutral", "positive")[logits.index(max(logits))]
    assert list(elsewhere.iterdir()) == []

    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run), "--out", str(tmp_path / "report")])
    assert not stopped.value.code
    assert (tmp_path / "report" / "report.png").exists()
    assert "CausalMER(MulT)" in capsys.readouterr().out


@pytest.mark.slow
def test_resuming_continues_where_the_run_stopped(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole").with_name("last.ckpt")
    half = fit(tmp_path / "half", "--trainer.max_epochs=1").with_name("last.ckpt")
    resumed = fit(tmp_path / "resumed", f"--ckpt_path={half}").with_name("last.ckpt")
    states = [torch.load(path, weights_only=True) for path in (whole, resumed)]
    assert states[0]["epoch"] == states[1]["epoch"] == 1
    assert states[0]["global_step"] == states[1]["global_step"]


@pytest.mark.slow
def test_wandb_by_one_flag_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.finish()  # of another test in this process, which the logger would go on with
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    main(
        [
            "fit",
            *SMALL,
            "--trainer.logger=WandbLogger",
            "--trainer.logger.save_dir=runs",
            "--trainer.logger.project=zoo",
        ]
    )
    assert list(tmp_path.glob("runs/wandb/offline-run-*/*.wandb"))
    configs = list(tmp_path.glob("runs/zoo/*/config.yaml"))
    assert len(configs) == 1
    assert (configs[0].parent / "checkpoints" / "best.ckpt").exists()
    assert "val/Acc3" in (configs[0].parent / "metrics.csv").read_text()


def test_python_m_mer_zoo_is_the_same_command() -> None:
    command = [sys.executable, "-m", "mer_zoo", "convert", "nowhere.pkl", "store"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nowhere.pkl does not exist" in done.stderr


@pytest.mark.filterwarnings("ignore:deconfounded metrics")  # so few samples tell nothing
def test_print_config_is_complete_and_parses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *SMALL, "--model.wrappers+=CausalMER", "--model.deconfounded=maci", "--print_config"])
    text = capsys.readouterr().out
    settings = yaml.safe_load(text)
    assert settings["model"]["wrappers"][0]["init_args"]["alpha"] == 0.1
    assert settings["model"]["deconfounded"] == "maci"
    assert "spec" not in settings["model"]["backbone"]["init_args"]
    saved = tmp_path / "config.yaml"
    saved.write_text(text)
    main(["fit", f"--config={saved}", "--trainer.fast_dev_run=1"])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--model.backbone.widht=3"], ["option 'widht' does not exist", "--help"]),
        (["--model.backbone.detph=3"], ["option 'detph' does not exist, did you mean depth; "]),
        (["--modle.clip_norm=3"], ["option 'modle.clip_norm' does not exist, did you mean model.clip_norm; "]),
        (["--data.modalities", "text,audio"], ["modalities: this is a list; write it in brackets", "'[text,audio]'"]),
        (["--model.backbone.kernels=1,3,1"], ["kernels: this is a list; write it in brackets", "'[1,3,1]'"]),
        (["--model.backbone=MulTT"], ["unknown class 'MulTT', did you mean MulT", "EFLSTM"]),
        (["--model.backbone=CausalMER"], ["wrapper can't stand for the network", "--model.wrappers+=NAME"]),
        (["--model.wrappers+=CausalMERR"], ["unknown class 'CausalMERR', did you mean CausalMER"]),
        (["--model.wrappers+=CausalMER", "--model.wrappers.fuson=sum"], ["option 'fuson' does not exist"]),
        (["--model.wrappers+=CausalMER", "--data.task=regression"], ["CausalMER needs classes", "choose a task"]),
        (["--model.deconfounded=rare"], ["deconfounded", "frequent", "maci", "rare"]),
        (["--optimizer=SGD"], ["option 'optimizer' does not exist, did you mean model.optimizer", "--help"]),
        (["--model.wrappers=CausalMER"], ["this is a list; add to it with --model.wrappers+=NAME"]),
        (["--data.scm.rho=3"], ["rho is 3.0; a probability lies in [0, 1]"]),
        (["--data.task=foo"], ["unknown task 'foo'; choose from regression, two, binary"]),
        (["--data.modalities=[text,video]"], ["give a non-empty choice of text, audio, vision"]),
        (["--data.conditions=foo"], ["unknown conditions 'foo'; choose from default, availability"]),
        (["--data=MOSI"], ["the corpus needs its file; give --data.path FILE"]),
        (["--data=MOSI", "--data.path=nowhere.pkl"], ["nowhere.pkl does not exist", "data.path"]),
        (["--config=nowhere.yaml"], ["nowhere.yaml", "does not exist"]),
        (["--data.conditions=default,availability"], ["list", "'[default,availability]'"]),
        (["--trainer.callbacks+=LearningRateFinder"], ["option of --model.optimizer; LearningRateFinder is not supp"]),
        (["--ckpt_path=nowhere.ckpt"], ["nowhere.ckpt", "path of a file that exists"]),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    capsys: pytest.CaptureFixture[str], args: list[str], words: list[str]
) -> None:
    sentence = failure(capsys, "fit", *SMALL, "--trainer.fast_dev_run=1", *args)
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("logger", "package", "options"),
    [
        ("TensorBoardLogger", "tensorboard", ["--trainer.logger.save_dir=runs"]),
        ("MLFlowLogger", "mlflow", []),
    ],
)
@pytest.mark.parametrize("listed", [False, True])
def test_a_logger_that_is_not_installed_is_told_with_its_package(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logger: str,
    package: str,
    options: list[str],
    listed: bool,
) -> None:
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    monkeypatch.chdir(tmp_path)
    told = failure(capsys, "fit", *SMALL, f"--trainer.logger{'+' if listed else ''}={logger}", *options)
    wanted = f"trainer.logger: {logger} needs a package that is not there; pip install {package}, or take CSVLogger"
    assert told == wanted


def test_the_batch_size_finder_works(tmp_path: Path) -> None:
    finder = ["--trainer.callbacks+=BatchSizeFinder", "--trainer.callbacks.max_trials=1", "--overwrite=true"]
    assert fit(tmp_path, *finder).is_file()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("trainer:\n  max_epochs: many", 3, "trainer.max_epochs: "),
        ("model:\n  backbone:\n    init_args: {detph: 3}", 4, "option 'detph' does not exist, did you mean depth"),
        ("model:\n  backbone: MulTT", 3, "unknown class 'MulTT', did you mean MulT"),
        ("trainr: {max_epochs: 3}", 2, "option 'trainr.max_epochs' does not exist, did you mean trainer.max_epochs"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, line: int, words: str
) -> None:
    (tmp_path / "base.yaml").write_text(f"base: {CONFIG}\n{text}\n")
    path = tmp_path / "own.yaml"
    path.write_text("base: base.yaml\ntrainer: {accelerator: cpu}\n")
    told = failure(capsys, "fit", f"--config={path}")
    assert told.startswith(f"{tmp_path / 'base.yaml'}, line {line}: ")
    assert words in told


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("evil", [], ["posix.system"]),
        ("truncated", [], ["ends too early|truncated|cut"]),
        ("wrong_keys", [], ["train"]),
        ("nan", [], ["NaN"]),
        ("mismatched", [], ["audio"]),
        ("mmsa_unaligned", ["--data.task=emotions"], ["set data.task"]),
        ("mult_iemocap", ["--data.task=regression"], ["set data.task"]),
        ("mult_mosi", ["--data.text=tokens"], ["no token ids; set data.text: features"]),
        ("unlabelled", [], ["no labels"]),
    ],
)
def test_bad_files_are_refused(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad_files: dict[str, Path],
    name: str,
    options: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [f"--data.path={bad_files[name]}", "--data.class_path=MERDataModule", "--trainer.fast_dev_run=1", *options]
    network = ["--model.backbone=MulT", "--trainer.accelerator=cpu"]
    sentence = failure(capsys, "fit", *network, *given)
    assert any(word in sentence for group in words for word in group.split("|"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["bytes", "text", "folder", "plain"])
def test_a_file_that_is_no_checkpoint_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str) -> None:
    broken = tmp_path / "broken.ckpt"
    if kind == "folder":
        broken.mkdir()
    elif kind == "plain":
        torch.save({"a": 1}, broken)
    else:
        broken.write_bytes(b"hi" if kind == "text" else bytes(range(256)))
    assert "broken.ckpt" in failure(capsys, "test", *SMALL, f"--ckpt_path={broken}")


@pytest.mark.slow
def test_a_checkpoint_of_another_model_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    best = fit(tmp_path)
    sentence = failure(capsys, "test", *SMALL, f"--ckpt_path={best}", "--model.wrappers+=CausalMER")
    assert "checkpoint holds model MulT, not CausalMER(MulT); use the config.yaml of its run" in sentence
    sentence = failure(capsys, "test", *SMALL, f"--ckpt_path={best}", "--model.backbone.dim=16")
    assert "does not fit this MulT" in sentence


def test_a_trial_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", *SMALL, "--trainer.fast_dev_run=1"])
    assert list(tmp_path.rglob("*")) == []


def following(told: str, name: str) -> list[str]:
    """The arguments of the command that the last line says comes next."""
    last = told.splitlines()[-1]
    assert last.startswith(f"next: mer-zoo {name} ")
    return shlex.split(last)[2:]


@pytest.mark.slow
def test_commands_end_with_where_things_are_and_what_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs", "run")
    logger = ["--trainer.logger.save_dir=runs", "--trainer.logger.name=run", "--trainer.logger.version="]
    args = ["fit", *(arg for arg in SMALL if "model_summary" not in arg), *logger]
    done = subprocess.run([sys.executable, "-m", "mer_zoo", *args], capture_output=True, text=True, check=True)
    rows = csv.DictReader((run / "metrics.csv").open())
    scores = {row["epoch"]: float(row["val/Acc3"]) for row in rows if row["val/Acc3"]}
    best = max(scores, key=lambda epoch: scores[epoch])
    assert done.stdout.startswith(f"best epoch: {best} (the first is 0), val/Acc3 {scores[best]:.4g}\nrun: {run}\n")
    assert "MulT: " in done.stderr
    for words in ("litlogger", "FLOPs", "log_every_n_steps", "TPU"):
        assert words not in done.stdout + done.stderr

    testing = following(done.stdout, "test")
    capsys.readouterr()
    main(testing)
    comparing = following(capsys.readouterr().out, "report")
    assert (run / "results.md").is_file()
    main(["predict", *testing[1:]])
    told = capsys.readouterr().out
    exporting = following(told, "export")
    assert told.splitlines()[-2] == f"predictions: {run / 'predictions.csv'}"
    for command in (comparing, exporting):
        with pytest.raises(SystemExit) as leaving:
            main(command)
        assert not leaving.value.code
    exported = capsys.readouterr().out.splitlines()[-1]
    assert exported == f"next: model = mer_zoo.load_pretrained({str(run / 'export')!r}), in Python"
    assert mer_zoo.load_pretrained(run / "export").name == "MulT"


def test_a_closed_output_is_no_mistake() -> None:
    found = subprocess.run(
        f"{shlex.quote(sys.executable)} -c 'from mer_zoo.cli import main; main()' list >&- ",
        shell=True,
        capture_output=True,
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, b"")


def test_wandb_without_a_key_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def init(**options: object) -> None:
        raise wandb.errors.UsageError("No API key configured. Use `wandb login` to log in.")

    wandb.finish()  # of another test in this process, which the logger would go on with
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(SystemExit) as ended:
        main(["fit", *SMALL, "--trainer.logger=WandbLogger"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "mer-zoo: error: W&B: No API key configured" in error
    assert "WANDB_MODE=offline" in error
    assert "Traceback" not in error
