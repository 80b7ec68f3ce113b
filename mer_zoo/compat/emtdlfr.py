"""Key map of sunlicai/EMT-DLFR: the whole network with what trains it."""

from mer_zoo.compat.keymap import KeyMap

__all__ = ["EMTDLFR"]

_NUMBERS = {"0": "text", "1": "audio", "2": "vision"}
_DIRECTIONS = {"0": "steps", "1": "tokens"}
_PARTS = (
    (r"\.layers\.0\.0\.fn\.", ".cross."),
    (r"\.layers\.0\.1\.fn\.", ".attention."),
    (r"\.layers\.0\.2\.fn\.net\.0\.", ".fc1."),
    (r"\.layers\.0\.2\.fn\.net\.2\.", ".fc2."),
    (r"\.layers\.0\.0\.norm\.", ".norm_query."),
    (r"\.layers\.0\.0\.norm_context\.", ".norm_context."),
    (r"\.layers\.0\.1\.norm\.", ".norm_self."),
    (r"\.layers\.0\.2\.norm\.", ".norm_inner."),
    (r"\.to_q\.", ".query."),
    (r"\.to_kv\.", ".key_value."),
    (r"\.to_out\.", ".out."),
)

EMTDLFR = KeyMap(
    rules=(
        (r"\bvideo_", "vision_"),
        (r"_video\b", "_vision"),
        *(
            (f"^fusion\\.mpus\\.(\\d+)\\.{number}\\.{which}\\.", f"fusion.units.\\1.{name}.{direction}.")
            for number, name in _NUMBERS.items()
            for which, direction in _DIRECTIONS.items()
        ),
        *_PARTS,
        (r"^fusion\.attn_pools\.(\d+)\.attention\.0\.", r"fusion.pools.\1.hidden."),
        (r"^fusion\.attn_pools\.(\d+)\.attention\.2\.", r"fusion.pools.\1.score."),
        (r"^(audio|vision)_model\.rnn\.", r"encoders.\1.lstm."),
        (r"^(audio|vision)_model\.linear_1\.", r"encoders.\1.linear."),
        (r"^text_model\.", "text_encoder."),
        (r"^proj_(text|audio|vision)\.", r"project.\1."),
        (r"^recon_(text|audio|vision)\.", r"decoders.\1."),
        (r"^gmc_tokens_pr", "tokens_pr"),
        (r"^(\w+)_projector\.net\.0\.", r"simsiam.\1.project."),
        (r"^(\w+)_projector\.net\.1\.", r"simsiam.\1.project_norm."),
        (r"^(\w+)_predictor\.net\.0\.", r"simsiam.\1.fc1."),
        (r"^(\w+)_predictor\.net\.1\.", r"simsiam.\1.norm."),
        (r"^(\w+)_predictor\.net\.3\.", r"simsiam.\1.fc2."),
        (r"^post_fusion_layer_([12])\.", r"fc\1."),
        (r"^post_fusion_layer_3\.", "head."),
    ),
    dropped={
        r"^fusion\.pos_embed\.pe$": "the table of positions, computed here",
        r"^text_model\.model\.pooler\.": "token states are used, so the pooler is never run",
        r"\.position_ids$": "a buffer without content",
    },
    own={
        r"\bnum_batches_tracked$": "a counter that nothing reads",
        r"^views\.": "the number of the next incomplete view, not of the network",
    },
    shared=(
        (r"^(fusion\.units)\.\d+\.", r"\1.0."),
        (r"^(fusion\.units\.\d+)\.\w+\.", r"\1.text."),
        (r"^(fusion\.units\.\d+\.\w+)\.\w+\.", r"\1.steps."),
        (r"^(fusion\.pools)\.\d+\.", r"\1.0."),
    ),
)
