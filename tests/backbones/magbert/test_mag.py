import pytest
import torch
from golden_cases import golden

from mer_zoo.backbones.magbert.mag import MAG
from mer_zoo.compat import load_released
from mer_zoo.functional.word_shift import shift_words


def test_gate_of_the_released_code() -> None:
    config, params, given, out = golden("mag_gate")
    dims = {"audio": config["acoustic_size"], "vision": config["visual_size"]}
    gate = MAG(config["bert_text_size"], dims, config["magbert_beta_shift"]).eval()
    report = load_released(gate, params, "magbert")
    assert report.used.keys() == params.keys()
    moved = gate(given["text"], {name: given[name].transpose(0, 1) for name in dims})
    torch.testing.assert_close(moved, out["out"], atol=1e-5, rtol=1e-4)


def test_a_word_moves_by_no_more_than_its_share() -> None:
    z, h = torch.randn(50, 8), 3 * torch.randn(50, 8)
    moved = (shift_words(z, h, beta=0.5) - z).norm(dim=1)
    assert (moved <= 0.5 * z.norm(dim=1) + 1e-5).all()
    torch.testing.assert_close(shift_words(z, 1e-3 * z, beta=0.5), 1.001 * z)


def test_nothing_said_moves_nothing_and_gradients_stay_finite() -> None:
    z, h = torch.zeros(3, 4, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    with torch.no_grad():
        z[1:] = 1.0
        h[2] = 2.0
    moved = shift_words(z, h)
    torch.autograd.backward(moved.square().sum())
    assert torch.equal(moved[:2], z[:2])
    assert z.grad is not None
    assert h.grad is not None
    assert z.grad.isfinite().all()
    assert h.grad.isfinite().all()


def test_a_closed_gate_leaves_a_normalised_word() -> None:
    gate = MAG(4, {"audio": 3})
    torch.nn.init.constant_(gate.gates["audio"].get_parameter("bias"), -100.0)
    z = torch.randn(2, 5, 4)
    torch.testing.assert_close(gate(z, {"audio": torch.randn(2, 5, 3)}), gate.norm(z))


@pytest.mark.parametrize("names", [("audio",), ("vision",), ("audio", "vision")])
def test_each_modality_moves_the_words(names: tuple[str, ...]) -> None:
    gate = MAG(8, dict.fromkeys(names, 3), beta=5.0)
    z, others = torch.randn(2, 5, 8), {name: torch.randn(2, 5, 3) for name in names}
    plain = gate(z, others)
    for name in names:
        assert not torch.allclose(gate(z, {**others, name: -others[name]}), plain)
