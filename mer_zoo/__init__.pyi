# ruff: noqa: I001  # "as" marks what is exported; one import a module reads better than one a name
from . import (
    audit as audit,
    backbones as backbones,
    callbacks as callbacks,
    clips as clips,
    compat as compat,
    confounding as confounding,
    data as data,
    demo as demo,
    explain as explain,
    functional as functional,
    layers as layers,
    life as life,
    metrics as metrics,
    reports as reports,
    sharing as sharing,
    training as training,
    uncertainty as uncertainty,
    wrappers as wrappers,
)
from .backbones import (
    DCCA as DCCA,
    DCCAE as DCCAE,
    DLF as DLF,
    DMD as DMD,
    EFLSTM as EFLSTM,
    EMTDLFR as EMTDLFR,
    FDMER as FDMER,
    IFMMIN as IFMMIN,
    LFDNN as LFDNN,
    LFLSTM as LFLSTM,
    LMF as LMF,
    LNLN as LNLN,
    MAGBERT as MAGBERT,
    MCTN as MCTN,
    MFM as MFM,
    MFN as MFN,
    MISA as MISA,
    MMIN as MMIN,
    MPLMM as MPLMM,
    PMR as PMR,
    RAVEN as RAVEN,
    RMFN as RMFN,
    TFN as TFN,
    CIDerNet as CIDerNet,
    CubeMLP as CubeMLP,
    CUMDFNet as CUMDFNet,
    DiCMoR as DiCMoR,
    GCNet as GCNet,
    GLoMo as GLoMo,
    IMDer as IMDer,
    MulT as MulT,
    SelfMM as SelfMM,
    TFRNet as TFRNet,
    TransM as TransM,
)
from .batch import (
    Batch as Batch,
    BatchSource as BatchSource,
    DataSpec as DataSpec,
    Modality as Modality,
    Output as Output,
    Step as Step,
)
from .data.datamodule import (
    IEMOCAP as IEMOCAP,
    MOSEI as MOSEI,
    MOSI as MOSI,
    MERDataModule as MERDataModule,
    SyntheticMER as SyntheticMER,
)
from .distributed import distributed_mean as distributed_mean
from .errors import MERError as MERError
from .feature_spec import FeatureSpec as FeatureSpec
from .life import LifeCheck as LifeCheck
from .model import Backbone as Backbone, Model as Model, Wrapper as Wrapper, adapt as adapt
from .module import MERModule as MERModule
from .scores import Scores as Scores
from .sharing.export import save_pretrained as save_pretrained
from .sharing.pretrained import load_pretrained as load_pretrained
from .task import (
    EmotionDetection as EmotionDetection,
    NominalClassification as NominalClassification,
    SentimentClassification as SentimentClassification,
    SentimentRegression as SentimentRegression,
    Task as Task,
)
from .training import LastCheckpoint as LastCheckpoint, WarmupCosine as WarmupCosine
from .wrappers import (
    AGM as AGM,
    CASP as CASP,
    CLUE as CLUE,
    CUMDF as CUMDF,
    DFR as DFR,
    GEAR as GEAR,
    JTT as JTT,
    MACI as MACI,
    MCIS as MCIS,
    MSSD as MSSD,
    OGMGE as OGMGE,
    RWG as RWG,
    CausalMER as CausalMER,
    GBlend as GBlend,
    GroupDRO as GroupDRO,
    MMPareto as MMPareto,
    MulDeF as MulDeF,
    PropensityWeighting as PropensityWeighting,
)

__all__: list[str]
__version__: str
