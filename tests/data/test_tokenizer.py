"""Corpora of four kinds of tokenizers, trained here: whatever the special tokens are, they are those of the file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import corpora
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding.reader import TraceReader
from mer_zoo.data import MOSI
from mer_zoo.data.corpus.tokens import BERT, FAMILIES, SpecialTokens, found_tokens
from mer_zoo.data.missing import RMFM, derive_key
from mer_zoo.data.ood.pool import Pool
from mer_zoo.data.store.store import open_corpus
from mer_zoo.data.tokenizer import load_tokens, spellings_of
from mer_zoo.errors import MERError
from mer_zoo.functional.language_bias import split_words
from mer_zoo.task import build_task
from mer_zoo.wrappers import MSSD
from mer_zoo.wrappers.maci.language_bias import LanguageBias

SENTENCES = [
    "I really did not like this movie at all",
    "the music was good and the acting was really good",
    "Unbelievable how unlikely that acting was",
    "so this is a film that I like",
    "good music",
    "nobody likes likeable movies",
    "movie like no like movie",
]
KINDS = ("wordpiece", "bpe", "sentencepiece", "xlm")
ORDERS = {
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "bpe": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "sentencepiece": ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
    "xlm": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
}


class Trained(NamedTuple):
    tokenizer: Tokenizer
    special: SpecialTokens


@cache
def trained(kind: str) -> Trained:
    """A tokenizer of the kind that BERT, RoBERTa, DeBERTa-v3 or XLM-RoBERTa has, with a vocabulary of its own."""
    order = ORDERS[kind]
    unk = next(token for token in order if "unk" in token.lower())
    trainer: Any
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token=unk))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=order)
    elif kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token=unk))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=order, initial_alphabet=alphabet)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=order, unk_token=unk)
    tokenizer.train_from_iterator(SENTENCES * 30, trainer)
    vocabulary = tokenizer.get_vocab()
    ids = {name: vocabulary[token] for name, token in named(order).items()}
    pair = [(order_token(order, "cls"), ids["cls"]), (order_token(order, "sep"), ids["sep"])]
    tokenizer.post_processor = processors.BertProcessing(pair[1], pair[0])
    return Trained(tokenizer, SpecialTokens(**ids, vocab_size=tokenizer.get_vocab_size(), of=kind))


def named(order: list[str]) -> dict[str, str]:
    return {name: order_token(order, name) for name in ("pad", "unk", "cls", "sep", "mask")}


def order_token(order: list[str], name: str) -> str:
    spelt = {"cls": ("[cls]", "<s>"), "sep": ("[sep]", "</s>")}.get(name, (f"[{name}]", f"<{name}>"))
    return next(token for token in order if token.lower() in spelt)


def options(special: SpecialTokens) -> dict[str, int]:
    return {name: getattr(special, name) for name in ("pad", "unk", "cls", "sep", "mask", "vocab_size")}


def corpus(kind: str, folder: Path) -> str:
    """An MMSA file whose token ids that tokenizer has made."""
    tokenizer, special = trained(kind)
    tree = corpora.mmsa()
    for number, fields in enumerate(tree.values()):
        count = len(fields["id"])
        texts = [SENTENCES[(row + number) % len(SENTENCES)] for row in range(count)]
        rows = [tokenizer.encode(text).ids for text in texts]
        steps = 64
        tokens = np.zeros((count, 3, steps), np.int64)
        tokens[:, 0] = special.pad
        for row, ids in enumerate(rows):
            tokens[row, 0, : len(ids)], tokens[row, 1, : len(ids)] = ids, 1
        text = np.random.default_rng(number).normal(size=(count, steps, 6)).astype("f4")
        fields |= {"text_bert": tokens, "text": text, "raw_text": np.array(texts)}
    return str(corpora.dump(tree, folder / f"{kind}.pkl"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tokens")
    return {kind: corpus(kind, folder) for kind in KINDS}


@pytest.fixture(scope="module")
def data(files: dict[str, str]) -> dict[str, MOSI]:
    return {
        kind: MOSI(file, text="tokens", batch_size=8, standardize=False, tokenizer=options(trained(kind).special))
        for kind, file in files.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_conventions_reach_the_models(data: dict[str, MOSI], kind: str) -> None:
    spec, special = data[kind].spec, trained(kind).special
    assert {key: value for key, value in dict(spec).items() if key.endswith("_id")} == special.options()
    assert spec.vocab_size >= special.vocab_size


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(rate=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_gaps_are_unknown_tokens_and_never_at_the_ends(
    data: dict[str, MOSI], kind: str, rate: float, seed: int
) -> None:
    spec, special = data[kind].spec, trained(kind).special
    batch = next(iter(data[kind].batch_source("train")))
    pattern = RMFM(rate)
    view = pattern(batch, spec, derive_key(seed, "test", pattern))
    before, after, mask = batch.text.x, view.text.x, batch.text.mask
    assert set(before[~mask].tolist()) <= {special.pad}
    assert torch.equal(after[~mask], before[~mask])
    assert (after[:, 0] == special.cls).all()
    assert (after.gather(1, mask.sum(1, keepdim=True) - 1) == special.sep).all()
    changed = after != before
    assert set(after[changed].tolist()) <= {special.unk}
    if rate == 1:
        assert set(after[mask].tolist()) == {special.cls, special.sep, special.unk}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=10, deadline=None)
@given(words=st.integers(1, 12), seed=st.integers(0, 100))
def test_bias_words_of_maci_are_words_and_the_rest_is_masked(
    data: dict[str, MOSI], kind: str, words: int, seed: int
) -> None:
    spec, special = data[kind].spec, trained(kind).special
    batch = next(iter(data[kind].batch_source("train")))
    bias = LanguageBias(spec, (), num_words=words, selection="fixed", fixed_tau=0.5)
    classes = torch.randint(0, 3, batch.text.x.shape, generator=torch.Generator().manual_seed(seed))
    bias.fit(batch.text.x.flatten(), classes.view(-1, 1), num_classes=3, threshold=0.0)
    ends = set(special.options().values())
    kept = set(bias.words.tolist()) - {-1}
    assert kept
    assert not kept & ends
    (view,), _ = bias.views(batch)
    assert set(view.text.x.flatten().tolist()) <= kept | ends
    assert torch.equal(view.text.x == special.pad, batch.text.x == special.pad)
    assert (view.text.x[:, 0] == special.cls).all()


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_spelt_as_the_transcripts_have_them(data: dict[str, MOSI], kind: str) -> None:
    tokenizer, special = trained(kind)
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    reader = TraceReader(data[kind].spec)
    split = reader.read(data[kind].batch_source("train"), lambda batch: torch.zeros(len(batch), dtype=torch.long))
    numbers = torch.unique(torch.cat(split.words))
    assert not set(numbers.tolist()) & set(special.options().values())
    names = reader.spellings(numbers, split)
    assert any(names)
    for number, name in zip(numbers.tolist(), names, strict=True):
        if name:
            piece = pieces[number].replace("##", "").replace("\u0120", "").replace("\u2581", "")
            assert piece.lower() in name
        holders = reader.holders(number, split)
        assert not holders or set(holders) <= {word for text in SENTENCES for word in split_words(text)}


def test_words_of_new_splits_are_no_special_tokens(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for fields in tree.values():
        ids = fields["text_bert"][:, 0]
        ids[ids == 0], ids[ids == 101], ids[ids == 102] = 1, 0, 2
    words = Pool.of(open_corpus(corpora.dump(tree, tmp_path / "roberta.pkl"))).words("tokens", "it")
    assert all(word >= "1000" for own in words for word in own)
    for fields in tree.values():
        fields["text_bert"][:, 0][fields["text_bert"][:, 0] == 0] = 77
    with pytest.raises(MERError, match="token ids of an unknown tokenizer; take words of the texts"):
        Pool.of(open_corpus(corpora.dump(tree, tmp_path / "other.pkl"))).words("tokens", "it")


@pytest.mark.parametrize("kind", KINDS)
def test_silent_rows_of_the_embedding_are_theirs(data: dict[str, MOSI], kind: str) -> None:
    from mer_zoo.model.backbone import _embedding

    embedding, special = _embedding(data[kind].spec), trained(kind).special
    silent = (embedding.weight == 0).all(1).nonzero().flatten().tolist()
    assert silent == sorted({special.pad, special.unk, special.mask})


def test_a_tokenizer_is_loaded_from_its_folder(tmp_path: Path, files: dict[str, str]) -> None:
    for kind in KINDS:
        tokenizer, special = trained(kind)
        fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=tokenizer, **{f"{name}_token": token for name, token in named(ORDERS[kind]).items()}
        )
        fast.save_pretrained(tmp_path / kind)
        loaded = load_tokens(str(tmp_path / kind))
        assert options(loaded) == options(special)
    own = MOSI(files["bpe"], text="tokens", tokenizer=str(tmp_path / "bpe"))
    assert own.spec.unk_id == trained("bpe").special.unk
    with pytest.raises(MERError, match="0 % of the texts begin with 2, the first token of tokenizer"):
        MOSI(files["bpe"], text="tokens", tokenizer=str(tmp_path / "wordpiece"))
    with pytest.raises(MERError, match="nowhere can't be loaded .*; give a local folder, or its special ids"):
        load_tokens(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("family", FAMILIES, ids=[family.of for family in FAMILIES])
def test_what_texts_begin_and_end_with_tells_the_family(family: SpecialTokens) -> None:
    words = np.arange(family.vocab_size - 6, family.vocab_size - 2)
    ids = np.array([[family.cls, *words, family.sep, family.pad]] * 3, np.int32)
    assert found_tokens([(ids, np.array([[0, 6]] * 3))]) is family


def test_unknown_tokens_are_refused_where_they_are_read_and_not_handed_out_elsewhere(tmp_path: Path) -> None:
    tree = corpora.mmsa()
    for fields in tree.values():
        fields["text_bert"][:, 0][fields["text_bert"][:, 0] == 101] = 77
    path = str(corpora.dump(tree, tmp_path / "own.pkl"))
    with pytest.raises(MERError, match=r"texts do not begin with 101 \(\[CLS\]\) .* set data\.tokenizer to the one"):
        MOSI(path, text="tokens")
    features = MOSI(path)
    assert next(iter(features.batch_source("train"))).text.ids is None
    assert any("no known tokenizer" in note for note in features.corpus.notes)
    own = {"pad": 0, "unk": 100, "cls": 77, "sep": 102, "mask": 103}
    assert MOSI(path, text="tokens", tokenizer=own).spec.cls_id == 77
    assert next(iter(MOSI(path, tokenizer=own).batch_source("train"))).text.ids is not None
    for wrong in ({"pad": 1}, {**own, "cls": "a"}, {**own, "more": 1}):
        with pytest.raises(MERError, match="give the ids of pad, unk, cls, sep and mask"):
            MOSI(path, tokenizer=wrong)


def test_corpora_of_two_tokenizers_are_not_tested_across(tmp_path: Path) -> None:
    one = str(corpora.dump(corpora.mmsa(), tmp_path / "bert.pkl"))
    tree = corpora.mmsa(3)
    for fields in tree.values():
        ids = fields["text_bert"][:, 0]
        ids[ids == 101], ids[ids == 102] = 2, 3
    other = str(corpora.dump(tree, tmp_path / "albert.pkl"))
    with pytest.raises(MERError, match="begin with 2 and end with 3, those of .* with 101 and 102"):
        MOSI(one, text="tokens").dataset("test", other)


def test_texts_that_are_lengthened_are_padded_with_their_padding(data: dict[str, MOSI]) -> None:
    own = data["bpe"]
    own.spec.text_len, own.is_cut = 80, True
    try:
        text = next(iter(own.batch_source("train"))).text
    finally:
        own.spec.text_len, own.is_cut = 64, False
    assert set(text.x[~text.mask].tolist()) == {trained("bpe").special.pad}


@pytest.mark.parametrize("special", [BERT, *FAMILIES[1:]], ids=[family.of for family in FAMILIES])
def test_random_texts_have_no_special_tokens(special: SpecialTokens) -> None:
    ids_of: dict[str, Any] = special.options()
    spec = DataSpec(tokens=True, vocab_size=special.vocab_size, **ids_of)
    text = Batch.random(spec, build_task("seven"), size=8).text
    ids = text.x[text.mask]
    assert ids.max() < spec.vocab_size
    assert not set(ids.tolist()) & set(special.options().values())


def saved(kind: str, folder: Path) -> str:
    """The folder of a tokenizer, as ``save_pretrained`` leaves it."""
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=trained(kind).tokenizer,
        **{f"{name}_token": token for name, token in named(ORDERS[kind]).items()},
    )
    fast.save_pretrained(folder / kind)
    return str(folder / kind)


def clips_of_words(count: int) -> list[Any]:
    """Clips as MAG-BERT's own file has them: the k-th word has audio k + 1, and vision -(k + 1)."""
    found = []
    for row in range(count):
        words = SENTENCES[row % len(SENTENCES)].split()
        steps = np.arange(1.0, len(words) + 1)[:, None]
        found.append(((words, -steps, np.hstack([steps, steps])), np.array([[row % 7 - 3.0]]), f"{count}_{row}"))
    return found


def words_only(folder: Path) -> str:
    tree = {name: clips_of_words(count) for name, count in {"train": 12, "dev": 4, "test": 5}.items()}
    return str(corpora.dump(tree, folder / "mosi.pkl"))


@pytest.mark.parametrize("kind", KINDS)
def test_texts_become_token_ids_and_pieces_keep_what_is_seen_and_heard_of_their_word(kind: str, tmp_path: Path) -> None:
    tokenizer, special = trained(kind)
    own = MOSI(words_only(tmp_path), text="tokens", tokenizer=saved(kind, tmp_path), standardize=False)
    assert own.spec.aligned
    assert own.spec.text_len == own.spec.audio_len == own.spec.vision_len
    assert {name: getattr(own.spec, f"{name}_id") for name in ("pad", "cls", "sep")} == {
        name: getattr(special, name) for name in ("pad", "cls", "sep")
    }
    batch = own.dataset("train").__getitems__(list(range(7)))
    for row, sentence in enumerate(SENTENCES):
        made = tokenizer.encode(sentence)
        ids, mask = batch.text.x[row], batch.text.mask[row]
        assert ids[mask].tolist() == made.ids
        assert set(ids[~mask].tolist()) <= {special.pad}
        heard = batch.audio.x[row, :, 0].tolist()
        expected = [0 if a == b else 1 + sentence[:b].count(" ") for a, b in made.offsets]
        assert heard[: len(expected)] == expected
        assert not any(heard[len(expected) :])
        assert batch.audio.mask[row].tolist() == [step > 0 for step in heard]
        assert torch.equal(batch.vision.x[row, :, 0], -batch.audio.x[row, :, 0])
    assert any("each piece of a word has its audio and vision" in note for note in own.corpus.notes)


def test_a_text_whose_words_have_no_steps_has_an_axis_of_its_own(tmp_path: Path) -> None:
    tree = {name: clips_of_words(count) for name, count in {"train": 12, "dev": 4, "test": 5}.items()}
    (words, vision, audio), *rest = tree["train"][1]
    tree["train"][1] = ((words[:-2], vision, audio), *rest)
    path = str(corpora.dump(tree, tmp_path / "mosi.pkl"))
    own = MOSI(path, text="tokens", tokenizer=saved("bpe", tmp_path), standardize=False)
    assert not own.spec.aligned
    assert own.spec.audio_len < own.spec.text_len
    assert torch.equal(own.dataset("train").__getitems__([0]).audio.x[0, :3, 0], torch.tensor([1.0, 2.0, 3.0]))


def test_what_no_token_ids_can_be_made_of_is_said(tmp_path: Path) -> None:
    path, tokenizer = words_only(tmp_path), saved("xlm", tmp_path)
    for without in (None, options(trained("xlm").special)):
        with pytest.raises(MERError, match="no token ids; set data.text: features, or data.tokenizer to the name or"):
            MOSI(path, text="tokens", tokenizer=without)
    assert MOSI(path, modalities=["audio"], tokenizer=tokenizer).corpus.split("train").token_ids is None
    tree = {name: clips_of_words(count) for name, count in {"train": 12, "dev": 4, "test": 5}.items()}
    silent = {name: [(([], *parts[1:]), *rest) for parts, *rest in clips] for name, clips in tree.items()}
    with pytest.raises(MERError, match="neither token ids nor texts to make them of; set data.text: features"):
        MOSI(str(corpora.dump(silent, tmp_path / "silent.pkl")), text="tokens", tokenizer=tokenizer)


def test_another_corpus_of_words_is_tested_across(tmp_path: Path) -> None:
    tokenizer = saved("wordpiece", tmp_path)
    one = MOSI(words_only(tmp_path), text="tokens", tokenizer=tokenizer, standardize=False)
    tree = {name: clips_of_words(count) for name, count in {"train": 6, "dev": 3, "test": 2}.items()}
    other = str(corpora.dump(tree, tmp_path / "other.pkl"))
    batch = one.dataset("test", other).__getitems__([0, 1])
    assert batch.text.x.shape[1] == batch.audio.x.shape[1] == one.spec.text_len
    made = trained("wordpiece").tokenizer.encode(SENTENCES[1]).ids
    assert batch.text.x[1][batch.text.mask[1]].tolist() == made


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_spelt_by_the_vocabulary(kind: str, tmp_path: Path) -> None:
    names = spellings_of(saved(kind, tmp_path))
    tokenizer, special = trained(kind)
    assert len(names) == tokenizer.get_vocab_size()
    for sentence in SENTENCES:
        ids = [number for number in tokenizer.encode(sentence).ids if number not in set(special.options().values())]
        spelt = "".join(name[2:] if name.startswith("##") else f" {name}" for name in map(names.__getitem__, ids))
        # byte-level BPE without a blank in front writes the first word as if it went on
        assert spelt.strip() == (sentence.lower() if kind == "wordpiece" else sentence)
    assert names[special.mask] == ORDERS[kind][-1]


@pytest.mark.parametrize("kind", KINDS)
def test_mssd_restores_texts_of_any_tokenizer(data: dict[str, MOSI], kind: str) -> None:
    spec, special = data[kind].spec, trained(kind).special
    torch.manual_seed(0)
    task = build_task("seven")
    model = MSSD(LFLSTM(spec, task), alpha=1.0, gamma=0.0, rate=1.0)
    complete, incomplete = model.steps(next(iter(data[kind].batch_source("train"))))
    before, after, mask = complete.batch.text.x, incomplete.batch.text.x, complete.batch.text.mask
    assert set(after[mask].tolist()) == {special.cls, special.sep, special.unk}
    assert torch.equal(after[~mask], before[~mask])
    torch.autograd.backward(incomplete.losses["mssd/recon"])
    grad = model.backbone.get_parameter("text_embedding.weight").grad
    assert grad is not None
    assert set(grad.abs().sum(1).nonzero().flatten().tolist()) <= {special.cls, special.sep, special.unk}
