"""Files that a checkpoint names: which of them a resumed run may keep, replace and delete as its own.

Lightning deletes what the state of a ModelCheckpoint names as soon as a better epoch comes, whatever it is, folders
too. Such a state may come from anywhere, so a name in it counts only as far as the file itself bears it out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeGuard

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from mer_zoo.errors import MERError
from mer_zoo.runs.curves import CURVE
from mer_zoo.runs.files import whole_file
from mer_zoo.text import told
from mer_zoo.training.checkpoint import check_file
from mer_zoo.training.record import RECORD

__all__ = ["Best", "settle_named_files"]

LAST = "last.ckpt"  # what a run goes on from


@dataclass(frozen=True)
class Best:
    """The best epoch before a run was resumed, whose checkpoint is not at hand.

    Attributes:
        monitor: What it was measured by.
        mode: ``min`` or ``max``.
        score: Its value; None where it is not known either.
    """

    monitor: str
    mode: str
    score: float | None

    def is_better_than(self, score: float) -> bool:
        """Whether a later score has not reached this one.

        Args:
            score: The later score.

        Example:
            >>> Best("val/MAE", "min", 1.18).is_better_than(1.36)
            True
        """
        return self.score is not None and (self.score < score if self.mode == "min" else self.score > score)


@dataclass
class _Settled:
    """What has become of the names: states by callback, and what there is to say of them."""

    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: list[Best] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def settle_named_files(content: dict[str, Any], trainer: Trainer) -> list[Best]:
    """Let the states of ModelCheckpoints in a checkpoint name nothing but files of the run that goes on.

    A name counts where it is that of a file beside the checkpoint that is itself a whole checkpoint of the same run,
    with the same rows of the curve and the score that it was kept for. Where the run goes on in another folder such a
    file is copied there; the old one stays. All other names are dropped, and that is said. A file of the callback's
    folder that is none of these and would be written over is put aside, as ``*.ckpt.old``. Where nothing is trained,
    none counts.

    Args:
        content: The content of the checkpoint, whose states of callbacks are changed; to be called on every process.
        trainer: The trainer that is about to take them over, whose callbacks know their folders.

    Returns:
        The best epochs that are not at hand.
    """
    callbacks = [callback for callback in trainer.callbacks if isinstance(callback, ModelCheckpoint)]  # type: ignore[attr-defined]
    states = {**(content.get("callbacks") or {})}
    if trainer.state.fn != "fit":  # nothing is kept
        for callback in callbacks:
            states.pop(callback.state_key, None)
        content["callbacks"] = states
        return []
    settled = _Settled()
    if trainer.is_global_zero:
        for callback in callbacks:
            _Names(callback, content, trainer, settled).settle()
    settled = trainer.strategy.broadcast(settled)
    content["callbacks"] = {**states, **settled.states}
    for sentence in dict.fromkeys(settled.warnings):
        rank_zero_warn(sentence)
    for sentence in dict.fromkeys(settled.notes):
        rank_zero_info(sentence)
    return settled.lost


class _Names:
    """The names in the state of one callback."""

    def __init__(self, callback: ModelCheckpoint, content: Mapping[str, Any], trainer: Trainer, out: _Settled) -> None:
        self.callback, self.content, self.out = callback, content, out
        self.state: Mapping[str, Any] = (content.get("callbacks") or {}).get(callback.state_key) or {}
        self.resumed = Path(str(trainer.ckpt_path))
        self.folder = Path(str(callback.dirpath))
        self.in_place = self.folder.resolve() == self.resumed.parent.resolve()

    def settle(self) -> None:
        """Put the state in which only own files are named into what is settled, and other files out of the way."""
        if not self.in_place:
            self._put_aside(())
        if self.callback.monitor is None:
            own = {name: self._own(self.state.get(name), None) for name in ("best_model_path", "last_model_path")}
            if self.state:
                self._keep({name: path or "" for name, path in own.items()}, {})
            kept: Collection[str] = [path for path in own.values() if path]
        else:
            kept = self._settle_best()
        if self.in_place:
            self._put_aside(kept)

    def _settle_best(self) -> Collection[str]:
        """The same of a callback that keeps the best; gives the files that are its own."""
        given = self.state.get("best_k_models") or {}
        scores = {name: score for name, score in given.items() if _is_number(score)}
        kept = {path: score for name, score in scores.items() if (path := self._own(name, score)) is not None}
        best, kth = self.state.get("best_model_path"), ""
        worst: Any = self.callback.kth_value
        chosen = next((path for path in kept if Path(path).name == _last_part(best)), None)
        for name in (best, self.state.get("kth_best_model_path")):
            if name and name not in given:
                self._foreign(name)
        if len(kept) == self.callback.save_top_k:
            kth = (max if self.callback.mode == "min" else min)(kept, key=lambda path: float(kept[path]))
            worst = kept[kth]
        if self.state:
            last = self._own(self.state.get("last_model_path"), None) or ""
            names = {"best_model_path": chosen or "", "last_model_path": last, "kth_best_model_path": kth}
            self._keep(
                names,
                {"best_k_models": kept, "kth_value": worst, "best_model_score": kept[chosen] if chosen else None},
            )
        if chosen is None:
            self._lose()
        return kept

    def _put_aside(self, kept: Collection[str]) -> None:
        """Keep what would be written over, unless it is one of the run's own files, under another name."""
        own = {_last_part(name) for name in kept}
        for file in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if self._may_be_written(file.name) and file.name not in own and file.resolve() != self.resumed.resolve():
                if "{" in str(self.callback.filename) and self._is_of_this_run(file, None):
                    continue  # of an earlier epoch, of which the name tells
                if self.resumed.name == LAST and self._is_trained_again(file):
                    continue  # the process was killed between this file and the next state of the run
                aside = _free_name(file)
                file.rename(aside)
                self.out.warnings.append(
                    f"{file} does not belong to the state that training goes on from; it is put aside as {aside.name}"
                )

    def _may_be_written(self, name: str) -> bool:
        """Whether a file of that name in the callback's folder would be written over."""
        words = re.split(r"\{[^}]*\}", str(self.callback.filename or "{epoch}-{step}"))
        pattern = ".*".join(map(re.escape, words)) + re.escape(self.callback.FILE_EXTENSION)
        return not self.callback._enable_version_counter and re.fullmatch(pattern, name) is not None

    def _keep(self, names: Mapping[str, str], values: Mapping[str, Any]) -> None:
        place = {"dirpath": self.callback.dirpath}  # Lightning compares it, and would forget the rest
        self.out.states[self.callback.state_key] = {**self.state, **names, **values, **place}

    def _lose(self) -> None:
        score = self.state.get("best_model_score")
        monitor, known = str(self.callback.monitor), float(score) if _is_number(score) else None
        if known is None and not self.state.get("best_model_path") and self.state:
            return  # there was none yet
        self.out.lost.append(Best(monitor, self.callback.mode, known))
        value = "" if known is None else f", {monitor} {known:.4g},"
        self.out.warnings.append(
            f"the best epoch before{value} is not at hand: {self.resumed.parent} holds no checkpoint of it that"
            f" is whole and of this run; what is kept as the best from now on is the best of the epochs to come"
        )

    def _own(self, name: Any, score: Any) -> str | None:
        """The path of a named file in the run's own folder; None where it is no file of the run."""
        if not name:
            return None
        file = self._beside(name)
        if file is None or not os.path.lexists(file):
            if file is None:
                self._foreign(name)
            return None
        if score is None and not self.in_place:
            return None  # the last one is written anew, and the old one stays where it is
        if not self._is_of_this_run(file, score):
            if not (self.in_place and self._may_be_written(file.name)):
                self._foreign(name)
            return None
        if not self.in_place and not self._copy(file):
            return None
        return os.path.join(str(self.callback.dirpath), file.name)  # noqa: PTH118  # as Lightning spells it

    def _foreign(self, name: Any) -> None:
        self.out.warnings.append(
            f"the checkpoint names {told(name)}, which is no file of its run beside it; nothing is done with that file"
        )

    def _beside(self, name: Any) -> Path | None:
        """A named file as it would lie beside the checkpoint; None where it is named as anything else."""
        folder, tail = self.state.get("dirpath"), _last_part(name)
        if not isinstance(name, str) or not isinstance(folder, str) or "://" in name or "\0" in name:
            return None
        is_direct = name[: -len(tail) - 1] == folder.rstrip("/\\") and tail.endswith(self.callback.FILE_EXTENSION)
        return self.resumed.parent / tail if is_direct and not tail.startswith(".") else None

    def _is_of_this_run(self, file: Path, score: Any) -> bool:
        if not stat.S_ISREG(file.lstat().st_mode):
            return False
        if file.resolve() == self.resumed.resolve():
            return True
        theirs = self._alike(file)
        if theirs is None or score is None:
            return theirs is not None and not self._is_later(theirs)
        if self._is_later(theirs):
            self._note_again(file)
            return True
        state = (theirs.get("callbacks") or {}).get(self.callback.state_key) or {}
        found = {_last_part(name): value for name, value in (state.get("best_k_models") or {}).items()}
        return _is_number(found.get(file.name)) and float(found[file.name]) == float(score)

    def _is_trained_again(self, file: Path) -> bool:
        """Whether a file is of the same run, and of an epoch after the state that is gone on from."""
        theirs = self._alike(file) if stat.S_ISREG(file.lstat().st_mode) else None
        is_later = theirs is not None and self._is_later(theirs)
        if is_later:
            self._note_again(file)
        return is_later

    def _alike(self, file: Path) -> dict[str, Any] | None:
        """The content of a checkpoint of the same run, as far as it tells; None for others."""
        try:
            theirs = check_file(file)
        except MERError:
            return None
        if not isinstance(theirs.get(RECORD), Mapping) or _said(theirs) != _said(self.content):
            return None
        pairs = zip(_rows(self.content), _rows(theirs), strict=False)
        return theirs if all(own == row for own, row in pairs) else None

    def _is_later(self, theirs: Mapping[str, Any]) -> bool:
        return len(list(_rows(theirs))) > len(list(_rows(self.content)))

    def _note_again(self, file: Path) -> None:
        self.out.notes.append(f"{file} is of an epoch that is trained again; it is replaced when that is the best anew")

    def _copy(self, file: Path) -> bool:
        try:
            with whole_file(self.folder / file.name) as part:
                shutil.copyfile(file, part)
        except OSError as error:
            self.out.warnings.append(f"{file} can't be copied to {self.folder} ({error.strerror})")
            return False
        self.out.notes.append(f"the best checkpoint before, {file}, is copied to {self.folder}")
        return True


def _free_name(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.old{number}") for number in chain([""], (f".{n}" for n in count(1))))
    return next(name for name in names if not os.path.lexists(name))


def _last_part(name: Any) -> str:
    return name.replace("\\", "/").rpartition("/")[2] if isinstance(name, str) else ""


def _is_number(value: Any) -> TypeGuard[float | Tensor]:
    return isinstance(value, (int, float)) or (
        isinstance(value, Tensor) and value.numel() == 1 and value.dtype.is_floating_point
    )


def _said(content: Mapping[str, Any]) -> list[Any]:
    return [content[RECORD].get(name) for name in ("model", "task", "seed")]


def _rows(content: Mapping[str, Any]) -> Iterator[str]:
    """Rows of the curve, in a form in which NaN equals NaN."""
    return (json.dumps(row, sort_keys=True) for row in content.get(CURVE) or [])
