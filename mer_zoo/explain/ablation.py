"""What happens to an answer without a modality, and with one alone: the answers of the sets of the modalities."""

from __future__ import annotations

from torch import Tensor

from mer_zoo.batch import Batch, available_modalities
from mer_zoo.data.missing.drop import blanked
from mer_zoo.model import Model

__all__ = ["answer_with", "left_out"]


def answer_with(model: Model, batch: Batch, available: tuple[str, ...]) -> Tensor:
    """Test-time logits where only some modalities are there, as the availability sets have them.

    Args:
        model: The model.
        batch: The batch; what is missing in it already stays so.
        available: The modalities.

    Returns:
        (B, *task shape).
    """
    return model.predict(blanked(batch, available, model.spec)).logits


def left_out(model: Model, batch: Batch) -> dict[str, Tensor]:
    """Test-time logits without each of the modalities.

    Args:
        model: The model.
        batch: The batch.

    Returns:
        (B, *task shape) by the modality that is left out; nothing where there is one alone.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentClassification
        >>> model = LFLSTM(DataSpec(), SentimentClassification(3)).eval()
        >>> {name: logits.shape for name, logits in left_out(model, Batch.random(model.spec, model.task)).items()}
        {'text': torch.Size([2, 3]), 'audio': torch.Size([2, 3]), 'vision': torch.Size([2, 3])}
    """
    used = model.spec.modalities
    if len(used) < 2:
        return {}
    return {
        name: answer_with(model, batch, available_modalities([other for other in used if other != name]))
        for name in used
    }
