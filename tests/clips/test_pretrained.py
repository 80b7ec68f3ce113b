"""Pretrained encoders, by tiny ones with random weights that are made from a configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mer_zoo.clips import Settings
from mer_zoo.clips.pretrained import PretrainedPictures, PretrainedSound, PretrainedWords
from mer_zoo.clips.speech import Hearing, Recogniser
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import read_specs
from mer_zoo.fields import Fields

LIBRARY: Any = transformers  # whose stubs do not tell of all its names
TINY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
CONVOLUTIONS: dict[str, Any] = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
PICTURES: dict[str, Any] = {"image_size": 16, "patch_size": 8}
WHISPER = {"attention_heads": 2, "ffn_dim": 16}
TEXT = ("Bert", "Roberta", "DebertaV2", "ModernBert")
SOUND = ("Wav2Vec2", "Hubert", "WavLM", "Data2VecAudio", "Whisper")
VISION = ("CLIPVision", "SiglipVision", "Dinov2", "ViT", "VideoMAE")
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "so", "this", "is", "good", "un", "##like", "##ly"]


def made(name: str, folder: Path, **sizes: Any) -> Path:
    torch.manual_seed(0)
    getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**sizes)).save_pretrained(folder)
    return folder


def words_encoder(name: str, folder: Path) -> Path:
    tokens: dict[str, Any] = {"vocab_size": len(VOCABULARY), "pad_token_id": 0, "max_position_embeddings": 20}
    made(name, folder, **TINY, **tokens)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    LIBRARY.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", TEXT)
def test_a_step_is_a_word(name: str, tmp_path: Path) -> None:
    encoder = PretrainedWords(str(words_encoder(name, tmp_path)))
    words = ["so", "unlikely", "good"]
    x = encoder.encode(words)
    assert x.shape == (3, 16)
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.encode(words * 40).shape == (120, 16)  # more than it has positions
    assert not np.allclose(x[0], x[2])


def test_a_word_is_the_mean_of_its_tokens(tmp_path: Path) -> None:
    folder = words_encoder("Bert", tmp_path)
    ids = torch.tensor([[2, 5, 9, 10, 11, 8, 3]])  # so un ##like ##ly good
    with torch.no_grad():
        states = transformers.BertModel.from_pretrained(folder)(ids, output_hidden_states=True)
    last = states.last_hidden_state[0].numpy()
    x = PretrainedWords(str(folder)).encode(["so", "unlikely", "good"])
    assert np.allclose(x, np.stack([last[1], last[2:5].mean(0), last[5]]), atol=1e-5)
    averaged = torch.stack(list(states.hidden_states)).mean(0)[0, 1].numpy()
    assert np.allclose(PretrainedWords(str(folder), "all").encode(["so", "unlikely", "good"])[0], averaged, atol=1e-5)


def sound_encoder(name: str, folder: Path) -> Path:
    if name == "Whisper":
        sizes: dict[str, Any] = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 100}
        sizes |= {f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in WHISPER.items()}
        return made(name, folder, **sizes, vocab_size=20, num_mel_bins=20, pad_token_id=0)
    return made(name, folder, **TINY, **CONVOLUTIONS)


@pytest.mark.parametrize("name", SOUND)
def test_sound_has_steps_at_the_rate(name: str, tmp_path: Path) -> None:
    encoder = PretrainedSound(str(sound_encoder(name, tmp_path)), rate=10)
    wave = np.random.default_rng(0).normal(0, 0.1, 16000 * 3).astype(np.float32)
    assert encoder.encode(iter(np.split(wave, [100]))).shape == (30, 16)
    assert encoder.encode(iter([np.zeros(16000, np.float32)])).shape == (0, 16)  # silence is nothing


def test_windows_make_what_the_whole_does(tmp_path: Path) -> None:
    """But for the context that is cut, which a network of convolutions alone does not see."""
    sizes = {**TINY, **CONVOLUTIONS, "num_hidden_layers": 0, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}
    folder = made("Wav2Vec2", tmp_path, **sizes)
    whole, parts = (PretrainedSound(str(folder), rate=25) for _ in range(2))
    whole.normalizes = parts.normalizes = False
    parts.body, parts.context = 6400, 3200
    wave = np.random.default_rng(0).normal(0, 0.1, 16000 * 2).astype(np.float32)
    one, other = (encoder.encode(iter(np.array_split(wave, 7))) for encoder in (whole, parts))
    assert one.shape == other.shape == (50, 16)
    assert np.allclose(one[:-1], other[:-1], atol=1e-2)


@pytest.mark.parametrize("name", VISION)
def test_pictures_have_steps(name: str, tmp_path: Path) -> None:
    frames = {"num_frames": 4} if name == "VideoMAE" else {}
    encoder = PretrainedPictures(str(made(name, tmp_path, **TINY, **PICTURES, **frames)), fps=4)
    pictures = np.random.default_rng(0).integers(0, 255, (10, 16, 16, 3), dtype=np.uint8)
    steps = 3 if frames else 10
    assert encoder.encode(iter(pictures)).shape == (steps, 16)
    assert encoder.spec.rate == (1.0 if frames else 4.0)
    assert encoder.size == 16


@pytest.mark.parametrize(("joined", "fps"), [(4, 8.0), (6, 5.0)])
def test_pictures_that_are_joined_come_at_the_same_rate_again(joined: int, fps: float, tmp_path: Path) -> None:
    folder = made("VideoMAE", tmp_path, **TINY, **PICTURES, num_frames=joined)
    settings = Settings("none", "none", str(folder), fps=fps)
    encoder = PretrainedPictures(settings.vision, fps=fps)
    told = read_specs(Fields({"vision": encoder.spec.plain()}, "file", "extract again"), ["vision"])
    assert Settings.of(told) == settings
    pictures = np.random.default_rng(0).integers(0, 255, (4 * joined, 16, 16, 3), dtype=np.uint8)
    apart = [encoder.encode(iter(pictures[at : at + joined])) for at in range(0, 4 * joined, joined)]
    assert np.allclose(encoder.encode(iter(pictures)), np.concatenate(apart), atol=1e-5)


def test_the_spec_tells_weights_apart(tmp_path: Path) -> None:
    sizes = {**TINY, **PICTURES}
    one = PretrainedPictures(str(made("ViT", tmp_path, **sizes))).spec
    torch.manual_seed(1)
    transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(tmp_path)
    assert one.difference(PretrainedPictures(str(tmp_path)).spec) is not None
    assert one.layers == "last"


def test_what_is_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="audio .no/such/folder. can.t be loaded"):
        Settings(audio="no/such/folder").audio_encoder()
    with pytest.raises(MERError, match="is a vit; choose one of wav2vec2"):
        PretrainedSound(str(made("ViT", tmp_path, **TINY, **PICTURES)))
    with pytest.raises(MERError, match="audio_rate is 7"):
        PretrainedSound(str(sound_encoder("Wav2Vec2", tmp_path / "sound")), rate=7)


def test_offline_it_is_said_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder or a recogniser that is not on the disk; one that there cannot be on the Hub has no such remedy."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MERError, match="hf download nobody/bert --revision v1; give an encoder without weights"):
        PretrainedWords("nobody/bert", revision="v1")
    with pytest.raises(MERError, match=r"can't be loaded \(.*\); give an encoder without weights"):
        PretrainedWords("/nowhere/at/all")


def test_offline_it_is_said_how_to_fetch_a_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faster_whisper")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MERError, match="by hf download Systran/faster-whisper-large-v1; give whisper-tiny.en"):
        Recogniser(Hearing("large-v1"))
