"""LightningCLI for fit, validate, test and predict, with the zoo's links, defaults and run record."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

import mer_zoo.backbones
import mer_zoo.data
import mer_zoo.wrappers  # noqa: F401  # imported classes can be named without their module
from mer_zoo.callbacks import RunRecord, SaveConfig, SetCalibration
from mer_zoo.cli import closing
from mer_zoo.cli.argument_parser import MERParser
from mer_zoo.cli.errors import explain_trainer, explain_unfit, is_mistake
from mer_zoo.cli.info import class_help
from mer_zoo.cli.loggers import at_run, expand_home, plain, without_curves
from mer_zoo.cli.places import place_of
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.monitors import AUTO
from mer_zoo.reports import show_results
from mer_zoo.runs.earlier import check_no_run, trained_weights
from mer_zoo.runs.folder import CHECKPOINTS, is_trial, newest_run, run_folder
from mer_zoo.training.checkpoint import check_file, check_if_local
from mer_zoo.training.monitors import follow
from mer_zoo.training.resume import LastCheckpoint
from mer_zoo.training.settings import KINDS, allowed_kinds, go_on

__all__ = ["MERCLI", "run"]

CHOOSING = ("early_stopping", "checkpoint")  # what goes by a metric, under the names of its options


def run(args: Sequence[str] | None = None) -> None:
    """Train, validate, test or predict as the command line says.

    Args:
        args: Command line without the program name; None takes it from the process.

    Raises:
        MERError: If the Trainer can't be had as it was asked for.
    """
    told = class_help(sys.argv[1:] if args is None else args)
    if told is not None:
        sys.stdout.write(told)
        return
    try:
        MERCLI(args)
    except MisconfigurationException as error:
        raise MERError(explain_trainer(error)) from error


class MERCLI(LightningCLI):
    """LightningCLI with the zoo's links, defaults and run record.

    Args:
        args: Command line without the program name.

    Example:
        >>> MERCLI.subcommands()["test"] >= {"model", "dataloaders", "datamodule"}
        True
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        self.given = list(sys.argv[1:] if args is None else args)
        self.asked_logger: Any = None  # where a run's own folder has taken the place of what was asked for
        self.begins_anew = False  # where a run that has no checkpoint yet is to be gone on with
        word, known = next(iter(self.given), ""), self.subcommands()
        if word in known:  # the options of each of the others take as long again
            self.subcommands = lambda: {word: known[word]}  # type: ignore[method-assign]
        super().__init__(
            MERModule,
            MERDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,  # would replace MERModule's own, without a word, by --optimizer
            save_config_callback=SaveConfig,
            parser_class=MERParser,
            seed_everything_default=0,
            trainer_defaults={
                "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "runs", "name": "mer_zoo"}},
                "enable_model_summary": False,  # before_fit says in a line what can be said before the first batch
            },
            args=list(args) if args is not None else None,
        )

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("data.spec", "model.backbone.init_args.spec", apply_on="instantiate")
        parser.link_arguments("data.task", "model.backbone.init_args.task", apply_on="instantiate")
        own = {"record": RunRecord, "calibration": SetCalibration}
        for name, kind in {"early_stopping": EarlyStopping, "checkpoint": ModelCheckpoint, **own}.items():
            parser.add_lightning_class_args(kind, name)
        # ModelCheckpoint's own save_last skips every epoch that is not the best
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_argument(
            "--overwrite", type=bool, default=False, help="Replace what an earlier run has left in the folder."
        )
        parser.add_argument(
            "--untrained", type=bool, default=False, help="Test the network as it is initialised, without a checkpoint."
        )
        told = f"What a run that is resumed may have other than before, with commas: {', '.join(KINDS)}."
        parser.add_argument("--resume.allow", type=str, default="", help=told)
        parser.set_defaults(
            {
                "early_stopping.monitor": AUTO,
                "early_stopping.mode": AUTO,
                "early_stopping.patience": 10,
                "checkpoint.monitor": AUTO,
                "checkpoint.mode": AUTO,
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
                "last_checkpoint.filename": "last",
                "last_checkpoint.save_on_train_epoch_end": True,
                "last_checkpoint.enable_version_counter": False,
            }
        )

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            super().parse_arguments(parser, args)
        except MERError as error:
            place = place_of(str(error), self.given)
            if place is None:
                raise
            raise MERError(f"{place}: {error}") from error
        expand_home(self.config)

    @override
    def _set_seed(self) -> None:
        seed = self.options.seed_everything
        if not isinstance(seed, bool) and seed is not None and not 0 <= seed < 2**32:
            raise MERError(f"seed_everything is {seed}; give a number from 0 to {2**32 - 1}")
        super()._set_seed()

    @override
    def instantiate_classes(self) -> None:
        is_open = {name: self.options[name].mode == AUTO for name in CHOOSING}
        for name in CHOOSING:
            if is_open[name]:
                self.options[name].mode = "min"  # until the task is there
        try:
            super().instantiate_classes()
        except ValueError as error:
            told = None if is_mistake(error) else explain_unfit(error)
            if told is None:
                raise
            raise MERError(told) from error
        for name in CHOOSING:  # config.yaml holds the configuration that was asked for
            if is_open[name]:
                self.options[name].mode = AUTO
            if is_open[name] or self.subcommand == "fit":  # what a checkpoint knows the callback by, when it is tested
                follow(self._get(self.config_init, name), self.model.model.task, is_open[name])
        if self.asked_logger is not None:  # config.yaml holds the configuration that was asked for
            self.options.trainer.logger = self.asked_logger
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunRecord):
                callback.keep_curve(self.trainer, str(self.subcommand))
                callback.command = ["mer-zoo", *self.given]
                callback.overwrite |= self.options.overwrite or self.begins_anew
                callback.untrained = self.subcommand != "fit" and not self.options.get("ckpt_path")

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if SLURMEnvironment.detect() and self.options.trainer.plugins is None:
            # Queued again, Lightning would go on from a file in the current folder, whichever run has left it there.
            kwargs["plugins"] = [SLURMEnvironment(auto_requeue=False)]
        try:
            return super().instantiate_trainer(**kwargs)
        except MERError:
            raise
        except (ValueError, TypeError, ImportError) as error:  # strategies and libraries that are not there
            raise MERError(explain_trainer(error)) from error

    @property
    def options(self) -> Any:
        """The options of the command."""
        return self.config[str(self.config.subcommand)]

    def _records(self) -> list[RunRecord]:
        return [callback for callback in self.trainer.callbacks if isinstance(callback, RunRecord)]  # type: ignore[attr-defined]

    def before_fit(self) -> None:
        """Say what is trained; refuse places that hold a run, and options of which Lightning names no remedy here."""
        left = next(Path(self.trainer.default_root_dir).glob("hpc_ckpt_*"), None)
        if left is not None and not self.options.get("ckpt_path") and SLURMEnvironment.detect():
            raise MERError(f"there is {left}, from which Lightning would go on; move it away, or give --ckpt_path last")
        for record in self._records():
            record.check_place(self.trainer, self.options.get("ckpt_path"))
        self._check_resumed()
        rank_zero_info(closing.size_of(self.model.model))
        if self.model.automatic_optimization:
            return
        for theirs, own, no in (("gradient_clip_val", "clip_norm", None), ("accumulate_grad_batches", "accumulate", 1)):
            if getattr(self.trainer, theirs) != no:
                raise MERError(
                    f"trainer.{theirs} does not work with several optimiser steps a batch; take --model.{own} instead"
                )

    def _check_resumed(self) -> None:
        """Refuse to go on with something else, before the configuration of the run is replaced."""
        self.model.stretches.may_differ = allowed_kinds(self.options.resume.allow)
        path = Path(str(self.options.get("ckpt_path") or "").removeprefix("file://"))
        if path.is_file():
            go_on(check_file(path), self.model.settings(self.datamodule), self.model.stretches.may_differ)

    @override
    def _parse_ckpt_path(self) -> None:
        # Lightning's takes what a checkpoint holds as hyper_parameters for options, over those that were given, and
        # imports and calls what they name. A checkpoint comes from anywhere; options come from configurations.
        options = self.options
        path = options.get("ckpt_path")
        if path in ("last", "best") and not Path(path).exists():
            path = options.ckpt_path = self._find_checkpoint(path)
        elif not path and self.config.subcommand != "fit":
            path = options.ckpt_path = self._trained_weights()
        if path:
            check_if_local(path)

    def _trained_weights(self) -> str | None:
        """The best checkpoint of the run whose configuration was given; None where untrained weights are asked for."""
        options, doing = self.options, self.config.subcommand
        if options.untrained or options.trainer.fast_dev_run:
            return None
        best = [found for file in options.config or [] if (found := trained_weights(Path(str(file)))) is not None]
        if not best:
            raise MERError(
                f"{doing} needs trained weights: give --ckpt_path best, last or the path of a checkpoint, or the"
                f" config.yaml of a run that has one; --untrained=true takes the network as it is initialised"
            )
        rank_zero_info(f"no --ckpt_path was given: {doing} takes {best[-1]}, the best of the run of this configuration")
        return str(best[-1])

    def _find_checkpoint(self, word: str) -> str | None:
        """The last or best checkpoint of the run begun last; where one is resumed, its folder is to be kept."""
        options, training = self.options, self.config.subcommand == "fit"
        run = newest_run(plain(options.trainer.logger), options.trainer.default_root_dir)
        path = None if run is None else run.folder / CHECKPOINTS / f"{word}.ckpt"
        found = path is not None and path.exists()
        if not found and (word == "best" or not training):
            where = "there is no run yet" if path is None else f"{path} does not exist"
            raise MERError(f"{where}; train first, or give --ckpt_path the path of a checkpoint")
        if training and run is not None and run.option is not None:
            self.asked_logger = options.trainer.logger
            options.trainer.logger = at_run(self.asked_logger, run, options.trainer.default_root_dir)
        if not found:
            self.begins_anew = True
            rank_zero_info("no checkpoint has been written yet; training starts from the beginning")
        return str(path) if found else None

    @override
    def before_instantiate_classes(self) -> None:
        if self.subcommand in (None, "fit"):
            return
        if self.subcommand == "test":
            self.config.test.verbose = False  # after_test prints the same numbers so that they can be read
        trainer = self.options.trainer
        if self.options.ckpt_path:
            # There is no curve to log, and the logger would replace the metrics.csv of the training run.
            trainer.logger = without_curves(trainer.logger)

    def before_validate(self) -> None:
        """Refuse to write what untrained weights give into the folder of a run."""
        if not self.options.ckpt_path and self.trainer.is_global_zero and not is_trial(self.trainer):
            check_no_run(run_folder(self.trainer), self.options.overwrite)

    before_test = before_predict = before_validate

    def after_fit(self) -> None:
        """Say what came of the training."""
        self._close(lambda folder: closing.after_fit(self.trainer, folder))

    def after_test(self) -> None:
        """Print the tables of the run record, and where they are."""
        self._close(show_results)
        self._close(closing.after_test)

    def after_predict(self) -> None:
        """Say where the predictions are."""
        path = self.trainer.ckpt_path
        self._close(lambda folder: closing.after_predict(folder, str(path) if path else None))

    def _close(self, say: Callable[[Path], str | None]) -> None:
        """Print what there is to say of the run's folder; a trial run has none."""
        if self.trainer.is_global_zero and not is_trial(self.trainer):
            told = say(self._records()[0].folder_of(self.trainer))
            if told is not None:
                sys.stdout.write(f"{told}\n")
