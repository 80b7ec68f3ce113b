"""Reading corpora, making incomplete views of them, and the LightningDataModules."""

from mer_zoo.data.corpus.corpus import Corpus, SplitData
from mer_zoo.data.datamodule import IEMOCAP, MOSEI, MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.missing.conditions import Condition, build_conditions
from mer_zoo.data.missing.frames import MRMS, RMFM, STMFM, TMFM, TraditionalRMFM
from mer_zoo.data.missing.noise import UnevenRMFM
from mer_zoo.data.missing.pattern import RMM, SMM, MissingPattern
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.store.store import open_corpus
from mer_zoo.data.synthetic.generate import SyntheticConfig

__all__ = [
    "IEMOCAP",
    "MOSEI",
    "MOSI",
    "MRMS",
    "RMFM",
    "RMM",
    "SMM",
    "STMFM",
    "TMFM",
    "Condition",
    "Corpus",
    "MERDataModule",
    "MissingPattern",
    "RandomSMM",
    "SplitData",
    "SyntheticConfig",
    "SyntheticMER",
    "TraditionalRMFM",
    "UnevenRMFM",
    "build_conditions",
    "open_corpus",
]
