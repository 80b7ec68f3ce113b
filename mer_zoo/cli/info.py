"""``mer-zoo info``: what is known of one name: paper, options, what it offers, size, figures, licence."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import metadata
from typing import Any

from docstring_parser import parse

from mer_zoo.cli.catalogue import KINDS, Entry, catalogue
from mer_zoo.errors import MERError

__all__ = ["class_help", "information", "main", "option_help"]

WIDTH = 112
PREFIXES = {"--model.backbone": "backbones", "--model.wrappers": "wrappers", "--data": "data"}
GIVEN = ("spec", "task", "backbone")  # of a model, by the command line itself and not by its user
MOST_MEASURED = 6  # lines a benchmark
SECTIONS = r"Args|Attributes|Raises|Returns|Example|References"


def main(args: list[str]) -> None:
    """Run ``mer-zoo info``.

    Args:
        args: Command line after the word info.

    Raises:
        MERError: If there is nothing of that name.
    """
    parser = argparse.ArgumentParser(
        "mer-zoo info", description="What is known of a name of mer-zoo list.", allow_abbrev=False
    )
    parser.add_argument("name", help="a network, wrapper, corpus, missing pattern, metric or configuration")
    kind, entry = _find(parser.parse_args(args).name)
    sys.stdout.write(information(kind, entry))


def information(kind: str, entry: Entry) -> str:
    """The page of one entry of the catalogue.

    Args:
        kind: Its kind, of ``mer-zoo list``.
        entry: The entry.

    Example:
        >>> print(information("metrics", Entry("MAE", "mean absolute error")), end="")
        MAE: mean absolute error
    """
    if entry.module is None:
        return "\n".join([f"{entry.name}: {entry.what}", *_how(kind, entry)]) + "\n"
    module = import_module(entry.module)
    cls = getattr(module, entry.name)
    blocks = [
        [f"{entry.name} ({entry.module})", *_summary(cls, module.__doc__ or "")],
        _paper(cls, module.__doc__ or ""),
    ]
    is_model = kind in ("backbones", "wrappers")
    blocks.append(_options(cls, hidden=GIVEN if is_model else ()))
    if is_model:
        from mer_zoo.cli.sizes import measure

        blocks += _measured(kind, measure(entry.name))
        blocks.append(_figures(entry.name))
        blocks.append(_measured_here(entry.name))
        blocks.append([f"licence: {metadata('mer-zoo')['License-Expression']}, of this implementation"])
    blocks.append(_how(kind, entry))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def class_help(args: Sequence[str]) -> str | None:
    """What ``--model.backbone.help``, ``--model.wrappers.help`` and ``--data.help`` say of a class of the zoo.

    Args:
        args: A command line.

    Returns:
        The class and its options; None where no such help is asked for, or that of a class from elsewhere.

    Example:
        >>> print(class_help(["fit", "--model.wrappers.help", "CLUE"]).splitlines()[0])
        CLUE (mer_zoo.wrappers.clue.wrapper)
    """
    for place, arg in enumerate(args):
        option, _, given = arg.partition("=")
        prefix = option.removesuffix(".help")
        if option == prefix or prefix not in PREFIXES:
            continue
        kind = PREFIXES[prefix]
        name = (given or next(iter(args[place + 1 :]), "")).rpartition(".")[2]
        entry = next((entry for entry in catalogue(kind) if entry.name == name), None)
        if entry is None or entry.module is None:
            return None
        module = import_module(entry.module)
        cls = getattr(module, name)
        head = [f"{name} ({entry.module})", *_summary(cls, module.__doc__ or "")]
        return "\n\n".join("\n".join(block) for block in (head, option_help(cls, prefix))) + "\n"
    return None


def option_help(cls: type, prefix: str) -> list[str]:
    """The options of a class as a command line has them.

    Args:
        cls: The class.
        prefix: The option that takes the class.

    Example:
        >>> from mer_zoo import MOSI
        >>> option_help(MOSI, "--data")[2].split()
        ['--data.batch_size', '=', '32', 'Samples', 'a', 'batch', '(and', 'a', 'process).']
    """
    return _options(cls, GIVEN if prefix != "--data" else (), f"{prefix}.")


def _find(name: str) -> tuple[str, Entry]:
    known = {entry.name: (kind, entry) for kind in KINDS for entry in catalogue(kind)}
    folded = {each.lower(): each for each in known}
    if name.lower() in folded:
        return known[folded[name.lower()]]
    close = get_close_matches(name.lower(), folded, 1)
    guess = f", did you mean {folded[close[0]]}" if close else ""
    raise MERError(f"there is nothing of the name {name!r}{guess}; mer-zoo list has all names")


def _summary(cls: type, text: str) -> list[str]:
    """What the class and its module say first."""
    said = inspect.getdoc(cls) or ""
    if "module's text" in said:
        said = "\n\n".join(text.split("\n\n")[:2])
    paragraphs = re.split(rf"^(?:{SECTIONS}):$", said, flags=re.MULTILINE)[0].strip().split("\n\n")
    return [line for paragraph in paragraphs for line in _wrapped(paragraph)]


def _paper(cls: type, text: str) -> list[str]:
    found = [
        re.search(r"^References:\n((?:    .*\n?|\n)+)", f"{said}\n", re.MULTILINE)
        for said in (inspect.getdoc(cls), text)
    ]
    section = next((match[1] for match in found if match), "")
    sentences = re.split(r"(?<=\.)\n(?=\S)", textwrap.dedent(section).strip())
    return ["paper", *(line for sentence in sentences for line in _wrapped(sentence, 2))] if section else []


def _options(cls: type, hidden: Collection[str], prefix: str = "") -> list[str]:
    """Each option with its default, and what the docstring says of it."""
    rows = {f"{prefix}{name}": row for name, row in _parameters(cls) if name not in hidden}
    if not rows:
        return []
    width = max(len(name) + len(default) for name, (default, _) in rows.items()) + 3
    lines = ["options, with their defaults"]
    for name, (default, what) in rows.items():
        lines += _wrapped(what, min(width, 40) + 2, f"  {name} = {default}" if default else f"  {name}")
    return lines


def _parameters(cls: type) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name, default and meaning of the arguments of a class and, where it hands the others on, of the class above."""
    said = _arguments(cls)
    above = {name: text for parent in reversed(cls.__mro__[1:]) for name, text in _arguments(parent).items()}
    said |= {name: above[name] for name, text in said.items() if text.startswith("See :class:") and name in above}
    for name, parameter in inspect.signature(cls.__init__).parameters.items():  # type: ignore[misc]
        if parameter.kind is parameter.VAR_KEYWORD:
            inherited = dict(_parameters(cls.__mro__[1]))
            own = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
            yield from ((key, row) for key, row in inherited.items() if key not in own and key != "path")
        elif name != "self":
            default = "" if parameter.default is parameter.empty else _short(parameter.default)
            yield name, (default, _plain(said.get(name, "")))


def _arguments(cls: type) -> dict[str, str]:
    parts = parse(cls.__doc__ or "").params if cls is not object else []
    return {part.arg_name: part.description or "" for part in parts}


def _short(default: Any) -> str:
    text = repr(default)
    return text if len(text) <= WIDTH // 3 else f"{type(default).__name__}(...)"


def _measured(kind: str, size: Any) -> Iterator[list[str]]:
    """What a model offers, and how large it is."""
    model = size.model
    shapes = model.hidden_shape or {}
    hidden = ", ".join(f"{name} {steps} x {width}" for name, (steps, width) in shapes.items())
    parts = ", ".join(type(part).__name__ for each in model.nest for part in each.offers())
    where = f"around {model.nest[-1].name}, " if kind == "wrappers" else ""
    yield [
        f"offers, {where}at the shapes of CMU-MOSI",
        f"  features: {model.feature_dim} numbers a sample",
        f"  hidden sequences (steps x width): {hidden or 'none'}",
        f"  attention scores: {' x '.join(map(str, model.attention_shape)) if model.attention_shape else 'none'}",
        *([f"  parts that wrappers work with: {parts}"] if parts else []),
        *([f"  optimiser steps a batch: {model.num_steps}"] if model.num_steps > 1 else []),
    ]
    more = " more than the network" if kind == "wrappers" else ""
    yield [
        f"size, {where}at the shapes of CMU-MOSI (text 50 x 768, audio 375 x 5, vision 500 x 20; {size.task})",
        f"  parameters: {size.parameters:,}{more}",
        f"  FLOPs of a prediction for one sample: {size.flops:,}",
    ]
    if size.refusals:
        yield ["refuses", *(line for sentence in size.refusals[:4] for line in _wrapped(sentence, 2))]


def _figures(name: str) -> list[str]:
    """What papers print of it on complete data and over all missing rates; all they print where that is nothing."""
    from mer_zoo.reports.published import figures_about

    figures = figures_about(name)
    brief = [figure for figure in figures if figure.condition in ("full", "AUILC")]
    rows: dict[tuple[str, ...], list[str]] = {}
    for figure in brief or figures:
        data = f"{figure.dataset} {figure.split} {figure.alignment}"
        missing = "complete" if figure.condition == "full" else f"{figure.condition} {figure.pattern}"
        place = (figure.model, f"{figure.source} {figure.table}", data, missing)
        rows.setdefault(place, []).append(f"{figure.metric} {figure.value:g}")
    if not rows:
        return ["published figures: none in this library's tables"]
    return ["published figures, accuracies in per cent", *_columns(rows)]


def _measured_here(name: str) -> list[str]:
    """What the files of results/ have of it, the first lines of each benchmark."""
    from mer_zoo.reports.measured import measured_about

    rows: dict[tuple[str, ...], list[str]] = {}
    left_out = 0
    for benchmark, figures in measured_about(name).items():
        found: dict[tuple[str, ...], list[str]] = {}
        for figure in figures:
            place = (figure.model, benchmark, figure.condition or "complete")
            found.setdefault(place, []).append(f"{figure.metric} {figure.text()}")
        left_out += max(len(found) - MOST_MEASURED, 0)
        rows |= dict(list(found.items())[:MOST_MEASURED])
    if not rows:
        return ["measured here: nothing yet"]
    more = [f"  and {left_out} lines more, see results/ and docs/results.md"] if left_out else []
    return ["measured here, accuracies in per cent, mean ± deviation over seeds", *_columns(rows), *more]


def _columns(rows: Mapping[tuple[str, ...], Sequence[str]]) -> list[str]:
    """Lines whose first cells stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(["", *(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)), *values])
        for row, values in rows.items()
    ]


def _how(kind: str, entry: Entry) -> list[str]:
    options = {"backbones": "--model.backbone=", "wrappers": "--model.wrappers+=", "configs": "--config "}
    if kind in options:
        return [f"to use it: mer-zoo fit {options[kind]}{entry.name}"]
    return []


def _plain(text: str) -> str:
    """Text of a docstring without markup."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    return " ".join(text.replace("``", "").split())


def _wrapped(text: str, indent: int = 0, first: str = "") -> list[str]:
    """Lines of a paragraph; ``first`` stands in front of the first one, above it where there is no room."""
    space = " " * indent
    lines = textwrap.wrap(_plain(text), WIDTH, initial_indent=space, subsequent_indent=space) or [space]
    if len(first) >= indent:
        return [first, *lines] if first else lines
    return [first + lines[0][len(first) :], *lines[1:]]
