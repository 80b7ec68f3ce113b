"""mer_zoo: multimodal emotion recognition models and the wrappers that debias them.

Example:
    >>> import mer_zoo
    >>> data = mer_zoo.SyntheticMER(task="binary")
    >>> model = mer_zoo.CausalMER(mer_zoo.MulT(data.spec, data.task, dim=8, heads=2, depth=1))
    >>> model.name
    'CausalMER(MulT)'
"""

from mer_zoo import callbacks, compat
from mer_zoo.backbones import (
    DLF,
    DMD,
    EFLSTM,
    EMTDLFR,
    LFDNN,
    LFLSTM,
    LMF,
    LNLN,
    MAGBERT,
    MFN,
    MISA,
    MPLMM,
    PMR,
    TFN,
    CIDerNet,
    CubeMLP,
    CUMDFNet,
    MulT,
    SelfMM,
)
from mer_zoo.batch import Batch, BatchSource, DataSpec, Modality, Output, Step
from mer_zoo.data.datamodule import IEMOCAP, MOSEI, MOSI, MERDataModule, SyntheticMER
from mer_zoo.distributed import distributed_mean
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone, Model, Wrapper, adapt
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.sharing.export import save_pretrained
from mer_zoo.sharing.pretrained import load_pretrained
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.training import LastCheckpoint, WarmupCosine
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, MACI, MSSD, CausalMER, PropensityWeighting

__all__ = [
    "CLUE",
    "CUMDF",
    "DLF",
    "DMD",
    "EFLSTM",
    "EMTDLFR",
    "GEAR",
    "IEMOCAP",
    "LFDNN",
    "LFLSTM",
    "LMF",
    "LNLN",
    "MACI",
    "MAGBERT",
    "MFN",
    "MISA",
    "MOSEI",
    "MOSI",
    "MPLMM",
    "MSSD",
    "PMR",
    "TFN",
    "Backbone",
    "Batch",
    "BatchSource",
    "CIDerNet",
    "CUMDFNet",
    "CausalMER",
    "CubeMLP",
    "DataSpec",
    "EmotionDetection",
    "LastCheckpoint",
    "MERDataModule",
    "MERError",
    "MERModule",
    "Modality",
    "Model",
    "MulT",
    "Output",
    "PropensityWeighting",
    "Scores",
    "SelfMM",
    "SentimentClassification",
    "SentimentRegression",
    "Step",
    "SyntheticMER",
    "Task",
    "WarmupCosine",
    "Wrapper",
    "adapt",
    "callbacks",
    "compat",
    "distributed_mean",
    "load_pretrained",
    "save_pretrained",
]
__version__ = "0.1.0"
