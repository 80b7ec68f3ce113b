"""Configurations of text encoders as plain sizes, which a file of someone else may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
)

from mer_zoo.errors import MERError

__all__ = ["check_encoder_config", "encoder_sizes"]

LARGEST = 2**24  # some configurations make a list as long as a number they are given
# What says nothing about the network, or makes it answer in another form.
_IRRELEVANT = {
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
}
_IRRELEVANT |= {"problem_type", "return_dict", "torch_dtype", "torchscript", "transformers_version", "use_cache"}


def encoder_sizes(config: PretrainedConfig) -> dict[str, Any]:
    """What of a configuration decides the network, without names and paths.

    Args:
        config: The configuration of an encoder.

    Raises:
        MERError: If it is not one of an encoder of text.

    Example:
        >>> from transformers import AlbertConfig
        >>> encoder_sizes(AlbertConfig(hidden_size=8, num_attention_heads=2))["hidden_size"]
        8
    """
    known = _options(str(config.model_type))
    sizes = {key: value for key, value in config.to_dict().items() if key in known}
    check_encoder_config(sizes)
    return sizes


def check_encoder_config(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that is more than sizes of a known encoder of text.

    A configuration may name code to fetch: of a network, of a kernel for its attention, of a quantisation.

    Args:
        config: ``model_type`` and sizes.

    Raises:
        MERError: Naming what is not to be there.

    Example:
        >>> check_encoder_config({"model_type": "bert", "auto_map": {"AutoModel": "someone/code--net.Net"}})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: a text encoder sets 'auto_map', which is no size of a bert
    """
    known = _options(config.get("model_type"))
    for key, value in config.items():
        if key not in known:
            raise MERError(f"a text encoder sets {key!r}, which is no size of a {config['model_type']}")
        for item in _items(value):
            if not _is_harmless(item):
                raise MERError(
                    f"a text encoder sets {key} to {str(item)[:50]!r}; only sizes and names of activations are allowed"
                )


def _options(model_type: object) -> set[str]:
    kinds = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES, *MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES}
    if not isinstance(model_type, str) or model_type not in kinds:
        raise MERError(
            f"a text encoder of type {str(model_type)[:50]!r} can't be shared; choose an encoder such as BERT"
        )
    found = {key for key in CONFIG_MAPPING[model_type]().to_dict() if not key.startswith("_")}
    return (found | {"model_type"}) - _IRRELEVANT


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else [value]


def _is_harmless(item: Any) -> bool:
    if isinstance(item, str):
        return (
            re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,40}", item) is not None
        )  # no slash, so neither a path nor a repository
    return item is None or (isinstance(item, (bool, int, float)) and abs(item) < LARGEST)
