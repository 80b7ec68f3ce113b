"""MMIN and IF-MMIN that teach themselves, with their training losses, written from their equations, for comparison."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.plain.mult import Drop
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.data.missing.sets import RandomSMM
from mer_zoo.data.missing.views import IncompleteViews

__all__ = ["PlainIFMMIN", "PlainMMIN"]

DIM, CASCADE, BLOCKS, HEAD = 128, (256, 128, 64), 5, (128, 128)
WIDTH = 3 * DIM
LATENT = BLOCKS * CASCADE[-1]


class PlainLSTM(nn.Module):
    """The largest states of an LSTM over time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(width, DIM, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) to (B, DIM)."""
        largest: Tensor = self.rnn(x)[0].max(1)[0]
        return largest


class PlainTextCNN(nn.Module):
    """Three convolutions over the full width, their largest values, and a map."""

    def __init__(self, width: int, p: float) -> None:
        super().__init__()
        self.p = p
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(1, 128, (kernel, width)) for kernel in (3, 4, 5))
        self.embd = nn.Sequential(nn.Linear(384, DIM), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) to (B, DIM)."""
        maps = [F.relu(conv(x[:, None])).squeeze(3) for conv in (self.conv1, self.conv2, self.conv3)]
        largest = torch.cat([F.max_pool1d(each, each.shape[2]).squeeze(2) for each in maps], 1)
        found: Tensor = self.embd(F.dropout(largest, self.p, self.training))
        return found


class PlainCascade(nn.Module):
    """The residual autoencoders."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = CASCADE
        for i in range(BLOCKS):
            down = (nn.Linear(WIDTH, a), nn.LeakyReLU(0.01), nn.Linear(a, b), nn.LeakyReLU(0.01), nn.Linear(b, c))
            up = (nn.Linear(c, b), nn.ReLU(), nn.Linear(b, a), nn.ReLU(), nn.Linear(a, WIDTH))
            self.add_module(f"encoder_{i}", nn.Sequential(*down))
            self.add_module(f"decoder_{i}", nn.Sequential(*up))
        self.transition = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What is imagined, and the codes."""
        out, latents = torch.zeros_like(x), []
        for i in range(BLOCKS):
            x = x + out
            latents.append(self.get_submodule(f"encoder_{i}")(x))
            out = self.get_submodule(f"decoder_{i}")(latents[-1])
        return self.transition(x + out), torch.cat(latents, 1)

    def with_invariant(self, x: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
        """What is imagined, and the codes, where each autoencoder reads what the one before made."""
        latents = []
        for i in range(BLOCKS):
            latents.append(self.get_submodule(f"encoder_{i}")(x + common))
            x = self.get_submodule(f"decoder_{i}")(latents[-1])
        return self.transition(x), torch.cat(latents, 1)


class PlainClassifier(nn.Module):
    """Two maps with ReLU and dropout, and one to the score."""

    def __init__(self, width: int, p: float) -> None:
        super().__init__()
        a, b = HEAD
        self.module = nn.Sequential(
            nn.Linear(width, a), nn.ReLU(), nn.Dropout(p), nn.Linear(a, b), nn.ReLU(), nn.Dropout(p)
        )
        self.fc_out = nn.Linear(b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1)."""
        score: Tensor = self.fc_out(self.module(x))
        return score


def zeroed(batch: Batch, view: Batch, there: bool) -> list[Tensor]:
    """What a view has of text, audio and vision, or what it lacks of them."""
    pairs = [(getattr(batch, name).x, getattr(view, name)) for name in ("text", "audio", "vision")]
    return [x * (seen.observed if there else ~seen.observed)[..., None] for x, seen in pairs]


class PlainMMIN(nn.Module):
    """Both cascades, the encoders and the classifier; the view that loses modalities is drawn as ours is."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop) -> None:
        super().__init__()
        self.spec, self.views = spec, IncompleteViews(RandomSMM(1.0), 0)
        text, audio, vision = dims
        self.netA, self.netL, self.netV = PlainLSTM(audio), PlainTextCNN(text, drop["text_dropout"]), PlainLSTM(vision)
        self.netAE, self.netAE_cycle = PlainCascade(), PlainCascade()
        self.netC = PlainClassifier(LATENT, drop["out_dropout"])

    def terms(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores and losses."""
        view = self.views(batch, self.spec)
        f = self._encode(zeroed(batch, view, True))
        imagined, latent = self.netAE(f)
        back, _ = self.netAE_cycle(imagined)
        scores = self.netC(latent)
        training = self.training
        self.eval()
        with torch.no_grad():
            target = self._encode(zeroed(batch, view, False))
        self.train(training)
        losses = {
            "task": F.l1_loss(scores, batch.target[:, None]),
            "imagination": 4 * F.mse_loss(imagined, target),
            "cycle": 2 * F.mse_loss(back, f.detach()),
        }
        return scores, losses

    def _encode(self, x: list[Tensor]) -> Tensor:
        text, audio, vision = x
        return torch.cat([self.netA(audio), self.netL(text), self.netV(vision)], 1)


class PlainShared(nn.Module):
    """The invariant encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.shared_1, self.shared_2 = nn.Linear(DIM, DIM), nn.Linear(DIM, DIM)

    def forward(self, x: Tensor) -> Tensor:
        """(B, WIDTH) of (B, WIDTH), each modality by itself."""
        parts = [F.leaky_relu(self.shared_2(F.leaky_relu(self.shared_1(part)))) for part in x.chunk(3, 1)]
        return torch.cat(parts, 1)


class PlainInvariant(nn.Module):
    """The invariant encoder, where its parameters stand in the released code."""

    def __init__(self) -> None:
        super().__init__()
        self.netshared = PlainShared()


class PlainIFMMIN(nn.Module):
    """The encoders, the invariant one, the cascade and the classifier; the view is drawn as ours is."""

    def __init__(self, dims: tuple[int, int, int], spec: DataSpec, drop: Drop) -> None:
        super().__init__()
        self.spec, self.views = spec, IncompleteViews(RandomSMM(1.0), 0)
        text, audio, vision = dims
        self.netA, self.netL, self.netV = PlainLSTM(audio), PlainTextCNN(text, drop["text_dropout"]), PlainLSTM(vision)
        self.netinvariant = PlainInvariant()
        self.netAE = PlainCascade()
        self.netC = PlainClassifier(LATENT, drop["out_dropout"])

    def terms(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores and losses."""
        view = self.views(batch, self.spec)
        f = self._encode(zeroed(batch, view, True))
        common = self.netinvariant.netshared(f)
        imagined, latent = self.netAE.with_invariant(f, common)
        scores = self.netC(latent)
        training = self.training
        self.eval()
        with torch.no_grad():
            target = self._encode(zeroed(batch, view, False))
            everything = self.netinvariant.netshared(self._encode([batch.text.x, batch.audio.x, batch.vision.x]))
        self.train(training)
        losses = {
            "task": F.l1_loss(scores, batch.target[:, None]),
            "imagination": F.mse_loss(imagined, target),
            "invariant": 100 * F.mse_loss(common, everything),
        }
        return scores, losses

    def _encode(self, x: list[Tensor]) -> Tensor:
        text, audio, vision = x
        return torch.cat([self.netA(audio), self.netL(text), self.netV(vision)], 1)
