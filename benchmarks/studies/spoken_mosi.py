"""CMU-MOSI spoken and heard: what a recogniser's words cost a network, and what makes it cost less.

    python -m benchmarks.studies.spoken_mosi make clean_unaligned_50.pkl runs/spoken        # says, hears, reads
    python -m benchmarks.studies.spoken_mosi run runs/spoken/beam5.pkl --out runs/spoken_mosi
    python -m benchmarks.studies.spoken_mosi table runs/spoken_mosi --csv results/spoken_mosi_cpu.csv
    python -m benchmarks.studies.spoken_mosi losses clean_unaligned_50.pkl runs/spoken runs/spoken_mosi
    python -m benchmarks.studies.spoken_mosi settings clean_unaligned_50.pkl runs/spoken --split valid --every 2

Every network is trained on the true transcripts (plain), with what was heard as the text of half of the samples (heard)
or of all (heard alone), under MSSD, and both (heard+MSSD), and is tested on what was said, on what was heard, and
without text. The epoch of the smallest validation MAE on the true transcripts counts. ``make`` needs espeakng-loader,
faster-whisper and the weights of requirements/clips-demo.txt.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

import mer_zoo.backbones
from benchmarks.options import add_csv_option
from benchmarks.studies import spoken_clips, spoken_settings
from benchmarks.studies.frame import (
    Job,
    Plan,
    Record,
    Results,
    Study,
    add_run_options,
    by_name,
    commits_of,
    digits,
    fit,
    score_conditions,
    simple_jobs,
    tested,
)
from benchmarks.studies.spoken_losses import SIGNS, losses_table, only, words_table
from benchmarks.studies.table import (
    SCALES,
    cell,
    decimals,
    difference,
    interval,
    spread,
    write_tables,
)
from benchmarks.studies.zoo_mosi import SIZES
from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.data.datamodule import MOSI, MERDataModule
from mer_zoo.data.missing import SMM, Condition
from mer_zoo.data.store.store import open_corpus
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import ABSENT, Table
from mer_zoo.scores import Scores, baselines, measure
from mer_zoo.wrappers import MSSD

NETWORKS = ("LFLSTM", "MulT")
METHODS: Mapping[str, tuple[float, bool]] = {  # the share of heard texts in training, and whether MSSD stands around
    "plain": (0.0, False),
    "heard": (0.5, False),
    "heard alone": (1.0, False),
    "MSSD": (0.0, True),
    "heard+MSSD": (0.5, True),
}
SAID, HEARD, WITHOUT = "iid", "asr", "without text"
CONDITIONS = {SAID: "what was said", HEARD: "what was heard", WITHOUT: WITHOUT}


def corpus(options: argparse.Namespace, share: float) -> MERDataModule:
    """The corpus, tested under all conditions."""
    modalities = options.modalities.split(",")
    others = [name for name in modalities if name != "text"]
    conditions: list[str | Condition] = ["default", "asr"]
    conditions += [Condition(WITHOUT, "test", SMM(others))] if others else []
    return MOSI(
        str(options.path),
        batch_size=options.batch_size,
        modalities=modalities,
        conditions=conditions,
        heard_share=share,
    )


def train(options: argparse.Namespace, job: Job) -> Results:
    """Train one network by one method with one seed and test it."""
    seed_everything(job.seed, verbose=False)
    (name,) = job.what
    network, method = name.split(": ")
    share, is_distilled = METHODS[method]
    data = corpus(options, share)
    model: Model = getattr(mer_zoo.backbones, network)(data.spec, data.task, **SIZES[network])
    found = fit(
        MSSD(model) if is_distilled else model, data, Plan(options.lr, options.epochs, {"MAE": ("val/MAE", -1)})
    )
    return tested(found, lambda module: test(module, data, name))


def test(module: MERModule, data: MERDataModule, name: str) -> Results:
    """Metrics under every condition, and the signs of all scores, 0 for negative and 2 for positive ones."""
    scores = score_conditions(module.model, data)
    signs = {c: (2 * (each.logits.flatten() > 0).long()) for c, each in scores.items()}
    splits = {c: {"metrics": measure(data.task, each), "classes": digits(signs[c])} for c, each in scores.items()}
    names = data.corpus.split("test").ids
    told = {
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "constant": baselines(data.task, scores[SAID].target)["constant"],
        "truth": {c: digits(_signs(each)) for c, each in scores.items()},
        "ids": {c: [names[place] for place in each.index.tolist()] for c, each in scores.items()},
    }
    return {(name,): {**told, "result": {"splits": splits, "diagnostics": {}}}}


def _signs(scores: Scores) -> torch.Tensor:
    """(N,) 0, 1 and 2 for negative, neutral and positive sentiment."""
    signs: torch.Tensor = scores.target.sign().long() + 1
    return signs


def metrics_table(found: Mapping[str, Sequence[Record]]) -> Table:
    """Metrics of every method on what was said, on what was heard and without text."""
    rows = []
    for name, records in found.items():
        network, method = name.split(": ")
        for condition, title in CONDITIONS.items():
            if condition not in records[0]["truth"]:
                continue
            values = [only(records, condition).metric(metric, ["shown"]) for metric in SCALES]
            cells = [
                spread([SCALES[m] * value for value in each], decimals(m))
                for m, each in zip(SCALES, values, strict=True)
            ]
            rows.append([network, method, title, str(len(records)), *cells])
    if rows:
        last = next(iter(found.values()))[-1]["constant"]
        shown = [f"{scale * last[m]:.{decimals(m)}f}" if m in last else ABSENT for m, scale in SCALES.items()]
        rows.append(["the best constant", "", "", "", *shown])
    return Table("accuracies and F1 in percent", ["network", "trained", "tested on", "seeds", *SCALES], rows, names=3)


def loss_table(found: Mapping[str, Sequence[Record]]) -> Table:
    """Acc2_non0 on what was said and on what was heard, each against plain training, and what hearing costs."""
    rows = []
    for name, records in found.items():
        network, method = name.split(": ")
        plain = None if method == "plain" else found.get(f"{network}: plain")
        said, heard = only(records, SAID), only(records, HEARD)
        cells = [
            cell(only(records, condition), None if plain is None else only(plain, condition), SIGNS)
            for condition in (SAID, HEARD)
        ]
        rows.append([network, method, str(len(records)), *cells, interval(difference(heard, said, SIGNS))])
    header = ["network", "trained", "seeds", CONDITIONS[SAID], CONDITIONS[HEARD], "heard - said"]
    note = "In brackets: against plain training, with 95 % intervals that count recordings and seeds."
    return Table("Acc2_non0 in percent", header, rows, [note], names=2)


def losses(options: argparse.Namespace) -> None:
    """Where plain networks lose what they lose, and which words are lost; printed and kept."""
    corpus = open_corpus(options.path, options.made / "cache")
    clips, train = spoken_clips.clips_of(corpus.split("test")), corpus.split("train")
    heard = spoken_clips.read_heard(options.made / f"{options.setting}.jsonl")
    known = by_name(options.folder)
    own = {network: records for network in NETWORKS if (records := known.get(f"{network}: plain"))}
    where = [losses_table(name, records, (SAID, HEARD), clips, heard, train) for name, records in own.items()]
    lost = words_table(clips, heard, train)
    write_tables(options.folder, [*where, lost], "losses.md")
    if options.csv is not None:
        about = {
            "device": "CPU",
            "commit": commits_of(options.folder),
            "clusters": str(len({c.name.split("$_$")[0] for c in clips})),
        }
        about["command"] = (
            f"python -m benchmarks.studies.spoken_mosi losses {options.path.name} runs/spoken runs/spoken_mosi"
        )
        figures = [
            replace(one, value=one.difference or one.value, difference="")
            for each in where
            for one in figures_of(each, "CMU-MOSI spoken: where the loss is", **about)
        ]
        write_measured(options.csv, [*figures, *figures_of(lost, "CMU-MOSI spoken: lost words", **about)])


def table(options: argparse.Namespace) -> None:
    """What hearing costs, and all metrics, printed and kept."""
    known = by_name(options.folder)
    order = [f"{network}: {method}" for network in NETWORKS for method in METHODS]
    found = {name: known[name] for name in [*order, *(each for each in known if each not in order)] if name in known}
    lost, metrics = loss_table(found), metrics_table(found)
    write_tables(options.folder, [lost, metrics])
    if options.csv is not None:
        own = next(iter(found.values()))[0]["ids"][SAID]
        about = {"device": "CPU", "commit": commits_of(options.folder)}
        about["command"] = "python -m benchmarks.studies.spoken_mosi table runs/spoken_mosi"
        drawn = {**about, "clusters": str(len(set(recordings(own) or own)))}
        accuracies = [
            replace(figure, against=f"{figure.model.partition(';')[0]}; plain" if figure.difference else "")
            for figure in figures_of(lost, "CMU-MOSI spoken: accuracy", "Acc2_non0", **drawn)
        ]
        costs = [
            replace(figure, value=figure.difference, difference="", against="") if "-" in figure.condition else figure
            for figure in accuracies
        ]
        write_measured(options.csv, [*costs, *figures_of(metrics, "CMU-MOSI spoken: metrics", **about)])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    spoken_clips.add_options(commands.add_parser("make"))
    spoken_settings.add_options(commands.add_parser("settings"))
    lost = commands.add_parser("losses")
    lost.add_argument("path", type=Path, help="the file that was given to make")
    lost.add_argument("made", type=Path, help="the folder of make")
    lost.add_argument("folder", type=Path, help="of the records")
    lost.add_argument("--setting", default="beam5", help="of the recogniser")
    add_csv_option(lost)
    runs = commands.add_parser("run")
    runs.add_argument("path", type=Path, help="a file that make has written")
    add_run_options(runs, seeds="0,1,2", epochs=15, batch_size=24)
    runs.add_argument("--networks", default=",".join(NETWORKS))
    runs.add_argument("--methods", default=",".join(METHODS))
    runs.add_argument("--modalities", default="text,audio,vision", help="text,audio for a file whose vision leaks")
    runs.add_argument("--lr", type=float, default=1e-3)
    shown = commands.add_parser("table")
    shown.add_argument("folder", type=Path)
    add_csv_option(shown)
    return parser


def main(args: Sequence[str] | None = None) -> None:
    """Make the corpus, train on it, or print the tables."""
    options = parser().parse_args(args)
    if options.command == "make":
        spoken_clips.make(options)
        return
    if options.command in ("table", "settings", "losses"):
        actions = {"table": lambda: table(options), "settings": lambda: spoken_settings.compare(options)}
        actions.get(options.command, lambda: losses(options))()
        return
    kept = {"file": options.path.name, "modalities": options.modalities, "epochs": options.epochs, "lr": options.lr}
    kept["batch_size"] = options.batch_size
    names = [f"{net}: {method}" for net in options.networks.split(",") for method in options.methods.split(",")]
    Study(options.out, kept, partial(train, options)).run(simple_jobs(names, options.seeds), options.part)


if __name__ == "__main__":
    main()
