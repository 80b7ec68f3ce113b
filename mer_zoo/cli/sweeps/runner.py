"""Runs the trials of a sweep, several at a time, in one of the processes that share its study."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from mer_zoo.cli.sweeps.config import Sweep
from mer_zoo.cli.sweeps.jobs import Job
from mer_zoo.cli.sweeps.study import (
    BEAT,
    DEATHS,
    RETRIES,
    RETRY_OF,
    SURPLUS,
    Silence,
    counted,
    sampler_for,
    storage_errors,
    take_back,
)
from mer_zoo.errors import MERError

if TYPE_CHECKING:
    from optuna import Study, Trial

__all__ = ["Runner"]

POLL = 0.5  # seconds between two looks at the trials
SIGN = 15.0  # seconds between two signs of life
SILENT = 90.0  # seconds without one after which another process takes a trial over
FAILURES = 3  # trials that fail in a row before the sweep gives up
QUIET = 1800.0  # seconds without a measurement that are worth a word, then twice as many


class Running:
    """A trial and its process."""

    def __init__(self, trial: Trial, job: Job) -> None:
        self.trial, self.job = trial, job
        self.seen = 0
        self.values: list[float] = []
        self.signed = self.measured = time.monotonic()
        self.patience = QUIET

    @property
    def silence(self) -> float:
        """Seconds since the metric was measured last, or the trial begun."""
        return time.monotonic() - self.measured


class Runner:
    """Draws trials, starts them, watches their metric, and tells the study how they ended.

    Args:
        sweep: The sweep.
        study: Its study, shared with other processes or not.
        trials: How many trials the study is to have, those of other processes included.
        jobs: How many run at a time here.
        folder: Where their folders go.
        seed: Seed of the search.
        storage: The storage as given, for messages.
        console: Where progress is told.
        timeout: Seconds that a trial may go without measuring its metric before it is ended; None for any number.
    """

    def __init__(
        self,
        sweep: Sweep,
        study: Study,
        trials: int,
        jobs: int,
        folder: Path,
        seed: int,
        storage: str,
        console: Console,
        timeout: float | None = None,
    ) -> None:
        self.sweep, self.study, self.trials, self.jobs = sweep, study, trials, jobs
        self.folder, self.seed, self.storage, self.console = folder, seed, storage, console
        self.timeout = timeout
        self.running: list[Running] = []
        self.silence = Silence(SILENT)
        self.failures = 0

    def run(self) -> None:
        """Work until the study has its trials and none is running anywhere.

        Raises:
            MERError: If trials fail in a row, or the storage or a folder can't be used.
        """
        with storage_errors(self.storage):
            try:
                while self._turn():
                    time.sleep(POLL)
            finally:
                self._give_up()

    def _turn(self) -> bool:
        """One look at everything; whether there is more to do."""
        for running in list(self.running):
            self._watch_or_lose(running)
        mine = {running.trial.number for running in self.running}
        trials = self.study.get_trials(deepcopy=False)
        others = [trial for trial in trials if trial.state.name == "RUNNING" and trial.number not in mine]
        for trial in self.silence.dead(others):
            if take_back(self.study, trial, died=True):
                self._say(f"trial {trial.number} was left running by a process that died")
        waiting = any(trial.state.name == "WAITING" for trial in trials)
        due = waiting or len(counted(trials)) < self.trials
        if due and len(self.running) < self.jobs:
            self._start()
        return due or bool(self.running or others)

    def _start(self) -> None:
        trial = self.study.ask()
        self.study.sampler = sampler_for(self.sweep, self.seed, trial.number)
        before = [t for t in counted(self.study.get_trials(deepcopy=False)) if t.number < trial.number]
        if RETRY_OF not in trial.user_attrs and len(before) >= self.trials:
            # Another process has asked at the same moment.
            trial.set_user_attr(SURPLUS, True)
            self._tell(trial, "FAIL")
            return
        values = {parameter.name: parameter.draw(trial) for parameter in self.sweep.parameters}
        arguments = self.sweep.arguments(values.items())
        folder = self.folder / f"trial_{trial.number:04d}"
        trial.set_user_attr("values", values)
        trial.set_user_attr("arguments", arguments)
        trial.set_user_attr("folder", str(folder))
        try:
            self.running.append(Running(trial, Job(arguments, folder)))
        except MERError:
            self._tell(trial, "FAIL")
            raise
        self._say(f"trial {trial.number}: " + " ".join(f"{name}={value}" for name, value in values.items()))

    def _watch_or_lose(self, running: Running) -> None:
        """Watch a trial that is still this process's; another may take it over while it is being watched."""
        from optuna.exceptions import UpdateFinishedTrialError

        taken = self.study.get_trials(deepcopy=False)[running.trial.number].state.name != "RUNNING"
        if not taken:
            try:
                self._watch(running)
            except UpdateFinishedTrialError:
                taken = True
        if taken:
            self._lose(running)

    def _watch(self, running: Running) -> None:
        """Pass on what a trial has measured, prune it, or tell how it ended."""
        trial, job = running.trial, running.job
        ended = not job.running  # asked first: what it has written by then is all
        measured = job.values(self.sweep.metric)
        for step, value in enumerate(measured[running.seen :], running.seen + 1):
            if math.isfinite(value):
                trial.report(value, step)
                running.values.append(value)
        fresh, running.seen = len(measured) > running.seen, max(running.seen, len(measured))
        if fresh:
            running.measured, running.patience = time.monotonic(), QUIET
        if ended:
            self._end(running)
        elif self.timeout is not None and running.silence > self.timeout:
            job.stop()
            self._fail(
                running, f"ended by --trial-timeout: {self.sweep.metric} was not measured for {self.timeout:g} s"
            )
        elif fresh and trial.should_prune():
            job.stop()
            self._tell(trial, "PRUNED")
            self.running.remove(running)
            self._say(f"trial {trial.number} pruned after {running.seen} epochs at {running.values[-1]:.4g}")
        elif time.monotonic() - running.signed > SIGN:
            running.signed = time.monotonic()
            trial.set_user_attr(BEAT, int(trial.user_attrs.get(BEAT, 0)) + 1)
        if not ended and running.silence > running.patience:
            running.patience *= 2
            self._say(
                f"trial {trial.number} has measured nothing for {running.silence / 60:.0f} min (see {job.log});"
                " --trial-timeout ends such a trial"
            )

    def _end(self, running: Running) -> None:
        trial, job = running.trial, running.job
        job.close()
        if job.process.returncode == 0 and running.values:
            best = min(running.values) if self.sweep.goal == "minimize" else max(running.values)
            self.failures = 0
            self._tell(trial, "COMPLETE", best)
            self.running.remove(running)
            self._say(f"trial {trial.number}: {self.sweep.metric} {best:.4g} in {running.seen} epochs")
            return
        cut_off, deaths = job.cut_off_by, int(trial.user_attrs.get(DEATHS, 0)) + 1
        if cut_off is not None and deaths <= RETRIES:
            take_back(self.study, self.study.get_trials(deepcopy=False)[trial.number], died=True)
            self.running.remove(running)
            self._say(f"trial {trial.number} was cut off by {cut_off}; it is run again")
            return
        reason = job.complaint() if job.process.returncode else f"no finite {self.sweep.metric} was measured"
        if cut_off is not None:
            reason = f"cut off by {cut_off} {deaths} times"
        self._fail(running, reason)

    def _fail(self, running: Running, reason: str) -> None:
        trial, job = running.trial, running.job
        trial.set_user_attr("error", f"{reason} ({job.log})")
        self._tell(trial, "FAIL")
        self.running.remove(running)
        self._say(f"trial {trial.number} failed: {reason}")
        self.failures += 1
        if self.failures >= FAILURES:
            raise MERError(f"{FAILURES} trials in a row have failed, the last with: {reason}; see {job.log}")

    def _lose(self, running: Running) -> None:
        """Leave a trial to the process that took it over while this one was stopped for too long."""
        running.job.stop()
        self.running.remove(running)
        self._say(f"trial {running.trial.number} was taken over by another process")

    def _give_up(self) -> None:
        """End what still runs after an interruption, and queue it again."""
        for running in self.running:
            running.job.stop()
        trials = self.study.get_trials(deepcopy=False)
        for running in self.running:
            take_back(self.study, trials[running.trial.number], died=False)
        self.running = []

    def _tell(self, trial: Trial, state: str, value: float | None = None) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, value, TrialState[state])

    def _say(self, text: str) -> None:
        self.console.print(Text(text))
