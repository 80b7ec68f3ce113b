"""``mer-zoo adapt``: a trained model, adapted to the inputs of other data; their labels are not read for it."""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from lightning.pytorch.utilities import rank_zero_info

from mer_zoo.cli.derived import check_options, check_out, metrics_row, parser_of, show, write_derived
from mer_zoo.cli.opening import Opened, open_data, open_run
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.explain.samples import complete_condition
from mer_zoo.functional.adaptation import Stable
from mer_zoo.model import Model
from mer_zoo.text import shown
from mer_zoo.training.scoring import score
from mer_zoo.wrappers.casp.layer_norms import match_statistics
from mer_zoo.wrappers.casp.wrapper import CASP, without_labels

__all__ = ["main"]

AS_IS, STATISTICS = "source as it is", "LayerNorm statistics alone"


def main(args: list[str]) -> None:
    """Run ``mer-zoo adapt``.

    Args:
        args: Command line after the word adapt.

    Raises:
        MERError: If the run can't be opened or its network not be adapted, or the data are others than it takes.
    """
    options, others = _parser().parse_known_args(args)
    check_options("adapt", others)
    if not others:
        raise MERError("adapt needs the data that a model is to be adapted to; give --data.path, or others of --data")
    check_out(options.out, options.run, options.overwrite)
    opened = open_run(options.run, others, options.module)
    arguments = {name: getattr(options, name) for name in ("epochs", "every", "label_epochs", "quantile", "stable")}
    arguments |= {"lr": options.lr, "seed": options.seed}
    given = {name: value for name, value in arguments.items() if value is not None}
    others_of = {AS_IS: copy.deepcopy(opened.model), STATISTICS: copy.deepcopy(opened.model)}
    model = CASP(opened.model, **given)
    train = opened.data.batch_source("train")
    rank_zero_info(f"adapting {shown(model.name)} to {len(opened.data.dataset('train'))} samples, without their labels")
    model.adapt(train)
    told = write_derived(opened, options.out, model, given, others, options.overwrite)
    models = {**others_of, "CASP": model}
    if not _match(others_of[STATISTICS], opened):
        del models[STATISTICS]
    _compare(models, opened.data)
    sys.stdout.write(told)


def _match(model: Model, opened: Opened) -> bool:
    """Match the LayerNorms' statistics to those of the source, if its data are still there."""
    try:
        source = open_data(opened.folder / "config.yaml")
        source.load_scaler_state(opened.model.scaler_state)
        ours, theirs = (without_labels(data.batch_source("train"), model) for data in (source, opened.data))
        match_statistics(model, ours, theirs)
    except MERError as error:
        rank_zero_info(f"{STATISTICS} can't be matched without the data of the run: {shown(str(error))}")
        return False
    return True


def _compare(models: dict[str, Model], data: MERDataModule) -> None:
    """Print the metrics of the models on the target's test split, where that has labels."""
    rows = list(_rows(models, data))
    if not rows:
        rank_zero_info("the target's test split has no labels, so nothing can be compared; mer-zoo predict takes it")
        return
    show(
        f"Split {data.predict_split} of {Path(str(data.corpus.source)).name}, all modalities",
        rows,
        ["Labels of this split are read for this table alone; CASP is transductive: it has seen inputs of the target."],
    )


def _rows(models: dict[str, Model], data: MERDataModule) -> Iterator[dict[str, str]]:
    source = data.condition_source(complete_condition(data, data.predict_split))
    for name, model in models.items():
        scores = score(model, source, calibrating=False)
        if scores.target.dtype.is_floating_point and scores.target.isnan().all():
            return
        yield metrics_row(name, model.task, scores, {})


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(
        "adapt",
        "folder of the adapted run",
        "Adapt gain and offset of a trained network's LayerNorms to the unlabelled training split of other"
        " data (CASP), and compare it on their test split with the model as it is.",
        usage="mer-zoo adapt RUN --out FOLDER --data.path TARGET [options]",
    )
    parser.add_argument("--epochs", type=int, help="epochs of the contrastive stage (default: 15)")
    parser.add_argument("--every", type=int, help="epochs between predictions that are compared (default: 3)")
    parser.add_argument("--label-epochs", type=int, help="epochs with pseudo-labels, 0 for none (default: 5)")
    parser.add_argument("--quantile", type=float, help="share of the samples that get one (default: 0.5)")
    parser.add_argument(
        "--stable", choices=get_args(Stable), help="which: those that changed least (below, default), or most"
    )
    parser.add_argument("--lr", type=float, help="learning rate (default: 0.001)")
    parser.add_argument("--seed", type=int, help="of the draws (default: 0)")
    return parser
