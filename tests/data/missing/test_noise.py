import pytest
import torch
from pattern_toys import TASK, each, make_batch, padded, rows

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.data.missing.noise import UnevenRMFM
from mer_zoo.errors import MERError

SIZE, LENGTH = 2000, 50


def long_batch() -> tuple[Batch, DataSpec]:
    spec = DataSpec(text_len=LENGTH, audio_len=LENGTH, vision_len=LENGTH, text_dim=1, audio_dim=1, vision_dim=1)
    full = Modality(torch.ones(SIZE, LENGTH, 1), torch.ones(SIZE, LENGTH, dtype=torch.bool))
    return Batch(full, full, full, target=torch.zeros(SIZE), index=torch.arange(SIZE)), spec


def shares(pattern: UnevenRMFM) -> dict[str, torch.Tensor]:
    batch, spec = long_batch()
    view = pattern(batch, spec, 7)
    return {name: (~view.modality(name).observed).float().mean(1) for name in MODALITIES}


def test_half_of_the_samples_lose_nothing_of_a_modality_and_the_others_any_share() -> None:
    for share in shares(UnevenRMFM()).values():
        # Of the spared half, and of the others the few whose rate is next to nothing.
        assert abs(float((share == 0).float().mean()) - (0.5 + 0.5 / (LENGTH + 1))) < 0.04
        damaged = share[share > 0]
        assert abs(float(damaged.mean()) - 0.51) < 0.03
        quantiles = torch.quantile(damaged, torch.tensor([0.1, 0.9]))
        assert quantiles[0] < 0.16
        assert quantiles[1] > 0.84


def test_modalities_draw_rates_of_their_own() -> None:
    found = torch.stack(list(shares(UnevenRMFM()).values()))
    assert (torch.corrcoef(found) - torch.eye(3)).abs().max() < 0.08


def test_the_ends_of_the_probability() -> None:
    assert all(not share.any() for share in shares(UnevenRMFM(1)).values())
    assert all((share == 0).float().mean() < 0.05 for share in shares(UnevenRMFM(0)).values())
    with pytest.raises(MERError, match=r"rate is 1.5; give a number in \[0, 1\]"):
        UnevenRMFM(1.5)


@pytest.mark.parametrize("tokens", [False, True])
def test_what_is_missing_depends_on_the_sample_alone(tokens: bool) -> None:
    batch, spec = make_batch(tokens)
    view = UnevenRMFM()(batch, spec, 3)
    some = UnevenRMFM()(rows(padded(batch, 2, 3), [4, 1]), spec, 3)
    for name in MODALITIES:
        kept = view.modality(name).observed
        assert torch.equal(some.modality(name).observed[:, 2 : 2 + kept.shape[1]], kept[[4, 1]])
    other = UnevenRMFM()(batch, spec, 4)
    assert any(not torch.equal(other.modality(n).observed, view.modality(n).observed) for n in MODALITIES)


def test_a_modality_that_is_not_in_use_stays() -> None:
    spec = DataSpec(modalities=["text", "vision"])
    batch = Batch.random(spec, TASK, size=8)
    before = each(batch, torch.clone)
    view = UnevenRMFM(0)(batch, spec, 1)
    assert torch.equal(view.audio.observed, before.audio.observed)
    assert not view.vision.observed.all()
    assert torch.equal(batch.vision.x, before.vision.x)
