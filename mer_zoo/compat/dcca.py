"""Key map of DCCA and DCCAE as in zeroQiaoba/GCNet, whose networks are numbered audio, vision, text."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["DCCA"]

DCCA = KeyMap(
    rules=(
        (r"^module\.", ""),
        (r"^(model|encoder)1\.model\.", "networks.audio."),
        (r"^(model|encoder)2\.model\.", "networks.vision."),
        (r"^(model|encoder)3\.model\.", "networks.text."),
        (r"^decoder1\.model\.", "decoders.audio."),
        (r"^decoder2\.model\.", "decoders.vision."),
        (r"^decoder3\.model\.", "decoders.text."),
    ),
    optional={r"(model|encoder|decoder)3\.": "with variant: released nothing reads it"},
    own={
        r"^head\.": "the released code has an SVM in its place",
        r"^(mean_\w+|prepared)$": "the released code fills in means when it reads the data; call prepare",
        r"^views\.": "seed and number of the incomplete views",
        r"num_batches_tracked$": "a counter that nothing reads",
    },
)
