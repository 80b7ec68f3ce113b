"""LightningCLI for fit, validate, test and predict, with the zoo's links, defaults and run record."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_info
from typing_extensions import override

import mer_zoo.backbones
import mer_zoo.data
import mer_zoo.wrappers  # noqa: F401  # imported classes can be named without their module
from mer_zoo.callbacks import RunRecord, SaveConfig
from mer_zoo.cli import closing
from mer_zoo.cli.bases import with_bases
from mer_zoo.cli.errors import explain, explain_trainer, explain_unfit, is_mistake
from mer_zoo.data import MERDataModule
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.reports import show_results
from mer_zoo.runs.folder import CHECKPOINTS, is_trial, newest_run
from mer_zoo.training.checkpoint import check_if_local
from mer_zoo.training.resume import LastCheckpoint

__all__ = ["MERCLI", "run"]


def run(args: Sequence[str] | None = None) -> None:
    """Train, validate, test or predict as the command line says.

    Args:
        args: Command line without the program name; None takes it from the process.

    Raises:
        MERError: If the Trainer can't be had as it was asked for.
    """
    try:
        MERCLI(args)
    except MisconfigurationException as error:
        raise MERError(explain_trainer(error)) from error


class MERParser(LightningArgumentParser):
    """Reports a mistake as one sentence, and reads configurations that build on others."""

    options_of: type | None = None  # the class whose options it reads, where it reads those of one alone

    @override
    def add_class_arguments(self, theclass: type, *args: Any, **kwargs: Any) -> list[str]:
        self.options_of = theclass
        added: list[str] = super().add_class_arguments(theclass, *args, **kwargs)
        return added

    @override
    def parse_string(self, content: str, path: str | os.PathLike[str] = "", *args: Any, **kwargs: Any) -> Namespace:
        # A file's content comes with its name, and is parsed in its folder.
        whole = with_bases(content, Path(path).absolute()) if path else content
        settings: Namespace = super().parse_string(whole, path, *args, **kwargs)
        return settings

    @override
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise MERError(explain(message, ex, self.options_of)) from ex


class MERCLI(LightningCLI):
    """LightningCLI with the zoo's links, defaults and run record.

    Args:
        args: Command line without the program name.

    Example:
        >>> MERCLI.subcommands()["test"] >= {"model", "dataloaders", "datamodule"}
        True
    """

    def __init__(self, args: Sequence[str] | None = None) -> None:
        self.given = args
        self.logger_option: str | None = None
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
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        # ModelCheckpoint's own save_last skips every epoch that is not the best, so the last one has a callback of its
        # own.
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.add_lightning_class_args(RunRecord, "record")
        parser.set_defaults(
            {
                "early_stopping.monitor": "val/loss",
                "early_stopping.patience": 10,
                "checkpoint.monitor": "val/loss",
                "checkpoint.filename": "best",
                "checkpoint.auto_insert_metric_name": False,
                "checkpoint.enable_version_counter": False,
                "last_checkpoint.filename": "last",
                "last_checkpoint.save_on_train_epoch_end": True,
                "last_checkpoint.enable_version_counter": False,
            }
        )

    @override
    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except ValueError as error:
            told = None if is_mistake(error) else explain_unfit(str(error))
            if told is None:
                raise
            raise MERError(told) from error
        if self.logger_option is not None:  # config.yaml holds the configuration that was asked for
            self.config[str(self.subcommand)].trainer.logger.init_args[self.logger_option] = None
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunRecord):
                callback.keep_curve(self.trainer, str(self.subcommand))
                callback.command = ["mer-zoo", *(sys.argv[1:] if self.given is None else self.given)]

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        try:
            return super().instantiate_trainer(**kwargs)
        except MERError:
            raise
        except (ValueError, ImportError) as error:  # strategies and libraries that are not there
            raise MERError(explain_trainer(error)) from error

    def before_fit(self) -> None:
        """Say what is trained, and refuse what Lightning refuses with a remedy that does not exist here."""
        rank_zero_info(closing.size_of(self.model.model))
        if self.model.automatic_optimization:
            return
        for theirs, ours, none in (
            ("gradient_clip_val", "clip_norm", None),
            ("accumulate_grad_batches", "accumulate", 1),
        ):
            if getattr(self.trainer, theirs) != none:
                raise MERError(
                    f"trainer.{theirs} does not work with several optimiser steps a batch; take --model.{ours} instead"
                )

    @override
    def _parse_ckpt_path(self) -> None:
        options = self.config[self.config.subcommand]
        path = options.get("ckpt_path")
        if path in ("last", "best") and not Path(path).exists():
            path = options.ckpt_path = self._find_checkpoint(path)
        if path:
            check_if_local(path)
        super()._parse_ckpt_path()

    def _find_checkpoint(self, word: str) -> str | None:
        """The last or best checkpoint of the run begun last; where one is resumed, its folder is to be kept."""
        options, training = self.config[self.config.subcommand], self.config.subcommand == "fit"
        logger = options.trainer.logger
        run = newest_run(logger.as_dict() if hasattr(logger, "as_dict") else None, options.trainer.default_root_dir)
        path = None if run is None else run.folder / CHECKPOINTS / f"{word}.ckpt"
        found = path is not None and path.exists()
        if not found and (word == "best" or not training):
            where = "there is no run yet" if path is None else f"{path} does not exist"
            raise MERError(f"{where}; train first, or give --ckpt_path the path of a checkpoint")
        if training and run is not None and run.option is not None:
            options.trainer.logger.init_args[run.option] = run.value
            self.logger_option = run.option
        if not found:
            rank_zero_info("no checkpoint has been written yet; training starts from the beginning")
        return str(path) if found else None

    @override
    def before_instantiate_classes(self) -> None:
        if self.subcommand in (None, "fit"):
            return
        if self.subcommand == "test":
            self.config.test.verbose = False  # after_test prints the same numbers so that they can be read
        options = self.config[str(self.subcommand)]
        trainer = options.trainer
        if options.ckpt_path and "CSVLogger" in str(getattr(trainer.logger, "class_path", "")):
            # There is no curve to log, and the logger would replace the metrics.csv of the training run.
            trainer.logger = False

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
        record = next(callback for callback in self.trainer.callbacks if isinstance(callback, RunRecord))  # type: ignore[attr-defined]
        if self.trainer.is_global_zero and not is_trial(self.trainer):
            told = say(record.folder_of(self.trainer))
            if told is not None:
                sys.stdout.write(f"{told}\n")
