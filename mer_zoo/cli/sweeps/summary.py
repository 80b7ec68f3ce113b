"""The table of a sweep's trials, and the best one's command."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from mer_zoo.cli.sweeps.config import Sweep, folder_options
from mer_zoo.cli.sweeps.study import counted
from mer_zoo.reports.tables import ABSENT, Table, format_value

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = ["best_command", "best_trial", "trial_table"]


def best_trial(study: Study) -> FrozenTrial | None:
    """The best of the trials that ran to their end; None while there is none."""
    done = [trial for trial in counted(study.get_trials(deepcopy=False)) if trial.state.name == "COMPLETE"]
    return min(done, key=lambda trial: _rank(study, trial), default=None)


def _rank(study: Study, trial: FrozenTrial) -> tuple[int, float, int]:
    order = ["COMPLETE", "PRUNED", "RUNNING", "WAITING", "FAIL"].index(trial.state.name)
    value = _value(study, trial)
    key = math.inf if value is None else value if study.direction.name == "MINIMIZE" else -value
    return order, key, trial.number


def _value(study: Study, trial: FrozenTrial) -> float | None:
    """A finished trial's value, or the best of one that was pruned or still runs."""
    best = min if study.direction.name == "MINIMIZE" else max
    return trial.value if trial.value is not None else best(trial.intermediate_values.values(), default=None)


def trial_table(sweep: Sweep, study: Study, seed: int) -> Table:
    """A row a trial, the best first.

    Args:
        sweep: The sweep.
        study: Its study.
        seed: What the trials trained with.

    Returns:
        The table; its notes hold what failed trials said.
    """
    trials = sorted(counted(study.get_trials(deepcopy=False)), key=lambda trial: _rank(study, trial))
    searched = [parameter.name for parameter in sweep.parameters if parameter.kind != "constant"]
    short = {name: name.rsplit(".", 1)[-1] for name in searched}
    twice = {name for name in searched if list(short.values()).count(short[name]) > 1}
    header = ["trial", "state", sweep.metric, "epochs", *(name if name in twice else short[name] for name in searched)]
    rows = []
    for trial in trials:
        value, values = _value(study, trial), trial.user_attrs.get("values", {})
        cells = [ABSENT if value is None else format_value(sweep.metric.removeprefix("val/"), value)]
        cells += [str(trial.last_step or 0), *(_cell(values.get(name)) for name in searched)]
        rows.append([str(trial.number), trial.state.name.lower(), *cells])
    goal = "lowest" if sweep.goal == "minimize" else "highest"
    notes = [f"{sweep.metric}: the {goal} of all epochs, of which best.ckpt is the checkpoint. Seed {seed} throughout."]
    notes += [f"Trial {t.number} failed: {t.user_attrs['error']}" for t in trials if "error" in t.user_attrs]
    return Table(f"Trials of {study.study_name}", header, rows, notes)


def best_command(study: Study) -> str | None:
    """What trains the best trial anew, into the folder ``best`` beside the trials'; None while there is none."""
    trial = best_trial(study)
    if trial is None:
        return None
    folder = Path(trial.user_attrs["folder"])
    return f"mer-zoo {shlex.join([*trial.user_attrs['arguments'], *folder_options(folder.parent, 'best')])}"


def _cell(value: object) -> str:
    return ABSENT if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
