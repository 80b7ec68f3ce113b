"""Whether the parts of a model still act after training.

Three signs, each compared with what it was at initialisation: how far attention is from looking at everything alike,
the share of the gradient that a part gets, and how much the answer changes if one input of a part is swapped between
samples. What a part is known by is its name in ``model.named_modules()``.

Example:
    >>> from mer_zoo import DataSpec, SentimentClassification, TFN, Batch
    >>> model = TFN(DataSpec(), SentimentClassification(3))
    >>> batch = Batch.random(model.spec, model.task, size=13)
    >>> before = measure_life(model, batch)
    >>> _ = model.head.weight.data.zero_()
    >>> sorted({dead.sign for dead in dead_parts(before, measure_life(model, batch))})
    ['gradient', 'swap']
"""

from mer_zoo.life.attention import attention_departures, departure
from mer_zoo.life.callback import LifeCheck
from mer_zoo.life.measure import Dead, Life, dead_parts, first_samples, measure_life
from mer_zoo.life.swap import change

__all__ = [
    "Dead",
    "Life",
    "LifeCheck",
    "attention_departures",
    "change",
    "dead_parts",
    "departure",
    "first_samples",
    "measure_life",
]
