from __future__ import annotations

from pathlib import Path

import corpora
import numpy as np
import pytest

from mer_zoo.data.files.features import check_present
from mer_zoo.data.store.store import open_corpus
from mer_zoo.errors import MERError


@pytest.mark.parametrize("name", ["mult_mosi", "mult_mosi_noalign", "mult_iemocap_noalign"])
def test_padding_in_front_is_found(corpus_files: dict[str, Path], name: str) -> None:
    corpus_name = name.split("_")[1]
    tree = corpora.mult(corpus_name, aligned="noalign" not in name)
    corpus = open_corpus(corpus_files[name])
    for split, fields in tree.items():
        data = corpus.split(split)
        for key in ("text", "audio", "vision"):
            real = fields[key].any(2)
            np.testing.assert_array_equal(
                data.spans[key], np.stack([real.argmax(1), 0 * real.argmax(1) + real.shape[1]], 1)
            )
        assert data.token_ids is None
        assert data.raw_text == [""] * len(data)


def test_zero_steps_between_others_are_real_and_missing_sequences_are_noted(tmp_path: Path) -> None:
    tree = corpora.mult("mosi", aligned=False)
    tree["train"]["vision"][0] = 0
    tree["train"]["vision"][0, 2] = tree["train"]["vision"][0, 5] = 1
    tree["train"]["vision"][3:5] = 0
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    spans = corpus.split("train").spans["vision"]
    assert spans[0].tolist() == [2, 6]
    assert spans[3:5].tolist() == [[0, 0], [0, 0]]
    assert "train: vision is absent (all zero) in 2 of 8 samples" in corpus.notes


def test_a_step_of_minus_infinity_is_real(tmp_path: Path) -> None:
    tree = corpora.mult("mosi", aligned=False)
    tree["train"]["audio"][0] = 0
    tree["train"]["audio"][0, -3] = -np.inf
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    assert corpus.split("train").spans["audio"][0].tolist() == [5, 6]
    assert np.isfinite(corpus.split("train").features["audio"]).all()


def test_nan_is_an_error_that_names_field_split_count_and_samples(tmp_path: Path) -> None:
    path = corpora.dump(corpora.with_nan(), tmp_path / "corpus.pkl")
    with pytest.raises(MERError) as caught:
        open_corpus(path, cache_dir=tmp_path / "cache")
    for part in (
        "train: audio holds 2 NaN or infinite values (samples q--Wx$_$1, _aB-1$_$2)",
        "train: vision holds 44 NaN or infinite values (samples _aB-1$_$4)",
        "test: text holds 1 NaN or infinite value (",
        "set data.nan: zero",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_nan_becomes_zero_when_asked(tmp_path: Path) -> None:
    corpus = open_corpus(corpora.dump(corpora.with_nan(), tmp_path / "corpus.pkl"), nan="zero")
    train = corpus.split("train")
    assert train.features["audio"][1, 0, 1] == train.features["audio"][2, 0, 2] == 0
    assert train.spans["vision"][4].tolist() == [0, 0]
    assert "train: 2 NaN or infinite values in audio of 2 samples set to 0" in corpus.notes
    assert all(np.isfinite(x).all() for data in corpus.splits.values() for x in data.features.values())


def test_numbers_too_large_for_float32_count_as_infinite(tmp_path: Path) -> None:
    tree = corpora.mmsa(aligned=True)
    tree["train"]["vision"][0, 0, 0] = 1e200
    with pytest.raises(MERError, match="train: vision holds 1 NaN or infinite value "):
        open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))


def test_a_length_of_zero_is_sound_where_the_sample_is_zero(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["valid"]["vision_lengths"][3] = 0
    tree["valid"]["vision"][3] = 0
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    assert corpus.split("valid").spans["vision"][3].tolist() == [0, 0]


@pytest.mark.parametrize("tokens", [False, True])
def test_a_modality_that_is_always_zero_is_refused_when_used(tmp_path: Path, tokens: bool) -> None:
    tree = corpora.mmsa()
    for fields in tree.values():
        fields["vision"][:] = 0
    tree["test"]["vision"][0] = 1
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    check_present(corpus, ["text", "audio"], tokens)
    with pytest.raises(
        MERError, match=r"has no vision: it is zero in every sample; set data\.modalities: \[text, audio\]"
    ):
        check_present(corpus, ["text", "audio", "vision"], tokens)


def test_tokens_without_words_are_refused_when_used(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for fields in tree.values():
        fields["text_bert"][:, 1] = 0
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    check_present(corpus, ["text"], tokens=False)
    with pytest.raises(MERError, match="has no text"):
        check_present(corpus, ["text"], tokens=True)


def test_lengths_of_padding_in_front_follow_the_data(tmp_path: Path) -> None:
    tree, plain = corpora.mmsa(), corpora.mmsa()
    for fields in tree.values():
        for row, length in enumerate(fields["audio_lengths"]):
            fields["audio"][row] = np.roll(fields["audio"][row], 9 - length, axis=0)
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    for split, fields in plain.items():
        stated = np.asarray(fields["audio_lengths"])
        np.testing.assert_array_equal(corpus.split(split).spans["audio"], np.stack([9 - stated, 0 * stated + 9], 1))
        behind = sum(length < 9 for length in stated)
        assert f"{split}: audio of {behind} samples stands behind audio_lengths" in "\n".join(corpus.notes)


def test_a_few_steps_behind_the_lengths_are_cut(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    tree["train"]["audio"][:, -1] = 1
    tree["train"]["audio"][:, 0] = 1
    tree["train"]["audio_lengths"] = [5] * 8
    corpus = open_corpus(corpora.dump(tree, tmp_path / "corpus.pkl"))
    assert corpus.split("train").spans["audio"].tolist() == [[0, 5]] * 8
    assert "train: audio goes on behind audio_lengths in 8 samples; the rest is not used" in corpus.notes
