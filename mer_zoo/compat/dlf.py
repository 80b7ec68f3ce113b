"""Key map of pwang322/DLF."""

from mer_zoo.compat.decoupling import decoupling_map

__all__ = ["DLF"]

DLF = decoupling_map(
    heads={"high": "stream_heads"},
    gate="projector",
    dropped={
        r"^trans_[av]_with_[lav]\.": "cross-modal encoders to audio and vision; the released code never uses them",
        r"^(proj[12]|out_layer)_[lav]_low\.": "predictions of shared parts; the released code returns them to nobody",
    },
)
