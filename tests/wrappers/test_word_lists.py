"""Wrappers that debias by the words of a file: which words they take, what they refuse, and that they are rebuilt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import MeanNet
from word_toys import SPEC, THREE, split, words_of, wrap

from mer_zoo.confounding import ValidationWeights
from mer_zoo.errors import MERError
from mer_zoo.wrappers import JTT, MACI, RWG, GroupDRO, PropensityWeighting

pytestmark = pytest.mark.filterwarnings("ignore:(PropensityWeighting|deconfounded metrics|the worst group)")


def word_file(folder: Path, text: str = "keep,count,word\nno,9,#104\nyes,8,#105\nno,1,#999\nNo,7,#107\n") -> str:
    file = folder / "words.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize("factory", [PropensityWeighting, GroupDRO, RWG])
def test_the_words_are_those_not_kept(factory: Any, tmp_path: Path) -> None:
    model = wrap(factory, words=word_file(tmp_path))
    assert words_of(model) == {104, 107}
    assert words_of(model) < words_of(wrap(factory))


def test_maci_takes_the_words_for_its_own(tmp_path: Path) -> None:
    model = wrap(MACI, words=word_file(tmp_path))
    assert sorted(model.language_bias.words.unique().tolist()) == [-1, 104, 107]
    again = MACI(MeanNet(SPEC, THREE), **model.arguments())
    again.load_state_dict(model.state_dict())
    batch = split()
    assert torch.equal(again.eval().predict(batch).logits, model.eval().predict(batch).logits)
    with pytest.raises(MERError, match="words is .*, but language false of MACI does not use it"):
        MACI(MeanNet(SPEC, THREE), words=word_file(tmp_path), language=False)


def test_a_model_without_its_file_predicts_and_is_not_trained(tmp_path: Path) -> None:
    model = wrap(PropensityWeighting, words=word_file(tmp_path))
    again = PropensityWeighting(MeanNet(SPEC, THREE), **model.arguments())
    again.load_state_dict(model.state_dict())
    assert words_of(again) == {104, 107}
    with pytest.raises(MERError, match="the list of biased words is not at hand; set words to the file"):
        again.prepare([split()])
    other = PropensityWeighting(MeanNet(SPEC, THREE)).state_dict()
    with pytest.raises(MERError, match="source words, words frequent and source words, words listed; set them alike"):
        again.load_state_dict(other)


def test_a_file_that_keeps_all_words_closes_the_gate(tmp_path: Path) -> None:
    model = wrap(PropensityWeighting, words=word_file(tmp_path, "word,keep\n#104,yes\n"))
    assert words_of(model) == set()
    assert model.weights(split().index).tolist() == [1.0] * 60


def test_validation_goes_by_the_words_of_a_file(tmp_path: Path) -> None:
    weights = ValidationWeights(MeanNet(SPEC, THREE), word_file(tmp_path))
    weights.fit(lambda: [split()])
    assert weights.propensity is not None
    assert set(weights.propensity.words[weights.propensity.words >= 0].tolist()) == {104, 107}
    with pytest.raises(MERError, match="deconfounded of MERModule lists 101 words to debias by, beyond the 100"):
        ValidationWeights(
            MeanNet(SPEC, THREE), word_file(tmp_path, "word,keep\n" + "".join(f"w{i},no\n" for i in range(101)))
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,group\na,b\n", "does not begin with a line that has the columns word and keep"),
        ("word,keep\ngood,maybe\n", "line 2 of .* is not a word of its own with yes or no"),
        ("word,keep\ngood,yes\nGood,no\n", "line 3 of .* is not a word of its own"),
        ("word,keep\n,no\n", "line 2 of"),
        ("word,keep\ngood\n", "line 2 of"),
        ("word,keep\nfilm,no\n", "none of the 1 words that are listed as biased is in the training split, 'film'"),
    ],
)
def test_files_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MERError, match=message):
        wrap(PropensityWeighting, words=word_file(tmp_path, text))


@pytest.mark.parametrize(
    ("factory", "options", "message"),
    [
        (PropensityWeighting, {"words": "gone.csv"}, "words: gone.csv cannot be read as a CSV file"),
        (
            RWG,
            {"words": "rare"},
            "unknown words 'rare' of RWG; choose from frequent, maci, a CSV file of mer-zoo words",
        ),
        (GroupDRO, {"words": "maci", "groups": "recording"}, "words is maci, but groups recording of GroupDRO do not"),
        (JTT, {"words": "maci"}, "words is maci, but groups None of JTT do not use it; set groups: words"),
    ],
)
def test_options_that_are_refused(factory: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MERError, match=message):
        factory(MeanNet(SPEC, THREE), **options)
