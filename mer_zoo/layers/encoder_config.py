"""Configurations of text encoders as plain sizes, which a file of someone else may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES,
)

from mer_zoo.errors import MERError

__all__ = ["check_encoder_config", "encoder_sizes"]

LARGEST = 2**24  # some configurations make a list as long as a number they are given
_GENERAL = {"model_type", "pad_token_id"}
# What serves other heads, or the writing of text.
_IRRELEVANT = {"add_cross_attention", "bos_token_id", "classifier_dropout", "eos_token_id", "is_decoder", "num_labels"}
_IRRELEVANT |= {"tie_word_embeddings", "torch_dtype", "use_cache"}


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
    if getattr(config, "is_decoder", False):
        raise MERError(
            f"a text encoder that writes text, as this {config.model_type} does, can't be shared; leave is_decoder out"
        )
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
        mer_zoo.errors.MERError: a text encoder sets 'auto_map', which is no size of a bert here
    """
    known = _options(config.get("model_type"))
    for key, value in config.items():
        if key not in known:
            raise MERError(f"a text encoder sets {key!r}, which is no size of a {config['model_type']} here")
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
    # What every configuration has differs between versions of the library, and decides nothing but for a few.
    own = CONFIG_MAPPING[model_type]().to_dict().keys() - PretrainedConfig().to_dict().keys()
    return (own | _GENERAL) - _IRRELEVANT


def _items(value: Any) -> Iterator[Any]:
    """All keys and values that something holds at any depth."""
    for inner in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from _items(inner)
    if not isinstance(value, (dict, list)):
        yield value


def _is_harmless(item: Any) -> bool:
    if isinstance(item, str):
        return (
            re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,40}", item) is not None
        )  # no slash, so neither a path nor a repository
    return item is None or (isinstance(item, (bool, int, float)) and abs(item) < LARGEST)
