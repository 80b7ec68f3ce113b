"""A corpus described: its tables and pictures, and the forms that they are written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mer_zoo.data.corpus.checks import fault_error, plural
from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.drafting import draft_any
from mer_zoo.data.files.features import NanPolicy
from mer_zoo.data.portrait.facts import Facts, facts_of
from mer_zoo.data.portrait.tables import tables_of
from mer_zoo.data.survey.material import read_material
from mer_zoo.reports.tables import Table
from mer_zoo.text import in_markdown

if TYPE_CHECKING:  # drawing takes a second to import
    from mer_zoo.reports.pictures.style import Picture

__all__ = ["Description", "describe"]


@dataclass(frozen=True)
class Description:
    """A corpus in tables and pictures.

    Args:
        facts: What was counted.
        tables: The statistics, as papers print them; then labels, lengths, features and words, as far as there are any.
    """

    facts: Facts
    tables: list[Table]

    @property
    def title(self) -> str:
        """A heading."""
        return f"The corpus {self.facts.source}"

    def pictures(self) -> list[Picture]:
        """Labels, lengths and words, as far as there are any."""
        from mer_zoo.data.portrait.pictures import pictures_of

        return pictures_of(self.facts)

    def rows(self) -> list[dict[str, object]]:
        """Every cell with the table, row and column that it stands in, for a CSV file."""
        return [
            {"table": table.title, "row": row[0], "column": column, "cell": cell}
            for table in self.tables
            for row in table.rows
            for column, cell in zip(table.header[1:], row[1:], strict=True)
        ]

    def markdown(self, shown: bool = False) -> str:
        """All tables in Markdown.

        Args:
            shown: Whether the pictures follow, as files beside it.
        """
        parts = [f"# {in_markdown(self.title)}", *(table.markdown() for table in self.tables)]
        if shown:
            parts += [f"![{in_markdown(picture.caption)}]({picture.name}.png)" for picture in self.pictures()]
        return "\n\n".join(parts) + "\n"

    def latex(self) -> str:
        """All tables in LaTeX."""
        return "\n\n".join(["% needs \\usepackage{booktabs}", *(table.latex() for table in self.tables)]) + "\n"

    def html(self) -> str:
        """All tables and pictures as a page that needs nothing beside it."""
        from mer_zoo.reports.page.document import document

        samples = sum(split.samples for split in self.facts.splits.values())
        about = f"{plural(samples, 'sample')} in {plural(len(self.facts.splits), 'split')}"
        return document(self.title, about, self.tables, self.pictures())


def describe(
    path: str | Path,
    told: Meaning | None = None,
    nan: NanPolicy = "zero",
    roles: Mapping[str, str] | None = None,
) -> Description:
    """Count what is in a corpus; nothing is written, and features are read once, a block at a time.

    Args:
        path: A file or folder in any format of docs/data.md, a store, or the name SyntheticMER.
        told: What the user says about the meaning of its labels.
        nan: Whether NaN and infinity in features are faults or read as zero.
        roles: Which splits of a file are taken for train, valid or a test split instead of those of these names.

    Raises:
        MERError: If it cannot be read, or has faults.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file = Path(mkdtemp()) / "clips.npz"
        >>> np.savez(file, **{"test/audio": np.ones((2, 5, 3)), "test/regression_labels": np.array([0.5, -2.0])})
        >>> describe(file).tables[0].rows[:2]
        [['samples', '2', '2'], ['negative', '1 (50.0 %)', '1 (50.0 %)']]
    """
    path = Path(path).expanduser()
    draft = draft_any(path, told, roles)
    material = read_material(draft, path.name, nan=nan, kept=1)
    faults = draft.faults + [fault for part in material.parts.values() for fault in part.faults]
    if faults:
        raise fault_error(str(path), faults)
    facts = facts_of(draft, material, told)
    return Description(facts, tables_of(facts))
