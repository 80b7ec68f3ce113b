"""The parser of command lines and configurations."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser
from typing_extensions import override

from mer_zoo.cli.bases import with_bases
from mer_zoo.cli.errors import explain
from mer_zoo.cli.factories import spell_factories
from mer_zoo.cli.imports import tell_of_command, tell_of_imports
from mer_zoo.cli.info import option_help
from mer_zoo.cli.places import config_files
from mer_zoo.data.datamodule import MOSI
from mer_zoo.errors import MERError
from mer_zoo.foreign import open_regular

__all__ = ["MERParser"]


class MERParser(LightningArgumentParser):
    """Reports a mistake as one sentence, and reads configurations that build on others."""

    options_of: type | None = None  # the class whose options it reads, where it reads those of one alone

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Half an option would reach the whole one past every check of its name, and means another one next year.
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    @override
    def add_class_arguments(self, theclass: type, *args: Any, **kwargs: Any) -> list[str]:
        self.options_of = theclass
        added: list[str] = super().add_class_arguments(theclass, *args, **kwargs)
        return added

    @override
    def add_function_arguments(
        self, function: Callable[..., Any], *args: Any, linked_targets: object = None, **kwargs: Any
    ) -> list[str]:
        # A function may stand for a class that it returns; jsonargparse tells it what is linked, as it tells a class,
        # but does not take it. It makes such options optional afterwards.
        added: list[str] = super().add_function_arguments(function, *args, **kwargs)
        return added

    @override
    def parse_args(self, args: Any = None, *rest: Any, **kwargs: Any) -> Any:
        given = sys.argv[1:] if args is None else args
        for file in config_files(given):
            if file.exists():
                open_regular(file).close()  # a pipe would be waited for without end
        tell_of_command(given)
        return super().parse_args(spell_factories(given), *rest, **kwargs)

    @override
    def parse_string(self, content: str, path: str | os.PathLike[str] = "", *args: Any, **kwargs: Any) -> Namespace:
        # A file's content comes with its name, and is parsed in its folder.
        whole = with_bases(content, Path(path).absolute()) if path else content
        if path:
            tell_of_imports(whole)
        settings: Namespace = super().parse_string(whole, path, *args, **kwargs)
        return settings

    @override
    def format_help(self, *args: Any, **kwargs: Any) -> str:
        # jsonargparse tells the options of a class on request only, and everybody needs those of the corpus.
        text: str = super().format_help(*args, **kwargs)
        head, mark, tail = text.partition("\nLinked arguments:\n")
        if not mark:
            return text
        data = [
            "",
            "Options of --data=MOSI; of another corpus: --data.help CLASS",
            *option_help(MOSI, "--data")[1:],
            "",
        ]
        return head + "\n".join(data) + mark + tail

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        commands = self._subcommands_action.choices.values() if self._subcommands_action else ()
        options = [name[2:] for each in (self, *commands) for name in each._option_string_actions if name[:2] == "--"]
        raise MERError(explain(message, ex, self.options_of, options)) from ex
