"""What flows through the zoo: Modality and Batch go into a model, Output and Step come out, DataSpec describes data.

More than 300 lines, because these five are the words in which everything else is written, and are read together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from mer_zoo.errors import MERError

__all__ = ["LETTERS", "MODALITIES", "Batch", "BatchSource", "DataSpec", "Modality", "Output", "Step"]
__all__ += ["availability_name", "available_modalities"]

MODALITIES = ("text", "audio", "vision")
LETTERS = dict(zip(MODALITIES, "lav", strict=True))  # in the papers' tables, l for language


def available_modalities(available: Sequence[str]) -> tuple[str, ...]:
    """Return a set of modalities in their order, or refuse it.

    Args:
        available: Names of modalities, in any order.

    Raises:
        MERError: For an empty set, or an unknown or repeated name.

    Example:
        >>> available_modalities(["vision", "text"])
        ('text', 'vision')
    """
    names = [available] if isinstance(available, str) else list(available)
    if not names or not all(isinstance(name, str) and names.count(name) == 1 and name in MODALITIES for name in names):
        raise MERError(f"available is {available!r}; give a non-empty choice of {', '.join(MODALITIES)}")
    return tuple(name for name in MODALITIES if name in names)


def availability_name(available: Sequence[str]) -> str:
    """Name a set of modalities as the papers do, l for language.

    Args:
        available: Names of modalities, in any order.

    Raises:
        MERError: For an empty set, or an unknown or repeated name.

    Example:
        >>> availability_name(("audio", "text"))
        '{l,a}'
    """
    return "{" + ",".join(LETTERS[name] for name in available_modalities(available)) + "}"


class TargetSource(Protocol):
    """What :meth:`Batch.random` needs of a task."""

    def random_target(self, size: int, generator: torch.Generator) -> Tensor:
        """Make ``size`` targets."""


def _to(value: Any, *args: Any, **kwargs: Any) -> Any:
    if isinstance(value, Tensor) and not value.is_floating_point():
        # As nn.Module.to does: masks, ids and indices change their device, never their type.
        args = tuple(arg for arg in args if not isinstance(arg, torch.dtype))
        kwargs = {name: option for name, option in kwargs.items() if name != "dtype"}
        return value.to(*args, **kwargs) if args or kwargs else value
    if isinstance(value, (Tensor, Modality)):
        return value.to(*args, **kwargs)
    if isinstance(value, dict):
        return {key: _to(item, *args, **kwargs) for key, item in value.items()}
    return value


def _pinned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pinned(item) for key, item in value.items()}
    return value.pin_memory() if isinstance(value, (Tensor, Modality)) else value


def _rows(value: Any, rows: Tensor, places: Sequence[int]) -> Any:
    """The samples at some rows of a tensor, of a list or of what consists of these."""
    if isinstance(value, Tensor):
        return value[rows]
    if isinstance(value, Modality):
        return Modality(**{f.name: _rows(getattr(value, f.name), rows, places) for f in dataclasses.fields(value)})
    if isinstance(value, dict):
        return {key: _rows(item, rows, places) for key, item in value.items()}
    return [value[place] for place in places] if value else value


def _joined(values: Sequence[Any]) -> Any:
    """One after the other; what one of them lacks, such as weights, all lack."""
    first = values[0]
    if any(value is None for value in values):
        return None
    if isinstance(first, Tensor):
        return torch.cat(list(values))
    if isinstance(first, Modality):
        return Modality(**{f.name: _joined([getattr(v, f.name) for v in values]) for f in dataclasses.fields(first)})
    if isinstance(first, dict):
        return {key: _joined([value[key] for value in values]) for key in first if all(key in v for v in values)}
    return [item for value in values for item in value]


def _real_columns(real: Tensor) -> tuple[int, int]:
    """First and one past the last column that is real; one column where none is."""
    columns = real.nonzero()
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, 1)


@dataclass
class Modality:
    """One modality of a batch: a padded sequence and what is real in it.

    Args:
        x: (B, T, d) float features or (B, T) integer token ids.
        mask: (B, T) bool, True at real positions. Padding may stand at the end or in front.
        observed: (B, T) bool, True where real and not missing; equals ``mask`` when left out.
        token_ids: (B, T) integer ids beside float text features, where the file has both.

    Example:
        >>> audio = Modality(torch.randn(2, 4, 5), torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool))
        >>> audio.lengths.tolist(), audio.trim().x.shape[1], audio.ids is None
        ([3, 1], 3, True)
    """

    x: Tensor
    mask: Tensor
    observed: Tensor = None  # type: ignore[assignment]  # filled below, so that users never meet None
    token_ids: Tensor | None = None

    def __post_init__(self) -> None:
        if cast(Tensor | None, self.observed) is None:
            self.observed = self.mask

    @property
    def is_tokens(self) -> bool:
        """Whether ``x`` holds token ids instead of features."""
        return self.x.dim() == 2

    @property
    def ids(self) -> Tensor | None:
        """The (B, T) token ids of a text, or None where there are only features."""
        return self.x if self.is_tokens else self.token_ids

    @property
    def lengths(self) -> Tensor:
        """(B,) number of real positions of each sample."""
        return self.mask.sum(1)

    def replace(self, **changes: Any) -> Modality:
        """Return a copy with some fields changed; tensors are shared, never written to."""
        return dataclasses.replace(self, **changes)

    def to(self, *args: Any, **kwargs: Any) -> Modality:
        """Move every tensor, with the arguments of ``Tensor.to``."""
        moved = {f.name: _to(getattr(self, f.name), *args, **kwargs) for f in dataclasses.fields(self)}
        return Modality(**moved)

    def pin_memory(self) -> Modality:
        """Copy every tensor to page-locked memory."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Modality(**{k: v.pin_memory() if isinstance(v, Tensor) else v for k, v in fields.items()})

    def trim(self) -> Modality:
        """Cut the columns, in front and behind, that are padding in every sample; at least one column stays."""
        return self.window(*_real_columns(self.mask.any(0)))

    def take(self, rows: Tensor) -> Modality:
        """Return the samples at (N,) rows, which may repeat."""
        taken: Modality = _rows(self, rows, ())
        return taken

    def window(self, start: int, stop: int) -> Modality:
        """Return the columns start <= t < stop."""
        ids = None if self.token_ids is None else self.token_ids[:, start:stop]
        return Modality(self.x[:, start:stop], self.mask[:, start:stop], self.observed[:, start:stop], ids)


@dataclass
class Batch:
    """A batch of samples; variants are made with :meth:`replace`, never in place.

    Args:
        text: Text features or token ids.
        audio: Audio features. A modality that is not in use is one all-padding step of zeros.
        vision: Vision features.
        target: (B,) real-valued sentiment or integer class, (B, E) integer 0/1 for E emotions; all NaN without labels.
        index: (B,) position of each sample in its split.
        ids: The sample ids of the source file.
        raw_text: The transcripts, empty strings where the file has none.
        sample_weight: (B,) or (B, E) weights of the samples, where
            :class:`~mer_zoo.callbacks.PropensityWeights` has given them, for the loss of a LightningModule of your own.
        unimodal: (B,) sentiment of modalities alone, by modality, NaN where a sample has none; empty where the corpus
            has none.
        speaker: (B,) which of its dialogue's speakers says each sample, 0 the first by name, -1 where it is not told;
            None where no file tells speakers.
        dialogue: (B,) the dialogue of each sample, numbered in its split; None where nothing tells it.
        turn: (B,) numbers that rise within a dialogue, -1 where one is not told; None where nothing tells them.
        dialogue_size: (B,) how many samples the dialogue has in its split, so that one can tell whether it is whole.
        names: Names of the samples' ``speaker`` and ``dialogue``, B each, as far as they are told.

    Example:
        >>> from mer_zoo.task import SentimentClassification
        >>> batch = Batch.random(DataSpec(), SentimentClassification(3), size=2)
        >>> len(batch), batch.audio.x.shape
        (2, torch.Size([2, 8, 5]))
        >>> batch.take([1, 1, 0]).ids
        ['random$_$1', 'random$_$1', 'random$_$0']
    """

    text: Modality
    audio: Modality
    vision: Modality
    target: Tensor
    index: Tensor
    ids: list[str] = field(default_factory=list)
    raw_text: list[str] = field(default_factory=list)
    sample_weight: Tensor | None = None
    unimodal: dict[str, Tensor] = field(default_factory=dict)
    speaker: Tensor | None = None
    dialogue: Tensor | None = None
    turn: Tensor | None = None
    dialogue_size: Tensor | None = None
    names: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def modality(self, name: str) -> Modality:
        """Return the modality called ``name`` (text, audio or vision)."""
        if name not in MODALITIES:
            raise MERError(f"unknown modality {name!r}; choose from {', '.join(MODALITIES)}")
        result: Modality = getattr(self, name)
        return result

    def available(self, spec: DataSpec) -> Tensor:
        """Which modalities a sample has anything of.

        Args:
            spec: Says which ids [CLS] and [SEP] have, which remain of a text that is missing.

        Returns:
            (B,) sums of 1 for text, 2 for audio and 4 for vision, and of 8 where some of these is missing in part.

        Example:
            >>> from mer_zoo.task import SentimentRegression
            >>> spec = DataSpec(modalities=("text", "vision"))
            >>> Batch.random(spec, SentimentRegression()).available(spec).tolist()
            [5, 5]
        """
        result = torch.zeros_like(self.index)
        in_part = torch.zeros_like(self.index, dtype=torch.bool)
        for place, name in enumerate(MODALITIES):
            modality = self.modality(name)
            counted = modality.mask
            if modality.is_tokens:
                counted = counted & (modality.x != spec.cls_id) & (modality.x != spec.sep_id)
            there = (counted & modality.observed).any(1)
            result += there.long() << place
            in_part |= there & (counted & ~modality.observed).any(1)
        return result + (in_part.long() << len(MODALITIES))

    def replace(self, **changes: Any) -> Batch:
        """Return a copy with some fields changed; tensors are shared, never written to."""
        return dataclasses.replace(self, **changes)

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Move every tensor, with the arguments of ``Tensor.to``."""
        moved = {f.name: _to(getattr(self, f.name), *args, **kwargs) for f in dataclasses.fields(self)}
        return Batch(**moved)

    def pin_memory(self) -> Batch:
        """Copy every tensor to page-locked memory."""
        return Batch(**{f.name: _pinned(getattr(self, f.name)) for f in dataclasses.fields(self)})

    def take(self, rows: Sequence[int]) -> Batch:
        """Return the samples at some rows, which may repeat, with all that is told of them.

        Args:
            rows: Places in this batch.
        """
        at = torch.as_tensor(rows, dtype=torch.long, device=self.index.device)
        return Batch(**{f.name: _rows(getattr(self, f.name), at, rows) for f in dataclasses.fields(self)})

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Put the samples of several batches one after the other.

        Args:
            batches: At least one; all of the same shapes but for the number of samples.

        Example:
            >>> from mer_zoo.task import SentimentRegression
            >>> batch = Batch.random(DataSpec(), SentimentRegression(), size=2)
            >>> Batch.joined([batch, batch.take([0])]).index.tolist()
            [0, 1, 0]
        """
        return cls(**{f.name: _joined([getattr(b, f.name) for b in batches]) for f in dataclasses.fields(cls)})

    def trim(self) -> Batch:
        """Cut padding that no sample of the batch needs from every modality.

        Modalities of equal length may share one time axis, so they are cut alike.
        """
        cut: dict[str, Modality] = {}
        for name in MODALITIES:
            modality = self.modality(name)
            alike = [m.mask.any(0) for m in (self.text, self.audio, self.vision) if m.mask.shape == modality.mask.shape]
            cut[name] = modality.window(*_real_columns(torch.stack(alike).any(0)))
        return self.replace(**cut)

    @classmethod
    def random(cls, spec: DataSpec, task: TargetSource, size: int = 2, seed: int = 0) -> Batch:
        """Make a batch of random numbers in the shapes of ``spec``, for examples and tests.

        Sample 0 has full length, the others random lengths of at least one step.
        """
        generator = torch.Generator().manual_seed(seed)

        def modality(name: str) -> Modality:
            length = spec.length(name) if name in spec.modalities else 1
            lengths = torch.randint(1, length + 1, (size,), generator=generator)
            lengths[0] = length
            mask = torch.arange(length) < lengths[:, None]
            if name not in spec.modalities:
                mask = torch.zeros_like(mask)
            if name == "text" and spec.tokens:
                low, high = spec.mask_id + 1, max(spec.vocab_size, spec.mask_id + 2)
                if spec.vocab_size <= low:  # the last one is no word
                    low, high = max(spec.pad_id, spec.unk_id, spec.cls_id, spec.sep_id) + 1, spec.mask_id
                ids = torch.randint(low, high, (size, length), generator=generator)
                return Modality(torch.where(mask, ids, spec.pad_id), mask)
            x = torch.randn(size, length, spec.dim(name), generator=generator)
            return Modality(x * mask[..., None], mask)

        return cls(
            text=modality("text"),
            audio=modality("audio"),
            vision=modality("vision"),
            target=task.random_target(size, generator),
            index=torch.arange(size),
            ids=[f"random$_${i}" for i in range(size)],
            raw_text=[""] * size,
        )


BatchSource = Iterable[Batch]  # re-iterable, unshuffled, complete on every rank, already on the device


@dataclass
class Output:
    """What a model says about a batch.

    Args:
        logits: (B, *task shape) scores.
        features: (B, D) joint representation, the input of the final classifier.
        hidden: Per-modality hidden sequences (B, T, d), or None.
        attention: Raw scores (before softmax) of the last layer, (B * heads, T, T), row b * heads + h, or None.
        inputs: Per modality (B, T, d) what was fed to the network after text encoding.
        effects: Named extras, (B, ...). Where test-time logits differ from those of ``forward``, "factual" holds the
            latter.
        aux: What a backbone's own losses need; nobody else reads it.

    Example:
        >>> output = Output(torch.zeros(2, 3), features=torch.ones(2, 8))
        >>> output.replace(logits=output.logits + 1).logits.sum().item()
        6.0
    """

    logits: Tensor
    features: Tensor
    hidden: dict[str, Tensor] | None = None
    attention: Tensor | None = None
    inputs: dict[str, Tensor] = field(default_factory=dict)
    effects: dict[str, Tensor] = field(default_factory=dict)
    aux: Any = None

    def replace(self, **changes: Any) -> Output:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass
class Step:
    """One training step's view of a batch.

    Args:
        batch: The view (complete, incomplete ...) whose targets the task loss uses.
        output: The model's output on that view.
        losses: Auxiliary losses, scalars, already weighted.
        task_weight: Weight of the task loss of this view, one number, (B,), or (B, E) where each of E emotions has its
            own.

    Example:
        >>> from mer_zoo.task import SentimentRegression
        >>> batch = Batch.random(DataSpec(), SentimentRegression())
        >>> Step(batch, Output(torch.zeros(2, 1), torch.zeros(2, 8))).task_weight
        1.0
    """

    batch: Batch
    output: Output
    losses: dict[str, Tensor] = field(default_factory=dict)
    task_weight: float | Tensor = 1.0

    def reweigh(self, factor: float | Tensor) -> Step:
        """Return a copy whose task loss is weighted by ``factor`` too: one number, (B,) or (B, E)."""
        weight = self.task_weight
        if isinstance(weight, Tensor) and isinstance(factor, Tensor):
            if weight.dim() < factor.dim():
                weight = weight[:, None]
            elif factor.dim() < weight.dim():
                factor = factor[:, None]
        return dataclasses.replace(self, task_weight=weight * factor)


class DataSpec:
    """Shapes and token conventions of a corpus, known before any sample is read.

    Args:
        text_dim: Width of the text features; with ``tokens`` the width is the encoder's and this is ignored.
        audio_dim: Width of the audio features.
        vision_dim: Width of the vision features.
        text_len: Padded number of text steps.
        audio_len: Padded number of audio steps.
        vision_len: Padded number of vision steps.
        aligned: Whether the three modalities share one time axis.
        modalities: The modalities in use, in the order text, audio, vision.
        tokens: Whether text is token ids.
        vocab_size: Number of token ids.
        pad_id: Id of padding.
        unk_id: Id that replaces a missing token.
        cls_id: Id of the first token of a text.
        sep_id: Id of the last token of a text.
        mask_id: Id that replaces a masked token.

    Raises:
        MERError: For an unknown, repeated or empty choice of modalities.

    Example:
        >>> spec = DataSpec(text_dim=768, text_len=50, modalities=["text", "audio"])
        >>> spec.dim("text"), spec.length("text"), spec.modalities
        (768, 50, ('text', 'audio'))
    """

    def __init__(
        self,
        text_dim: int = 6,
        audio_dim: int = 5,
        vision_dim: int = 4,
        text_len: int = 6,
        audio_len: int = 8,
        vision_len: int = 7,
        aligned: bool = False,
        modalities: Sequence[str] = MODALITIES,
        tokens: bool = False,
        vocab_size: int = 30522,
        pad_id: int = 0,
        unk_id: int = 100,
        cls_id: int = 101,
        sep_id: int = 102,
        mask_id: int = 103,
    ) -> None:
        unknown = [name for name in modalities if name not in MODALITIES]
        if unknown or not modalities or len(set(modalities)) != len(modalities):
            raise MERError(f"modalities is {list(modalities)}; give a non-empty choice of {', '.join(MODALITIES)}")
        self.text_dim, self.audio_dim, self.vision_dim = text_dim, audio_dim, vision_dim
        self.text_len, self.audio_len, self.vision_len = text_len, audio_len, vision_len
        self.aligned = aligned
        self.modalities = tuple(name for name in MODALITIES if name in modalities)
        self.tokens, self.vocab_size = tokens, vocab_size
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = pad_id, unk_id, cls_id, sep_id, mask_id

    def dim(self, name: str) -> int:
        """Feature width of a modality."""
        return int(getattr(self, f"{name}_dim"))

    def length(self, name: str) -> int:
        """Padded length of a modality."""
        return int(getattr(self, f"{name}_len"))

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(vars(self).items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataSpec) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # mutable, so not to be used as a key

    def __repr__(self) -> str:
        return f"DataSpec({', '.join(f'{k}={v!r}' for k, v in self)})"
