import torch
from torch import nn

from mer_zoo.backbones import LMF, TFN
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.layers.batch_norm import BatchNorm
from mer_zoo.layers.subnets import UtteranceSubnets
from mer_zoo.task import SentimentRegression

TASK = SentimentRegression()


def test_batch_norm_is_torch_s_wherever_torch_has_one() -> None:
    ours, torchs = BatchNorm(4), nn.BatchNorm1d(4)
    for x in (torch.randn(3, 4), torch.randn(1, 4, 2)):
        assert torch.equal(ours.train()(x), torchs.train()(x))
        assert torch.equal(ours.eval()(x), torchs.eval()(x))
    assert torch.equal(ours.running_var, torchs.running_var)  # type: ignore[arg-type]


def test_one_sample_is_normalised_by_what_was_seen_and_leaves_no_trace() -> None:
    norm = BatchNorm(4).train()
    norm(torch.randn(50, 4) * 3 + 2)
    state = {key: value.clone() for key, value in norm.state_dict().items()}
    x = torch.randn(1, 4)
    torch.testing.assert_close(norm.train()(x), norm.eval()(x))
    assert all(torch.equal(value, state[key]) for key, value in norm.state_dict().items())


def test_padding_counts_only_on_request() -> None:
    spec = DataSpec(text_len=6, audio_len=6, vision_len=6)
    batch = Batch.random(spec, TASK, size=4)
    torch.manual_seed(0)
    ours = UtteranceSubnets({"text": 6, "audio": 5, "vision": 4}, (8, 7, 7), text_out=3).eval()
    torch.manual_seed(0)
    usual = UtteranceSubnets({"text": 6, "audio": 5, "vision": 4}, (8, 7, 7), text_out=3, mask_padding=False).eval()
    given = {name: batch.modality(name) for name in spec.modalities}
    full = {name: Modality(modality.x, torch.ones_like(modality.mask)) for name, modality in given.items()}
    for name, h in usual(given).items():
        torch.testing.assert_close(h, ours(full)[name])
        torch.testing.assert_close(h[0], ours(given)[name][0])  # sample 0 has no padding
        assert not torch.allclose(h[1:], ours(given)[name][1:])


def test_sizes_of_the_fusion_follow_the_modalities() -> None:
    for modalities, width in [(("text", "audio", "vision"), 5 * 9 * 8), (("text", "vision"), 5 * 8), (("audio",), 9)]:
        spec = DataSpec(modalities=modalities)
        assert TFN(spec, TASK, hidden_dims=(6, 8, 7), text_out=4).fc1.in_features == width
        assert set(LMF(spec, TASK, hidden_dims=(6, 8, 7)).factors) == set(modalities)
