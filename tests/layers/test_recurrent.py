import pytest
import torch
from torch import nn

from mer_zoo.errors import MERError
from mer_zoo.layers.recurrent import BiLSTM, masked_rnn

MASK = torch.tensor([[c == "1" for c in row] for row in ["11111", "00111", "11000", "00000"]])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_equals_each_sample_alone(kind: type[nn.GRU] | type[nn.LSTM], layers: int, bidirectional: bool) -> None:
    rnn = kind(3, 4, num_layers=layers, batch_first=True, bidirectional=bidirectional)
    x = torch.randn(4, 5, 3)
    states, final = masked_rnn(rnn, torch.where(MASK[..., None], x, 99.0), MASK)
    for i in range(3):
        alone, hidden = rnn(x[i : i + 1, MASK[i]])
        top = hidden[0] if isinstance(rnn, nn.LSTM) else hidden
        directions = 2 if bidirectional else 1
        torch.testing.assert_close(states[i, MASK[i]], alone[0])
        torch.testing.assert_close(final[i], top[-directions:].flatten())
    assert not states[~MASK].any()
    assert not final[3].any()


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_both_ways_without_packing_give_states_and_gradients_of_packing(layers: int, training: bool) -> None:
    ours, theirs = BiLSTM(3, 4, layers), nn.LSTM(3, 4, layers, batch_first=True, bidirectional=True)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for rnn in (ours, theirs):
        x = torch.arange(60.0).view(4, 5, 3).cos().requires_grad_()
        states, final = masked_rnn(rnn.train(training), x, MASK)
        torch.autograd.backward(states.square().sum() + final.sum())
        found.append([states, final, x.grad, *(parameter.grad for parameter in rnn.parameters())])
    torch.testing.assert_close(*found)
    with torch.no_grad():
        torch.testing.assert_close(masked_rnn(ours, x, MASK), masked_rnn(theirs, x, MASK))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradient_is_finite_with_an_empty_sample(bidirectional: bool) -> None:
    rnn = nn.GRU(3, 4, batch_first=True, bidirectional=bidirectional)
    torch.autograd.backward(masked_rnn(rnn, torch.randn(4, 5, 3), MASK)[1].sum())
    for parameter in rnn.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_refuses_time_first() -> None:
    with pytest.raises(MERError, match="batch_first=True"):
        masked_rnn(nn.GRU(3, 4), torch.randn(1, 5, 3), torch.ones(1, 5, dtype=torch.bool))
