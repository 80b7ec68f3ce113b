"""Any corpus described in one form: a file, a folder, a store, or SyntheticMER, which is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mer_zoo.data.corpus.meaning import Meaning
from mer_zoo.data.files.about import compare_labels
from mer_zoo.data.files.drafts import Draft
from mer_zoo.data.files.formats import read_draft
from mer_zoo.data.files.splits import check_roles
from mer_zoo.data.store.drafts import describe_store
from mer_zoo.data.store.store import check_no_roles, is_store
from mer_zoo.data.survey.material import draft_of
from mer_zoo.data.synthetic.generate import generate

__all__ = ["SYNTHETIC", "draft_any"]

SYNTHETIC = "SyntheticMER"


def draft_any(path: Path, told: Meaning | None = None, roles: Mapping[str, str] | None = None) -> Draft:
    """Describe a corpus, without writing anything.

    Args:
        path: A file or folder in any format of docs/data.md, a store, or the name SyntheticMER where no file has it.
        told: What the user says about the meaning of its labels.
        roles: Which splits of a file are taken for train, valid or a test split instead of those of these names.

    Raises:
        MERError: If it cannot be read.

    Example:
        >>> sorted(draft_any(Path("SyntheticMER")).splits)
        ['test_iid', 'test_ood', 'test_rct', 'train', 'valid']
    """
    roles = check_roles(roles or {})
    if is_store(path):
        check_no_roles(path, roles)
        return describe_store(path, told)
    if str(path) == SYNTHETIC and not path.exists():
        draft = draft_of(generate())
        draft.told = Meaning("sentiment")  # its classes in order
        compare_labels(draft, told)
        return draft
    return read_draft(path, told, roles=roles)
