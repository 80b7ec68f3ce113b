"""Encoders that run together beside the same ones one after another."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from mer_zoo.layers import together
from mer_zoo.layers.dropouts import Dropouts
from mer_zoo.layers.together import Encoding, encode_all, read_all
from mer_zoo.layers.transformer import TransformerEncoder

LENGTHS = torch.tensor([5, 3, 0])
Run = Callable[[Sequence[Encoding]], list[Tensor]]


def encodings(causal: bool, crossed: bool, masked: str, attn: float = 0.0) -> list[Encoding]:
    torch.manual_seed(0)
    given = []
    for i in range(3):
        encoder = TransformerEncoder(6, 2, 2, Dropouts(attn=attn * i), causal).double()
        for weight in encoder.parameters():
            nn.init.normal_(weight, std=0.5)  # gains and shifts of norms, too
        x, source = (torch.randn(3, steps, 6, dtype=torch.float64) for steps in (5, 7))
        mask = torch.arange(5) < LENGTHS[:, None] if masked == "all" or (masked == "one" and i == 1) else None
        source_mask = torch.arange(7) < LENGTHS[:, None] if masked == "all" else None
        given.append(Encoding(encoder, x, source if crossed else None, mask, source_mask if crossed else None))
    return given


def read(given: Sequence[Encoding]) -> list[Tensor]:
    steps = [torch.tensor([4, i, 0]) for i in range(len(given))]
    return [each for pair in read_all(given, steps) for each in pair]


def both_ways(run: Run, given: list[Encoding], monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """Results and gradients together, then one by one."""
    weights = [weight for each in given for weight in each.encoder.parameters()]
    found = []
    for few in (together.FEW, 0):
        monkeypatch.setattr(together, "FEW", few)
        results = run(given)
        loss = torch.stack([(y * (i + 1)).square().sum() for i, y in enumerate(results)]).sum()
        found.append([*results, *torch.autograd.grad(loss, weights)])
    return found


@pytest.mark.parametrize("masked", ["none", "one", "all"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["crossed", "alone", "read"])
def test_results_and_gradients_are_those_of_each_alone(
    monkeypatch: pytest.MonkeyPatch, kind: str, causal: bool, masked: str
) -> None:
    given = encodings(causal, kind == "crossed", masked)
    assert together._go_together(given)
    for mine, theirs in zip(*both_ways(read if kind == "read" else encode_all, given, monkeypatch), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_each_keeps_its_dropout_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    chances = []

    def watched(q: Tensor, *_: object) -> Tensor:
        chances.append((len(q), _[-1]))
        return q

    monkeypatch.setattr(together, "attend", watched)
    given = encodings(causal=False, crossed=True, masked="all", attn=0.2)
    encode_all([given[2], given[0], given[1]])
    assert chances == [(3, 0.0), (3, 0.2), (3, 0.4)] * 2


def test_results_come_in_the_order_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given = encodings(causal=False, crossed=True, masked="none", attn=1e-9)  # too rare to drop anything
    for mine, theirs in zip(*both_ways(encode_all, given[::-1], monkeypatch), strict=True):
        torch.testing.assert_close(mine, theirs)


class OwnEncoder(TransformerEncoder):
    """One that somebody else has written."""


REASONS = ["shape", "hook", "mode", "part", "evaluation", "length", "class", "epsilon", "dropout", "norm", "bias"]


@pytest.mark.parametrize("reason", REASONS)
def test_one_by_one_where_that_may_differ_or_is_faster(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    given = encodings(causal=False, crossed=False, masked="none")
    layer = given[1].encoder.layers[0]
    if reason == "shape":
        given[1] = given[1]._replace(x=given[1].x[:, :4])
    elif reason == "hook":
        layer.fc1.register_forward_hook(lambda *_: None)
    elif reason == "mode":
        layer.eval()
    elif reason == "part":
        layer.fc1 = nn.Identity()  # type: ignore[assignment]
    elif reason == "length":
        monkeypatch.setattr(together, "FEW", 14)
    elif reason == "class":
        given[1] = given[1]._replace(encoder=OwnEncoder(6, 2, 2).double())
    elif reason == "epsilon":
        layer.norm0.eps = 0.1
    elif reason == "dropout":
        layer.attention.attn_dropout = 0.5
    elif reason == "norm":
        given[1].encoder.norm = nn.Identity()  # type: ignore[assignment]
    elif reason == "bias":
        layer.fc1 = nn.Linear(6, 24, bias=False).double()
    with torch.set_grad_enabled(reason != "evaluation"):
        assert not together._go_together(given)


def test_one_by_one_where_somebody_watches_all_modules() -> None:
    given = encodings(causal=False, crossed=False, masked="none")
    with nn.modules.module.register_module_forward_hook(lambda *_: None):
        assert not together._go_together(given)
    assert together._go_together(given)


def test_parameters_may_be_lent() -> None:
    given = encodings(causal=False, crossed=False, masked="none")
    encoders = nn.ModuleList(each.encoder for each in given)
    lent = {name: weight.detach().clone().requires_grad_() for name, weight in encoders.named_parameters()}
    both = nn.Module()
    both.encoders = encoders
    both.forward = lambda: encode_all(given)
    found = torch.func.functional_call(both, {f"encoders.{name}": weight for name, weight in lent.items()}, ())
    gradients = torch.autograd.grad(torch.stack(found).sum(), list(lent.values()))
    assert len(gradients) == len(lent)
