"""Bias words and the counterfactual text: golden vectors of the released code, a loop over every word, and by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.functional.language_bias import BiasWords, bias_words, counterfactual_ids, debias
from mer_zoo.functional.sentiment import to_classes
from mer_zoo.functional.variants import Variant

GOLDEN = Path(__file__).parents[1] / "golden"
SPECIAL = (0, 100, 101, 102, 103)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "cider_bias_words.safetensors")


def words_of(text: Tensor, classes: Tensor, num_classes: int, **options: Any) -> BiasWords:
    ids = text[:, 0].long()
    real = ~torch.isin(ids, torch.tensor(SPECIAL))
    return bias_words(ids[real], classes[:, None].expand_as(ids)[real], num_classes, **options)


@pytest.mark.parametrize("limit", [5, 100])
@pytest.mark.parametrize("task", ["binary", "seven"])
@pytest.mark.parametrize("corpus", ["clean", "quirk"])
def test_golden_words_and_texts(golden: dict[str, Tensor], corpus: str, task: str, limit: int) -> None:
    num_classes = {"binary": 3, "seven": 7}[task]
    classes = to_classes(golden[f"in.{corpus}.reg"], num_classes)
    if task == "binary":
        assert classes.tolist() == golden[f"in.{corpus}.cls"].tolist()
    found = words_of(golden[f"in.{corpus}.text"], classes, num_classes, num_words=limit, variant="released")
    prefix = f"out.{corpus}.{task}.k{limit}"
    assert found.ids.tolist() == golden[f"{prefix}.ids"].tolist()
    assert found.total.tolist() == golden[f"{prefix}.sum"].tolist()
    torch.testing.assert_close(found.variation.float(), golden[f"{prefix}.cv"], atol=1e-6, rtol=1e-6)
    incomplete, expected = golden[f"{prefix}.text_m"], golden[f"{prefix}.text_cf"]
    made = counterfactual_ids(incomplete[:, 0].long(), found.ids, SPECIAL, mask_id=103)
    assert torch.equal(made, expected[:, 0].long())
    assert torch.equal(incomplete[:, 1:], expected[:, 1:])


def test_a_word_of_neutral_samples_only_inherits_in_the_released_code(golden: dict[str, Tensor]) -> None:
    text, classes = golden["in.quirk.text"], golden["in.quirk.cls"]
    polar = text[classes != 1][:, 0].long().flatten()
    assert not set(words_of(text, classes, 3).ids.tolist()) <= set(polar.tolist())
    assert json.loads((GOLDEN / "cider_bias_words.json").read_text())["config"]["thresholds"] == [5, 100]


def loop(ids: Tensor, classes: Tensor, num_classes: int, variant: Variant, num_words: int) -> list[int]:
    """One word at a time, in the order of first occurrence; as printed, in that of counts."""
    counts: dict[int, list[int]] = {}
    for word, label in zip(ids.tolist(), classes.tolist(), strict=True):
        counts.setdefault(word, [0] * num_classes)[label] += 1
    kept, last = [], float("nan")
    words = list(counts) if variant == "released" else sorted(counts, key=lambda word: -sum(counts[word]))[:num_words]
    for word in words:
        count, outer = counts[word], num_classes == 3 and variant == "released"
        compared = np.array([count[0], count[2]] if outer else count, dtype=float)
        if compared.sum():
            last = float(compared.std() / compared.mean())
        if last >= 0.1:
            kept.append(word)
    return sorted(kept, key=lambda word: -sum(counts[word]))[:num_words]


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("num_classes", [2, 3, 5, 7])
@pytest.mark.parametrize("seed", range(4))
def test_words_agree_with_a_loop(num_classes: int, variant: Variant, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(200, 260, (300,), generator=generator)
    classes = torch.randint(0, num_classes, (300,), generator=generator)
    found = bias_words(ids, classes, num_classes, num_words=30, variant=variant)
    assert found.ids.tolist() == loop(ids, classes, num_classes, variant, 30)


def test_variation_by_hand() -> None:
    # word 5: 3 negative, 1 positive: mean 2, deviation 1; word 6: 2 and 2; word 7: 11 and 9 is exactly at the threshold
    ids = torch.tensor([5] * 4 + [6] * 4 + [7] * 20)
    classes = torch.tensor([0, 0, 0, 2] + [0, 0, 2, 2] + [0] * 11 + [2] * 9)
    found = bias_words(ids, classes, 3)
    assert found.ids.tolist() == [7, 5]
    assert found.total.tolist() == [20, 4]
    assert found.variation.tolist() == pytest.approx([0.1, 0.5])
    assert bias_words(ids, classes, 3, threshold=0.2).ids.tolist() == [5]


def test_neutral_only_words_first_and_in_a_row() -> None:
    ids, classes = torch.tensor([9, 5, 8, 7, 6, 6, 4]), torch.tensor([1, 0, 1, 1, 0, 2, 1])
    # 9 comes before any variation is known, 8 and 7 inherit that of 5, 4 that of 6, which is none
    assert bias_words(ids, classes, 3, variant="released").ids.tolist() == [5, 8, 7]


def test_equal_counts_are_ranked_by_first_occurrence() -> None:
    ids = torch.tensor([40, 30, 20, 30, 40, 20, 10, 10, 10])
    found = bias_words(ids, torch.zeros_like(ids), 2, num_words=3)
    assert found.ids.tolist() == [10, 40, 30]


def test_no_words() -> None:
    empty = torch.zeros(0, dtype=torch.long)
    for variant in ("paper", "released"):
        assert bias_words(empty, empty, 3, variant=variant).ids.tolist() == []


def test_counterfactual_text_keeps_missing_tokens() -> None:
    ids = torch.tensor([[101, 100, 7, 8, 102, 0]])
    made = counterfactual_ids(ids, torch.tensor([7, -1, -1]), SPECIAL, mask_id=103)
    assert made.tolist() == [[101, 100, 7, 103, 102, 0]]
    assert ids[0, 3] == 8


def test_subtraction_by_problem() -> None:
    y, y_cf = torch.ones(2, 2, 3), torch.full((2, 2, 3), 2.0)
    assert debias(y, y_cf, torch.tensor([0.0, 1.0])).tolist() == [[[1.0] * 3, [-1.0] * 3]] * 2
    assert debias(y[:, 0], y_cf[:, 0], torch.tensor(0.5)).tolist() == [[0.0] * 3] * 2
