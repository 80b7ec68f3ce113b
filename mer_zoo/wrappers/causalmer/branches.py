"""Unimodal branches: a sequence in, logits out. CausalMER estimates the direct path of each modality with one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec
from mer_zoo.errors import MERError
from mer_zoo.layers.recurrent import masked_rnn
from mer_zoo.layers.sequence import masked_mean

if TYPE_CHECKING:
    from transformers import AlbertModel

__all__ = ["AlbertBranch", "BranchKind", "GRUBranch", "ResNetBranch", "build_branches", "reads_mask"]

BranchKind = Literal["paper", "light"]

# ALBERT base; the defaults of AlbertConfig are the much larger xxlarge. The word table is never read: it only
# has rows for the special tokens that the configuration names.
ALBERT_BASE = {
    "vocab_size": 4,
    "embedding_size": 128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}


class GRUBranch(nn.Module):
    """The light branch: a GRU, the mean of its states over real steps, a linear layer.

    Args:
        input_dim: Width of the features.
        outputs: Number of logits.
        dim: Width of the GRU.

    Example:
        >>> mask = torch.tensor([[True, True, False], [False] * 3])
        >>> GRUBranch(5, 2)(torch.randn(2, 3, 5), mask).shape
        torch.Size([2, 2])
    """

    def __init__(self, input_dim: int, outputs: int, dim: int = 64) -> None:
        super().__init__()
        self.gru = nn.GRU(input_dim, dim, batch_first=True)
        self.head = nn.Linear(dim, outputs)

    @override
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        states, _ = masked_rnn(self.gru, x, mask)
        logits: Tensor = self.head(masked_mean(states, mask))
        return logits


class AlbertBranch(nn.Module):
    """The paper's text branch: a linear map to ALBERT's embedding width, ALBERT, the mean over time, a linear layer.

    Padding is not masked, as in the paper's code: give it batches of one fixed length.

    Args:
        input_dim: Width of the text features.
        length: Padded number of text steps.
        outputs: Number of logits.
        albert: A folder with pretrained files (or the name of cached ones); options of ``AlbertConfig`` that differ
            from ALBERT base, for a random start; None for ALBERT base with a random start. Nothing is downloaded.

    Raises:
        MERError: If the files are not at hand or not ALBERT's, an option is unknown, or there are too few positions.

    Example:
        >>> tiny = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        >>> AlbertBranch(300, length=6, outputs=3, albert=tiny)(torch.randn(2, 6, 300)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self, input_dim: int, length: int, outputs: int, albert: str | Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.albert = _pretrained_albert(albert) if isinstance(albert, str) else _random_albert(albert or {})
        # Only `inputs_embeds` are fed, so the word table would be a parameter that never gets a gradient.
        del self.albert.embeddings.word_embeddings
        config = self.albert.config
        if length > config.max_position_embeddings:
            raise MERError(
                f"the ALBERT text branch has {config.max_position_embeddings} positions, but text has {length} steps;"
                f" cut "
                'the text, use branches: light, or a random ALBERT with "max_position_embeddings"'
            )
        self.project = nn.Linear(input_dim, config.embedding_size)
        self.head = nn.Linear(config.hidden_size, outputs)

    @override
    def forward(self, x: Tensor) -> Tensor:
        states = self.albert(inputs_embeds=self.project(x)).last_hidden_state
        logits: Tensor = self.head(states.mean(1))
        return logits


class ResNetBranch(nn.Module):
    """The paper's audio and vision branch: a ResNet-18 that sees the sequence as a one-channel image, time x feature.

    Batch norm cannot train on one sample whose last feature map is a single pixel, as it is up to 32 steps of 32
    features; such a training batch is padded with zero features to two pixels. Everything else is left as it is.

    Args:
        outputs: Number of logits.

    Example:
        >>> ResNetBranch(3)(torch.randn(1, 6, 5)).shape
        torch.Size([1, 3])
    """

    STRIDE = 32  # of the last feature map, in both directions

    def __init__(self, outputs: int) -> None:
        super().__init__()
        from torchvision.models import resnet18  # at once with the zoo, it and ALBERT would delay every network

        self.resnet = resnet18(num_classes=outputs)
        self.resnet.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1 and max(x.shape[1:]) <= self.STRIDE:
            x = F.pad(x, (0, self.STRIDE + 1 - x.shape[2]))
        # On a CPU, the bfloat16 weight gradient of a strided convolution over maps one pixel wide is garbage (oneDNN
        # 3.13).
        enabled = torch.is_autocast_enabled(x.device.type) and x.device.type != "cpu"
        with torch.autocast(x.device.type, enabled=enabled):
            logits: Tensor = self.resnet(x[:, None].to(self.resnet.conv1.weight.dtype))
        return logits


def reads_mask(branch: nn.Module) -> bool:
    """Whether a branch is called with the mask too: its forward has a parameter named ``mask``.

    Example:
        >>> reads_mask(GRUBranch(5, 2)), reads_mask(nn.Sequential(nn.Flatten(), nn.Linear(30, 2)))
        (True, False)
    """
    try:
        return "mask" in inspect.signature(branch.forward).parameters
    except ValueError:  # compiled modules have no signature
        return False


def build_branches(
    branches: str | Mapping[str, nn.Module | str],
    spec: DataSpec,
    input_dims: Mapping[str, int],
    outputs: int,
    dim: int = 64,
    albert: str | Mapping[str, Any] | None = None,
) -> nn.ModuleDict:
    """Build one branch for each modality in use.

    Args:
        branches: ``paper`` (ALBERT for text, ResNet-18 for audio and vision) or ``light`` (a GRU each), for all
            modalities; or one of these words or a module for each modality, ``light`` where one is left out. A module
            takes x (B, T, d), and the (B, T) mask where its forward has a parameter of that name, and returns (B,
            outputs) logits.
        spec: Shapes of the data.
        input_dims: Width of each modality's features.
        outputs: Number of logits.
        dim: Width of the GRUs.
        albert: See :class:`AlbertBranch`.

    Returns:
        The branches by modality.

    Raises:
        MERError: For an unknown word or modality.

    Example:
        >>> mine = {"audio": nn.Sequential(nn.Flatten(), nn.Linear(8 * 5, 3))}
        >>> built = build_branches(mine, DataSpec(), {"text": 6, "audio": 5, "vision": 4}, outputs=3)
        >>> {name: type(branch).__name__ for name, branch in built.items()}
        {'text': 'GRUBranch', 'audio': 'Sequential', 'vision': 'GRUBranch'}
    """
    chosen = dict.fromkeys(MODALITIES, branches) if isinstance(branches, str) else dict(branches)
    for name, choice in chosen.items():
        if name not in MODALITIES:
            raise MERError(f"branches names {name!r}; choose from {', '.join(MODALITIES)}")
        if not isinstance(choice, nn.Module) and choice not in get_args(BranchKind):
            raise MERError(f"the {name} branch is {choice!r}; choose paper, light or a module of your own")

    def build(name: str) -> nn.Module:
        choice = chosen.get(name, "light")
        if isinstance(choice, nn.Module):
            return choice
        if choice == "light":
            return GRUBranch(input_dims[name], outputs, dim)
        if name == "text":
            return AlbertBranch(input_dims[name], spec.length(name), outputs, albert)
        return ResNetBranch(outputs)

    return nn.ModuleDict({name: build(name) for name in spec.modalities})


def _random_albert(options: Mapping[str, Any]) -> AlbertModel:
    from transformers import AlbertConfig, AlbertModel

    unknown = sorted(set(options) - set(AlbertConfig().to_dict()))
    if unknown:
        raise MERError(f"albert sets {unknown[0]!r}, which ALBERT does not have; see transformers.AlbertConfig")
    try:
        config = AlbertConfig(**ALBERT_BASE | dict(options))
        # transformers would find out in the forward pass only
        if config.hidden_size % config.num_attention_heads:
            raise ValueError("num_attention_heads must divide hidden_size")
        return AlbertModel(config, add_pooling_layer=False)
    except Exception as error:  # transformers has a different error for every fault
        raise MERError(f"albert {dict(options)} can't be built ({_first_line(error)}); change its sizes") from error


def _pretrained_albert(path: str) -> AlbertModel:
    from transformers import AlbertModel, AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        if config.model_type == "albert":
            return AlbertModel.from_pretrained(path, add_pooling_layer=False, local_files_only=True)
    except Exception as error:  # missing, cut off, foreign: a different error for each
        reason = f" ({_first_line(error)})" if Path(path).is_dir() else ""
        raise MERError(
            f"no pretrained ALBERT at {path!r}{reason}; give a folder with the files of albert-base-v2, or leave albert"
            f" out to "
            "start from random numbers"
        ) from error
    raise MERError(f"{path!r} holds a {config.model_type} model, but the text branch needs ALBERT; give albert-base-v2")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
