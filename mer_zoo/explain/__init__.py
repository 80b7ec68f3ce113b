"""What an answer comes of: a sample's effects, modalities and words, and where joint representations lie."""

from mer_zoo.explain.explanation import Block, Explanation, explain
from mer_zoo.explain.samples import find_samples

__all__ = ["Block", "Explanation", "explain", "find_samples"]
