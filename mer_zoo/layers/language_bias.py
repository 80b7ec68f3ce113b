"""What MACI keeps of the language: the bias words, and how strongly their effect is subtracted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import (
    choose_tau,
    deconfounding_weights,
    effective_sample_size,
    fit_temperature,
)
from mer_zoo.functional.language_bias import BiasVariant, bias_words, counterfactual_ids
from mer_zoo.options import check_choice

__all__ = ["LanguageBias", "TauSelection", "check_options", "token_ids"]

TauSelection = Literal["deconfounded", "validation", "fixed", "oracle"]
SELECTIONS: tuple[TauSelection, ...] = get_args(TauSelection)
LEAST_SAMPLES = 30  # effective sample size below which the choice of tau is not to be trusted


def token_ids(text: Modality) -> Tensor | None:
    """The (B, T) token ids of a text, or None where there are only features.

    Example:
        >>> ids, real = torch.tensor([[101, 7, 102]]), torch.ones(1, 3, dtype=torch.bool)
        >>> token_ids(Modality(ids, real)) is ids, token_ids(Modality(torch.zeros(1, 3, 4), real)) is None
        (True, True)
    """
    return text.x if text.is_tokens else text.token_ids


class LanguageBias(nn.Module):
    """Bias words and the strength tau for each problem of a task, in buffers of fixed shape.

    Args:
        spec: The ids of special tokens.
        problems: () for one problem, (E,) for E emotions; the buffers lead with it.
        num_words: Most bias words.
        selection: How tau is chosen; see :mod:`mer_zoo.wrappers.maci`.
        fixed_tau: The strength if it is not chosen.

    Attributes:
        on: Whether the language is debiased at all.
        words: Bias words, -1 where there are fewer.
        tau: Strength chosen last.
        temperature: Temperature of the bias prediction at that choice.
        ess: Effective sample size of that choice; 0 where it was not weighted.
        chosen_by: Place of the rule of that choice in ``SELECTIONS``; -1 before any.

    Example:
        >>> bias = LanguageBias(DataSpec(tokens=True), (), num_words=2, selection="fixed", fixed_tau=0.5)
        >>> bias.fit(torch.tensor([101, 7, 7, 8, 102]), torch.tensor([[0], [0], [0], [2], [2]]), num_classes=3)
        >>> bias.words.tolist(), bias.tau_in_use.item()
        ([7, 8], 0.5)
    """

    on: Tensor
    words: Tensor
    tau: Tensor
    temperature: Tensor
    ess: Tensor
    chosen_by: Tensor

    def __init__(
        self, spec: DataSpec, problems: Sequence[int], num_words: int, selection: TauSelection, fixed_tau: float
    ) -> None:
        super().__init__()
        self.special = (spec.pad_id, spec.unk_id, spec.cls_id, spec.sep_id, spec.mask_id)
        self.mask_id, self.num_words = spec.mask_id, num_words
        self.selection, self.fixed_tau = selection, fixed_tau
        shape = tuple(problems)
        self.register_buffer("on", torch.tensor(False))
        self.register_buffer("words", torch.full((*shape, num_words), -1))
        self.register_buffer("tau", torch.full(shape, float(fixed_tau)))
        self.register_buffer("temperature", torch.ones(shape))
        self.register_buffer("ess", torch.zeros(shape))
        self.register_buffer("chosen_by", torch.tensor(-1))

    def fit(
        self, ids: Tensor, classes: Tensor, num_classes: int, threshold: float = 0.1, variant: BiasVariant = "paper"
    ) -> None:
        """Find the bias words and switch on.

        Args:
            ids: (M,) token ids of the training split in its order.
            classes: (M, G) class in each problem of the sample that each token stands in.
            num_classes: Number of classes.
            threshold: See :func:`~mer_zoo.functional.language_bias.bias_words`.
            variant: See :func:`~mer_zoo.functional.language_bias.bias_words`.
        """
        words = self.words.view(-1, self.num_words)
        real = ~torch.isin(ids, ids.new_tensor(self.special))
        for row, column in zip(words, classes[real].T, strict=True):
            found = bias_words(ids[real], column, num_classes, self.num_words, threshold, variant).ids
            row[: len(found)] = found.to(row)
        self.on.fill_(True)

    def views(self, batch: Batch) -> tuple[list[Batch], list[int]]:
        """The batch with each distinct counterfactual text, and which of them is that of each problem.

        Raises:
            MERError: If the batch has no token ids.
        """
        ids = token_ids(batch.text)
        if ids is None:
            raise MERError(
                "this batch has text features without token ids, but MACI was prepared with them; give a file with both"
            )
        rows = self.words.view(-1, self.num_words)
        texts = torch.stack([counterfactual_ids(ids, row, self.special, self.mask_id) for row in rows])
        if len(texts) == 1:  # looking for equal texts would make a GPU wait
            return [batch.replace(text=_with_ids(batch.text, ids, texts[0]))], [0]
        distinct, which = torch.unique(texts, dim=0, return_inverse=True)
        return [batch.replace(text=_with_ids(batch.text, ids, changed)) for changed in distinct], which.tolist()

    @property
    def chooses(self) -> bool:
        """Whether validation data choose tau."""
        return self.selection in ("deconfounded", "validation")

    @property
    def tau_in_use(self) -> Tensor:
        """The strength, of the shape of ``tau``."""
        # A checkpoint of another selection must not change a fixed strength.
        return self.tau if self.chooses else torch.full_like(self.tau, self.fixed_tau)

    @property
    def is_chosen(self) -> bool:
        """Whether the strength in use was chosen by the selection asked for, or needs no choice."""
        return not self.chooses or int(self.chosen_by) == SELECTIONS.index(self.selection)

    def choose(self, y: Tensor, y_cf: Tensor, target: Tensor, bias: Tensor | None, prior: Tensor) -> None:
        """Choose tau of each problem by validation data.

        Args:
            y: (N, G, C) log-probabilities.
            y_cf: (N, G, C) of the counterfactual text.
            target: (N, G) classes.
            bias: (N, G, C) of the counterfactual text alone; needed by the selection ``deconfounded`` only.
            prior: (G, C) of the training split.
        """
        chosen = []
        for g in range(y.shape[1]):
            weights, temperature, ess = None, 1.0, 0.0
            if self.selection == "deconfounded":
                assert bias is not None
                temperature = fit_temperature(bias[:, g], target[:, g])
                weights = deconfounding_weights(bias[:, g], target[:, g], prior[g], temperature)
                ess = effective_sample_size(weights)
            chosen.append((choose_tau(y[:, g], y_cf[:, g], target[:, g], weights), temperature, ess))
        for buffer, values in zip((self.tau, self.temperature, self.ess), zip(*chosen, strict=True), strict=True):
            buffer.copy_(torch.tensor(values).view_as(buffer))
        self.chosen_by.fill_(SELECTIONS.index(self.selection))

    def diagnostics(self, names: Sequence[str]) -> dict[str, float]:
        """The strength in use and the effective sample size behind it, by the name of each problem.

        Args:
            names: "" for one problem, else the problems' names.
        """
        numbers = {}
        if self.on and self.selection != "oracle":
            numbers["tau"] = self.tau_in_use
        if self.on and self.selection == "deconfounded":
            numbers["ess"] = self.ess
        return {
            f"maci/{kind}_{name}" if name else f"maci/{kind}": round(value, 6)
            for kind, values in numbers.items()
            for name, value in zip(names, values.flatten().tolist(), strict=True)
        }

    def warning(self) -> str:
        """What is to be said of a choice that rests on few samples; else nothing."""
        fewest = float(self.ess.min())
        if not self.on or self.selection != "deconfounded" or not self.is_chosen or fewest >= LEAST_SAMPLES:
            return ""
        return (
            f"MACI chose tau by an effective sample size of {fewest:.1f}, below {LEAST_SAMPLES}; "
            "a larger validation split or tau_selection: fixed is safer"
        )

    def notes(self) -> list[str]:
        """What a reader of the scores must know, once the training split has been read."""
        if not self.on:
            return ["MACI removed the label bias only: the language was switched off, or there were no token ids"]
        if self.selection == "oracle":
            return [
                "MACI's tau is the best of 31 for each metric on the evaluated split itself, an oracle's choice; saved scores are"
                " those of tau 0"
            ]
        if not self.is_chosen:
            asked = f"tau_selection {self.selection} asks"
            return [f"MACI's tau was not chosen as {asked}; run validation before the test"]
        return [self.warning()] if self.warning() else []


def _with_ids(text: Modality, ids: Tensor, changed: Tensor) -> Modality:
    """The text with other token ids; features of those that differ become zero vectors."""
    if text.is_tokens:
        return text.replace(x=changed)
    return text.replace(x=text.x.masked_fill((changed != ids)[..., None], 0.0), token_ids=changed)


def check_options(num_words: int, threshold: float, variant: str, selection: str, tau: float) -> None:
    """Refuse options out of range, and a strength that the selection would not use.

    Raises:
        MERError: Naming the option.

    Example:
        >>> check_options(num_words=0, threshold=0.1, variant="paper", selection="fixed", tau=0.5)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: num_words of MACI is 0; give at least 1
    """
    if num_words < 1:
        raise MERError(f"num_words of MACI is {num_words}; give at least 1")
    for name, value in {"threshold": threshold, "tau": tau}.items():
        if not math.isfinite(value) or value < 0:
            raise MERError(f"{name} of MACI is {value}; give a finite number of at least 0")
    for name, word, choices in (
        ("variant", variant, get_args(BiasVariant)),
        ("tau_selection", selection, SELECTIONS),
    ):
        check_choice("MACI", name, word, choices)
    if tau != 0 and selection != "fixed":
        raise MERError(f"tau is {tau}, but tau_selection {selection} does not use it; set tau_selection: fixed")
