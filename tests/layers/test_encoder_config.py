"""Sizes of text encoders: enough to build them again, and nothing that could be fetched or run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from transformers import GPT2Config

from mer_zoo.errors import MERError
from mer_zoo.layers.encoder_config import check_encoder_config, encoder_sizes
from mer_zoo.layers.text_encoder import TextEncoder

SMALL: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SMALL |= {"vocab_size": 120, "max_position_embeddings": 40, "pad_token_id": 0}
KINDS: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "roberta": SMALL,
    "albert": SMALL | {"embedding_size": 4},
    "electra": SMALL | {"embedding_size": 4},
    "deberta-v2": SMALL | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "distilbert": {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "vocab_size": 120},
    "modernbert": SMALL | {"local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_is_built_from_its_sizes(kind: str) -> None:
    torch.manual_seed(0)
    first = TextEncoder(config={"model_type": kind, **KINDS[kind]}).eval()
    sizes = json.loads(json.dumps(encoder_sizes(first.model.config)))
    check_encoder_config(sizes)
    second = TextEncoder(config=sizes).eval()
    second.load_state_dict(first.state_dict())
    ids, mask = torch.randint(3, 120, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    assert torch.equal(first(ids, mask), second(ids, mask))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_attn_implementation", "kernels-community/flash-attn"),
        ("attn_implementation", "someone/kernel"),
        ("auto_map", {"AutoModel": "someone/code--net.Net"}),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
        ("_name_or_path", "someone/model"),
        ("num_labels", 10**9),
        ("id2label", {}),
        ("dtype", "float16"),
        ("hidden_act", "someone/activation"),
        ("hidden_act", "../activation"),
        ("hidden_act", {"a": ["b/c"]}),
        ("hidden_size", 10**9),
        ("hidden_size", float("nan")),
        ("model_type", "timm_backbone"),
        ("model_type", None),
        ("model_type", ["bert"]),
    ],
)
def test_anything_else_is_refused(name: str, value: object) -> None:
    with pytest.raises(MERError, match=r"a text encoder (sets|of type)"):
        check_encoder_config({"model_type": "bert", **SMALL, name: value})


def test_what_is_no_encoder_of_text_can_not_be_shared() -> None:
    with pytest.raises(MERError, match="of type 'gpt2' can't be shared"):
        encoder_sizes(GPT2Config())
    decoder = TextEncoder(config={"model_type": "bert", **SMALL}).model.config
    decoder.is_decoder = True
    with pytest.raises(MERError, match="writes text, as this bert does"):
        encoder_sizes(decoder)
