"""Memory Fusion Network (MFN): three LSTMs read word by word, a memory keeps what goes on between them.

Idea: the cells of the LSTMs before and after a word are laid side by side. An attention over their entries finds what
changed across modalities, and two gates decide how much of it a memory takes and how much it forgets.

Input and shapes (B batch, T words, D_m features and h_m LSTM width of modality m, h their sum, d memory width):
    batch.text (B, T, D_l), batch.audio (B, T_a, D_a), batch.vision (B, T_v, D_v); where audio and vision have other
    steps than the text they are averaged over as many equal spans as it has words (layers/sequence.py, at_words);
    output.features (B, h + d), the last states and the memory; output.hidden[m] (B, T, h_m), the states of the LSTM of
    m.

Where the paper is in the code (names of arXiv:1802.00927):
    system of LSTMs                       functional/memory_fusion.py, lstm_states
    delta-memory attention                MFN.attention, MFN.remember, for all words at once
    multi-view gated memory               MFN.candidate, MFN.keep, MFN.write, functional/memory_fusion.py, gated_memory

One and two modalities work. Without text, the first modality's steps are the words.

Differences from the usual code (MMSA), and why:
    * it steps through padding and takes the last position; here the words of each sample are moved to the front, so
      that padding never meets a state, and the last real word counts. ``mask_padding=False`` brings its behaviour back,
      on aligned data of fixed length;
    * the order of computation: only the states of the LSTMs and the memory go word by word, everything else is done at
      once.

Reproduction: joint representation, scores and loss of thuiar/MMSA to 1e-5 from its parameters
(``load_released(..., source="mmsa")``); published accuracies not yet run.

References:
    Zadeh, Liang, Mazumder, Poria, Cambria, Morency, "Memory Fusion Network for Multi-view Sequential Learning", AAAI
    2018, arXiv:1802.00927.
    Released code: pliang279/MFN; usual code: thuiar/MMSA (MIT); nothing copied.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, DataSpec, Modality, Output
from mer_zoo.errors import MERError
from mer_zoo.functional.memory_fusion import gated_memory, lstm_states
from mer_zoo.functional.padding import left_align, undo_left_align
from mer_zoo.layers.mlp import MLP
from mer_zoo.layers.sequence import at_words, masked_last
from mer_zoo.layers.text_encoder import TextEncoderSpec
from mer_zoo.model import Backbone
from mer_zoo.task import Task

__all__ = ["MFN"]


class MFN(Backbone):
    """Memory Fusion Network (Zadeh et al., 2018); see the module's text for the idea and the differences.

    Args:
        spec: Shapes of the data; one, two or three modalities.
        task: What the logits mean.
        text_encoder: See :class:`~mer_zoo.model.Backbone`.
        hidden_dims: Widths of the LSTMs of text, audio and vision.
        memory_dim: Width d of the memory.
        attention_dim: Width between the two maps of the attention.
        candidate_dim: Width between the two maps that propose new content of the memory.
        gate_dims: Widths between the two maps of the gates that keep and write.
        head_dim: Width between the two maps of the classifier.
        dropouts: Dropout behind the ReLU of the attention, the candidate, and the gates that keep and write: four
            numbers, as in the released code.
        out_dropout: Dropout inside the classifier.
        mask_padding: Leave padding out everywhere. False, as in the usual code, needs aligned data and keeps batches at
            full length.

    Raises:
        MERError: If padding is to be read on data that is not aligned.

    Example:
        >>> from mer_zoo.batch import Batch
        >>> from mer_zoo.task import SentimentRegression
        >>> spec, task = DataSpec(), SentimentRegression()
        >>> output = MFN(spec, task, hidden_dims=(8, 4, 4), memory_dim=8)(Batch.random(spec, task, size=3))
        >>> output.features.shape, output.hidden["audio"].shape
        (torch.Size([3, 24]), torch.Size([3, 6, 4]))
    """

    def __init__(
        self,
        spec: DataSpec,
        task: Task,
        text_encoder: TextEncoderSpec = None,
        hidden_dims: tuple[int, int, int] = (256, 32, 256),
        memory_dim: int = 400,
        attention_dim: int = 128,
        candidate_dim: int = 64,
        gate_dims: tuple[int, int] = (64, 64),
        head_dim: int = 64,
        dropouts: tuple[float, float, float, float] = (0.2, 0.2, 0.2, 0.2),
        out_dropout: float = 0.2,
        mask_padding: bool = True,
    ) -> None:
        super().__init__(spec, task, text_encoder)
        self.fixed_length = self.reads_padding = not mask_padding
        self.words, self.memory_dim = spec.modalities[0], memory_dim
        steps = spec.length(self.words)
        if self.fixed_length and any(spec.length(name) != steps for name in spec.modalities):
            raise MERError("MFN with mask_padding=False needs aligned data; use aligned features or mask_padding=True")
        widths = dict(zip(MODALITIES, hidden_dims, strict=True))
        self.cells = nn.ModuleDict({m: nn.LSTMCell(width, widths[m]) for m, width in self.input_dims.items()})
        self.widths = [widths[name] for name in spec.modalities]
        total = sum(self.widths)
        self.attention = MLP(2 * total, attention_dim, 2 * total, dropouts[0])
        self.candidate = MLP(2 * total, candidate_dim, memory_dim, dropouts[1])
        self.keep = MLP(2 * total + memory_dim, gate_dims[0], memory_dim, dropouts[2])
        self.write = MLP(2 * total + memory_dim, gate_dims[1], memory_dim, dropouts[3])
        self.feature_dim = total + memory_dim
        self.head = MLP(self.feature_dim, head_dim, task.num_outputs, out_dropout)
        self.hidden_shape = {name: (steps, widths[name]) for name in spec.modalities}
        self.hidden_axes = dict.fromkeys(spec.modalities, self.words)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        words = given[self.words].mask
        if self.fixed_length:
            words = torch.ones_like(words)
            given = {name: modality.replace(mask=words) for name, modality in given.items()}
        joined = torch.cat([at_words(modality, words, self.spec.aligned) for modality in given.values()], 2)
        x, real, order = left_align(joined, words)
        h, c = self._read(x)
        features = masked_last(torch.cat([h, self.remember(c)], 2), real)
        states = undo_left_align(torch.where(real[..., None], h, 0.0), order)
        hidden = dict(zip(self.spec.modalities, torch.split(states, self.widths, 2), strict=True))
        return Output(self.classify(features), features, hidden)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """States and cells of all LSTMs, (B, T, h) each, over the joined words (B, T, sum of D_m)."""
        parts = torch.split(x, list(self.input_dims.values()), 2)
        inputs, recurrent = [], []
        for part, cell in zip(parts, self.cells.values(), strict=True):
            assert isinstance(cell, nn.LSTMCell)
            inputs.append(F.linear(part, cell.weight_ih, cell.bias_ih + cell.bias_hh))
            recurrent.append(cell.weight_hh)
        return lstm_states(inputs, recurrent)

    def remember(self, cells: Tensor) -> Tensor:
        """The memory (B, T, d) after every word, of the cells (B, T, h) after every word."""
        before = F.pad(cells[:, :-1], (0, 0, 1, 0))
        both = torch.cat([before, cells], 2)
        attended = self.attention(both).softmax(2) * both
        split = [attended.shape[2], self.memory_dim]
        inputs, recurrent = [], []
        for gate in (self.keep, self.write):
            of_attended, of_memory = torch.split(gate.fc1.weight, split, 1)
            inputs.append(F.linear(attended, of_attended, gate.fc1.bias))
            recurrent.append(of_memory)
        return gated_memory(
            self.candidate(attended).tanh(),
            (inputs[0], inputs[1]),
            (recurrent[0], recurrent[1]),
            ((self.keep.fc2.weight, self.keep.fc2.bias), (self.write.fc2.weight, self.write.fc2.bias)),
            (self.keep.dropout, self.write.dropout) if self.training else (0.0, 0.0),
        )
