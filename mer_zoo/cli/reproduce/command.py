"""``mer-zoo reproduce``: a row of a paper's table as commands, run to the figures beside the paper's."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mer_zoo.cli.reproduce.commands import Command, commands
from mer_zoo.cli.reproduce.files import check_file, given_files, placeholders
from mer_zoo.cli.reproduce.plan import Experiment, plan
from mer_zoo.cli.reproduce.rows import chosen_rows
from mer_zoo.cli.reproduce.runner import Runner, say
from mer_zoo.cli.reproduce.tables import coverage, results_table, skipped
from mer_zoo.cli.signals import stoppable
from mer_zoo.errors import MERError
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.runs.files import whole_file

__all__ = ["main", "shown_commands"]


def main(args: list[str]) -> int:
    """Run ``mer-zoo reproduce``.

    Args:
        args: Command line after the word reproduce.

    Returns:
        0, or 1 where a command has failed.

    Raises:
        MERError: For a paper, table, row, corpus or file that is not there or does not fit.
    """
    own, extra = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    options = _parser().parse_args(own)
    if options.target is None:
        _show([coverage()], options.markdown)
        return 0
    rows, seeds = chosen_rows(options.target, options.corpus), _seeds(options.seeds)
    experiments = plan(rows)
    kinds = list(dict.fromkeys(kind for one in experiments for kind in one.training.kinds))
    files = given_files(options.path, kinds)
    ready = [one for one in experiments if files.keys() >= set(one.training.kinds)]
    if options.dry_run:
        files, ready = {**placeholders(kinds), **files}, experiments
    elif not ready:
        wanted = " or ".join(f"--data.path {kind}=FILE" for kind in kinds)
        raise MERError(
            f"{options.target} needs its corpus; give {wanted if files or len(kinds) > 1 else _plain(kinds)}"
        )
    todo = _commands(ready, files, seeds, options.out, extra, options.text_encoder)
    told = [f"not run: {reason}" for reason in skipped(rows)] + _without_file(experiments, ready)
    if options.dry_run:
        sys.stdout.write("".join(f"{line}\n" for line in shown_commands(todo, told)))
        return 0
    for kind, file in files.items():
        if any(kind in one.training.kinds for one in ready):
            check_file(kind, file, options.target, extra)
    for line in told:
        say(line)
    runner = Runner(say)
    with stoppable("reproduce was stopped; the same command goes on"):
        runner.run(todo)
    tables = [results_table(row, ready, seeds, options.out) for row in rows if not row.reason]
    _show(tables, options.markdown)
    report = options.out / f"{re.sub(r'[^A-Za-z0-9.]+', '_', options.target).strip('_')}.md"
    with whole_file(report) as part:
        part.write_text("\n\n".join(table.markdown() for table in tables) + "\n", encoding="utf-8")
    say(f"written to {report}")
    for command in runner.failed.values():
        say(f"failed: {command}")
    return 1 if runner.failed else 0


def shown_commands(todo: Sequence[Command], told: Sequence[str] = ()) -> list[str]:
    """Commands as a shell takes them, each once, below comments.

    Args:
        todo: The commands.
        told: What else there is to say.
    """
    return [*(f"# {line}" for line in told), *dict.fromkeys(str(command) for command in todo)]


def _commands(
    experiments: Sequence[Experiment],
    files: dict[str, Path],
    seeds: Sequence[int],
    out: Path,
    extra: Sequence[str],
    text_encoder: str | None,
) -> list[Command]:
    made = (commands(one, files, seeds, out, extra, text_encoder) for one in experiments)
    return list(dict.fromkeys(command for some in made for command in some))


def _without_file(experiments: Sequence[Experiment], ready: Sequence[Experiment]) -> list[str]:
    """What is left out because its file was not given."""
    left = [kind for one in experiments if one not in ready for kind in one.training.kinds]
    given = {kind for one in ready for kind in one.training.kinds}
    return [
        f"left out: what reads {kind}; give --data.path {kind}=FILE"
        for kind in dict.fromkeys(left)
        if kind not in given
    ]


def _plain(kinds: Sequence[str]) -> str:
    corpus, _, alignment = kinds[0].partition(":")
    return f"--data.path FILE, {corpus} {alignment}"


def _seeds(given: str) -> list[int]:
    if not re.fullmatch(r"\d+(,\d+)*", given):
        raise MERError(f"--seeds is {given!r}; give numbers with commas, such as 0,1,2")
    return list(dict.fromkeys(map(int, given.split(","))))


def _show(tables: Sequence[Table], markdown: bool) -> None:
    if markdown:
        sys.stdout.write("\n\n".join(table.markdown() for table in tables) + "\n")
        return
    console = open_console()
    for table in tables:
        table.show(console)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo reproduce",
        description="Train and test what a table of a paper was made from, with its settings, and lay its figures"
        " beside ours. The same command goes on where it was stopped. Without a target: which rows run.",
        epilog="Behind --, options of every fit: mer-zoo reproduce CIDer:IV:DLF --data.path MOSI=FILE --"
        " --trainer.devices=2",
        allow_abbrev=False,
    )
    parser.add_argument("target", nargs="?", help="SOURCE, SOURCE:TABLE or SOURCE:TABLE:ROW, such as CIDer:IV:DLF+MACI")
    parser.add_argument(
        "--data.path",
        dest="path",
        action="append",
        default=[],
        help="FILE, or CORPUS=FILE or CORPUS:aligned=FILE where several are read; may be given again",
    )
    parser.add_argument("--corpus", help="only what is trained on MOSI, MOSEI or IEMOCAP")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="with commas (default: 0,1,2,3,4)")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/reproduce"), help="folder of all runs (default: runs/reproduce)"
    )
    parser.add_argument("--text-encoder", help="folder or name that takes the place of bert-base-uncased")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    parser.add_argument("--markdown", action="store_true", help="print tables as Markdown")
    return parser
