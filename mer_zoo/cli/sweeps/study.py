"""The study that the processes of a sweep share, and what becomes of trials whose process has died."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mer_zoo.cli.sweeps.config import Sweep
from mer_zoo.errors import MERError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

__all__ = ["Silence", "counted", "open_study", "sampler_for", "storage_errors", "take_back"]

RETRIES = 2  # of a trial whose process died: a third death is no accident
STARTUP = 5  # trials drawn at random before TPE has something to go by; ours
IDENTITY, RETRY_OF, DEATHS, SURPLUS, BEAT = "sweep", "retry_of", "deaths", "surplus", "beat"


def open_study(sweep: Sweep, storage: str, name: str) -> Study:
    """Open a study, or make it.

    Args:
        sweep: The sweep.
        storage: A journal file, or a storage URL such as ``postgresql://...``.
        name: Name of the study.

    Raises:
        MERError: If the storage can't be used, or holds another sweep under that name.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
    if sweep.halving is not None:
        first, factor = sweep.halving
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
    with storage_errors(storage, opening=True):
        study = optuna.create_study(
            study_name=name,
            storage=_storage(storage),
            direction="minimize" if sweep.goal == "minimize" else "maximize",
            pruner=pruner,
            load_if_exists=True,
        )
        mine = json.loads(json.dumps(sweep.identity))
        unused = not study.trials  # asked before: whoever draws the first trial has written the identity
        theirs = study.user_attrs.get(IDENTITY)
        if theirs is None and unused:
            study.set_user_attr(IDENTITY, mine)
        elif theirs != mine:
            parts = [key for key, value in mine.items() if (theirs or {}).get(key) != value]
            raise MERError(f"the study {name!r} was made with another {', '.join(parts)}; give another --study")
    return study


def _storage(storage: str) -> BaseStorage:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if "://" in storage:
        return _database(storage)
    path = Path(storage).expanduser()
    _check_journal(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(JournalFileBackend(str(path)))


def _database(url: str) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import DatabaseError

    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    for _ in range(2):
        # Of processes that open a new database at the same moment, one makes the tables and the others stumble over
        # them.
        with suppress(DatabaseError):
            return RDBStorage(url, engine_kwargs=patience)
        time.sleep(1.0)
    return RDBStorage(url, engine_kwargs=patience)


def _check_journal(path: Path) -> None:
    """Refuse a file to which Optuna would append although it is no journal, or one that it can't read to its end."""
    if not path.exists() or not path.stat().st_size:
        return
    lines = path.read_bytes().split(b"\n")
    first = json.loads(lines[0])
    if not isinstance(first, dict) or not {"op_code", "worker_id"} <= first.keys():
        raise MERError(f"{path} is no journal of Optuna; give a new file")
    if lines[-1]:
        raise MERError(f"the last line of {path} was not written to its end; delete that line")


@contextmanager
def storage_errors(storage: str, opening: bool = False) -> Iterator[None]:
    """Turn what a storage raises into one sentence, without the password of its URL.

    Args:
        storage: The storage as given.
        opening: Whether it is being opened, when anything may be wrong with it.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    kinds: tuple[type[Exception], ...] = (StorageInternalError, SQLAlchemyError)
    if opening:
        kinds += (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError)
    shown = storage.split("://")[0] + "://..." if "://" in storage else storage
    try:
        yield
    except MERError:
        raise
    except kinds as error:
        reason = str(error.__cause__ or error).replace(storage, shown).strip().split("\n")[0]
        raise MERError(
            f"the storage {shown} can't be used ({type(error).__name__}: {reason}); give a journal file or a storage"
            f" URL"
        ) from error


def sampler_for(sweep: Sweep, seed: int, number: int) -> BaseSampler:
    """The sampler of one trial: what it draws follows from seed, number and the trials so far.

    A sweep that goes on would otherwise draw its first trials again, and processes with one seed would draw the same.

    Args:
        sweep: The sweep.
        seed: Seed of the search.
        number: The trial's.
    """
    import optuna

    drawn = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if sweep.method == "random":
        return optuna.samplers.RandomSampler(seed=drawn)
    return optuna.samplers.TPESampler(n_startup_trials=STARTUP, constant_liar=True, seed=drawn)


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that count: without those that were started again, and those that were one too many."""
    again = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [trial for trial in trials if trial.number not in again and SURPLUS not in trial.user_attrs]


def take_back(study: Study, trial: FrozenTrial, died: bool) -> bool:
    """Mark a trial that was interrupted as failed, and queue its values again.

    Args:
        study: The study.
        trial: The trial.
        died: Whether its process died, which is not tried again and again; otherwise it was told to stop.

    Returns:
        Whether it was this process that did it.
    """
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    deaths = int(trial.user_attrs.get(DEATHS, 0)) + died
    try:
        if deaths > RETRIES:
            study._storage.set_trial_user_attr(trial._trial_id, "error", f"its process died {deaths} times")
        # Only one of the processes that notice gets through here.
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        return False
    if deaths <= RETRIES:
        study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number, DEATHS: deaths})
    return True


class Silence:
    """Finds trials of other processes that have stopped giving signs of life.

    Signs are counted, not dated, so that the clocks of several machines need not agree.

    Args:
        limit: Seconds without a sign after which a trial is dead.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._last: dict[int, tuple[Any, float]] = {}

    def dead(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those of the trials, all running and none of this process, that have been silent for too long."""
        now = time.monotonic()
        for trial in trials:
            beat = trial.user_attrs.get(BEAT)
            last = self._last.get(trial.number)
            if last is None or last[0] != beat:
                self._last[trial.number] = (beat, now)
        return [trial for trial in trials if now - self._last[trial.number][1] > self.limit]
