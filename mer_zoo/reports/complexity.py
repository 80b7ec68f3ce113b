"""What a model costs: parameters, seconds an epoch and memory, from results.json to a table."""

from __future__ import annotations

from dataclasses import dataclass

from mer_zoo.fields import Fields

__all__ = ["COMPLEXITY_NOTE", "Complexity", "in_gib", "read_complexity"]

COMPLEXITY_NOTE = (
    "Parameters trained, and in all; without: without the text encoder. Seconds: median of the training epochs, "
    "validation included. Memory: the largest at one time, on a GPU what PyTorch gave to tensors, on a CPU what the "
    "process held, its libraries included; the two do not compare."
)
_GIB = 2**30


@dataclass(frozen=True)
class Complexity:
    """Size of a model, and what its training has cost.

    Attributes:
        trained: Parameters that are trained.
        whole: All parameters.
        trained_without: Parameters that are trained, those of text encoders left out.
        whole_without: All parameters but those of text encoders.
        seconds: Of a training epoch; NaN where unknown.
        memory: Bytes, the largest at one time; None where unknown.
        measure: What was measured as memory.
        device: What it was trained on; empty where unknown.
    """

    trained: int
    whole: int
    trained_without: int
    whole_without: int
    seconds: float
    memory: int | None
    measure: str
    device: str

    @property
    def on_gpu(self) -> bool:
        """Whether time and memory are those of a GPU."""
        return self.measure.startswith("torch.cuda")


def read_complexity(given: Fields) -> Complexity | None:
    """Read it from a results.json; None where an older version wrote it.

    Args:
        given: The content of results.json.

    Raises:
        MERError: For an odd field, naming it.

    Example:
        >>> counts = {"trained": 9, "all": 9, "trained_without_text_encoder": 4, "all_without_text_encoder": 4}
        >>> found = read_complexity(Fields({"complexity": {"parameters": counts}}, "results.json", "test again"))
        >>> found.trained_without, found.seconds, found.memory
        (4, nan, None)
    """
    part = given.optional_part("complexity")
    if part is None:
        return None
    counts, memory = part.part("parameters"), part.optional_part("peak_memory")
    return Complexity(
        trained=counts.count("trained"),
        whole=counts.count("all"),
        trained_without=counts.count("trained_without_text_encoder"),
        whole_without=counts.count("all_without_text_encoder"),
        seconds=part.number("seconds_per_epoch"),
        memory=None if memory is None else memory.count("bytes"),
        measure="" if memory is None else memory.text("measure"),
        device=part.optional_text("device") or "",
    )


def in_gib(memory: float) -> float:
    """Bytes in GiB.

    Example:
        >>> in_gib(2**31)
        2.0
    """
    return memory / _GIB
