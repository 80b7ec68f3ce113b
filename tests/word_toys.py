"""A training split whose words go with the class, and wrappers that are prepared with it."""

from __future__ import annotations

from typing import Any

import torch
from toys import MeanNet

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding import Propensity
from mer_zoo.model import Model
from mer_zoo.task import SentimentClassification

SPEC, THREE = DataSpec(tokens=True, vocab_size=116, text_len=5), SentimentClassification(3)


def split() -> Batch:
    """Texts of which two words, one of six, go with the class, and three are any of twelve."""
    batch = Batch.random(SPEC, THREE, 60)
    ids = batch.text.x.clone()
    ids[:, 1:2] = ids[:, :1] = 104 + ids[:, :1] % 6
    return batch.replace(text=batch.text.replace(x=ids), target=ids[:, 0] % 3)


def wrap(factory: Any, **options: Any) -> Any:
    torch.manual_seed(0)
    model = factory(MeanNet(SPEC, THREE), **options)
    model.prepare([split()])
    return model


def words_of(model: Model) -> set[int]:
    found = model.offered(Propensity)
    assert found is not None
    return set(found.words[found.words >= 0].tolist())
