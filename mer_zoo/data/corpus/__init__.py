"""A corpus in memory or mapped from its store, and what must hold in it."""

from mer_zoo.data.corpus.arrays import StoredArray
from mer_zoo.data.corpus.corpus import Corpus, SplitData, check_compatible
from mer_zoo.data.corpus.mapped import MappedArray
from mer_zoo.data.corpus.overlap import check_different, check_unseen

__all__ = ["Corpus", "MappedArray", "SplitData", "StoredArray", "check_compatible", "check_different", "check_unseen"]
