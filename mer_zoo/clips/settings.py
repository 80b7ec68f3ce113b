"""Which encoders make features of clips, and of how much of a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from mer_zoo.clips.encoders import FrameStatistics, HashedWords, Mel, PictureEncoder, SoundEncoder, WordEncoder
from mer_zoo.clips.speech import Hearing
from mer_zoo.clips.views import View, WholePictures
from mer_zoo.clips.weights import WEIGHTS
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec

if TYPE_CHECKING:
    from mer_zoo.clips.pretrained import LayerRule

__all__ = ["AUDIO_RATE", "FACES_FPS", "FPS", "LANDMARKS", "LONGEST", "NONE", "Settings"]

LONGEST, FPS, AUDIO_RATE, FACES_FPS = 60.0, 5.0, 10.0, 2.0
Faces = Literal["none", "mtcnn"]
NONE: Final = "none"
MTCNN: Final = "mtcnn"
LANDMARKS, EGEMAPS = "landmarks", "egemaps"


@dataclass(frozen=True)
class Settings:
    """Which encoders make features, and of how much of a clip.

    Args:
        text: ``hash`` (no weights), ``none``, ``minilm`` (whose weights a package carries), or the name or folder of a
            pretrained encoder of Hugging Face.
        audio: ``mel`` (no weights), ``egemaps`` (by openSMILE, for which you have to install it), ``none``, or such a
            name.
        vision: ``frame`` (no weights), ``landmarks`` (of a face), ``none``, or such a name.
        longest: Seconds of a clip that are read at most.
        fps: Pictures a second.
        layers: Layers of pretrained encoders: ``last``, ``last4`` or ``all`` (the mean of these).
        audio_rate: Steps a second of pretrained encoders of sound.
        revisions: Branch, tag or commit of pretrained encoders on the Hub, by modality.
        speech: How words are heard where there is no transcript; None to leave the text missing there.
        aligned: Whether audio and vision are pooled to the times of the words, which are heard.
        faces: ``none``, so that whole pictures are looked at, or ``mtcnn``, so that a face is; landmarks are always of
            one.
        faces_fps: Pictures a second in which it is looked for; of those between, its place is read off.

    Raises:
        MERError: For a number that makes no sense, or for words' times that nothing hears.

    Example:
        >>> Settings(fps=0)
        Traceback (most recent call last):
        mer_zoo.errors.MERError: fps is 0; give pictures a second above 0, at most 60
    """

    text: str = "hash"
    audio: str = "mel"
    vision: str = "frame"
    longest: float = LONGEST
    fps: float = FPS
    layers: LayerRule = "last"
    audio_rate: float = AUDIO_RATE
    revisions: Mapping[str, str] = field(default_factory=dict)
    speech: Hearing | None = None
    aligned: bool = False
    faces: Faces = NONE
    faces_fps: float = FACES_FPS

    def __post_init__(self) -> None:
        if self.vision in (LANDMARKS, NONE):
            object.__setattr__(self, "faces", NONE if self.vision == NONE else MTCNN)
        if self.faces not in (NONE, MTCNN):
            raise MERError(f"faces is {self.faces!r}; choose {NONE} or {MTCNN}")
        if not 0 < self.faces_fps <= 60:
            raise MERError(f"faces_fps is {self.faces_fps:g}; give pictures a second above 0, at most 60")
        if self.aligned and self.speech is None:
            raise MERError("aligned features need the words' times, which are heard; give speech, as whisper-tiny.en")
        if self.text == self.audio == self.vision == NONE:
            raise MERError("text, audio and vision are all none; give an encoder for one of them")
        if not 0 < self.longest <= 24 * 3600:
            raise MERError(f"longest is {self.longest:g}; give seconds above 0, at most a day")
        if not 0 < self.fps <= 60:
            raise MERError(f"fps is {self.fps:g}; give pictures a second above 0, at most 60")
        if not 0 < self.audio_rate <= 50:
            raise MERError(f"audio_rate is {self.audio_rate:g}; give steps a second above 0, at most 50")

    @classmethod
    def of(cls, specs: Mapping[str, FeatureSpec], longest: float = LONGEST) -> Settings:
        """Settings that make features as these specs say; what can't be made so is told apart by its own spec.

        Args:
            specs: By modality; one that is not there is not made.
            longest: Seconds of a clip that are read at most.

        Example:
            >>> Settings.of({"audio": Mel().spec})
            Settings(text='none', audio='mel', vision='none', ...)
        """
        names = {key: specs[key].encoder if key in specs else NONE for key in ("text", "audio", "vision")}
        pretrained = {key: spec for key, spec in specs.items() if spec.layers}
        vision = specs.get("vision")
        found = vision is not None and bool(vision.faces)
        fps = FPS
        if vision is not None and vision.encoder != LANDMARKS:  # rounded, so that what was divided comes back as it was
            fps = round(vision.rate * max(1, vision.joined), 6)
        layers: Any = next((spec.layers for spec in pretrained.values()), "last")
        return cls(
            **names,
            longest=longest,
            fps=fps,
            layers=layers,
            audio_rate=pretrained["audio"].rate if "audio" in pretrained else AUDIO_RATE,
            revisions={key: spec.revision for key, spec in pretrained.items() if _is_on_hub(spec.encoder)},
            speech=next((Hearing.of(spec.speech) for spec in specs.values() if spec.speech is not None), None),
            aligned=any(spec.aligned for spec in specs.values()),
            faces=MTCNN if found else NONE,
            faces_fps=vision.faces_rate if found and vision is not None else FACES_FPS,
        )

    def text_encoder(self) -> WordEncoder | None:
        """The encoder of words.

        Raises:
            MERError: If a pretrained one can't be loaded.
        """
        if self.text in (NONE, "hash"):
            return None if self.text == NONE else HashedWords()
        from mer_zoo.clips.pretrained import PretrainedWords  # it needs torch, which the others do not

        return PretrainedWords(self.text, self.layers, self.revisions.get("text"))

    def audio_encoder(self) -> SoundEncoder | None:
        """The encoder of sound.

        Raises:
            MERError: If a pretrained one can't be loaded, or openSMILE is not installed.
        """
        if self.audio in (NONE, "mel"):
            return None if self.audio == NONE else Mel()
        if self.audio == EGEMAPS:
            from mer_zoo.clips.egemaps import Egemaps  # it needs openSMILE, which the others do not

            return Egemaps()
        from mer_zoo.clips.pretrained import PretrainedSound

        return PretrainedSound(self.audio, self.layers, self.revisions.get("audio"), self.audio_rate)

    def view(self) -> View | None:
        """What is looked at of pictures, and by which encoder.

        Raises:
            MERError: If a pretrained one can't be loaded, or the weights of what finds faces are not installed.
        """
        if self.vision == NONE:
            return None
        if self.faces == NONE:
            return WholePictures(self._picture_encoder(), self.fps)
        from mer_zoo.clips.faces import FaceCrops, FaceFinder, Landmarks

        finder = FaceFinder(self.faces_fps)
        return Landmarks(finder) if self.vision == LANDMARKS else FaceCrops(self._picture_encoder(), finder, self.fps)

    def _picture_encoder(self) -> PictureEncoder:
        if self.vision == "frame":
            return FrameStatistics(self.fps)
        from mer_zoo.clips.pretrained import PretrainedPictures

        return PretrainedPictures(self.vision, self.layers, self.revisions.get("vision"), self.fps)


def _is_on_hub(name: str) -> bool:
    return name not in WEIGHTS and not Path(name).is_dir()
