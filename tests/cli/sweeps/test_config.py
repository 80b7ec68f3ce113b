"""Sweep files: those shipped fit the command line and W&B, and those that can't be run are refused in one sentence."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import sweep_toys
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from mer_zoo.cli.sweeps.config import Sweep, check_sweep, load_sweep
from mer_zoo.errors import MERError

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


@pytest.fixture
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the paths of the shipped files start, with the variable that they name."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("MOSI", "unaligned_50.pkl")


def test_the_sweeps_that_are_promised_are_there() -> None:
    assert {path.stem for path in FILES} == {"cider", "mult", "mult_causalmer", "quickstart"}


@pytest.mark.usefixtures("in_root")
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_every_key_and_value_of_a_shipped_sweep_is_taken_by_the_command_line(path: Path) -> None:
    sweep = load_sweep(path)
    assert check_sweep(sweep) == 0
    assert sweep.metric.startswith("val/")


@pytest.mark.usefixtures("in_root")
@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_the_agent_of_wandb_starts_the_same_command(path: Path) -> None:
    content, sweep = yaml.safe_load(path.read_text()), load_sweep(path)
    values = {parameter.name: parameter.samples()[-1] for parameter in sweep.parameters}
    filled = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    macros = {"env": ["/usr/bin/env"], "program": [content["program"]], "args": filled["args"]}
    theirs: list[str] = []
    for word in create_sweep_command(content["command"]):
        theirs += macros[word[2:-1]] if word.startswith("${") else [word]
    assert theirs == ["/usr/bin/env", "mer-zoo", *sweep.arguments(values.items())]


def test_the_space_of_cider_is_that_of_its_paper() -> None:
    sweep = load_sweep(ROOT / "configs" / "sweeps" / "cider.yaml")
    space = {parameter.name.rsplit(".", 1)[-1]: parameter for parameter in sweep.parameters}
    assert space["depth"].samples() == [1, 4]
    assert space["heads"].samples() == [1, 2, 4, 8]
    for name in ("attn_dropout", "embed_dropout", "out_dropout"):
        assert dict(space.pop(name).options) == {"min": 0.0, "max": 0.5, "q": 0.1}
    for name in ("alpha", "beta", "gamma"):
        assert dict(space.pop(name).options) == {"min": 0.0, "max": 1.0, "q": 0.1}
    assert space.keys() == {"depth", "heads"}


TOY = yaml.safe_load(sweep_toys.SWEEP)


def load(folder: Path, *extra: str, **changes: Any) -> Sweep:
    """The toy sweep with some keys changed; None takes one away."""
    content = {**copy.deepcopy(TOY), **changes}
    path = folder / "toy.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return load_sweep(path, extra)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metric": {"name": "test/Acc3", "goal": "maximize"}}, "'test/Acc3' is not under val/"),
        ({"metric": {"name": "train/loss"}}, "'train/loss' is not under val/"),
        ({"metric": None}, "metric is missing"),
        ({"metric": {"name": "val/loss", "goal": "min"}}, "choose from minimize, maximize"),
        ({"metric": {"name": "val/loss", "goal": "maximize"}}, "val/loss is better when smaller; leave the goal out"),
        ({"metric": {"name": "val/Acc7", "goal": "minimize"}}, "val/Acc7 is better when larger; leave the goal out"),
        ({"metric": {"name": "val/loss", "target": 0.1}}, "metric.target can't be used offline"),
        ({"method": "grid"}, "method 'grid' can't be run offline; choose from bayes, random"),
        ({"method": None}, "method None"),
        ({"parameters": None}, "parameters is missing"),
        ({"parameters": {"x": {"distribution": "beta"}}}, "x: distribution 'beta'"),
        ({"parameters": {"seed_everything": {"values": [0, 1]}}}, "seed_everything is searched"),
        ({"parameters": {"checkpoint.monitor": {"values": ["val/loss", "val/MAE"]}}}, "checkpoint.monitor can't be"),
        ({"parameters": {"trainer.logger": {"value": "CSVLogger"}}}, "trainer.logger can't be searched"),
        ({"command": None}, "command is missing"),
        ({"command": ["rm", "-rf", "${args}"]}, "nothing else is run"),
        ({"command": ["${interpreter}", "${program}", "${args}"], "program": "train.py"}, "nothing else is run"),
        ({"command": ["${program}", "fit", "${args}"], "program": "evil.sh"}, "nothing else is run"),
        ({"command": ["${program}", "test", "${args}"]}, "not mer-zoo fit"),
        ({"command": ["${program}", "fit"]}, "0 times"),
        ({"command": ["${program}", "fit", "${args_no_boolean_flags}", "${args}"]}, "can't be filled in"),
        ({"early_terminate": {"type": "envelope"}}, "one type only"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 27, "s": 2}}, "early_terminate.max_iter"),
        ({"early_terminate": {"type": "hyperband"}}, "needs min_iter"),
        ({"run_cap": 0}, "run_cap is 0"),
        ({"run_cap": True}, "run_cap is True"),
        ({"paramters": {}}, "'paramters' is not known"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_name_of_the_file(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(MERError, match=f"toy.yaml: .*{words}"):
        load(tmp_path, **changes)


def test_a_goal_that_is_not_given_is_the_metrics(tmp_path: Path) -> None:
    goals = {"val/Acc3": "maximize", "val/F1_non0_deconfounded": "maximize", "val/MAE": "minimize"}
    assert goals == {name: load(tmp_path, metric={"name": name}).goal for name in goals}


@pytest.mark.parametrize(
    "start",
    [
        ["mer-zoo", "fit"],
        ["${env}", "mer-zoo", "fit"],
        ["${env}", "${interpreter}", "-m", "mer_zoo", "fit"],
        ["python", "-m", "mer_zoo", "fit"],
    ],
)
def test_each_way_to_write_the_command_is_the_same(tmp_path: Path, start: list[str]) -> None:
    sweep = load(tmp_path, command=[*start, "--a=1", "${args}", "--b=2"])
    assert sweep.arguments([("x", 0.5)]) == ["fit", "--a=1", "--x=0.5", "--b=2"]


def test_extra_options_come_last_and_may_not_hide_a_parameter(tmp_path: Path) -> None:
    assert load(tmp_path, "--data.path", "a.pkl").arguments([("x", 1)]) == ["fit", "--x=1", "--data.path", "a.pkl"]
    for argument in ("--x=1", "--x"):
        with pytest.raises(MERError, match="--x is a parameter of the sweep"):
            load(tmp_path, argument)
    with pytest.raises(MERError, match="--ckpt_path can't be given"):
        load(tmp_path, "--ckpt_path=last.ckpt")


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = load(tmp_path, command=["mer-zoo", "fit", "--data.path=${envvar:TOY_FILE}", "${args}"])
    monkeypatch.setenv("TOY_FILE", "a file.pkl")
    assert sweep.arguments([])[1] == "--data.path=a file.pkl"
    monkeypatch.delenv("TOY_FILE")
    with pytest.raises(MERError, match="environment variable TOY_FILE; set it"):
        sweep.arguments([])


@pytest.mark.parametrize("text", ["- a\n- b\n", "", "a: [1", "!!python/object/apply:os.system [id]", "\x00"])
def test_files_that_hold_no_settings_are_named_and_never_executed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(MERError, match="odd.yaml (is no YAML|holds no settings)"):
        load_sweep(path)
    with pytest.raises(MERError, match="nowhere.yaml does not exist"):
        load_sweep(tmp_path / "nowhere.yaml")


BASE = ["mer-zoo", "fit", f"--config={ROOT / 'configs' / 'quickstart.yaml'}", "${args}"]
ACC3 = {"name": "val/Acc3", "goal": "maximize"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parameters": {"model.backbone.widht": {"value": 3}}}, "option 'widht' does not exist"),
        ({"parameters": {"model.backbone.depth": {"values": [1, 2, "three"]}}}, "depth: .*three"),
        ({"parameters": {"model.backbone": {"values": ["MulT", "MulTT"]}}}, "'MulTT', did you mean MulT"),
        (
            {"metric": {"name": "val/loss"}},
            "min of val/loss, but checkpoints are kept by the max of val/Acc3; add --ch",
        ),
        ({"parameters": {"seed_everything": {"value": True}}}, "no fixed seed"),
    ],
)
def test_options_are_checked_by_the_parser_of_the_command_line(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    space = {"model.backbone.depth": {"min": 1, "max": 2}}
    sweep = load(tmp_path, **{"command": BASE, "metric": ACC3, "parameters": space, **changes})
    with pytest.raises(MERError, match=words):
        check_sweep(sweep)


def test_the_seed_of_the_training_is_the_configurations(tmp_path: Path) -> None:
    space = {"model.backbone.depth": {"min": 1, "max": 2}, "seed_everything": {"value": 7}}
    assert check_sweep(load(tmp_path, command=BASE, metric=ACC3, parameters=space)) == 7
