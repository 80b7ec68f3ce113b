"""Options of the tools that read a corpus, called and written as those of the data modules."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mer_zoo.errors import MERError

if TYPE_CHECKING:
    from mer_zoo.data.corpus.meaning import Meaning

__all__ = ["add_label_options", "other_options", "told_labels"]

_LABEL_OPTIONS = ("labels", "label_range", "label_names")


def add_label_options(parser: argparse.ArgumentParser) -> None:
    """Let a tool be told what labels mean, as ``data.labels`` and the like do.

    Args:
        parser: Of the tool.
    """
    kinds = ["sentiment", "classes", "binary", "emotions"]
    parser.add_argument(
        "--labels", choices=kinds, help="what labels are, where the file does not tell, see docs/tasks.md"
    )
    parser.add_argument("--label_range", metavar="RANGE", help="smallest and largest sentiment: --label_range '[-1,1]'")
    parser.add_argument(
        "--label_names", metavar="NAMES", help="names of classes or emotions: --label_names '[joy,anger]'"
    )


def told_labels(options: argparse.Namespace) -> Meaning | None:
    """What the options say labels mean; None where they say nothing.

    Args:
        options: Of a parser with those of :func:`add_label_options`.

    Raises:
        MERError: If they do not go together.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_label_options(parser)
        >>> told_labels(parser.parse_args(["--label_range=[-1, 1]"]))
        Meaning(kind=None, range=(-1.0, 1.0), names=())
    """
    if options.labels is options.label_range is options.label_names is None:
        return None
    from mer_zoo.data.corpus.meaning import Meaning

    limits = None if options.label_range is None else _limits(options.label_range)
    names = () if options.label_names is None else tuple(_listed(options.label_names))
    return Meaning(options.labels, limits, names)


def other_options(options: argparse.Namespace) -> dict[str, Any]:
    """All options but those of :func:`add_label_options`, by their names.

    Args:
        options: Of a parser with those.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_label_options(parser)
        >>> _ = parser.add_argument("--seed", type=int)
        >>> other_options(parser.parse_args(["--labels", "classes", "--seed", "3"]))
        {'seed': 3}
    """
    return {name: value for name, value in vars(options).items() if name not in _LABEL_OPTIONS}


def _listed(text: str) -> list[str]:
    """The items of a list as on the command line of ``mer-zoo fit``: [joy, "very angry"], also without brackets."""
    return [item.strip().strip("'\"") for item in text.strip().removeprefix("[").removesuffix("]").split(",")]


def _limits(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, _listed(text))
    except ValueError:
        raise MERError(f"--label_range is {text[:60]!r}; give two numbers: --label_range='[-1,1]'") from None
    return low, high
