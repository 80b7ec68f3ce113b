"""Key map of mdswyz/DiCMoR, of which the couplings of the flows are used."""

from mer_zoo.compat.keymap import KeyMap
from mer_zoo.compat.mult import MULT

__all__ = ["DICMOR", "RECOVERY"]

_LETTERS = {"l": "text", "a": "audio", "v": "vision"}
_PRIORS = ("hn", "n", "wn", "neutral", "wp", "p", "hp")  # of the labels -3 to 3

# What IMDer has as well: recovery, and MulT behind it.
RECOVERY = (
    *(
        rule
        for letter, name in _LETTERS.items()
        for rule in (
            (rf"^rec_{letter}\.0\.", f"refine.{name}.widen."),
            (rf"^rec_{letter}\.1\.body\.(\d+)\.body\.0\.", rf"refine.{name}.blocks.\1.conv1."),
            (rf"^rec_{letter}\.1\.body\.(\d+)\.body\.2\.", rf"refine.{name}.blocks.\1.conv2."),
            (rf"^rec_{letter}\.1\.body\.(\d+)\.body\.3\.conv_du\.0\.", rf"refine.{name}.blocks.\1.squeeze."),
            (rf"^rec_{letter}\.1\.body\.(\d+)\.body\.3\.conv_du\.2\.", rf"refine.{name}.blocks.\1.expand."),
            (rf"^rec_{letter}\.1\.body\.\d+\.(?=weight|bias)", f"refine.{name}.close."),
            (rf"^rec_{letter}\.2\.", f"refine.{name}.narrow."),
        )
    ),
    *MULT.rules,
    (r"^(crossmodal|memory|joint)\.", r"body.\1."),
    (r"^text_model\.model\.", "text_encoder.model."),
)

DICMOR = KeyMap(
    rules=(
        *(
            (rf"^flow_{letter}\.blocks\.0\.flows\.(\d+)\.coupling\.", rf"flows.{name}.steps.\1.")
            for letter, name in _LETTERS.items()
        ),
        *(
            rule
            for number, name in enumerate(_PRIORS)
            for rule in (
                (rf"^prior_{name}\.conv\.bias$", f"priors.bias.{number}"),
                (rf"^prior_{name}\.scale$", f"priors.scale.{number}"),
            )
        ),
        *((f"^cat_{letter}\\.", f"join.{name}.") for letter, name in _LETTERS.items()),
        *RECOVERY,
        (r"^(flows|priors|join|refine)\.", r"recovery.\1."),
    ),
    dropped={
        **MULT.dropped,
        r"\.(actnorm|invconv)\.": "the released code builds Glow's scaling and mixing, and never runs them",
        r"^flow_[lav]\.blocks\.0\.prior\.": "the released code never runs the prior of a block",
        r"^prior_\w+\.conv\.weight$": "it multiplies zeros",
        r"^weight_[lav]\.": "the released code never uses it",
        r"^text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
    },
    optional=MULT.optional,
    own={
        r"^views\._extra_state$": "seed and number of the incomplete views",
        r"^prepared$": "whether the weights of the first stage are there",
    },
)
