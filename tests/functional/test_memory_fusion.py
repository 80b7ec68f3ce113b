import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.backbones.mfn import MFN
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.functional.memory_fusion import gated_memory, lstm_states
from mer_zoo.task import SentimentRegression


def test_states_and_cells_are_those_of_lstm_cells() -> None:
    cells = [nn.LSTMCell(3, 4), nn.LSTMCell(5, 2)]
    x = [torch.randn(2, 6, 3), torch.randn(2, 6, 5)]
    inputs = [F.linear(part, cell.weight_ih, cell.bias_ih + cell.bias_hh) for part, cell in zip(x, cells, strict=True)]
    h, c = lstm_states(inputs, [cell.weight_hh for cell in cells])
    for part, cell, own_h, own_c in zip(x, cells, h.split([4, 2], 2), c.split([4, 2], 2), strict=True):  # type: ignore[no-untyped-call]
        state: tuple[Tensor, Tensor] | None = None
        for t in range(6):
            state = cell(part[:, t], state)
            torch.testing.assert_close(own_h[:, t], state[0])
            torch.testing.assert_close(own_c[:, t], state[1])


def test_dropout_of_the_gates_takes_what_they_read() -> None:
    zero, one = torch.zeros(3, 200), torch.ones(1, 1, 3)
    inputs = (torch.ones(1, 1, 200), torch.ones(1, 1, 200))
    outputs = ((torch.ones(3, 200) / 200, zero[:, 0]), (torch.ones(3, 200) / 200, zero[:, 0]))
    without = gated_memory(one, inputs, (zero.t(), zero.t()), outputs)
    torch.testing.assert_close(without, torch.full((1, 1, 3), 1.0).sigmoid())
    torch.manual_seed(0)
    assert not torch.allclose(gated_memory(one, inputs, (zero.t(), zero.t()), outputs, (0.0, 0.5)), without)
    # Nothing is kept of an empty memory, so that the first gate's dropout cannot be seen in the first step.
    torch.testing.assert_close(gated_memory(one, inputs, (zero.t(), zero.t()), outputs, (0.5, 0.0)), without)


def step_by_step(model: MFN, x: list[Tensor]) -> Tensor:
    """The equations of the paper as they stand, one word after the other."""
    cells = list(model.cells.values())
    h = [torch.zeros(len(part), width) for part, width in zip(x, model.widths, strict=True)]
    c, u = [state.clone() for state in h], torch.zeros(len(x[0]), model.memory_dim)
    for t in range(x[0].shape[1]):
        before = torch.cat(c, 1)
        pairs = [cell(part[:, t], (h[i], c[i])) for i, (part, cell) in enumerate(zip(x, cells, strict=True))]
        h, c = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        both = torch.cat([before, *c], 1)
        attended = model.attention(both).softmax(1) * both
        candidate = model.candidate(attended).tanh()
        gate_input = torch.cat([attended, u], 1)
        u = model.keep(gate_input).sigmoid() * u + model.write(gate_input).sigmoid() * candidate
    return torch.cat([*h, u], 1)


def test_the_order_of_computation_changes_neither_values_nor_gradients() -> None:
    spec, task = DataSpec(text_len=5, audio_len=5, vision_len=5, aligned=True), SentimentRegression()
    torch.manual_seed(0)
    model = MFN(spec, task, hidden_dims=(6, 4, 5), memory_dim=7).double().eval()
    batch = Batch.random(spec, task, size=1).to(torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        expected = step_by_step(model, [batch.text.x, batch.audio.x, batch.vision.x])
    finally:
        torch.set_default_dtype(torch.float32)
    features = model(batch).features
    torch.testing.assert_close(features, expected)
    parameters = [p for name, p in model.named_parameters() if not name.startswith("head")]
    for mine, plain in zip(
        torch.autograd.grad(features.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(mine, plain)
