"""Model, Backbone and Wrapper: the contract that every network and every debiasing method of the zoo keeps."""

from mer_zoo.model.adapted import AdaptedBackbone, adapt
from mer_zoo.model.backbone import Backbone
from mer_zoo.model.effects import Effect, Shown, effects_of
from mer_zoo.model.factories import made_by
from mer_zoo.model.model import Model, check_model
from mer_zoo.model.wrapper import Wrapper, WrapperFactory, check_final_logits

__all__ = [
    "AdaptedBackbone",
    "Backbone",
    "Effect",
    "Model",
    "Shown",
    "Wrapper",
    "WrapperFactory",
    "adapt",
    "check_final_logits",
    "check_model",
    "effects_of",
    "made_by",
]
