"""Files of other people: read without executing anything, and brought into one form."""

from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.files.formats import describe, read_draft
from mer_zoo.data.files.pickles import load_pickle
from mer_zoo.data.files.sources import read_tree, source_files

__all__ = ["Draft", "SplitDraft", "describe", "load_pickle", "read_draft", "read_tree", "source_files"]
