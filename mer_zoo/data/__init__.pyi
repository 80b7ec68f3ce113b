# ruff: noqa: I001  # "as" marks what is exported; one import a module reads better than one a name
from .corpus.corpus import Corpus as Corpus, SplitData as SplitData
from .datamodule import (
    IEMOCAP as IEMOCAP,
    MOSEI as MOSEI,
    MOSI as MOSI,
    MERDataModule as MERDataModule,
    SyntheticMER as SyntheticMER,
)
from .missing.conditions import Condition as Condition, build_conditions as build_conditions
from .missing.frames import MRMS as MRMS, RMFM as RMFM, STMFM as STMFM, TMFM as TMFM, TraditionalRMFM as TraditionalRMFM
from .missing.noise import UnevenRMFM as UnevenRMFM
from .missing.pattern import RMM as RMM, SMM as SMM, MissingPattern as MissingPattern
from .missing.sets import AtLeastOne as AtLeastOne, RandomSMM as RandomSMM
from .store.store import open_corpus as open_corpus
from .synthetic.generate import SyntheticConfig as SyntheticConfig

__all__: list[str]
