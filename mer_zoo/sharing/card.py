"""The model card of an export: what the model is, what it was tested on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mer_zoo.batch import MODALITIES
from mer_zoo.data.datamodule import MERDataModule, SyntheticMER
from mer_zoo.model import Model
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.run import condition_table, curve_tables
from mer_zoo.runs.provenance import provenance
from mer_zoo.sharing.recipe import foreign_modules

__all__ = ["about_model", "model_card"]

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


def about_model(model: Model, datamodule: MERDataModule | None = None) -> dict[str, Any]:
    """What readers of a model should know beside how it is built, in plain values and without paths of this machine.

    Args:
        model: The model.
        datamodule: What it is trained on.
    """
    run = provenance()
    about = {
        "model": model.label,
        "parameters": sum(p.numel() for p in model.parameters()),
        "notes": model.notes(),
        "packages": run["packages"],
        "python": run["python"],
        "git": run["git"]["mer_zoo"],
    }
    if datamodule is not None:
        origin = datamodule.origin()
        names = {
            "source": Path(origin["source"]).name,
            "task": datamodule.task_name,
            "convention": datamodule.convention,
        }
        about["data"] = {**origin, **names}
    return about


def model_card(config: Mapping[str, Any], results: RunResults | None, standardized: bool) -> str:
    """Write a model card in Markdown with the header that model hubs read.

    Args:
        config: The content of the export's config.json.
        results: What ``mer-zoo test`` measured with these weights.
        standardized: Whether the statistics of the training data are in the file of weights.

    Example:
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.sharing.recipe import describe
        >>> from mer_zoo.task import SentimentRegression
        >>> about = {"model": "LFLSTM", "licence": "mit"}
        >>> config = {**describe(LFLSTM(DataSpec(), SentimentRegression())), "about": about}
        >>> print(model_card(config, None, standardized=False).split("# ")[0].strip())
        ---
        library_name: mer_zoo
        license: mit
        tags:
        - multimodal
        - emotion-recognition
        ---
    """
    about = config["about"]
    header: dict[str, Any] = {"library_name": "mer_zoo"}
    if about.get("licence"):
        header["license"] = about["licence"]
    header["tags"] = ["multimodal", "emotion-recognition"]
    sections = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# {about['model']}",
        "A model for multimodal emotion recognition, trained and exported with mer_zoo. `config.json` holds names and"
        " numbers, "
        "`model.safetensors` tensors; nothing in this folder is executed.",
        _use(config, standardized),
        "## Task and data\n\n" + _items(_facts(config, results)),
        "## Results\n\n" + (_results(results) if results is not None else _NO_RESULTS),
        "## Protocol\n\n" + _items(_protocol(about, results, standardized)),
        "## Made with\n\n" + _items(_versions(about)),
        "## Licence\n\n" + _licence(about.get("licence")),
    ]
    return "\n\n".join(sections) + "\n"


def _use(config: Mapping[str, Any], standardized: bool) -> str:
    data, spec = config["about"].get("data") or {}, config["spec"]
    modules = foreign_modules(config)
    made = data.get("corpus") == SyntheticMER.__name__
    options = {
        "task": data.get("task", "TASK"),
        "convention": data.get("convention"),
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


def _facts(config: Mapping[str, Any], results: RunResults | None) -> dict[str, Any]:
    about, spec, task = config["about"], config["spec"], config["task"]
    data = about.get("data") or {}
    corpus = [data.get("corpus"), data.get("source")]
    options = ", ".join(f"{name} {_words(value)}" for name, value in task["arguments"].items())
    shapes = ", ".join(f"{name} {spec[f'{name}_len']} steps of {_width(spec, name)}" for name in spec["modalities"])
    return {
        "Task": f"{task['class']} ({options})",
        "Corpus": " ".join(filter(None, corpus if corpus[0] != SyntheticMER.__name__ else corpus[1:])),
        "Samples": "" if results is None else _words(results.data.get("counts")),
        "SHA-256 of the source": data.get("sha256"),
        "Input": f"{shapes}; {'aligned' if spec['aligned'] else 'unaligned'}",
        "Parameters": about.get("parameters"),
    }


def _width(spec: Mapping[str, Any], name: str) -> str:
    return "token ids" if name == "text" and spec["tokens"] else f"{spec[f'{name}_dim']} features"


def _results(results: RunResults) -> str:
    return "\n\n".join(table.markdown() for table in [condition_table(results), *curve_tables(results)])


def _protocol(about: Mapping[str, Any], results: RunResults | None, standardized: bool) -> dict[str, Any]:
    conditions = [] if results is None else [f"{c.name} ({c.split}, {c.count})" for c in results.conditions.values()]
    notes = dict.fromkeys([*(about.get("notes") or []), *([] if results is None else results.notes)])
    return {
        "Selection": about.get("selection"),
        "Seed": about.get("seed"),
        "Standardisation": "by the training split's mean and deviation, in the file of weights"
        if standardized
        else "none",
        "Metric convention": None if results is None else f"{results.convention} (see mer_zoo.metrics)",
        "Conditions tested": ", ".join(conditions),
        "Note": list(notes),
    }


def _versions(about: Mapping[str, Any]) -> dict[str, Any]:
    commit = (about.get("git") or {}).get("commit")
    dirty = " with local changes" if commit and about["git"]["dirty"] else ""
    return {
        **(about.get("packages") or {}),
        "python": about.get("python"),
        "commit": f"{commit}{dirty}" if commit else None,
    }


def _licence(licence: str | None) -> str:
    if licence:
        return f"{_line(licence)}, as stated by who exported the model."
    return "Not stated; until its owner states one (`mer-zoo export --licence NAME`), it grants no rights."


def _items(facts: Mapping[str, Any]) -> str:
    lines = []
    for name, fact in facts.items():
        for one in fact if isinstance(fact, list) else [fact]:
            if one not in (None, ""):
                lines.append(f"- {name}: {_line(str(one))}")
    return "\n".join(lines)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count}" for name, count in value.items())
    return (
        " + ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value or "")
    )


def _line(text: str) -> str:
    """Text that stays on its line and makes no markup of its own."""
    return " ".join(text.replace("<", "&lt;").split())
