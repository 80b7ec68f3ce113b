"""``mer-zoo seeds``: one fit under several seeds, each tested, and their means and deviations."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mer_zoo.cli.reproduce.commands import Command
from mer_zoo.cli.reproduce.runner import Runner, say
from mer_zoo.cli.signals import stoppable
from mer_zoo.cli.sweeps.config import folder_options
from mer_zoo.errors import MERError

__all__ = ["main"]

OWN = ("--seed_everything", "--trainer.logger", "--print_config")  # options that are set, or make no run
MOST = 1000


def main(args: list[str]) -> int:
    """Run ``mer-zoo seeds``.

    Args:
        args: Command line after the word seeds.

    Returns:
        0, or 1 where a command has failed.

    Raises:
        MERError: For seeds that are none, a command that is not fit, or an option that is set here.
    """
    own, fit = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
    options = _parser().parse_args(own)
    if not fit or fit[0] != "fit":
        raise MERError("give the training behind two dashes: mer-zoo seeds 5 -- fit --config FILE")
    taken = next((name for word in fit for name in OWN if word.split("=")[0].startswith(name)), None)
    if taken is not None:
        raise MERError(f"{taken} is set for each seed by mer-zoo seeds, or makes no run; leave it out")
    seeds = _seeds(options.seeds)
    if options.jobs < 1:
        raise MERError(f"--jobs is {options.jobs}; give the number of trainings side by side, at least 1")
    runs = [_commands(seed, fit[1:], options.out, options.conditions) for seed in seeds]
    if options.dry_run:
        sys.stdout.write("".join(f"{command}\n" for run in runs for command in run))
        return 0
    failed = _run(runs, options.jobs)
    for command in failed:
        say(f"failed: {command}")
    if options.conditions != "none" and len(failed) < len(seeds):
        from mer_zoo.reports.report import report

        report([run[0].folder for run in runs if (run[0].folder / "results.json").exists()], options.out)
    return 1 if failed else 0


def _commands(seed: int, options: Sequence[str], out: Path, conditions: str) -> list[Command]:
    """A training and its test."""
    run = out / f"seed_{seed}"
    fit = Command("fit", ("fit", *options, f"--seed_everything={seed}", *folder_options(out, run.name)), run)
    if conditions == "none":
        return [fit]
    asked = conditions if conditions.startswith("[") else f"[{conditions}]"
    return [fit, Command("test", ("test", f"--config={run}/config.yaml", f"--data.conditions={asked}"), run)]


def _run(runs: Sequence[Sequence[Command]], jobs: int) -> list[Command]:
    """Run all, as many side by side as asked, each on a GPU of its own where there are some; what has failed."""
    places = [_place(job, jobs) for job in range(jobs)]
    runners = [Runner(say, place) for place in places]
    with stoppable("seeds was stopped; the same command goes on"):
        if jobs == 1:
            runners[0].run(command for run in runs for command in run)
        else:
            _run_side_by_side(runners, runs)
    return [command for runner in runners for command in runner.failed.values()]


def _run_side_by_side(runners: Sequence[Runner], runs: Sequence[Sequence[Command]]) -> None:
    jobs = len(runners)
    shares = [[command for run in runs[job::jobs] for command in run] for job in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in [pool.submit(runner.run, share) for runner, share in zip(runners, shares, strict=True)]:
                future.result()
        except BaseException:  # the pool waits for what is running
            for runner in runners:
                runner.stop()
            raise


def _place(job: int, jobs: int) -> Mapping[str, str]:
    """Environment of a job: its own GPU, where several share a machine that has some."""
    if jobs == 1:
        return {}
    import torch

    count = torch.cuda.device_count()
    return {"CUDA_VISIBLE_DEVICES": str(job % count)} if count else {}


def _seeds(given: str) -> list[int]:
    if re.fullmatch(r"\d{1,4}", given) and 0 < int(given) <= MOST:
        return list(range(int(given)))
    if re.fullmatch(r"\d{1,9}(,\d{1,9})+,?|\d{1,9},", given):
        return list(dict.fromkeys(int(seed) for seed in given.split(",") if seed))
    raise MERError(f"{given!r} names no seeds; give how many, such as 5, or which, such as 3,7,11")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo seeds",
        description="Train under several seeds, test each run, and report means, deviations and intervals. The same"
        " command goes on where it was stopped.",
        epilog="Example: mer-zoo seeds 5 --out runs/mult -- fit --config configs/quickstart.yaml",
        usage="mer-zoo seeds SEEDS [options] -- fit ...",
        allow_abbrev=False,
    )
    parser.add_argument("seeds", help="how many, from 0 on, or which, with commas: 3,7,11")
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of the runs (default: runs/seeds)")
    parser.add_argument(
        "--conditions",
        default="default",
        help="what each run is tested under, such as default,availability; none leaves the tests out",
    )
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, each on a GPU of its own")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    return parser
