"""What features are made by, so that those of two makers are never taken for one another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.fields import Fields
from mer_zoo.text import told

__all__ = ["FeatureSpec", "SpeechSpec", "differing", "gaps_of", "read_specs"]

LONGEST = 1000  # of a name
OPTIONAL = ("aligned", "speech", "faces", "faces_rate", "joined")
NOT_TOLD_APART = ("versions", "speech", "joined")  # by themselves


@dataclass(frozen=True)
class SpeechSpec:
    """What heard the words that features are made of, where no transcript was given.

    Args:
        model: Its name or folder.
        revision: The fingerprint of its weights.
        language: The language that it was told; empty where it found it out.
        beam: How many readings it followed at a time.
        vad: Whether what is no voice was left out first.
        versions: Versions of the libraries that ran it; they do not tell words apart.

    Example:
        >>> print(SpeechSpec("whisper-tiny.en", "1a5afae06a4db91c", "en", 5, True))
        whisper-tiny.en (1a5afae06a4db91c), en, beam 5, voice detected first
    """

    model: str
    revision: str
    language: str
    beam: int
    vad: bool
    versions: str = ""

    def __str__(self) -> str:
        language = f", {self.language}" if self.language else ""
        voice = ", voice detected first" if self.vad else ""
        return f"{self.model} ({self.revision}){language}, beam {self.beam}{voice}"

    def told_apart(self) -> SpeechSpec:
        """It without what does not tell words apart."""
        return replace(self, versions="")


@dataclass(frozen=True)
class FeatureSpec:
    """What made the features of one modality.

    Args:
        encoder: Its name, or the name or folder of a pretrained one.
        revision: The version of its code, or the fingerprint of its weights.
        layers: Which of its layers: ``last``, ``last4`` (their mean), ``all`` (their mean), or empty where it has none.
        pooling: How its outputs become steps.
        rate: Steps a second; 0 where a step is a word or a token.
        dim: Width of a step.
        versions: Versions of the libraries that ran it, as ``numpy 2.4.6``; they do not tell features apart.
        aligned: Whether its steps, so many a second, were then pooled to the words' times.
        speech: What heard the words, or their times; None where transcripts were given. Heard words go with given ones,
            and not with those that another one heard.
        faces: What found the faces that it looked at, with the fingerprint of its weights; empty for whole pictures.
        faces_rate: Pictures a second in which faces were looked for.
        joined: How many pictures the encoder makes a step of; 0 where that is one, or none. The encoder tells it.

    Example:
        >>> mel = FeatureSpec("mel", "1", "", "mean", 20.0, 56)
        >>> mel.difference(FeatureSpec("mel", "1", "", "mean", 10.0, 56))
        ('rate', 20.0, 10.0)
    """

    encoder: str
    revision: str
    layers: str
    pooling: str
    rate: float
    dim: int
    versions: str = ""
    aligned: bool = False
    speech: SpeechSpec | None = None
    faces: str = ""
    faces_rate: float = 0.0
    joined: int = 0

    def difference(self, other: FeatureSpec) -> tuple[str, Any, Any] | None:
        """The first thing that the other has otherwise: its name, this one's and the other's.

        Args:
            other: Another spec of the same modality.
        """
        names = (f.name for f in fields(self) if f.name not in NOT_TOLD_APART)
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        if self.speech is not None and other.speech is not None:
            told = str(self.speech), str(other.speech)
            pairs += [("speech", *told)] if self.speech.told_apart() != other.speech.told_apart() else []
        return next((pair for pair in pairs if pair[1] != pair[2]), None)

    def __str__(self) -> str:
        rate = f", {self.rate:g} steps a second" if self.rate else ""
        layers = f", {self.layers} of its layers" if self.layers else ""
        faces = f", of faces by {self.faces}, {self.faces_rate:g} times a second" if self.faces else ""
        aligned = ", pooled to words" if self.aligned else ""
        speech = f", heard by {self.speech}" if self.speech is not None else ""
        return f"{self.encoder} ({self.revision}){layers}{rate}{faces}{aligned}{speech}"

    def plain(self) -> dict[str, Any]:
        """As JSON has it, without what does not apply."""
        return {name: value for name, value in asdict(self).items() if name not in OPTIONAL or value}


def gaps_of(made_by: Mapping[str, FeatureSpec]) -> frozenset[str]:
    """Modalities whose steps that are zero were not observed: those pooled to words, during which nothing was seen.

    Args:
        made_by: Specs by modality.

    Example:
        >>> mel = FeatureSpec("mel", "1", "", "mean", 20.0, 56, aligned=True)
        >>> sorted(gaps_of({"audio": mel, "vision": FeatureSpec("frame", "1", "", "", 5.0, 50)}))
        ['audio']
    """
    return frozenset(key for key, spec in made_by.items() if spec.aligned)


def read_specs(given: Fields, names: Collection[str]) -> dict[str, FeatureSpec]:
    """Check what a file says makes its features.

    Args:
        given: By modality, what :meth:`FeatureSpec.plain` wrote.
        names: The modalities that there are.

    Raises:
        MERError: For another modality, or a field that is missing or odd; the message names it.

    Example:
        >>> mel = FeatureSpec("mel", "1", "", "mean", 20.0, 56)
        >>> read_specs(Fields({"audio": mel.plain()}, "file", "extract again"), ["audio"]) == {"audio": mel}
        True
    """
    found = {}
    for key in given.content:
        if key not in names:
            raise MERError(f"{given.where} holds {told(key)}, which is no modality; {given.remedy}")
        part = given.part(key)
        texts = _short_texts(part, ("encoder", "revision", "layers", "pooling", "versions"))
        heard = part.optional_part("speech")
        # files from before faces were found do not tell
        faces = "" if part.optional_text("faces") is None else _short_texts(part, ("faces",))["faces"]
        found[key] = FeatureSpec(
            **texts,
            rate=part.number("rate"),
            dim=part.count("dim"),
            aligned=part.flag("aligned"),
            speech=None if heard is None else _read_speech(heard),
            faces=faces,
            faces_rate=part.number("faces_rate") if faces else 0.0,
            joined=0 if part.optional_count("joined") is None else part.count("joined"),
        )
    return found


def _read_speech(part: Fields) -> SpeechSpec:
    texts = _short_texts(part, ("model", "revision", "language", "versions"))
    return SpeechSpec(**texts, beam=part.count("beam"), vad=part.flag("vad"))


def _short_texts(part: Fields, names: Collection[str]) -> dict[str, str]:
    texts = {name: part.text(name) for name in names}
    for name, text in texts.items():
        if len(text) > LONGEST or not text.isprintable():
            raise part.refusal(name, "a short text")
    return texts


def differing(ours: Mapping[str, FeatureSpec], theirs: Mapping[str, FeatureSpec]) -> str | None:
    """What features are made by otherwise, in words; None where nothing is, or one side does not tell.

    Args:
        ours: Specs by modality.
        theirs: Specs by modality.

    Example:
        >>> mel = FeatureSpec("mel", "1", "", "mean", 20.0, 56)
        >>> differing({"audio": mel}, {"audio": FeatureSpec("own/wavlm", "ab12", "last", "mean", 20.0, 56)})
        "audio of encoder 'mel' and 'own/wavlm'"
    """
    for key in sorted(ours.keys() & theirs.keys()):
        found = ours[key].difference(theirs[key])
        if found is not None:
            return f"{key} of {found[0]} {found[1]!r} and {found[2]!r}"
    return None
