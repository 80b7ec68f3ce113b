import pytest
import torch
from torch import Tensor, nn

from mer_zoo.batch import DataSpec
from mer_zoo.errors import MERError
from mer_zoo.functional.disentanglement import cosine_orthogonality
from mer_zoo.layers.convolution import TemporalConv
from mer_zoo.layers.decoupling import (
    Decoupled,
    Decoupling,
    PredictionHead,
    ShrinkingProjection,
    in_order,
    read_end,
)
from mer_zoo.layers.mlp import ResidualBlock
from mer_zoo.layers.positions import embed_positions
from mer_zoo.layers.transformer import TransformerEncoder


def test_order_of_the_released_codes() -> None:
    assert in_order(["audio", "text"]) == ["text", "audio"]
    assert in_order(["text", "audio", "vision"]) == ["text", "vision", "audio"]


@pytest.mark.parametrize("causal", [False, True])
def test_the_end_is_the_last_step_of_the_whole(causal: bool) -> None:
    torch.manual_seed(0)
    encoder = TransformerEncoder(8, 2, 3, causal=causal)
    x = torch.randn(4, 9, 8)
    torch.testing.assert_close(read_end(encoder, x), encoder(embed_positions(x, rule="released"))[:, -1])


def test_at_is_what_read_reads() -> None:
    encoder, x = TransformerEncoder(8, 2, 2, causal=True), torch.randn(2, 9, 8)
    step, mask = torch.tensor([3, 7]), torch.arange(9) < torch.tensor([[4], [8]])
    torch.testing.assert_close(encoder.at(x, step, mask), encoder.read(x, step, mask)[1])


def test_projection_drops_out_text_alone_and_says_its_lengths() -> None:
    spec = DataSpec(text_dim=4, audio_dim=5, vision_dim=4, text_len=6, audio_len=8, vision_len=7)
    dims = {name: spec.dim(name) for name in spec.modalities}
    project = ShrinkingProjection("DMD", spec, dims, 4, (3, 3, 3), text_dropout=0.5)
    x = {name: torch.ones(2, spec.length(name), spec.dim(name)) for name in dims}
    found = project(x)
    assert {name: y.shape[1] for name, y in found.items()} == project.lengths == {"text": 6, "audio": 6, "vision": 7}
    assert set(found["text"].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(found["vision"], x["vision"])
    assert torch.equal(project.eval()(x)["text"], x["text"])


def test_projection_refuses_kernels_longer_than_the_data() -> None:
    spec = DataSpec()
    with pytest.raises(MERError, match="the audio kernel is 9, but must lie between 1 and the 8 steps"):
        ShrinkingProjection("DMD", spec, {"audio": 5}, 4, (1, 9, 1))


def test_losses_of_a_perfect_split_are_zero() -> None:
    lengths = {"text": 3}
    decouple = Decoupling(lengths, 4, lambda _: nn.Identity(), cosine_orthogonality)
    decoder = decouple.decode["text"]
    assert isinstance(decoder, TemporalConv)
    with torch.no_grad():
        decoder.weight.copy_(torch.eye(4, 8)[..., None])
    x = {"text": torch.randn(2, 3, 4)}
    parts = Decoupled(x, {"text": -x["text"]})
    found = decouple.losses(x, parts, torch.tensor([1.0, 2.0]))
    assert {name: round(loss.item(), 6) for name, loss in found.items()} == {
        "reconstruction": 0.0,
        "cycle": 0.0,
        "margin": 0.0,
        "orthogonality": 0.0,
    }


def test_restored_sequences_are_embedded_again() -> None:
    read: list[Tensor] = []

    def embed(x: Tensor) -> Tensor:
        read.append(x)
        return x + 1

    decouple = Decoupling({"text": 3}, 4, lambda _: nn.Identity(), cosine_orthogonality, embed)
    parts = decouple({"text": torch.zeros(2, 3, 4)})
    restored, again = decouple.restore(parts)
    assert torch.equal(parts.private["text"], torch.ones(2, 3, 4))
    assert torch.equal(again["text"], restored["text"] + 1)
    assert len(read) == 2


def test_heads_offer_what_is_between() -> None:
    head = PredictionHead(6, 2, hidden=3)
    x = torch.randn(4, 6)
    said = head(x)
    assert (said.inner >= 0).all()
    torch.testing.assert_close(said.joined, x + head.block.fc2(said.inner))
    torch.testing.assert_close(said.logits, head.out(said.joined))
    block = ResidualBlock(6, dropout=0.9)
    assert not torch.equal(block(x), block.eval()(x))
