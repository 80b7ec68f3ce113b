"""The distances against the released code's golden vectors, plain formulas, and shards on two processes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from forks import process_context
from safetensors.torch import load_file
from torch import Tensor

from mer_zoo.distributed import distributed_mean
from mer_zoo.functional import distillation
from mer_zoo.functional.distillation import attention_divergence, joint_distance, reconstruction_error

GOLDEN = Path(__file__).parents[1] / "golden"
PARTS = {
    "text": ("text_recon", "text_for_recon"),
    "audio": ("audio_recon", "audio"),
    "video": ("vision_recon", "vision"),
}


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("stem", ["cider_losses", "cider_losses_nothing_missing"])
def test_golden_losses_and_gradients(stem: str) -> None:
    golden = load_file(GOLDEN / f"{stem}.safetensors")
    config: dict[str, Any] = json.loads((GOLDEN / f"{stem}.json").read_text())["config"]
    x = {name[3:]: value.clone() for name, value in golden.items() if name.startswith("in.")}
    leaves = [name.removeprefix("grad.SmoothL1Loss.") for name in golden if name.startswith("grad.SmoothL1Loss.")]
    for name in leaves:
        x[name].requires_grad_()
    losses = {
        "joint_rep": distributed_mean(joint_distance(x["joint_rep_m"], x["joint_rep"])),
        "attn": distributed_mean(attention_divergence(x["attn_m"], x["attn"])),
    }
    for name, (fake, original) in PARTS.items():
        letter = "vision" if name == "video" else name
        missing = x[f"{letter}_mask"] - x[f"{letter}_missing_mask"]
        losses[f"recon_{name}"] = distributed_mean(reconstruction_error(x[fake], x[original]), missing)
    for name, value in losses.items():
        close(value, golden[f"out.SmoothL1Loss.loss_{name}"])
    recon = torch.stack([losses[f"recon_{name}"] for name in PARTS]).sum()
    combined = F.nll_loss(x["pred_m"], x["labels"]) + config["w_recon"] * recon
    combined = combined + config["w_joint"] * losses["joint_rep"] + config["w_attn"] * losses["attn"]
    close(combined, golden["out.SmoothL1Loss.combined_loss"])
    torch.autograd.backward(combined + F.nll_loss(x["pred"], x["labels"]))
    for name in leaves:
        grad = x[name].grad
        close(torch.zeros_like(x[name]) if grad is None else grad, golden[f"grad.SmoothL1Loss.{name}"])


def plain_divergence(s_tilde: Tensor, s: Tensor) -> Tensor:
    target = torch.softmax(s.detach(), -1)
    return F.kl_div(torch.log_softmax(s_tilde, -1), target, reduction="none").sum((1, 2))


def scores(n: int, size: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    s_tilde, s = (3 * torch.randn(n, size, size, generator=generator, dtype=torch.float64) for _ in range(2))
    return s_tilde.to(dtype).requires_grad_(), s.to(dtype)


@pytest.mark.parametrize("chunk", [1, 60, 10**6])
@pytest.mark.parametrize("n", [0, 1, 7])
def test_divergence_is_the_plain_formula(monkeypatch: pytest.MonkeyPatch, n: int, chunk: int) -> None:
    monkeypatch.setitem(distillation._CHUNK, "cpu", chunk)
    s_tilde, s = scores(n, 5)
    weights = torch.arange(1.0, n + 1, dtype=torch.float64)
    found = []
    for divergence in (attention_divergence, plain_divergence):
        values = divergence(s_tilde, s)
        (gradient,) = torch.autograd.grad((weights * values).sum(), s_tilde)
        found.append((values, gradient))
    close(found[0][0], found[1][0], 1e-12)
    close(found[0][1], found[1][1], 1e-12)


def test_divergence_passes_gradcheck() -> None:
    s_tilde, s = scores(3, 4)
    assert torch.autograd.gradcheck(lambda x: attention_divergence(x, s), [s_tilde])


def test_divergence_of_large_and_hidden_scores() -> None:
    s_tilde, s = scores(2, 6, torch.float32)
    with torch.no_grad():
        for x in (s_tilde, s):
            x[:, :, 4:] = -1e9
            x[:, 5] = -1e9
            x[:, 0, 0] = 300.0
    values = attention_divergence(s_tilde, s)
    torch.autograd.backward(values.sum())
    assert s_tilde.grad is not None
    assert not s_tilde.grad[:, :, 4:].any()
    close(values, plain_divergence(s_tilde, s))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    s_tilde, s = scores(4, 6, dtype)
    values = attention_divergence(s_tilde, s)
    assert values.dtype == torch.float32
    close(values, plain_divergence(s_tilde.float(), s.float()))
    torch.autograd.backward(values.sum())
    assert s_tilde.grad is not None
    assert s_tilde.grad.dtype == dtype
    expected = torch.softmax(s_tilde.detach().float(), -1) - torch.softmax(s.float(), -1)
    close(s_tilde.grad.float(), expected, 1e-2)
    h = torch.full((1, 100), 300.0, dtype=dtype)
    assert joint_distance(h, h).abs().item() < 1e-6
    assert reconstruction_error(h[None], -h[None]).item() == 599.5


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    s_tilde, s = scores(2, 3)
    assert not attention_divergence(s_tilde.detach(), s).requires_grad
    with torch.no_grad():
        assert attention_divergence(s_tilde, s).grad_fn is None


def test_no_gradient_reaches_the_complete_view() -> None:
    s, h = torch.randn(2, 3, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    assert not attention_divergence(torch.randn(2, 3, 3), s).requires_grad
    assert not joint_distance(torch.randn(2, 3), h).requires_grad


def test_representations_that_are_zero() -> None:
    h = torch.zeros(2, 3, requires_grad=True)
    distance = joint_distance(h, torch.zeros(2, 3))
    torch.autograd.backward(distance.sum())
    assert distance.tolist() == [1.0, 1.0]
    assert h.grad is not None
    assert torch.isfinite(h.grad).all()


def losses_of(x: dict[str, Tensor]) -> Tensor:
    recon = distributed_mean(reconstruction_error(x["fake"], x["original"]), x["missing"])
    attention = distributed_mean(attention_divergence(x["s_tilde"].flatten(0, 1), x["s"].flatten(0, 1)))
    return recon + attention + distributed_mean(joint_distance(x["fake"][:, 0], x["original"][:, 0]))


def shapes() -> dict[str, Tensor]:
    torch.manual_seed(0)
    x = {"fake": torch.randn(5, 4, 3), "original": torch.randn(5, 4, 3), "missing": (torch.rand(5, 4) < 0.5).float()}
    return x | {"s_tilde": torch.randn(5, 2, 6, 6), "s": torch.randn(5, 2, 6, 6)}


def _worker(rank: int, store: str) -> None:
    x = shapes()
    leaves = {name: x[name].clone().requires_grad_() for name in ("fake", "s_tilde")}
    torch.autograd.backward(losses_of(x | leaves))
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    mine = slice(0, 4) if rank == 0 else slice(4, 5)
    shard = {name: value[mine].clone() for name, value in x.items()}
    for name in leaves:
        shard[name].requires_grad_()
    torch.autograd.backward(losses_of(shard))
    for name, leaf in leaves.items():
        grad, expected = shard[name].grad, leaf.grad
        assert grad is not None
        assert expected is not None
        close(grad / 2, expected[mine])
    dist.destroy_process_group()


@pytest.mark.slow
def test_uneven_shards_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    processes = [process_context().Process(target=_worker, args=(rank, str(tmp_path / "store"))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
