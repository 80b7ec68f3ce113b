"""The published networks, one file each; ``__all__`` is the registry."""

from mer_zoo.backbones.cidernet import CIDerNet
from mer_zoo.backbones.cumdfnet import CUMDFNet
from mer_zoo.backbones.eflstm import EFLSTM
from mer_zoo.backbones.lflstm import LFLSTM
from mer_zoo.backbones.mult import MulT
from mer_zoo.backbones.pmr import PMR

__all__ = ["EFLSTM", "LFLSTM", "PMR", "CIDerNet", "CUMDFNet", "MulT"]
