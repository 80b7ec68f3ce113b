"""Key map of pwang322/DLF."""

from mer_zoo.compat.decoupling import decoupling_map

__all__ = ["DLF"]

DLF = decoupling_map(
    heads={"high": "stream_heads"},
    gate="projector",
    dropped={
        r"^trans_[av]_with_[lav]\.": "the released code builds cross-modal encoders to audio and vision, but never uses them",
        r"^(proj[12]|out_layer)_[lav]_low\.": "the released code computes predictions from shared parts, but returns them to nobody",
    },
)
