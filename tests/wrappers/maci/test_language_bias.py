"""Bias words and tau as a module: special tokens, distinct texts, buffers, options."""

from typing import Any

import pytest
import torch

from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.task import EmotionDetection
from mer_zoo.wrappers.maci.language_bias import LanguageBias
from mer_zoo.wrappers.maci.options import check_options

SPEC = DataSpec(tokens=True, vocab_size=200)


def batch_of(ids: list[list[int]]) -> Batch:
    x = torch.tensor(ids)
    batch = Batch.random(SPEC, EmotionDetection(["happy", "sad"]), size=len(ids))
    return batch.replace(text=Modality(x, x != 0))


def fitted(selection: Any = "deconfounded") -> LanguageBias:
    """Word 110 goes with the first emotion, 120 with the second, 130 with none."""
    bias = LanguageBias(SPEC, (2,), num_words=4, selection=selection, fixed_tau=0.0)
    ids = torch.tensor([101, 110, 120, 130, 102, 101, 110, 130, 100, 102, 101, 120, 130, 103, 102, 101, 130, 102])
    sample = torch.tensor([0] * 5 + [1] * 5 + [2] * 5 + [3] * 3)
    labels = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]])
    bias.fit(ids, labels[sample], num_classes=2)
    return bias


def test_words_of_each_problem_without_special_tokens() -> None:
    bias = fitted()
    assert bias.words.tolist() == [[110, -1, -1, -1], [120, -1, -1, -1]]
    assert bias.on


def test_one_view_for_each_distinct_text() -> None:
    bias = fitted()
    both, which = bias.views(batch_of([[101, 110, 120, 130, 102], [101, 130, 100, 102, 0]]))
    texts = [both[place].text.x.tolist() for place in which]
    assert texts == [
        [[101, 110, 103, 103, 102], [101, 103, 100, 102, 0]],
        [[101, 103, 120, 103, 102], [101, 103, 100, 102, 0]],
    ]
    one, which = bias.views(batch_of([[101, 130, 102]]))
    assert len(one) == 1
    assert which == [0, 0]


def test_features_become_zero_where_the_token_is_masked() -> None:
    ids = torch.tensor([[101, 110, 130, 100, 102, 0]])
    text = Modality(torch.ones(1, 6, 3), ids != 0, token_ids=ids)
    views, which = fitted().views(batch_of([[101]]).replace(text=text))
    view = views[which[0]].text
    assert view.token_ids is not None
    assert view.token_ids.tolist() == [[101, 110, 103, 100, 102, 0]]
    assert view.x[0, :, 0].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    assert text.x.all()


def test_a_batch_without_token_ids_is_refused() -> None:
    text = Modality(torch.ones(1, 6, 3), torch.ones(1, 6).bool())
    with pytest.raises(MERError, match="text features without token ids, but MACI was prepared with them"):
        fitted().views(batch_of([[101]]).replace(text=text))


def test_each_problem_has_its_own_tau() -> None:
    bias = fitted("validation")
    y = torch.tensor([[[0.6, 0.4]] * 2] * 2).log()
    y_cf = torch.tensor([[[0.9, 0.1]] * 2] * 2).log()
    bias.choose(y, y_cf, torch.tensor([[1, 0], [1, 0]]), None, torch.full((2, 2), 0.5))
    assert bias.tau.tolist() == pytest.approx([0.2, 0.0])
    assert bias.is_chosen
    assert bias.diagnostics(["happy", "sad"]) == {"maci/tau_happy": 0.2, "maci/tau_sad": 0.0}


def test_what_a_checkpoint_of_another_selection_means() -> None:
    state = fitted("validation")
    state.tau.fill_(0.7)
    state.chosen_by.fill_(1)
    fixed = LanguageBias(SPEC, (2,), 4, "fixed", 0.5)
    fixed.load_state_dict(state.state_dict())
    assert fixed.tau_in_use.tolist() == [0.5, 0.5]
    assert fixed.is_chosen
    deconfounded = LanguageBias(SPEC, (2,), 4, "deconfounded", 0.0)
    deconfounded.load_state_dict(state.state_dict())
    assert not deconfounded.is_chosen
    assert "not chosen as tau_selection deconfounded asks" in deconfounded.notes()[0]


def test_the_warning_names_the_size() -> None:
    bias = fitted()
    y = torch.zeros(10, 2, 2)
    bias.choose(y, y, torch.zeros(10, 2, dtype=torch.long), y, torch.full((2, 2), 0.5))
    assert bias.ess.tolist() == [10.0, 10.0]
    assert bias.warning() in bias.notes()
    assert "effective sample size of 10.0, below 30" in bias.warning()
    bias.ess.fill_(30)
    assert bias.warning() == ""
    assert bias.notes() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_words": 0}, "num_words of MACI is 0; give at least 1"),
        ({"threshold": -0.1}, "threshold of MACI is -0.1; give a finite number"),
        ({"tau": float("nan"), "selection": "fixed"}, "tau of MACI is nan; give a finite number"),
        ({"variant": "official"}, "unknown variant 'official' of MACI; choose from paper, released"),
        ({"selection": "test"}, "unknown tau_selection 'test' of MACI; choose from deconfounded, validation, fixed"),
        ({"tau": 0.5}, "tau is 0.5, but tau_selection deconfounded does not use it; set tau_selection: fixed"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"num_words": 1, "threshold": 0.1, "variant": "paper", "selection": "deconfounded", "tau": 0}
    check_options(**good)
    with pytest.raises(MERError, match=message):
        check_options(**{**good, **options})
