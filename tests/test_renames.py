"""Names of before: refused with the name of today where somebody gives them, read where a file of before has them."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
import zoo_cases
from jsonargparse import ArgumentParser, capture_parser

import mer_zoo
from mer_zoo import LFLSTM, DataSpec, MulT, SentimentClassification
from mer_zoo.cli.parser import MERCLI
from mer_zoo.errors import MERError
from mer_zoo.renames import MODULES, OPTIONS, current_options, current_path, rename_options
from mer_zoo.sharing.parts import Recipe
from mer_zoo.sharing.recipe import build, describe

ROWS = [(owner, old, new) for owner, renamed in OPTIONS.items() for old, new in renamed.items()]
SPEC, THREE = DataSpec(), SentimentClassification(3)


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    return capture_parser(MERCLI)


def is_wrapper(owner: str) -> bool:
    return issubclass(getattr(mer_zoo, owner), mer_zoo.Wrapper)


def other_value(owner: str, option: str) -> Any:
    """A value of the option's type that is not its default."""
    default = inspect.signature(getattr(mer_zoo, owner)).parameters[option].default
    if option == "causal":
        return not default
    return 0.35 if default is None or isinstance(default, float) else default + 2


def as_before(arguments: dict[str, Any], owner: str) -> dict[str, Any]:
    former = dict(arguments)
    for old, new in OPTIONS[owner].items():
        values = [former.pop(name) for name in new]
        former[old] = values[0]
    return former


@pytest.mark.parametrize(("owner", "old", "new"), ROWS)
def test_a_row_leads_from_no_option_to_options(owner: str, old: str, new: tuple[str, ...]) -> None:
    options = inspect.signature(getattr(mer_zoo, owner)).parameters
    assert old not in options
    assert set(new) <= options.keys()


@pytest.mark.parametrize("owner", OPTIONS)
def test_no_two_old_options_became_the_same(owner: str) -> None:
    new = [name for names in OPTIONS[owner].values() for name in names]
    assert len(set(new)) == len(new)


@pytest.mark.parametrize(("owner", "old", "new"), ROWS)
def test_a_constructor_tells_the_name(owner: str, old: str, new: tuple[str, ...]) -> None:
    places = [LFLSTM(SPEC, THREE)] if is_wrapper(owner) else [SPEC, THREE]
    with pytest.raises(MERError, match=rf"{owner} has no option {old}; it is called {new[0]}\b"):
        getattr(mer_zoo, owner)(*places, **{old: other_value(owner, new[0])})


@pytest.mark.parametrize(("owner", "old", "new"), ROWS)
def test_the_command_line_tells_the_name(parser: ArgumentParser, owner: str, old: str, new: tuple[str, ...]) -> None:
    value = f"{old}={other_value(owner, new[0])}"
    given = [f"--model.backbone={owner}", f"--model.backbone.{value}"]
    if is_wrapper(owner):
        given = ["--model.backbone=LFLSTM", f"--model.wrappers+={owner}", f"--model.wrappers.{value}"]
    with pytest.raises(MERError, match=rf"^{owner} has no option {old}; it is called {new[0]}\b"):
        parser.parse_args(["fit", "--data=SyntheticMER", *given])


@pytest.mark.parametrize("owner", OPTIONS)
def test_a_description_of_before_builds_the_same_model(owner: str) -> None:
    backbone, wrapper = ("LFLSTM", owner) if is_wrapper(owner) else (owner, None)
    recipe = describe(zoo_cases.nest(backbone, wrapper)).plain()
    entries = [recipe["backbone"], *recipe["wrappers"]]
    former = [
        {**entry, "arguments": as_before(entry["arguments"], entry["class"])} if entry["class"] in OPTIONS else entry
        for entry in entries
    ]
    assert former != entries
    before = Recipe.read({**recipe, "backbone": former[0], "wrappers": former[1:]})
    assert describe(build(before)).plain() == recipe


def test_several_names_are_all_told() -> None:
    with pytest.raises(MERError, match="called attn_dropout, relu_dropout and res_dropout$"):
        mer_zoo.MAGBERT(SPEC, THREE, layer_dropout=0.1)  # type: ignore[call-arg]


def test_an_extended_network_tells_the_name_too() -> None:
    class Extended(MulT):
        def __init__(self, spec: DataSpec, task: mer_zoo.Task, **options: Any) -> None:
            super().__init__(spec, task, **options)

    with pytest.raises(MERError, match="Extended has no option d_model; it is called dim"):
        Extended(SPEC, THREE, d_model=8)


def test_an_option_of_ones_own_may_have_any_name() -> None:
    class Own(MulT):
        def __init__(self, spec: DataSpec, task: mer_zoo.Task, d_model: int = 8) -> None:
            super().__init__(spec, task, dim=d_model, heads=2)

    assert Own(SPEC, THREE, d_model=4).given == {"spec": SPEC, "task": THREE, "d_model": 4}
    assert "d_model" not in current_options(Own)


def test_what_stands_under_both_names_is_left_to_be_refused() -> None:
    both = {"d_model": 20, "dim": 40}
    assert rename_options(both, OPTIONS["MulT"]) == both


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_a_module_that_moved_is_only_where_it_is_now(old: str, new: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(old)
    classes = [name for name, value in vars(importlib.import_module(new)).items() if inspect.isclass(value)]
    assert classes
    assert current_path(f"{old}.{classes[0]}") == f"{new}.{classes[0]}"


def test_other_texts_are_no_paths() -> None:
    assert [current_path(text) for text in ("mer_zoo.resume", "mer_zoo", "", "a.b")] == [
        "mer_zoo.resume",
        "mer_zoo",
        "",
        "a.b",
    ]


def test_the_command_line_tells_where_a_class_is(parser: ArgumentParser) -> None:
    with pytest.raises(MERError, match=r"resume\.LastCheckpoint has moved; it is mer_zoo\.training\.resume\.LastCheck"):
        parser.parse_args(["fit", "--trainer.callbacks+=mer_zoo.resume.LastCheckpoint"])
