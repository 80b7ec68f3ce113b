"""Every row of the papers' tables as commands that the command line understands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import capture_parser

from mer_zoo.cli import main
from mer_zoo.cli.parser import MERCLI
from mer_zoo.cli.reproduce.commands import Command, commands
from mer_zoo.cli.reproduce.files import given_files, placeholders
from mer_zoo.cli.reproduce.plan import Experiment, plan
from mer_zoo.cli.reproduce.rows import SOURCES, all_rows, chosen_rows
from mer_zoo.data.missing.conditions import Condition, build_conditions
from mer_zoo.errors import MERError

EXPERIMENTS = plan(all_rows())
KINDS = list(dict.fromkeys(kind for one in EXPERIMENTS for kind in one.training.kinds))
FIRST = {"ifmmin": "IFMMIN", "mmin": "MMIN"}  # networks whose first stage is one of their own; else it is MulT
OWN = re.compile(r"--(data\.path|data\.conditions|seed_everything|trainer\.logger.*|model\.backbone\.pretrained)=.*")


def made(one: Experiment, seeds: tuple[int, ...] = (0,), **options: Any) -> list[Command]:
    return list(commands(one, placeholders(KINDS), seeds, Path("runs/reproduce"), **options))


def of(target: str, **options: Any) -> list[Command]:
    return [command for one in plan(chosen_rows(target)) for command in made(one, **options)]


def option(command: Command, name: str) -> str:
    (found,) = (word.partition("=")[2] for word in command.args if word.startswith(f"--{name}="))
    return found


def distinct_fits() -> Iterator[tuple[Experiment, Command]]:
    """A fit for each configuration with each nest, options and task."""
    seen = set()
    for one in EXPERIMENTS:
        for command in made(one):
            key = tuple(word for word in command.args if not OWN.fullmatch(word))
            if command.kind == "fit" and key not in seen:
                seen.add(key)
                yield one, command


@pytest.mark.parametrize("source", SOURCES)
def test_the_commands_of_a_paper(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["reproduce", source, "--dry-run", "--seeds", "0,1"])
    assert not ended.value.code
    lines = capsys.readouterr().out.splitlines()
    words = [shlex.split(line) for line in lines if not line.startswith("#")]
    assert {tuple(each[:2]) for each in words} <= {("mer-zoo", kind) for kind in ("split-ood", "fit", "test")}
    assert len({tuple(each) for each in words}) == len(words)
    own = [one for one in EXPERIMENTS if one.training.source == source]
    assert sum(each[1] == "test" for each in words) == 2 * len(own)
    lacking = any("not in the zoo yet" in row.reason for row in all_rows() if row.source == source)
    assert any("not in the zoo yet" in line for line in lines) == lacking


@pytest.mark.parametrize("row", [row for row in all_rows() if not row.reason], ids=lambda row: row.name)
def test_every_row_is_trained_and_tested(row: Any) -> None:
    kinds = [command.kind for one in plan([row]) for command in made(one)]
    assert {"fit", "test"} <= set(kinds)


def test_the_command_line_understands_every_fit() -> None:
    parser = capture_parser(MERCLI)
    for one, command in distinct_fits():
        settings = parser.parse_args(list(command.args)).fit
        is_before = "stage-1" in str(command.folder)
        wrappers = [each.class_path.rpartition(".")[2] for each in settings.model.wrappers or []]
        nest = [*reversed(wrappers), settings.model.backbone.class_path.rpartition(".")[2]]
        first = [FIRST.get(one.training.config, "MulT")]
        assert nest == (first if is_before else re.findall(r"\w+", one.training.nest)), command
        assert settings.data.class_path.rpartition(".")[2] == one.training.corpus
        if not is_before:
            assert_options(one, settings, wrappers)


def assert_options(one: Experiment, settings: Any, wrappers: list[str]) -> None:
    """What the identity says is set, and nothing else is asked of what the papers vary."""
    given = {name: each.init_args for name, each in zip(wrappers, settings.model.wrappers or [], strict=True)}
    given[settings.model.backbone.class_path.rpartition(".")[2]] = settings.model.backbone.init_args
    for setting in one.training.options:
        place, _, value = setting.partition("=")
        model, _, name = place.partition(".")
        found = given[model][name]
        assert (list(found) if isinstance(found, tuple) else found) == json.loads(value), setting
    if one.training.task:
        assert settings.data.init_args.task == one.training.task


def test_the_conditions_are_those_of_the_figures() -> None:
    for one in EXPERIMENTS:
        asked = json.loads(option(made(one)[-1], "data.conditions"))
        split = "test_ood" if one.training.split == "OOD" else "test"
        built = build_conditions(
            [each if isinstance(each, str) else Condition(**each) for each in asked], ["train", "valid", split]
        )
        known = {(condition.curve, condition.rate, condition.available) for condition in built}
        for pattern in one.patterns:
            rated = pattern not in ("complete", "SMM")
            assert any(curve == pattern for curve, _, _ in known) == rated, one.training
        assert ("SMM" in one.patterns) == any(available for *_, available in known)
        assert (one.training.tested != one.training.corpus) == any(condition.source for condition in built)


def test_a_split_out_of_distribution_is_made_for_its_task() -> None:
    first, fit, test = (command for command in of("CIDer:V:w/o MACI") if "seven" in str(command))
    assert first.args == (
        "split-ood",
        "MOSI_unaligned.pkl",
        str(first.folder),
        "--task=seven",
        "--label-shift=cider-mosi",
    )
    assert option(fit, "data.path") == str(first.folder)
    assert option(test, "config") == f"{fit.folder}/config.yaml"


def test_another_corpus_has_its_own_configuration_and_file() -> None:
    fit, test = of("CIDer:XII:CIDer")[:2]
    assert option(fit, "config").endswith("mosi/cider_mosei.yaml")
    assert json.loads(option(test, "data.conditions"))[1]["source"] == "MOSEI_aligned.pkl"
    fit, _ = of("CIDer:XII:EMT-DLFR")[:2]
    assert option(fit, "config").endswith("mosi/emtdlfr.yaml")


def test_a_first_stage_comes_before_and_is_shared() -> None:
    found = [command for command in of("CIDer:XIV") if "mplmm_pretrain" in str(command)]
    assert len({command.folder for command in found}) == 1
    second = next(command for command in of("CIDer:XIV:MPLMM") if "pretrained" in str(command))
    assert option(second, "model.backbone.pretrained") == f"{found[0].folder}/checkpoints/best.ckpt"


def test_a_text_encoder_goes_where_there_is_one() -> None:
    given = [str(command) for command in of("CUMDF:1:DMD", text_encoder="tiny")]
    assert not [command for command in given if "text_encoder=tiny" in command]
    fits = [command for command in of("CIDer:IV:DMD", text_encoder="tiny") if command.kind == "fit"]
    assert all(option(command, "model.backbone.text_encoder") == "tiny" for command in fits)


@pytest.mark.parametrize(
    ("given", "needed", "words"),
    [
        ("a.pkl", ["MOSI:aligned", "MOSI:unaligned"], "--data.path a.pkl could be any of MOSI:aligned, MOSI:unaligned"),
        ("MOSI=a.pkl", ["MOSI:aligned", "MOSI:unaligned"], "say which, as in --data.path MOSI:aligned=a.pkl"),
        ("MOSI=a.pkl", ["MOSEI:aligned"], "nothing here reads MOSI; what is read is MOSEI:aligned"),
        ("MOSY=a.pkl", ["MOSI:aligned"], "there is no corpus 'MOSY', did you mean MOSI; choose from MOSI, MOSEI"),
        ("MOSI:word=a.pkl", ["MOSI:aligned"], "'word' is no alignment; choose from aligned, unaligned"),
    ],
)
def test_a_file_that_could_be_anything_is_refused(given: str, needed: list[str], words: str) -> None:
    with pytest.raises(MERError, match=re.escape(words)):
        given_files([given], needed)


def test_files_by_name() -> None:
    needed = ["MOSI:aligned", "MOSI:unaligned", "MOSEI:aligned"]
    files = given_files(["mosi:aligned=a.pkl", "MOSEI=b=c.pkl"], needed)
    assert files == {"MOSI:aligned": Path("a.pkl"), "MOSEI:aligned": Path("b=c.pkl")}
