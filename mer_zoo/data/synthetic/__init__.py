"""SyntheticMER: a structural causal model with known truth, and the best that can be predicted from it."""

from mer_zoo.data.synthetic.bayes import bayes_accuracy
from mer_zoo.data.synthetic.generate import generate, latents
from mer_zoo.data.synthetic.scm import SyntheticConfig

__all__ = ["SyntheticConfig", "bayes_accuracy", "generate", "latents"]
