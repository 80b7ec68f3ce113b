import pytest
import torch

from mer_zoo.layers.convolution import TemporalConv


@pytest.mark.parametrize("same_length", [False, True])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_each_step_is_a_window_times_the_weight(kernel: int, same_length: bool) -> None:
    conv = TemporalConv(3, 4, kernel, same_length)
    x = torch.randn(2, 7, 3)
    left = (kernel - 1) // 2
    wide = torch.nn.functional.pad(x, (0, 0, left, kernel - 1 - left)) if same_length else x
    windows = wide.unfold(1, kernel, 1)
    torch.testing.assert_close(conv(x), torch.einsum("btik,oik->bto", windows, conv.weight))
