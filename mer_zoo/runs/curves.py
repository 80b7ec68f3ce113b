"""The curve of a run, metrics.csv: whole at any moment, and continued where a run is resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers.csv_logs import CSVLogger, ExperimentWriter
from typing_extensions import override

from mer_zoo.runs.files import write_rows

__all__ = ["CURVE", "CurveWriter", "curve_of", "epoch_row"]

CURVE = "mer_zoo_curve"  # the key of a checkpoint under which the rows of metrics.csv stand


class CurveWriter(ExperimentWriter):
    """Writes metrics.csv from all rows since the first epoch, and leaves one that lies there alone until then.

    Args:
        log_dir: The run's folder.
    """

    def __init__(self, log_dir: str) -> None:
        self.rows: list[dict[str, float]] = []
        super().__init__(log_dir)
        self.path = Path(self.metrics_file_path)

    @override
    def _check_log_dir_exists(self) -> None:
        """Lightning's deletes the file, also where a run is resumed that it belongs to."""

    @override
    def save(self) -> None:
        self.rows += self.metrics
        self.metrics = []
        if not self.rows:
            return
        write_rows(self.path, sorted(set().union(*self.rows)), self.rows)

    def restart(self, rows: Sequence[dict[str, float]]) -> None:
        """Begin with the rows of a run that is resumed, or with none: what else stands in the file goes.

        Args:
            rows: Rows, each with its ``step`` and ``epoch``.
        """
        self.rows, self.metrics = list(rows), []
        self.path.unlink(missing_ok=True) if not rows else self.save()


def curve_of(logger: CSVLogger) -> CurveWriter:
    """The :class:`CurveWriter` of a logger, which writes its metrics.csv from now on.

    Args:
        logger: A logger; on the process that logs.
    """
    if not isinstance(logger._experiment, CurveWriter):
        logger._experiment = CurveWriter(logger.log_dir)
    return logger._experiment


def epoch_row(trainer: Trainer) -> list[dict[str, Any]]:
    """The row that Lightning logs of an epoch after its checkpoints are written; to be called on every process.

    Args:
        trainer: The trainer.

    Returns:
        One row at the end of a training epoch, else none.
    """
    progress: Any = trainer.fit_loop.epoch_progress.current
    if not progress.processed > progress.completed:
        return []
    means = trainer._logger_connector.metrics["log"]
    row: dict[str, Any] = {name: value.item() for name, value in means.items()}
    step = int(row.pop("step", trainer.fit_loop.epoch_loop._batches_that_stepped - 1))
    return [{"epoch": trainer.current_epoch, **row, "step": step}] if means else []
