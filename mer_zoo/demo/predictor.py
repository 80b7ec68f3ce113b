"""A trained model that takes recordings and sentences one at a time, made into what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.extractor import NO_WORDS, Extractor
from mer_zoo.clips.settings import LONGEST, Settings
from mer_zoo.clips.speech import Hearing, heard_by
from mer_zoo.clips.workers import Failed, Kept
from mer_zoo.demo.answer import LEVEL, Answer, answer
from mer_zoo.demo.seen import Watched, watch
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import differing
from mer_zoo.model import Model
from mer_zoo.runs.earlier import trained_weights
from mer_zoo.runs.folder import folder_of
from mer_zoo.sharing.pretrained import load_model
from mer_zoo.sharing.recipe import Modules

__all__ = ["Predictor"]

NO_FILE = Path()  # of a sentence that nobody has recorded


class Predictor:
    """A trained model, and the extractor that makes features as those that it was trained on.

    Args:
        run: The folder of a run, of which the best checkpoint is taken, or a checkpoint in it.
        modules: Modules of your own that define a part of the model, or their names.
        longest: Seconds of a recording that are read at most.
        hearing: How words are heard, where the model was trained on transcripts alone; one that was trained on heard
            words hears them by itself.
        level: Share of samples that sets and intervals are to cover.
        apart: Whether recordings are decoded in a process of their own, which a damaged one may end without harm. It
            needs a main module that may be imported, as every use of processes in Python does.

    Raises:
        MERError: If there is no such run, it does not tell what made its features, or these can't be made here.

    Example:
        >>> Predictor("nowhere")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: nowhere does not exist; give the folder of a run, or a checkpoint in it
    """

    def __init__(
        self,
        run: str | Path,
        modules: Modules = (),
        longest: float = LONGEST,
        hearing: Hearing | None = None,
        level: float = LEVEL,
        apart: bool = False,
    ) -> None:
        checkpoint = _checkpoint(Path(run).expanduser())
        self.model = _loaded(checkpoint, modules)
        self.level, self.name = level, folder_of(checkpoint).name
        settings = Settings.of(self.model.made_by, longest)
        self.settings = replace(settings, speech=heard_by(settings.speech, hearing, str(checkpoint)))
        make = partial(_Maker, self.settings)
        self._process = Kept[Clip | None](make) if apart else None
        self._make: Callable[[Clip | None], Any] = self._process or make(lambda _seconds: None)
        try:
            self._check_makers(checkpoint)
        except MERError:
            self.close()
            raise

    def _check_makers(self, checkpoint: Path) -> None:
        try:
            made_by = self._done(None)
        except MERError as error:
            reason = str(error).partition("; give an encoder")[0]
            raise MERError(
                f"what {checkpoint} reads can't be made here: {reason}; or train on features of encoders that are here"
            ) from None
        found = differing(self.model.made_by, made_by)
        if found is not None:
            raise MERError(
                f"{checkpoint} was trained on, and this version makes, {found}; train again on features of this one"
            )

    def features(self, path: str | Path, text: str | None = None) -> ClipFeatures:
        """Make the features of a recording.

        Args:
            path: The file.
            text: What is said in it; None where that is not known.

        Raises:
            MERError: If nothing in it can be used; the message does not name the file.
        """
        found: ClipFeatures = self._done(Clip(Path(path), text=text))
        return found

    def with_words(self, found: ClipFeatures | None, text: str) -> ClipFeatures:
        """The features of a recording with other words, or of words alone.

        Args:
            found: The features of a recording; None for none.
            text: What is said.

        Raises:
            MERError: If the model reads no text, there are no words, or it reads sound and pictures by these.
        """
        if "text" not in self.model.spec.modalities:
            raise MERError("this model does not read text; give it a recording")
        if not text.split():
            raise MERError("there are no words; type a sentence, or give a recording")
        if found is not None and self.settings.aligned:
            raise MERError(
                "this model reads sound and pictures word by word; type what is said first, then give the recording"
            )
        words: ClipFeatures = self._done(Clip(NO_FILE, text=text))
        if found is None:
            return words
        faults = [fault for fault in found.faults if fault not in NO_WORDS]
        return replace(found, features={**found.features, **words.features}, text=words.text, faults=faults)

    def answer(self, found: ClipFeatures, available: Sequence[str] | None = None) -> Answer:
        """Ask the model.

        Args:
            found: The features.
            available: The modalities that it may use; None for all.

        Raises:
            MERError: If the recording has none of these.
        """
        return answer(self.model, found, available, self.level)

    @property
    def looks_at(self) -> str:
        """What it sees of a recording, in words."""
        vision = self.model.made_by.get("vision")
        return "The face that was found" if vision is not None and vision.faces else "The middle of its pictures"

    def close(self) -> None:
        """End the process that decodes."""
        if self._process is not None:
            self._process.end()

    def _done(self, clip: Clip | None) -> Any:
        result = self._make(clip)
        if isinstance(result, Failed):
            raise MERError(result.reason)
        return result


class _Maker:
    """Makes the features of clips, of sentences alone, and tells for None what makes them."""

    def __init__(self, settings: Settings, beat: Callable[[float], None]) -> None:
        self._settings, self._beat = settings, beat
        self._extractor: Extractor | None = None
        self._watched: Watched | None = None

    def __call__(self, clip: Clip | None) -> Any:
        if self._extractor is None:  # not before something can be told of encoders that are not there
            self._extractor = Extractor(self._settings, self._beat)
            self._watched = watch(self._extractor.vision)
        if clip is None:
            return self._extractor.specs
        if clip.path != NO_FILE or self._extractor.text is None:
            found = self._extractor(clip)
            return found if self._watched is None else replace(found, pictures=self._watched.taken())
        words = (clip.text or "").split()
        return ClipFeatures({"text": self._extractor.text.encode(words)}, text=" ".join(words))


def _checkpoint(run: Path) -> Path:
    if not run.exists():
        raise MERError(f"{run} does not exist; give the folder of a run, or a checkpoint in it")
    if not run.is_dir():
        return run
    found = trained_weights(run / "config.yaml")
    if found is None:
        raise MERError(f"{run} has no best checkpoint; give the path of one that it has, or train first")
    return found


def _loaded(checkpoint: Path, modules: Modules) -> Model:
    """The model, if recordings can be made into what it reads."""
    model, _ = load_model(checkpoint, modules)
    untold = [name for name in model.spec.modalities if name not in model.made_by]
    if untold:
        raise MERError(
            f"{checkpoint} does not tell what made the {' and '.join(untold)} features that it was trained on, so no"
            " recording can be made into what it reads; train on a corpus that mer-zoo extract made of recordings"
        )
    if model.spec.tokens:
        raise MERError(
            f"{checkpoint} reads token ids, which are made of a whole corpus; train with data.text: features, or take"
            " mer-zoo predict --clips"
        )
    return model.eval()
