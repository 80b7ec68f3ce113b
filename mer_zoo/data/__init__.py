"""Reading corpora, making incomplete views of them, and the LightningDataModules."""

from mer_zoo.data.conditions import Condition, build_conditions
from mer_zoo.data.corpus import Corpus, SplitData
from mer_zoo.data.datamodule import IEMOCAP, MOSEI, MOSI, MERDataModule, SyntheticMER
from mer_zoo.data.missing import RMM, SMM, MissingPattern
from mer_zoo.data.noise_patterns import UnevenRMFM
from mer_zoo.data.patterns import MRMS, RMFM, STMFM, TMFM, TraditionalRMFM
from mer_zoo.data.set_patterns import RandomSMM
from mer_zoo.data.store import open_corpus
from mer_zoo.data.synthetic import SyntheticConfig

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
