"""The published networks, one file or folder each; ``__all__`` is the registry."""

from mer_zoo.backbones.cidernet import CIDerNet
from mer_zoo.backbones.cubemlp.network import CubeMLP
from mer_zoo.backbones.cumdfnet import CUMDFNet
from mer_zoo.backbones.dcca.autoencoder import DCCAE
from mer_zoo.backbones.dcca.network import DCCA
from mer_zoo.backbones.dicmor.network import DiCMoR
from mer_zoo.backbones.dlf import DLF
from mer_zoo.backbones.dmd.network import DMD
from mer_zoo.backbones.eflstm import EFLSTM
from mer_zoo.backbones.emtdlfr.network import EMTDLFR
from mer_zoo.backbones.fdmer import FDMER
from mer_zoo.backbones.gcnet.network import GCNet
from mer_zoo.backbones.glomo.network import GLoMo
from mer_zoo.backbones.imder.network import IMDer
from mer_zoo.backbones.lfdnn import LFDNN
from mer_zoo.backbones.lflstm import LFLSTM
from mer_zoo.backbones.lmf import LMF
from mer_zoo.backbones.lnln.network import LNLN
from mer_zoo.backbones.magbert.network import MAGBERT
from mer_zoo.backbones.mctn.network import MCTN
from mer_zoo.backbones.mfm.network import MFM
from mer_zoo.backbones.mfn import MFN
from mer_zoo.backbones.misa import MISA
from mer_zoo.backbones.mmin.invariant import IFMMIN
from mer_zoo.backbones.mmin.network import MMIN
from mer_zoo.backbones.mplmm.network import MPLMM
from mer_zoo.backbones.mult import MulT
from mer_zoo.backbones.pmr.network import PMR
from mer_zoo.backbones.raven.network import RAVEN
from mer_zoo.backbones.rmfn import RMFN
from mer_zoo.backbones.selfmm.network import SelfMM
from mer_zoo.backbones.tfn import TFN
from mer_zoo.backbones.tfrnet.network import TFRNet
from mer_zoo.backbones.transm.network import TransM

__all__ = [
    "DCCA",
    "DCCAE",
    "DLF",
    "DMD",
    "EFLSTM",
    "EMTDLFR",
    "FDMER",
    "IFMMIN",
    "LFDNN",
    "LFLSTM",
    "LMF",
    "LNLN",
    "MAGBERT",
    "MCTN",
    "MFM",
    "MFN",
    "MISA",
    "MMIN",
    "MPLMM",
    "PMR",
    "RAVEN",
    "RMFN",
    "TFN",
    "CIDerNet",
    "CUMDFNet",
    "CubeMLP",
    "DiCMoR",
    "GCNet",
    "GLoMo",
    "IMDer",
    "MulT",
    "SelfMM",
    "TFRNet",
    "TransM",
]
