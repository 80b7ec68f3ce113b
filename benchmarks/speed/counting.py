"""What a training step has to do, counted from the shapes of its operations: FLOPs, exponentials and bytes.

FLOPs are those of matrix products, convolutions, recurrent layers and attention, two for a product and its sum; what
else is done to single numbers is not counted. ``torch.utils.flop_counter`` has formulas for most; fused attention and
recurrent layers of the CPU and a matrix by a vector, which it passes over, have theirs here. An exponential is an
element of exp, sigmoid, tanh, softmax, or of a function made of one. Attention that is computed without keeping its
scores makes them, and their exponentials, a second time on the way back, which counts, since what is counted is what
this code does; of a causal square about the half that is seen. Channels that the fused kernel was given beyond those of
a head do not count, one that the tiles add for sums and masks does.

Bytes are what has to pass between processor and memory if nothing stays in a cache: the batch once, every parameter
twice, its gradient, the four readings and three writings of Adam, and what is kept for the way back, once written and
once read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch

__all__ = ["Counter", "Work", "count_step", "counted"]

TOUCHED = (
    10  # a parameter twice, its gradient once, Adam's parameter, gradient and two moments read, all but one written
)
LSTM_EXPONENTIALS = 5  # three gates, the new content and the cell, a unit and step
EXPONENTIALS = frozenset(
    "exp exp_ exp2 exp2_ expm1 erf sigmoid sigmoid_ tanh tanh_ gelu gelu_backward silu silu_ silu_backward softplus"  # noqa: SIM905
    " softplus_backward elu elu_ log_sigmoid_forward logsumexp _softmax _safe_softmax _log_softmax"
    " _log_softmax_backward_data".split()
)


class Work(NamedTuple):
    """What is to be done."""

    flops: int
    exps: int
    bytes: int


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts FLOPs and exponentials of what runs under it.

    Attributes:
        flops: So far.
        exps: So far.
        kept: Bytes that were kept for the way back, by the address of their storage.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.exps = 0
        self.kept: dict[int, int] = {}

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        if packet in OURS:
            flops, exps = OURS[packet](*args, **kwargs)
            self.flops, self.exps = self.flops + flops, self.exps + exps
        elif packet in flop_registry:
            self.flops += flop_registry[packet](*args, **kwargs, out_val=out)
        elif packet.__name__ in EXPONENTIALS:
            self.exps += max(given.numel() for given in args if isinstance(given, Tensor))
        return out

    def keep(self, tensor: Tensor) -> Tensor:
        """Note a tensor that is kept for the way back."""
        storage = tensor.untyped_storage()
        self.kept[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def counted() -> Iterator[Counter]:
    """Count what runs in the context."""
    counter = Counter()
    with torch.compiler.set_stance("force_eager"), saved_tensors_hooks(counter.keep, lambda kept: kept), counter:
        yield counter


def count_step(model: nn.Module, step: Callable[[Batch], None], batch: Batch) -> Work:
    """What a training step has to do.

    Args:
        model: Whose parameters it changes.
        step: Forward, backward and Adam.
        batch: What it is given.
    """
    with counted() as counter:
        step(batch)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in model.parameters():
        counter.kept.pop(parameter.untyped_storage().data_ptr(), None)
    given = sum(batch.modality(name).x.nbytes for name in MODALITIES)
    touched = TOUCHED * sum(parameter.nbytes for parameter in trained)
    return Work(counter.flops, counter.exps, given + touched + 2 * sum(counter.kept.values()))


def _attention(q: Tensor, k: Tensor, causal: bool, scale: float | None) -> tuple[int, int]:
    """FLOPs of a product that makes the scores of fused attention or is made with them, and the scores."""
    queries, keys = q.shape[2], k.shape[2]
    seen = queries * (queries + 1) // 2 if causal and queries == keys else queries * keys
    channels = q.shape[3] if scale is None else round(scale**-2)  # a head's own, of which the scale is made
    scores = q.shape[0] * q.shape[1] * seen
    return 2 * scores * channels, scores


def _fused(q: Tensor, k: Tensor, *others: Any, scale: float | None = None, **_: Any) -> tuple[int, int]:
    causal = len(others) > 2 and others[2]  # behind values and dropout
    product, scores = _attention(q, k, causal, scale)
    return 2 * product, scores


def _fused_backward(
    _: Tensor, q: Tensor, k: Tensor, *others: Any, scale: float | None = None, **__: Any
) -> tuple[int, int]:
    product, scores = _attention(q, k, others[4], scale)  # behind values, result, sums and dropout
    return 5 * product, scores


def _recurrent(x: Tensor, of_input: Tensor, of_state: Tensor, *_: Any, **__: Any) -> tuple[int, int]:
    """A direction of a layer of an LSTM over (T, B, d)."""
    steps = x.shape[0] * x.shape[1]
    return 2 * steps * (of_input.numel() + of_state.numel()), LSTM_EXPONENTIALS * steps * of_state.shape[1]


def _recurrent_backward(*args: Any, **kwargs: Any) -> tuple[int, int]:
    return 2 * _recurrent(*args, **kwargs)[0], 0


def _by_vector(matrix: Tensor, vector: Tensor) -> tuple[int, int]:
    del vector
    return 2 * matrix.numel(), 0


OURS: dict[Any, Callable[..., tuple[int, int]]] = {
    torch.ops.aten.mv: _by_vector,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward,
    torch.ops.aten.mkldnn_rnn_layer: _recurrent,
    torch.ops.aten.mkldnn_rnn_layer_backward: _recurrent_backward,
}
