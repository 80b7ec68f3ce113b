"""An explanation as Markdown, and as rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer_zoo.explain.explanation import Block, Explanation
from mer_zoo.explain.picture import bar_picture
from mer_zoo.reports.pictures.style import save_picture
from mer_zoo.reports.tables import ABSENT, Table
from mer_zoo.runs.files import whole_file, write_csv
from mer_zoo.text import in_markdown

__all__ = ["effect_rows", "markdown", "write_explanations"]


def markdown(explanations: Sequence[Explanation], model: str, pictures: Sequence[str] = ()) -> str:
    r"""All explanations in Markdown.

    Args:
        explanations: The samples.
        model: Name of the model.
        pictures: The file of the picture of each; none where nothing was drawn.

    Example:
        >>> one = Explanation("a", "iid", "so *good*", ["so", "*good*"], "positive", "neutral", {"neutral": 0.75}, [])
        >>> print(markdown([one], "MulT"))
        # What MulT answers, and why
        <BLANKLINE>
        ## a
        <BLANKLINE>
        - condition: iid
        - text: so \*good\*
        - label: positive
        - predicted: neutral (neutral 0.750)
        <BLANKLINE>
    """
    parts = [f"# What {in_markdown(model)} answers, and why"]
    for place, one in enumerate(explanations):
        told = {"condition": one.condition, "text": one.text, "as the model has it": _seen(one), "label": one.label}
        answers = ", ".join(f"{name} {value:.3f}" for name, value in one.answers.items())
        told |= {"predicted": f"{one.predicted} ({answers})", "counterfactual text": one.kept or ""}
        lines = [f"- {name}: {in_markdown(text)}" for name, text in told.items() if text]
        parts += [f"## {in_markdown(one.id)}", "\n".join(lines), *(_table(block).markdown() for block in one.blocks)]
        parts += [f"![bars of the tables]({pictures[place]})"] if pictures else []
    return "\n\n".join(parts) + "\n"


def _seen(one: Explanation) -> str:
    """The words that reach the model, where they are others than those of the transcript."""
    words = [word for word in one.words if word not in ("[CLS]", "[SEP]")]
    is_told = words and not all(word.startswith("step ") for word in words)
    return " ".join(words) if is_told and words != one.text.split() else ""


def _table(block: Block) -> Table:
    names = list(dict.fromkeys(name for row in block.rows for name in row.answers))
    says = ["says"] if any(row.says for row in block.rows) else []
    rows = []
    for row in block.rows:
        numbers = [_number(row.answers.get(name)) for name in names]
        rows.append([row.name, *numbers, *([row.says or ABSENT] if says else []), _number(row.bar, signed=True)])
    return Table(block.title, ["", *names, *says, block.bar], rows, [block.note] if block.note else [])


def _number(value: float | None, signed: bool = False) -> str:
    return ABSENT if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"


def effect_rows(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """The numbers of all explanations, one a row; ``answer`` is empty for what the bars show."""
    rows = []
    for one in explanations:
        for block in one.blocks:
            for place, row in enumerate(block.rows):
                about = {
                    "id": one.id,
                    "condition": one.condition,
                    "block": block.title,
                    "place": place,
                    "row": row.name,
                }
                rows += [{**about, "answer": name, "value": value} for name, value in row.answers.items()]
                rows += [] if row.bar is None else [{**about, "answer": "", "value": row.bar}]
    return rows


def write_explanations(folder: Path, explanations: Sequence[Explanation], model: str) -> list[Path]:
    """Write explain.md, effects.csv and the pictures, each whole or not at all.

    Args:
        folder: Where to; it is made.
        explanations: The samples.
        model: Name of the model.

    Returns:
        The files.
    """
    names = ["explain"] if len(explanations) == 1 else [f"explain_{place}" for place in range(1, len(explanations) + 1)]
    files = [folder / f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    for name, one in zip(names, explanations, strict=True):
        if one.blocks:
            figure = bar_picture(one)
            for kind in ("png", "svg"):
                save_picture(figure, folder / f"{name}.{kind}")
    write_csv(folder / "effects.csv", effect_rows(explanations))
    with whole_file(folder / "explain.md") as part:
        part.write_text(markdown(explanations, model, [f"{name}.png" for name in names]), encoding="utf-8")
    return [folder / "explain.md", folder / "effects.csv", *files]
