"""The commands of an experiment: a split, trainings and tests as ``mer-zoo`` takes them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from mer_zoo.cli.bases import with_bases
from mer_zoo.cli.reproduce.plan import Experiment, Training
from mer_zoo.cli.sweeps.config import folder_options
from mer_zoo.errors import MERError

__all__ = ["Command", "commands", "run_folder"]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Command:
    """One command.

    Attributes:
        kind: What it does.
        args: What stands behind ``mer-zoo``.
        folder: What it makes or adds to: a run's folder, or that of a split.
    """

    kind: Literal["split-ood", "fit", "test"]
    args: tuple[str, ...]
    folder: Path

    def __str__(self) -> str:
        return shlex.join(["mer-zoo", *self.args])


def commands(
    experiment: Experiment,
    files: Mapping[str, Path],
    seeds: Sequence[int],
    out: Path,
    extra: Sequence[str] = (),
    text_encoder: str | None = None,
) -> Iterator[Command]:
    """The commands of an experiment, in their order.

    Args:
        experiment: The experiment.
        files: The file of each kind of corpus.
        seeds: Seeds of the trainings.
        out: Folder of all runs.
        extra: Further options of every fit.
        text_encoder: Folder or name of the text encoder, where the configuration has one.

    Raises:
        MERError: If there is no folder of configurations.
    """
    training = experiment.training
    data = files[training.kind]
    if training.split == "OOD":
        source, data = data, out / "data" / f"{training.corpus}_ood_{training.task}".lower()
        split = [f"--task={training.task}", f"--label-shift=cider-{training.corpus.lower()}"]
        split += ["--nan=zero"] if "--data.nan=zero" in extra else []
        yield Command("split-ood", ("split-ood", str(source), str(data), *split), data)
    configs = _configs(training)
    settings = _merged(configs)
    given = [*extra]
    if text_encoder is not None and settings["model"]["backbone"].get("init_args", {}).get("text_encoder"):
        given.insert(0, f"--model.backbone.text_encoder={text_encoder}")
    for seed in seeds:
        run, own = run_folder(training, out, seed), _own_options(training, settings)
        first = _first_stage(training)
        if first is not None:
            before = _before(training, out) / run.name
            yield _fit([first], data, before, seed, extra)
            own.append(f"--model.backbone.pretrained={before}/checkpoints/best.ckpt")
        if training.tested != training.corpus:
            other = files[f"{training.tested}:{training.alignment}"]
            own.append(f"--data.conditions={json.dumps(_complete(training, other))}")
        yield _fit(configs, data, run, seed, [*own, *given])
        tested = json.dumps(_conditions(experiment, files))
        weights = run / "checkpoints" / "best.ckpt"
        options = (f"--config={run}/config.yaml", f"--ckpt_path={weights}", f"--data.conditions={tested}")
        yield Command("test", ("test", *options), run)


def run_folder(training: Training, out: Path, seed: int) -> Path:
    """The folder of a run.

    Args:
        training: What is trained.
        out: Folder of all runs.
        seed: The seed.
    """
    return out / training.folder / f"seed_{seed}"


def _fit(configs: Sequence[Path], data: Path, run: Path, seed: int, options: Sequence[str]) -> Command:
    given = (*(f"--config={path}" for path in configs), f"--data.path={data}", f"--seed_everything={seed}")
    return Command("fit", ("fit", *given, *folder_options(run.parent, run.name), *options), run)


def _own_options(training: Training, settings: Mapping[str, Any]) -> list[str]:
    """What a training sets beyond its configuration: the task, its wrappers, options of the network."""
    options = [f"--data.task={training.task}"] if training.task else []
    *wrappers, network = re.findall(r"\w+", training.nest)
    known = [_spelled(each) for each in settings["model"].get("wrappers", [])]
    nest = {name: dict(dict(known).get(name, {})) for name in reversed(wrappers)}
    for setting in sorted(training.options):
        place, _, value = setting.partition("=")
        model, _, option = place.partition(".")
        if model == network:
            options.append(f"--model.backbone.{option}={value}")
        else:
            nest[model][option] = json.loads(value)
    if list(nest.items()) != known:
        spelled = [{"class_path": name, "init_args": given} if given else name for name, given in nest.items()]
        options.append(f"--model.wrappers={json.dumps(spelled)}")
    return options


def _spelled(wrapper: Any) -> tuple[str, dict[str, Any]]:
    """Class and options of a wrapper in a configuration."""
    if isinstance(wrapper, str):
        return wrapper, {}
    return wrapper["class_path"], dict(wrapper.get("init_args", {}))


def _conditions(experiment: Experiment, files: Mapping[str, Path]) -> list[Any]:
    """What is tested."""
    training = experiment.training
    place = "@ood" if training.split == "OOD" else ""
    asked: list[Any] = ["default"]
    if training.tested != training.corpus:
        asked = _complete(training, files[f"{training.tested}:{training.alignment}"])
        place = f"@{training.tested.lower()}"
    asked += [f"availability{place}"] if "SMM" in experiment.patterns else []
    curves = (pattern for pattern in experiment.patterns if pattern not in ("SMM", "complete"))
    return [*asked, *(f"robustness:{pattern}{place}" for pattern in curves)]


def _complete(training: Training, other: Path) -> list[Any]:
    """The test splits of both corpora as they are."""
    return ["default", {"name": training.tested.lower(), "split": "test", "source": str(other)}]


def _configs(training: Training) -> list[Path]:
    name, *more = (word.strip() for word in training.config.split("+"))
    own = _folder() / training.corpus.lower()
    across = own / f"{name}_{training.tested.lower()}.yaml"
    first = across if training.tested != training.corpus and across.is_file() else own / f"{name}.yaml"
    return [first, *(_folder() / "base" / f"{each}.yaml" for each in more)]


def _before(training: Training, out: Path) -> Path:
    """Where the runs of a first stage lie, which those that differ in task or wrappers share."""
    task = training.task if training.split == "OOD" else ""  # splits out of distribution are made for a task
    words = (training.corpus, training.alignment, training.split, task)
    return out / training.source / f"{training.config}-stage-1" / "_".join(filter(None, words)).lower()


def _first_stage(training: Training) -> Path | None:
    """What is trained before, where there is a file for it."""
    path = _folder() / training.corpus.lower() / f"{training.config}_pretrain.yaml"
    return path if path.is_file() else None


def _merged(configs: Sequence[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path in configs:
        merged = _over(merged, _read(path.absolute()))
    return merged


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: value for key, value in above.items() if isinstance(value, dict) and isinstance(below.get(key), dict)}
    return {**below, **above, **{key: _over(below[key], value) for key, value in both.items()}}


@cache
def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(with_bases(path.read_text(encoding="utf-8"), path), LOADER)  # noqa: S506
    return content


def _folder() -> Path:
    """The folder of configurations, by its name from here where it lies here."""
    here, beside = Path("configs"), Path(__file__).parents[3] / "configs"
    found = next((folder for folder in (here, beside) if (folder / "base").is_dir()), None)
    if found is None:
        raise MERError(
            "there is no folder configs here, whose files have the papers' settings; run mer-zoo reproduce in the"
            " folder of the repository"
        )
    return found
