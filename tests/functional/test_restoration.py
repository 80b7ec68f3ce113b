import pytest
import torch

from mer_zoo.functional.restoration import FrameLoss, attraction, frame_error


def test_attraction_is_a_mean_of_two_cosines() -> None:
    torch.manual_seed(0)
    z, p, z_m, p_m = torch.randn(4, 5, 6).unbind()
    expected = [
        -0.5 * (p_m[i] @ z[i] / (p_m[i].norm() * z[i].norm()) + p[i] @ z_m[i] / (p[i].norm() * z_m[i].norm()))
        for i in range(5)
    ]
    torch.testing.assert_close(attraction(z, p, z_m, p_m), torch.stack(expected))


def test_double_precision_stays() -> None:
    z, p, z_m, p_m = torch.randn(4, 5, 6, dtype=torch.float64).unbind()
    assert attraction(z, p, z_m, p_m).dtype == torch.float64
    assert attraction(*(x.bfloat16() for x in (z, p, z_m, p_m))).dtype == torch.float32


def test_only_predictions_are_drawn() -> None:
    z, p, z_m, p_m = (torch.randn(5, 6, requires_grad=True) for _ in range(4))
    torch.autograd.backward(attraction(z, p, z_m, p_m).sum())
    assert z.grad is None
    assert z_m.grad is None
    assert p.grad is not None
    assert p_m.grad is not None


@pytest.mark.parametrize("loss", ["smooth_l1", "mse"])
def test_frame_error_is_torchs_mean_over_channels(loss: FrameLoss) -> None:
    fake, original = 3 * torch.randn(2, 4, 5), torch.randn(2, 4, 5)
    criterion = torch.nn.SmoothL1Loss if loss == "smooth_l1" else torch.nn.MSELoss
    expected = criterion(reduction="none")(fake, original).mean(-1)
    torch.testing.assert_close(frame_error(fake, original, loss), expected)
    assert frame_error(fake.bfloat16(), original, loss).dtype == torch.float32
    assert frame_error(fake.double(), original.double(), loss).dtype == torch.float64
