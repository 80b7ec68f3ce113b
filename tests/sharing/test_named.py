"""What results.json says of a nest's options."""

from __future__ import annotations

from torch import nn

from mer_zoo import MACI, MSSD, CIDerNet, DataSpec, SentimentClassification, adapt
from mer_zoo.reports.identities import same_nest
from mer_zoo.sharing.named import named_options


def test_a_nest_is_found_again_by_its_options() -> None:
    spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
    model = MSSD(MACI(CIDerNet(spec, task, dim=8, wsam=False)))
    named = named_options(model)
    assert named is not None
    assert [part["class"] for part in named] == ["MSSD", "MACI", "CIDerNet"]
    options = [(part["class"], part["options"]) for part in named]
    assert [one.name for one in same_nest(model.label, options)] == ["w/o WSAM"]


def test_what_cannot_be_said_is_left_out() -> None:
    spec, task = DataSpec(), SentimentClassification(3)
    assert named_options(adapt(nn.Identity(), spec, task, feature_dim=3)) is None
