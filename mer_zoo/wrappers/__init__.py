"""The debiasing methods, one file or folder each; ``__all__`` is the registry."""

from mer_zoo.wrappers.agm import AGM
from mer_zoo.wrappers.casp.wrapper import CASP
from mer_zoo.wrappers.causalmer.wrapper import CausalMER
from mer_zoo.wrappers.clue.wrapper import CLUE
from mer_zoo.wrappers.cumdf.wrapper import CUMDF
from mer_zoo.wrappers.dfr import DFR
from mer_zoo.wrappers.gblend import GBlend
from mer_zoo.wrappers.gear.wrapper import GEAR
from mer_zoo.wrappers.groupdro import GroupDRO
from mer_zoo.wrappers.jtt import JTT
from mer_zoo.wrappers.maci.wrapper import MACI
from mer_zoo.wrappers.mcis.wrapper import MCIS
from mer_zoo.wrappers.mmpareto import MMPareto
from mer_zoo.wrappers.mssd import MSSD
from mer_zoo.wrappers.muldef.wrapper import MulDeF
from mer_zoo.wrappers.ogmge import OGMGE
from mer_zoo.wrappers.propensityweighting import PropensityWeighting
from mer_zoo.wrappers.rwg import RWG

__all__ = [
    "AGM",
    "CASP",
    "CLUE",
    "CUMDF",
    "DFR",
    "GEAR",
    "JTT",
    "MACI",
    "MCIS",
    "MSSD",
    "OGMGE",
    "RWG",
    "CausalMER",
    "GBlend",
    "GroupDRO",
    "MMPareto",
    "MulDeF",
    "PropensityWeighting",
]
