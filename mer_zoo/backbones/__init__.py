"""The published networks, one file each; ``__all__`` is the registry."""

from mer_zoo.backbones.cidernet import CIDerNet
from mer_zoo.backbones.cubemlp import CubeMLP
from mer_zoo.backbones.cumdfnet import CUMDFNet
from mer_zoo.backbones.dlf import DLF
from mer_zoo.backbones.dmd import DMD
from mer_zoo.backbones.eflstm import EFLSTM
from mer_zoo.backbones.emtdlfr import EMTDLFR
from mer_zoo.backbones.lfdnn import LFDNN
from mer_zoo.backbones.lflstm import LFLSTM
from mer_zoo.backbones.lmf import LMF
from mer_zoo.backbones.lnln import LNLN
from mer_zoo.backbones.magbert import MAGBERT
from mer_zoo.backbones.mfn import MFN
from mer_zoo.backbones.misa import MISA
from mer_zoo.backbones.mplmm import MPLMM
from mer_zoo.backbones.mult import MulT
from mer_zoo.backbones.pmr import PMR
from mer_zoo.backbones.selfmm import SelfMM
from mer_zoo.backbones.tfn import TFN

__all__ = [
    "DLF",
    "DMD",
    "EFLSTM",
    "EMTDLFR",
    "LFDNN",
    "LFLSTM",
    "LMF",
    "LNLN",
    "MAGBERT",
    "MFN",
    "MISA",
    "MPLMM",
    "PMR",
    "TFN",
    "CIDerNet",
    "CUMDFNet",
    "CubeMLP",
    "MulT",
    "SelfMM",
]
