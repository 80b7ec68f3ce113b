"""LG-MMT and its time axis: the equations put together, labels that are hidden, padding, subsets of modalities."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.errors import MERError
from mer_zoo.layers.label_guided import LGMMT, LabelGuidance, common_axis, common_mask
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

THREE = SentimentClassification(3)
NAMES = ("text", "audio", "vision")


def lgmmt(task: Task = THREE, names: tuple[str, ...] = NAMES, **options: Any) -> LGMMT:
    torch.manual_seed(0)
    return LGMMT(task, names, dim=8, heads=2, **options).eval()


def sequences(names: tuple[str, ...] = NAMES, size: int = 3, steps: int = 5) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(steps) < torch.tensor([steps, 2, 1])[:size, None]
    return {n: torch.randn(size, steps, 8, generator=generator) * mask[..., None] for n in names}, mask


def test_forward_is_the_equations_in_a_row() -> None:
    fusion = lgmmt()
    (x, mask), target = sequences(), torch.tensor([2, 0, 1])
    result = fusion(x, mask, target)
    gate = fusion.gate
    for i in range(3):
        real = mask[i]
        z = {n: x[n][i, real] * (gate.weight @ fusion.guidance.table[target[i]] + gate.bias) for n in NAMES}
        e, parts = fusion.guidance.table[target[i]], []
        for a, b in (("text", "audio"), ("text", "vision"), ("audio", "vision")):
            pair: Any = fusion.pairs[f"{a}_{b}"]
            q, k, v = pair.w_q @ e, z[a] @ pair.w_k.T, z[b] @ pair.w_v.T
            heads = []
            for part in (slice(0, 4), slice(4, 8)):
                heads.append(torch.softmax(k[:, part] @ q[part] / 2.0, 0) @ v[:, part])
            update = pair.ffn(pair.w_0 @ torch.cat(heads))
            parts.append(F.layer_norm(z[a] + update, (8,), pair.norm.weight, pair.norm.bias).mean(0))
        torch.testing.assert_close(result[i], torch.cat(parts), atol=1e-5, rtol=1e-5)


def test_expected_label_is_what_the_head_says() -> None:
    guidance = LabelGuidance(THREE, pooled_dim=4, dim=2)
    pooled = torch.randn(5, 4)
    p = guidance.head(pooled).softmax(1)
    torch.testing.assert_close(guidance(pooled), p @ guidance.table)


def test_hidden_labels_change_nothing() -> None:
    fusion = lgmmt()
    x, mask = sequences()
    hidden = torch.tensor([True, False, True])
    first, second = (fusion(x, mask, torch.tensor(target), hidden) for target in ([0, 0, 0], [2, 1, 1]))
    unknown = fusion(x, mask)
    assert torch.equal(first[hidden], second[hidden])
    torch.testing.assert_close(first[hidden], unknown[hidden])
    assert not torch.allclose(first[1], second[1])


@pytest.mark.parametrize(
    ("task", "target", "shape"),
    [
        (SentimentRegression(), torch.tensor([-2.6, 0.2, 3.0]), (7, 8)),
        (SentimentClassification(7), torch.tensor([-2.6, 0.2, 3.0]), (7, 8)),
        (EmotionDetection(), torch.tensor([[0, 1, 0, 1]] * 3), (4, 2, 8)),
    ],
)
def test_tables_of_every_task(task: Task, target: Tensor, shape: tuple[int, ...]) -> None:
    fusion = lgmmt(task)
    x, mask = sequences()
    assert fusion.guidance.table.shape == shape
    assert fusion(x, mask, target).shape == (3, 24)


@pytest.mark.parametrize("names", [("text", "vision"), ("audio", "vision"), NAMES])
@pytest.mark.parametrize("guided", [True, False])
def test_every_pair_meets(names: tuple[str, ...], guided: bool) -> None:
    fusion = lgmmt(names=names, guided=guided)
    x, mask = sequences(names)
    pairs = len(names) * (len(names) - 1) // 2
    assert fusion.feature_dim == 8 * (pairs if guided else len(names))
    assert fusion(x, mask).shape == (3, fusion.feature_dim)
    assert [len(weights) for weights in fusion.penalised()] == ([3] * pairs if guided else [])


def test_attention_is_the_softmax_over_the_real_steps_of_the_first() -> None:
    fusion = lgmmt()
    x, mask = sequences()
    found = fusion.attention(x, mask)
    pooled = torch.stack([torch.cat([x[n][i, mask[i]].mean(0) for n in NAMES]) for i in range(3)])
    assert list(found) == ["text_audio", "text_vision", "audio_vision"]
    for name, weights in found.items():
        pair: Any = fusion.pairs[name]
        assert weights.shape == (3, 2, 5)
        for i, e in enumerate(fusion.guidance(pooled)):
            z = x[name.partition("_")[0]][i, mask[i]] * (fusion.gate.weight @ e + fusion.gate.bias)
            q, k = pair.w_q @ e, z @ pair.w_k.T
            for head, part in enumerate((slice(0, 4), slice(4, 8))):
                expected = torch.softmax(k[:, part] @ q[part] / 2.0, 0)
                torch.testing.assert_close(weights[i, head, mask[i]], expected)
                assert not weights[i, head, ~mask[i]].any()
    assert lgmmt(guided=False).attention(x, mask) == {}


def test_the_ablation_is_the_pooled_sequences() -> None:
    fusion = lgmmt(guided=False)
    x, mask = sequences()
    means = [torch.cat([x[n][i, mask[i]].mean(0) for n in NAMES]) for i in range(3)]
    torch.testing.assert_close(fusion(x, mask), torch.stack(means))
    assert not list(fusion.parameters())


def test_padding_changes_nothing() -> None:
    fusion = lgmmt()
    x, mask = sequences()
    wide = {name: F.pad(each, (0, 0, 2, 3)) for name, each in x.items()}
    torch.testing.assert_close(fusion(wide, F.pad(mask, (2, 3))), fusion(x, mask))


def test_nothing_real_is_finite() -> None:
    fusion = lgmmt()
    x, mask = sequences()
    nothing = {name: torch.zeros_like(each) for name, each in x.items()}
    assert not fusion(nothing, torch.zeros_like(mask)).any()


def test_bad_options() -> None:
    with pytest.raises(MERError, match="pairs of modalities meet, but there is text only"):
        LGMMT(THREE, ["text"], dim=8)
    with pytest.raises(MERError, match="3 heads do not divide a width of 8"):
        LGMMT(THREE, NAMES, dim=8, heads=3)
    with pytest.raises(MERError, match=r"out_dropout is 1\.0"):
        LGMMT(THREE, NAMES, dim=8, out_dropout=1.0)


def test_dropout_stands_before_the_classifier_alone() -> None:
    fusion = lgmmt(out_dropout=0.5).train()
    x, mask = sequences()
    assert torch.equal(fusion(x, mask), fusion(x, mask))
    assert (fusion.drop(torch.ones(100)) == 0).any()
    assert nn.Module.eval(fusion) is fusion
    assert torch.equal(fusion.drop(torch.ones(100)), torch.ones(100))


def test_the_axis_of_aligned_data_is_where_anything_is_real() -> None:
    text, audio = torch.tensor([[True, False, False]]), torch.tensor([[True, True, False]])
    assert common_mask({"text": text, "audio": audio}, aligned=True).tolist() == [[True, True, False]]
    assert common_mask({"text": text, "audio": audio}, aligned=False).tolist() == [[True, False, False]]


def test_a_sample_without_text_keeps_what_the_others_say() -> None:
    masks = {"text": torch.zeros(1, 2, dtype=torch.bool), "audio": torch.tensor([[False, True, True]])}
    mask = common_mask(masks, aligned=False)
    x = {"text": torch.randn(1, 2, 1), "audio": torch.tensor([[[9.0], [1.0], [3.0]]])}
    assert common_axis(x, masks, mask, shared=["text"])["audio"].flatten().tolist() == [2.0, 0.0]
    assert not common_axis(x, masks, mask, shared=["text"])["text"].any()


def test_a_sample_with_nothing_at_all_has_no_step() -> None:
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    assert not common_mask({"text": nothing, "audio": nothing}, aligned=False).any()
