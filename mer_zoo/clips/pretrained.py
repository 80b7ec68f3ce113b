"""Pretrained encoders of Hugging Face, by name or folder, for words, sound and pictures.

What is looked at: the mean of the tokens of a word; the frames of wav2vec 2.0, HuBERT, WavLM, data2vec and of Whisper's
encoder in windows that overlap, so that memory does not grow with the length; the first token of CLIP, DINOv2 and ViT,
or the mean of all where there is no such one (SigLIP, VideoMAE), of whole pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch import Tensor

from mer_zoo.clips import sound
from mer_zoo.clips.encoders import SILENCE, Features
from mer_zoo.clips.weights import WEIGHTS, how_to_fetch, weights_folder
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec

__all__ = ["LayerRule", "PretrainedPictures", "PretrainedSound", "PretrainedWords"]

LayerRule = Literal["last", "last4", "all"]

_LIBRARY: Any = transformers  # not all of it is typed
WORDS = 64  # that are encoded together
BODY, CONTEXT = 20, 1  # seconds of a window of sound, and of what it sees before and behind
FRAME = 320  # samples between two frames of all these encoders: 50 a second
PICTURES = 16  # that are encoded together
SOUND_TYPES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "whisper")
PICTURE_TYPES = ("clip", "clip_vision_model", "siglip", "siglip_vision_model", "dinov2", "vit", "videomae")
WITHOUT_CLS = ("siglip", "siglip_vision_model", "videomae")
VISION_PARTS = {"clip": "CLIPVisionModel", "siglip": "SiglipVisionModel"}
VISION_PARTS |= {f"{name}_vision_model": part for name, part in VISION_PARTS.items()}


class _Loaded:
    """A pretrained encoder in evaluation mode, and what its spec says of it."""

    def __init__(self, name: str, kind: str, types: Sequence[str], layers: LayerRule, revision: str | None) -> None:
        self.name, self.kind, self.layers, self.revision = name, kind, layers, revision
        self.source = str(weights_folder(name)) if name in WEIGHTS else name
        if layers not in get_args(LayerRule):
            raise MERError(f"layers is {layers!r}; choose from {', '.join(get_args(LayerRule))}")
        self.config = self.part("AutoConfig")
        self.type = str(self.config.model_type)
        if types and self.type not in types:
            raise MERError(f"{kind} {name} is a {self.type}; choose one of {', '.join(types)}")
        model = self.part(VISION_PARTS.get(self.type, "AutoModel"))
        model = model.get_encoder() if self.type == "whisper" else model
        self.model = model.float().eval().requires_grad_(False)

    def part(self, what: str) -> Any:
        """Load something of it, such as its configuration; nothing of it is run."""
        try:
            with _without_bars():
                return getattr(_LIBRARY, what).from_pretrained(
                    self.source, revision=self.revision or "main", trust_remote_code=False
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            remedy = how_to_fetch(error, self.name, self.revision or "")
            raise MERError(
                f"{self.kind} {self.name!r} can't be loaded ({reason}); {remedy}give an encoder without weights (hash,"
                " mel, frame), none, or the folder of a pretrained one"
            ) from error

    def optional_part(self, what: str) -> Any:
        """As :meth:`part`, or None where it has none."""
        try:
            return self.part(what)
        except MERError:
            return None

    def spec(self, pooling: str, rate: float, dim: int) -> FeatureSpec:
        """What makes the features."""
        versions = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
        return FeatureSpec(self.name, self._fingerprint(), self.layers, pooling, rate, dim, versions)

    def _fingerprint(self) -> str:
        """The commit on the Hub, or the beginning of the SHA-256 of the files of weights in a folder."""
        folder = Path(self.name)
        if self.name in WEIGHTS:
            return WEIGHTS[self.name].revision
        if not folder.is_dir():
            return str(getattr(self.config, "_commit_hash", None) or self.revision or "main")
        digest = hashlib.sha256()
        for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")]):
            with file.open("rb") as opened:
                while piece := opened.read(2**20):
                    digest.update(piece)
        return digest.hexdigest()[:16]

    @torch.inference_mode()
    def states(self, **given: Tensor) -> Tensor:
        """(B, T, d) by the rule of layers."""
        found = self.model(**given, output_hidden_states=self.layers != "last")
        if self.layers == "last":
            last: Tensor = found.last_hidden_state
            return last
        chosen = found.hidden_states[-4:] if self.layers == "last4" else found.hidden_states
        return torch.stack(list(chosen)).mean(0)


@contextmanager
def _without_bars() -> Iterator[None]:
    """The bar of the extraction is the one to be seen."""
    bars: Any = transformers.utils.logging
    was_shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            bars.enable_progress_bar()


class PretrainedWords:
    """One step a word: the mean of its tokens.

    Args:
        name: Name or folder of BERT, RoBERTa, DeBERTa, ModernBERT, MiniLM or another encoder with a fast tokenizer.
        layers: Which layers: the last, the mean of the last four, or of all.
        revision: Branch, tag or commit on the Hub.

    Raises:
        MERError: If it can't be loaded, or is no encoder of text.
    """

    def __init__(self, name: str, layers: LayerRule = "last", revision: str | None = None) -> None:
        self.loaded = _Loaded(name, "text", (), layers, revision)
        self.tokenizer = self.loaded.part("AutoTokenizer")
        if not getattr(self.tokenizer, "is_fast", False) or self.loaded.config.is_encoder_decoder:
            raise MERError(f"text {name} is no encoder with a fast tokenizer; choose one such as BERT")
        self.most = min(512, getattr(self.loaded.config, "max_position_embeddings", 512) - 2)
        self.spec = self.loaded.spec("mean of a word's tokens", 0.0, int(self.loaded.config.hidden_size))

    def encode(self, words: Sequence[str]) -> Features:
        """See :class:`~mer_zoo.clips.encoders.WordEncoder`."""
        parts = [self._encode(words[start : start + WORDS]) for start in range(0, len(words), WORDS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.spec.dim), np.float32)

    def _encode(self, words: Sequence[str]) -> Features:
        given = self.tokenizer(" ".join(words), return_offsets_mapping=True, return_tensors="pt")
        if given["input_ids"].shape[1] > self.most:
            if len(words) > 1:
                half = len(words) // 2
                return np.concatenate([self._encode(words[:half]), self._encode(words[half:])])
            given = self.tokenizer(
                words[0], return_offsets_mapping=True, return_tensors="pt", truncation=True, max_length=self.most
            )
        offsets = given.pop("offset_mapping")[0]
        given.pop("token_type_ids", None)
        states = self.loaded.states(**given)[0]
        ends = torch.tensor([len(word) for word in words]).cumsum(0) + torch.arange(len(words))
        place = torch.searchsorted(ends, offsets[:, 1].contiguous())  # the word in which a token ends
        real = offsets[:, 1] > offsets[:, 0]
        sums = torch.zeros(len(words), states.shape[1]).index_add_(0, place[real], states[real])
        counts = torch.bincount(place[real], minlength=len(words))[:, None]
        pooled = torch.where(counts > 0, sums / counts.clamp(min=1), states.mean(0))  # a word may have no token at all
        found: Features = pooled.numpy()
        return found


class PretrainedSound:
    """Frames, as many a second as are asked for: the mean of those that the encoder makes.

    Args:
        name: Name or folder of wav2vec 2.0, HuBERT, WavLM, data2vec-audio or Whisper.
        layers: See :class:`PretrainedWords`.
        revision: Branch, tag or commit on the Hub.
        rate: Steps a second, which 50 is to be a multiple of.

    Raises:
        MERError: If it can't be loaded, or is none of these.
    """

    def __init__(self, name: str, layers: LayerRule = "last", revision: str | None = None, rate: float = 10.0) -> None:
        self.loaded = _Loaded(name, "audio", SOUND_TYPES, layers, revision)
        self.pooled = round(sound.RATE / FRAME / rate)
        if not self.pooled or abs(self.pooled * rate * FRAME - sound.RATE) > 1:
            raise MERError(f"audio_rate is {rate:g}; give one that 50 is a multiple of, such as 50, 25, 10 or 5")
        config, self.step = self.loaded.config, self.pooled * FRAME
        self.extractor = self.loaded.optional_part("AutoFeatureExtractor")
        self.is_whisper = self.loaded.type == "whisper"
        seconds: float = BODY + 2 * CONTEXT
        if self.is_whisper:
            self.extractor = self.extractor or _LIBRARY.WhisperFeatureExtractor(
                feature_size=config.num_mel_bins, chunk_length=round(config.max_source_positions / 50)
            )
            seconds = config.max_source_positions / 50
        self.context = int(seconds / (BODY + 2 * CONTEXT) * CONTEXT * sound.RATE) // FRAME * FRAME
        self.body = max(1, (int(seconds * sound.RATE) - 2 * self.context) // self.step) * self.step
        # without a file that tells, as the encoders themselves are told apart
        self.normalizes = getattr(self.extractor, "do_normalize", getattr(config, "feat_extract_norm", "") == "layer")
        self.spec = self.loaded.spec("mean", rate, int(config.hidden_size))

    def encode(self, samples: Iterator[npt.NDArray[np.float32]]) -> Features:
        """See :class:`~mer_zoo.clips.encoders.SoundEncoder`."""
        found, peak = [], 0.0
        for x, lead, length in sound.windows(samples, self.body, self.context, self.step):
            peak = max(peak, float(np.abs(x).max(initial=0)))
            found.append(self._window(x, lead, length))
        return np.concatenate(found) if peak >= SILENCE else np.zeros((0, self.spec.dim), np.float32)

    def _window(self, x: npt.NDArray[np.float32], lead: int, length: int) -> Features:
        """Steps of ``length`` samples, of which ``lead`` stand before."""
        missing = lead + length + 2 * FRAME - len(x)
        given = np.pad(x, (0, max(0, missing)))
        if self.is_whisper:
            mel = self.extractor(given, sampling_rate=sound.RATE, return_tensors="pt")["input_features"]
            states = self.loaded.states(input_features=mel)[0]
        else:
            if self.normalizes:
                given = (given - x.mean()) / np.sqrt(x.var() + 1e-7)
            states = self.loaded.states(input_values=torch.from_numpy(given.astype(np.float32))[None])[0]
        frames = states[lead // FRAME : (lead + length) // FRAME]
        if len(frames) < length // FRAME:  # Whisper's window ends there
            frames = torch.cat([frames, frames[-1:].expand(length // FRAME - len(frames), -1)])
        pooled: Features = frames.reshape(-1, self.pooled, frames.shape[-1]).mean(1).numpy()
        return pooled


class PretrainedPictures:
    """One step a picture; VideoMAE makes one of as many pictures as it takes.

    Args:
        name: Name or folder of CLIP, SigLIP, DINOv2, ViT or VideoMAE.
        layers: See :class:`PretrainedWords`.
        revision: Branch, tag or commit on the Hub.
        fps: Pictures a second.

    Raises:
        MERError: If it can't be loaded, or is none of these.
    """

    def __init__(self, name: str, layers: LayerRule = "last", revision: str | None = None, fps: float = 5.0) -> None:
        self.loaded = _Loaded(name, "vision", PICTURE_TYPES, layers, revision)
        config = getattr(self.loaded.config, "vision_config", self.loaded.config)
        processor = self.loaded.optional_part("AutoImageProcessor")
        self.mean, self.deviation = (
            torch.tensor(getattr(processor, key, None) or [0.5] * 3)[:, None, None]
            for key in ("image_mean", "image_std")
        )
        self.size = int(config.image_size)
        self.together = int(config.num_frames) if self.loaded.type == "videomae" else 1
        pooling = "mean of tokens" if self.loaded.type in WITHOUT_CLS else "first token"
        spec = self.loaded.spec(pooling, fps / self.together, int(config.hidden_size))
        self.spec = replace(spec, joined=self.together if self.together > 1 else 0)

    def encode(self, frames: Iterator[npt.NDArray[np.uint8]]) -> Features:
        """See :class:`~mer_zoo.clips.encoders.PictureEncoder`."""
        found: list[Tensor] = []
        held: list[npt.NDArray[np.uint8]] = []
        for frame in frames:
            held.append(frame)
            if len(held) == -(-PICTURES // self.together) * self.together:
                found.append(self._encode(held))
                held = []
        if held:
            found.append(self._encode(held))
        return torch.cat(found).numpy() if found else np.zeros((0, self.spec.dim), np.float32)

    def _encode(self, frames: list[npt.NDArray[np.uint8]]) -> Tensor:
        if self.together > 1:
            frames = frames + frames[-1:] * (-len(frames) % self.together)
        x = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 255
        x = (x - self.mean) / self.deviation
        if self.together > 1:
            x = x.reshape(-1, self.together, *x.shape[1:])
        states = self.loaded.states(pixel_values=x)
        return states.mean(1) if self.loaded.type in WITHOUT_CLS else states[:, 0]
