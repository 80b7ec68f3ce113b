"""The option of tools that says which splits of a file are taken for train, valid or a test split."""

from __future__ import annotations

import argparse

from mer_zoo.errors import MERError

__all__ = ["add_split_option", "chosen_splits"]


def add_split_option(parser: argparse.ArgumentParser) -> None:
    """Let a tool be told which splits to take, as ``data.splits`` does.

    Args:
        parser: Of the tool.
    """
    parser.add_argument(
        "--splits", metavar="LIST", default="", help="further splits to take instead: --splits train=train_mix"
    )


def chosen_splits(options: argparse.Namespace) -> dict[str, str]:
    """Which splits the option takes for which.

    Args:
        options: Of a parser with that of :func:`add_split_option`.

    Raises:
        MERError: If it says nothing.

    Example:
        >>> chosen_splits(argparse.Namespace(splits="train=train_mix,test_mix=mix"))
        {'train': 'train_mix', 'test_mix': 'mix'}
        >>> chosen_splits(argparse.Namespace(splits="{train: train_mix}"))
        {'train': 'train_mix'}
    """
    found = {}
    for item in filter(None, options.splits.strip().strip("{}").split(",")):
        own, _, source = item.partition("=" if "=" in item else ":")
        if not own.strip() or not source.strip():
            raise MERError(
                f"--splits is {options.splits[:60]!r}; write it as in --splits train=train_mix,valid=valid_mix"
            )
        found[own.strip()] = source.strip()
    return found
