"""What a checkpoint says of the features that it was trained on, so that others are made alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mer_zoo.clips.settings import LONGEST, Settings
from mer_zoo.clips.speech import Hearing, heard_by
from mer_zoo.errors import MERError
from mer_zoo.sharing.parts import Recipe
from mer_zoo.training.checkpoint import read_checkpoint

__all__ = ["like"]


def like(checkpoint: Path, longest: float = LONGEST, hearing: Hearing | None = None) -> tuple[Settings, dict[str, int]]:
    """The settings that make features as a model takes them.

    Args:
        checkpoint: A checkpoint of a run on extracted features.
        longest: Seconds of a clip that are read at most.
        hearing: How words are heard, where the model was trained on transcripts alone; one that was trained on heard
            words hears them by itself.

    Returns:
        The settings, and the steps of each modality that the model was built for, where that is told.

    Raises:
        MERError: If it is no checkpoint, or does not tell, or words are to be heard otherwise than it was trained on.

    Example:
        >>> like(Path("nowhere.ckpt"))
        Traceback (most recent call last):
        mer_zoo.errors.MERError: nowhere.ckpt does not exist; give a .ckpt file that mer-zoo fit wrote
    """
    record = read_checkpoint(checkpoint, "give a .ckpt file that mer-zoo fit wrote").record
    if not record.made_by:
        raise MERError(
            f"{checkpoint} does not tell what made the features that it was trained on; make them as those were made,"
            " and give them as --data.path"
        )
    spec = {} if record.recipe is None else Recipe.read(record.recipe).spec
    lengths = {key: spec.get(f"{key}_len") for key in record.made_by}
    settings = Settings.of(record.made_by, longest)
    settings = replace(settings, speech=heard_by(settings.speech, hearing, str(checkpoint)))
    return settings, {key: steps for key, steps in lengths.items() if steps}
