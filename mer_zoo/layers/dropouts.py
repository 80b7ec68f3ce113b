"""The dropouts of a pre-norm encoder, as one thing that is passed on."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["NO_DROPOUTS", "Dropouts"]


@dataclass(frozen=True)
class Dropouts:
    """What a pre-norm encoder drops, and where; the options of networks that end in ``_dropout``.

    Args:
        attn: Of the attention weights.
        relu: Behind the ReLU of the feed-forward part.
        res: Of what is added to the residual stream.
        embed: Of the embedded input and source.
    """

    attn: float = 0.0
    relu: float = 0.0
    res: float = 0.0
    embed: float = 0.0

    def by_source(self, audio: float, vision: float) -> dict[str, Dropouts]:
        """The dropouts of cross-modal encoders by their source: audio and vision have an ``attn`` of their own.

        Example:
            >>> Dropouts(attn=0.1, res=0.2).by_source(audio=0.3, vision=0.0)["audio"]
            Dropouts(attn=0.3, relu=0.0, res=0.2, embed=0.0)
        """
        return {"text": self, "audio": replace(self, attn=audio), "vision": replace(self, attn=vision)}


NO_DROPOUTS = Dropouts()
