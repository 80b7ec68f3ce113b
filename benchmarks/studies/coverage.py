"""How often nominal 95 % intervals hold the truth where clips come of recordings and models of seeds.

    python -m benchmarks.studies.coverage --out runs/coverage
    python -m benchmarks.studies.coverage --trials 200 --draws 200 --out runs/coverage

A clip is answered rightly where a model's skill + the recording's ease for it + the seed's luck + both together + noise
is positive. The difference of two models' accuracies is then known, and each trial asks whether the interval holds it:
by samples (percentiles over samples taken for independent, the mean over the seeds at hand), by recordings (the same of
whole recordings), and as the library has it (recordings and seeds, Student's quantiles).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist, fmean
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.studies.table import write_tables
from mer_zoo.metrics import ClassMetric, paired_bootstrap
from mer_zoo.reports.tables import Table

SKILLS = 0.8, 0.5
METRIC = ClassMetric(3, None, "accuracy")


class World(NamedTuple):
    """What clips and seeds have in common.

    Args:
        title: In words.
        recordings: Their number.
        clips: Mean number of clips of one.
        seeds: Seeds of each model.
        ease: Deviation over recordings of how easy they are for a model.
        luck: Deviation over seeds.
        both: Deviation over pairs of recording and seed.
        own: Whether each seed has recordings of its own.
    """

    title: str
    recordings: int
    clips: int
    seeds: int
    ease: float
    luck: float
    both: float
    own: bool = False


WORLDS = [
    World("independent clips, one run", 686, 1, 1, 0.0, 0.0, 0.0),
    World("31 recordings, one run", 31, 22, 1, 0.4, 0.0, 0.0),
    World("31 recordings, five seeds", 31, 22, 5, 0.4, 0.15, 0.15),
    World("31 recordings that matter little, five seeds that do", 31, 22, 5, 0.1, 0.3, 0.05),
    World("60 recordings, three seeds", 60, 10, 3, 0.4, 0.15, 0.15),
    World("12 recordings, five seeds", 12, 50, 5, 0.4, 0.15, 0.15),
    World("independent clips of each seed's own, five seeds", 300, 1, 5, 0.0, 0.15, 0.0, own=True),
    World("independent clips of each seed's own, five seeds that matter little", 300, 1, 5, 0.0, 0.03, 0.0, own=True),
    World("31 recordings of each seed's own, three seeds", 31, 10, 3, 0.4, 0.15, 0.0, own=True),
]


def accuracy(skill: float, world: World) -> float:
    """Expected accuracy over recordings, seeds and clips."""
    return NormalDist().cdf(skill / (1 + world.ease**2 + world.luck**2 + world.both**2) ** 0.5)


def draw(world: World, generator: torch.Generator) -> tuple[list[list[Tensor]], Tensor, list[int]]:
    """Logits (N, 1) of each model and seed, labels (N,), and the recording of each clip."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    sizes = torch.randint(1, 2 * world.clips, (world.recordings,), generator=generator)  # unequal, as they are
    place = torch.arange(world.recordings).repeat_interleave(sizes)
    shared = 0.7 * normal(len(place))  # a clip that is hard for one is hard for all
    models = []
    for skill in SKILLS:
        ease, seeds = world.ease * normal(world.recordings), []
        for luck in world.luck * normal(world.seeds):
            known = skill + luck + (ease + world.both * normal(world.recordings))[place]
            seeds.append((known + shared + (1 - 0.7**2) ** 0.5 * normal(len(place)))[:, None])
        models.append(seeds)
    return models, torch.ones(len(place)), place.tolist()


def draw_own(world: World, generator: torch.Generator) -> tuple[list[list[Tensor]], list[Tensor], list[list[int]]]:
    """The same where each seed has recordings of its own, whose labels and recordings then are the seed's."""
    parts = [draw(world._replace(seeds=1), generator) for _ in range(world.seeds)]
    models = [[models[place][0] for models, _, _ in parts] for place in range(len(SKILLS))]
    return models, [target for _, target, _ in parts], [clusters for _, _, clusters in parts]


def pooled(models: Sequence[Sequence[Tensor]], clusters: Sequence[Sequence[int]]) -> tuple[list[list[Tensor]], Tensor]:
    """Seeds with recordings of their own as if all samples were of one run."""
    names = [(seed, name) for seed, own in enumerate(clusters) for name in own]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [[torch.cat(list(seeds))] for seeds in models], torch.tensor([numbers[name] for name in names])


def percentiles(models: Sequence[Sequence[Tensor]], place: Tensor, draws: int) -> tuple[float, float]:
    """Ends of the plain percentile bootstrap of the mean over the seeds at hand."""
    right = torch.stack([torch.cat(list(seeds), 1).gt(0).double().mean(1) for seeds in models])
    apart, count = right[0] - right[1], int(place.max()) + 1
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, place, apart)
    chosen = torch.randint(count, (draws, count))
    found = sums[chosen].sum(1) / place.bincount()[chosen].sum(1)
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def coverage(world: World, trials: int, draws: int) -> list[float]:
    """Shares of the trials whose interval holds the truth: by samples, by recordings, ours."""
    torch.manual_seed(0)
    truth = accuracy(SKILLS[0], world) - accuracy(SKILLS[1], world)
    held = []
    for trial in range(trials):
        generator = torch.Generator().manual_seed(trial)
        if world.own:
            models, targets, own = draw_own(world, generator)
            ours = paired_bootstrap(METRIC, models[0], models[1], targets)
            models, place = pooled(models, own)
        else:
            models, target, clusters = draw(world, generator)
            ours = paired_bootstrap(METRIC, models[0], models[1], target, draws, seed=trial, clusters=clusters)
            place = torch.tensor(clusters)
        ways = [percentiles(models, by, draws) for by in (torch.arange(len(place)), place)]
        held.append([float(low <= truth <= high) for low, high in [*ways, (ours.low, ours.high)]])
    return [fmean(way) for way in zip(*held, strict=True)]


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    made = argparse.ArgumentParser("coverage.py", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--out", type=Path, required=True, help="folder of table.md")
    made.add_argument("--trials", type=int, default=1000, help="simulated tests of each world")
    made.add_argument("--draws", type=int, default=400, help="resamplings of an interval")
    return made


def main(args: Sequence[str] | None = None) -> None:
    """Simulate, and write table.md.

    Args:
        args: Command line; None takes it from the process.
    """
    options = parser().parse_args(args)
    rows = []
    for world in WORLDS:
        shares = coverage(world, options.trials, options.draws)
        rows.append([world.title, *(f"{100 * share:.1f}" for share in shares)])
    note = f"{options.trials} trials, so that 95 % is known to +-{196 * (0.05 * 0.95 / options.trials) ** 0.5:.1f}."
    header = ["world", "by samples", "by recordings", "recordings and seeds"]
    write_tables(options.out, [Table("Share of nominal 95 % intervals that hold the truth", header, rows, [note])])


if __name__ == "__main__":
    main()
