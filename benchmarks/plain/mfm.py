"""MFM written from its equations, word by word and modality by modality, with the released names, to compare with."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mer_zoo.batch import MODALITIES, Batch

__all__ = ["PlainMFM"]

LETTERS = dict(zip("lav", MODALITIES, strict=True))
WIDTHS, CODES, FACTORS = (128, 32, 128), (64, 80, 80, 80), (32, 16, 64, 64)
MEMORY, WEIGHTS = 64, (0.5, 0.01, 0.5)


class Coder(nn.Module):
    """An LSTM over time or, from a vector, over its own states, and a linear map."""

    def __init__(self, input_dim: int, dim: int, output_dim: int) -> None:
        super().__init__()
        self.lstm, self.fc1 = nn.LSTMCell(input_dim, dim), nn.Linear(dim, output_dim)

    def encode(self, x: Tensor) -> Tensor:
        """The code of (B, T, D)."""
        state = None
        for step in x.unbind(1):
            state = self.lstm(step, state)
        assert state is not None
        code: Tensor = self.fc1(state[0])
        return code

    def decode(self, factors: Tensor, steps: int) -> Tensor:
        """(B, T, D) of factors."""
        given, state, made = factors, None, []
        for _ in range(steps):
            state = self.lstm(given, state)
            given = state[0]
            made.append(self.fc1(given))
        return torch.stack(made, 1)


class PlainMemory(nn.Module):
    """The Memory Fusion Network without its classifier."""

    def __init__(self, dims: tuple[int, int, int]) -> None:
        super().__init__()
        for letter, dim, width in zip("lav", dims, WIDTHS, strict=True):
            self.add_module(f"lstm_{letter}", nn.LSTMCell(dim, width))
        total = sum(WIDTHS)
        both = total * 2
        shapes = {"att1": (both, 32, both), "att2": (both, 64, MEMORY)}
        shapes |= {"gamma1": (both + MEMORY, 32, MEMORY), "gamma2": (both + MEMORY, 64, MEMORY)}
        for name, (first, inner, last) in shapes.items():
            self.add_module(f"{name}_fc1", nn.Linear(first, inner))
            self.add_module(f"{name}_fc2", nn.Linear(inner, last))

    def _two(self, name: str, x: Tensor) -> Tensor:
        made: Tensor = self.get_submodule(f"{name}_fc2")(F.relu(self.get_submodule(f"{name}_fc1")(x)))
        return made

    def forward(self, batch: Batch) -> Tensor:
        """Last states and memory (B, h + d)."""
        size = len(batch.text.x)
        zero = batch.text.x.new_zeros
        states = {a: (zero(size, width), zero(size, width)) for a, width in zip("lav", WIDTHS, strict=True)}
        memory = zero(size, MEMORY)
        for t in range(batch.text.x.shape[1]):
            before = torch.cat([c for _, c in states.values()], 1)
            for a, name in LETTERS.items():
                states[a] = self.get_submodule(f"lstm_{a}")(batch.modality(name).x[:, t], states[a])
            both = torch.cat([before, *(c for _, c in states.values())], 1)
            attended = self._two("att1", both).softmax(1) * both
            candidate = self._two("att2", attended).tanh()
            with_memory = torch.cat([attended, memory], 1)
            keep, write = (self._two(name, with_memory).sigmoid() for name in ("gamma1", "gamma2"))
            memory = keep * memory + write * candidate
        return torch.cat([*(h for h, _ in states.values()), memory], 1)


class PlainMFM(nn.Module):
    """MFM on aligned words without padding, one output, and its losses."""

    def __init__(self, dims: tuple[int, int, int], draw: Callable[[Tensor], Tensor], weight: float) -> None:
        super().__init__()
        self.draw, self.weight = draw, weight
        self.mfn_encoder = PlainMemory(dims)
        for i, (letter, dim) in enumerate(zip("lav", dims, strict=True)):
            width = FACTORS[3] + FACTORS[i]
            self.add_module(f"encoder_{letter}", Coder(dim, CODES[i], CODES[i]))
            self.add_module(f"decoder_{letter}", Coder(width, width, dim))
        for i, letter in enumerate("lavy"):
            self.add_module(f"z{letter}_to_f{letter}_fc1", nn.Linear(CODES[i], FACTORS[i]))
            self.add_module(f"z{letter}_to_f{letter}_fc2", nn.Linear(FACTORS[i], FACTORS[i]))
        self.last_to_zy_fc1 = nn.Linear(sum(WIDTHS) + MEMORY, CODES[3])
        self.fy_to_y_fc1, self.fy_to_y_fc2 = nn.Linear(FACTORS[3], FACTORS[3]), nn.Linear(FACTORS[3], 1)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores (B, 1) and losses of a training step."""
        coders = {
            name: self.get_submodule(name) for name in (f"{kind}coder_{a}" for kind in ("en", "de") for a in "lav")
        }
        z = {a: coders[f"encoder_{a}"].encode(batch.modality(name).x) for a, name in LETTERS.items()}  # type: ignore[operator]
        z["y"] = self.last_to_zy_fc1(self.mfn_encoder(batch))
        f = {}
        for a, code in z.items():
            inner = F.relu(self.get_submodule(f"z{a}_to_f{a}_fc1")(code))
            f[a] = F.relu(self.get_submodule(f"z{a}_to_f{a}_fc2")(inner))
        scores: Tensor = self.fy_to_y_fc2(F.relu(self.fy_to_y_fc1(f["y"])))
        generation = scores.new_zeros(())
        for weight, (a, name) in zip(WEIGHTS, LETTERS.items(), strict=True):
            x = batch.modality(name).x
            made = coders[f"decoder_{a}"].decode(torch.cat([f["y"], f[a]], 1), x.shape[1])  # type: ignore[operator]
            generation = generation + weight * F.mse_loss(made, x)
        distance = torch.stack([_distance(self.draw(code), code) for code in z.values()]).sum()
        terms = {"task": F.l1_loss(scores, batch.target[:, None]), "generation": generation}
        return scores, terms | {"mmd": self.weight * distance}


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """Maximum mean discrepancy of two samples."""

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        return torch.exp(-(first[:, None] - second[None]).pow(2).sum(2) / first.shape[1]).mean()

    return kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
