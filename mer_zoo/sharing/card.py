"""The model card of an export: what the model is, what it was tested on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mer_zoo.batch import MODALITIES
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.run import condition_table, curve_tables
from mer_zoo.runs.provenance import provenance
from mer_zoo.sharing.parts import Recipe
from mer_zoo.sharing.recipe import describe, foreign_modules
from mer_zoo.text import in_markdown
from mer_zoo.training.checkpoint import describe_model
from mer_zoo.training.record import About, DataAbout, Record

__all__ = ["INTENDED_USE", "about_model", "model_card", "record_of"]

INTENDED_USE = (
    "For research on recordings whose speakers know of it. A prediction is a guess at what other people would read from"
    " a recording, not what somebody feels. Inferring emotions of people at work or in education is prohibited in the"
    " European Union (AI Act, Regulation (EU) 2024/1689, Art. 5(1)(f))."
)

_USE = """```python
import mer_zoo
from lightning.pytorch import Trainer

model = mer_zoo.load_pretrained("FOLDER_OR_HUB_ID"{modules})
data = mer_zoo.{corpus}({options})
Trainer(logger=False).test(mer_zoo.MERModule(model), data)  # .predict gives the scores of each sample{scaled}
```"""
_NO_RESULTS = (
    "No results were at hand when this card was written: run `mer-zoo test` with the checkpoint, then export again."
)


def about_model(model: Model, datamodule: MERDataModule | None = None) -> About:
    """What readers of a model should know beside how it is built, without paths of this machine.

    Args:
        model: The model.
        datamodule: What it is trained on.
    """
    run = provenance()
    git = run["git"]["mer_zoo"] or {}
    return About(
        model=model.label,
        parameters=sum(p.numel() for p in model.parameters()),
        notes=tuple(model.notes()),
        packages=tuple(run["packages"].items()),
        python=run["python"],
        commit=git.get("commit"),
        dirty=git.get("dirty", False),
        data=None if datamodule is None else _about_data(datamodule),
    )


def record_of(model: Model, datamodule: MERDataModule | None, seed: int | None) -> Record:
    """What a checkpoint says about its model; where that can't be described, why, for it is written all the same.

    Args:
        model: The model.
        datamodule: What it is trained on; None with plain loaders.
        seed: The seed of training.
    """
    recipe, refused = None, ""
    try:
        recipe = describe(model).plain()
    except MERError as error:
        refused = str(error)
    return Record(
        **vars(describe_model(model)),
        scaler=None if datamodule is None else datamodule.scaler_state(),
        seed=seed,
        recipe=recipe,
        refused=refused,
        about=about_model(model, datamodule),
        uncertainty=model.uncertainty,
    )


def _about_data(datamodule: MERDataModule) -> DataAbout:
    origin = datamodule.origin()
    return DataAbout(
        corpus=origin["corpus"],
        source=Path(origin["source"]).name,
        sha256=origin["sha256"],
        modalities=tuple(origin["modalities"]),
        text=origin["text"],
        task=datamodule.task_name,
        convention=datamodule.convention,
        made_by={key: datamodule.corpus.made_by[key] for key in origin.get("made_by", {})},
    )


def model_card(recipe: Recipe, about: About, results: RunResults | None, standardized: bool) -> str:
    """Write a model card in Markdown with the header that model hubs read.

    Args:
        recipe: How the model is built.
        about: What readers should know.
        results: What ``mer-zoo test`` measured with these weights.
        standardized: Whether the statistics of the training data are in the file of weights.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.sharing.recipe import describe
        >>> from mer_zoo.task import SentimentRegression
        >>> recipe, about = describe(LFLSTM(DataSpec(), SentimentRegression())), About("LFLSTM", licence="mit")
        >>> print(model_card(recipe, about, None, standardized=False).split("# ")[0].strip())
        ---
        library_name: mer_zoo
        license: mit
        tags:
        - multimodal
        - emotion-recognition
        ---
    """
    header: dict[str, Any] = {"library_name": "mer_zoo"}
    if about.licence:
        header["license"] = about.licence
    header["tags"] = ["multimodal", "emotion-recognition"]
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {in_markdown(about.model)}",
        "A model for multimodal emotion recognition, trained and exported with mer_zoo. `config.json` holds names and"
        " numbers, "
        "`model.safetensors` tensors; nothing in this folder is executed.",
        _use(recipe, about.data or DataAbout(), standardized),
        "## Intended use\n\n" + in_markdown(INTENDED_USE),
        "## Task and data\n\n" + _items(_facts(recipe, about, results)),
        "## Results\n\n" + (_results(results) if results is not None else _NO_RESULTS),
        "## Protocol\n\n" + _items(_protocol(about, results, standardized)),
        "## Made with\n\n" + _items(_versions(about)),
        "## Licence\n\n" + _licence(about.licence),
    ]
    return "\n\n".join(sections) + "\n"


def _use(recipe: Recipe, data: DataAbout, standardized: bool) -> str:
    spec, modules = recipe.spec, foreign_modules(recipe)
    made = data.corpus == SyntheticMER.__name__
    options = {
        "task": data.task or "TASK",
        "convention": data.convention,
        "text": "tokens" if spec["tokens"] and not made else None,
        "modalities": spec["modalities"] if set(spec["modalities"]) != set(MODALITIES) else None,
        "standardize": None if standardized else False,
    }
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return _USE.format(
        modules=f", modules={modules}" if modules else "",
        corpus=SyntheticMER.__name__ if made else MERDataModule.__name__,
        options=", ".join(given if made else ["'CORPUS'", *given]),
        scaled=", scaled as in training" if standardized else "",
    )


def _facts(recipe: Recipe, about: About, results: RunResults | None) -> dict[str, Any]:
    spec, task, data = recipe.spec, recipe.task, about.data or DataAbout()
    made = data.corpus == SyntheticMER.__name__
    options = ", ".join(f"{name} {_words(value)}" for name, value in task.arguments.items())
    shapes = ", ".join(f"{name} {spec[f'{name}_len']} steps of {_width(spec, name)}" for name in spec["modalities"])
    return {
        "Task": f"{task.name} ({options})",
        "Corpus": " ".join(filter(None, [None if made else data.corpus, data.source])),
        "Samples": "" if results is None else _words(results.data.get("counts")),
        "SHA-256 of the source": data.sha256,
        "Input": f"{shapes}; {'aligned' if spec['aligned'] else 'unaligned'}",
        "Features made by": "; ".join(f"{key}: {spec}" for key, spec in data.made_by.items()),
        "Parameters": about.parameters,
    }


def _width(spec: Mapping[str, Any], name: str) -> str:
    return "token ids" if name == "text" and spec["tokens"] else f"{spec[f'{name}_dim']} features"


def _results(results: RunResults) -> str:
    return "\n\n".join(table.markdown() for table in [condition_table(results), *curve_tables(results)])


def _protocol(about: About, results: RunResults | None, standardized: bool) -> dict[str, Any]:
    conditions = [] if results is None else [f"{c.name} ({c.split}, {c.count})" for c in results.conditions.values()]
    notes = dict.fromkeys([*about.notes, *([] if results is None else results.notes)])
    scaled = "by the training split's mean and deviation, in the file of weights"
    return {
        "Selection": about.selection,
        "Seed": about.seed,
        "Standardisation": scaled if standardized else "none",
        "Metric convention": None if results is None else f"{results.convention} (see mer_zoo.metrics)",
        "Conditions tested": ", ".join(conditions),
        "Note": list(notes),
    }


def _versions(about: About) -> dict[str, Any]:
    commit = about.commit and about.commit + (" with local changes" if about.dirty else "")
    return {**dict(about.packages), "python": about.python, "commit": commit}


def _licence(licence: str | None) -> str:
    if licence:
        return f"{in_markdown(licence)}, as stated by who exported the model."
    return "Not stated; until its owner states one (`mer-zoo export --licence NAME`), it grants no rights."


def _items(facts: Mapping[str, Any]) -> str:
    lines = []
    for name, fact in facts.items():
        for one in fact if isinstance(fact, list) else [fact]:
            if one not in (None, ""):
                lines.append(f"- {in_markdown(name)}: {in_markdown(str(one))}")
    return "\n".join(lines)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return (
        " + ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value or "")
    )
