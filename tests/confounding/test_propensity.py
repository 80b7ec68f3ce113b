"""Propensities of a training split: which words, for which tasks, by which source,
and what is left of them in a checkpoint.
"""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from mer_zoo.batch import Batch, DataSpec
from mer_zoo.confounding.propensity import Propensity
from mer_zoo.confounding.trace import PooledTrace, WordRule, Words
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.deconfounding import deconfounding_weights
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, build_task


def data(task: str = "binary", train: int = 300, rho: float = 0.8) -> SyntheticMER:
    config = SyntheticConfig(rho=rho, train=train, valid=100, test=4, seed=3)
    return SyntheticMER(config, task=task, batch_size=64)


def fitted(module: SyntheticMER, words: Words = "frequent", max_words: int = 100, **options: Any) -> Propensity:
    propensity = Propensity(module.spec, module.task, WordRule(words, max_words), **options)
    propensity.fit(module.batch_source("train"))
    return propensity


def shuffled(source: SyntheticMER) -> list[Batch]:
    """The training split in another order and other batches."""
    dataset = source.dataset("train")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    return [dataset.__getitems__(part.tolist()) for part in torch.split(order, 41)]


@pytest.mark.parametrize("words", ["frequent", "maci"])
def test_words_tell_the_topic(words: Words) -> None:
    propensity = fitted(data(), words, max_words=36)
    topics = (propensity.words >= 1100) & (propensity.words < 1136)
    assert topics.sum() > 18
    if words == "frequent":
        assert topics.sum() >= 0.9 * (propensity.words >= 0).sum()
    assert (propensity.prior_loss - propensity.loss).item() > 0.1
    numbers = propensity.diagnostics()
    assert set(numbers) == {"propensity/words", "propensity/gain", "propensity/open", "propensity/ess"}
    assert numbers["propensity/open"] == 1.0


@pytest.mark.parametrize("words", ["frequent", "maci"])
def test_without_confounding_nothing_is_weighted(words: Words) -> None:
    source = data(rho=1 / 3, train=600)
    propensity = fitted(source, words, max_words=36)
    assert propensity.diagnostics()["propensity/open"] == 0.0
    assert torch.equal(propensity.train_weights(), torch.ones(600, dtype=torch.float64))
    assert torch.equal(propensity.train_offsets(), torch.zeros(600, 3, dtype=torch.float64))
    for batch in source.batch_source("valid"):
        assert torch.equal(propensity.weights(propensity.log_p(batch), batch.target), torch.ones(len(batch)).double())
    (problem,) = propensity.report["problems"]
    assert problem["open"] is False
    assert {point["ess"] for point in problem["curve"]} == {600.0}
    unguarded = fitted(source, words, max_words=36, gate=False)
    assert unguarded.is_open
    assert torch.equal(unguarded.out_of_fold, propensity.out_of_fold)


def test_the_gate_goes_by_the_error_of_the_gain() -> None:
    propensity = fitted(data(train=120))
    gain = propensity.prior_loss - propensity.loss
    p, prior = propensity.out_of_fold, propensity.prior.double().log()
    own = (p - prior).gather(1, propensity.target[:, None]).squeeze(1)
    torch.testing.assert_close(gain, own.mean().float(), atol=0.02, rtol=0)
    torch.testing.assert_close(propensity.error, (own.std() / 120**0.5).float(), atol=0.002, rtol=0)
    assert bool(propensity.is_open) == bool(gain > 1.645 * propensity.error)


def test_clips_of_a_recording_count_as_one_in_the_error() -> None:
    source = data(train=120)
    batches = list(source.batch_source("train"))
    rows = torch.cat([batch.text.x for batch in batches]).repeat(4, 1)
    times = batches[0].replace(
        text=batches[0].text.replace(x=rows, mask=rows > 0, observed=rows > 0),
        target=torch.cat([batch.target for batch in batches]).repeat(4),
        index=torch.arange(480),
        ids=[f"r{i % 120}$_${i}" for i in range(480)],
        raw_text=[""] * 480,
    )
    propensity = Propensity(source.spec, source.task, WordRule("maci"))
    propensity.fit([times])
    own = (propensity.out_of_fold - propensity.prior.log()).gather(1, propensity.target[:, None]).squeeze(1)
    torch.testing.assert_close(propensity.error, (own[:120].std() / 120**0.5).float(), atol=0.003, rtol=0)


def test_each_emotion_has_a_gate_of_its_own() -> None:
    source = data("emotions", train=300)
    batches = []
    for batch in source.batch_source("train"):
        chance = torch.rand(len(batch), generator=torch.Generator().manual_seed(int(batch.index[0]))) < 0.5
        batches.append(batch.replace(target=torch.cat([chance.long()[:, None], batch.target[:, 1:]], 1)))
    propensity = Propensity(source.spec, source.task)
    propensity.fit(batches)
    assert not propensity.is_open[0]
    assert propensity.is_open[1:].any()
    weights, offsets = propensity.train_weights(), propensity.train_offsets()
    assert set(weights[:, 0].tolist()) == {1.0}
    assert not offsets[:, 0].any()
    varies = weights.std(0) > 0.05
    assert varies.tolist() == propensity.is_open.tolist()
    assert offsets.abs().sum((0, 2)).bool().tolist() == propensity.is_open.tolist()


def test_the_order_of_the_samples_does_not_matter() -> None:
    source = data(train=120)
    one = fitted(source, max_words=20)
    other = Propensity(source.spec, source.task, WordRule(max_words=20))
    other.fit(shuffled(source))
    assert one.ids == other.ids
    assert torch.equal(one.target, other.target)
    assert torch.equal(one.words, other.words)
    torch.testing.assert_close(one.train_weights(), other.train_weights(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("words", ["frequent", "maci"])
def test_transcripts_serve_as_token_ids_do(words: Words) -> None:
    source = data(train=120)
    batches = list(source.batch_source("train"))
    gone = [batch.replace(text=batch.text.replace(x=torch.zeros(len(batch), 26, 3))) for batch in batches]
    by_token, by_text = (Propensity(source.spec, source.task, WordRule(words)) for _ in range(2))
    by_token.fit(batches)
    by_text.fit(gone)
    assert by_token.by_token
    assert not by_text.by_token
    torch.testing.assert_close(by_token.train_weights(), by_text.train_weights(), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(by_token.log_p(batches[0]), by_text.log_p(gone[0]), atol=1e-4, rtol=1e-4)
    names = [[row["word"] for row in kept.report["problems"][0]["words"]] for kept in (by_token, by_text)]
    assert names[0] == names[1]
    assert all(names[0])
    with pytest.raises(MERError, match="this batch has no token ids, but the propensities were fitted with them"):
        by_token.log_p(gone[0])


@pytest.mark.parametrize("by_text", [False, True])
def test_words_that_are_meant_are_kept(by_text: bool) -> None:
    source = data(train=120)
    batches = list(source.batch_source("train"))
    if by_text:
        batches = [batch.replace(text=batch.text.replace(x=torch.zeros(len(batch), 26, 3))) for batch in batches]
    before = Propensity(source.spec, source.task)
    before.fit(batches)
    found = before.report["problems"][0]["words"]
    assert len(found) > 2
    kept = (found[0]["word"].upper(), f"#{found[1]['number']}")
    after = Propensity(source.spec, source.task, WordRule(keep_words=kept))
    after.fit(batches)
    report = json.loads(json.dumps(after.report))
    assert report["keep_words"] == list(kept)
    counts = [{row["word"]: row["count"] for row in rows} for rows in (found[2:], report["problems"][0]["words"])]
    assert counts[0].items() <= counts[1].items()
    assert not {row["word"] for row in found[:2]} & counts[1].keys()
    assert after.train_weights().ne(before.train_weights()).any()
    if not by_text:
        return
    by_hand = [
        batch.replace(
            raw_text=[" ".join(w for w in t.split() if w not in {r["word"] for r in found[:2]}) for t in batch.raw_text]
        )
        for batch in batches
    ]
    lacking = Propensity(source.spec, source.task)  # as if the texts had never had these words
    lacking.fit(by_hand)
    assert torch.equal(lacking.train_weights(), after.train_weights())


def pieces() -> tuple[DataSpec, list[Batch]]:
    """Texts of a word that is told by the class and read as two tokens, 7 and 9,
    and of words that are tokens of their own.
    """
    spec, task = DataSpec(tokens=True, vocab_size=200, text_len=3), SentimentClassification(2)
    batch = Batch.random(spec, task, size=80)
    negative = torch.arange(80) % 2 == 0
    ids = torch.where(negative[:, None], torch.tensor([7, 9, 150]), torch.tensor([160, 150, 0]))
    mask = torch.ones(80, 3, dtype=torch.bool)
    mask[~negative, 2] = False
    texts = ["dont go" if row else "do go" for row in negative.tolist()]
    return spec, [batch.replace(text=batch.text.replace(x=ids, mask=mask), target=negative.long(), raw_text=texts)]


def test_pieces_of_words_are_named_by_their_number() -> None:
    spec, batches = pieces()
    task = SentimentClassification(2)
    fitted = Propensity(spec, task)
    fitted.fit(batches)
    rows = {row["word"]: row.get("piece_of") for row in fitted.report["problems"][0]["words"]}
    assert rows == {"#7": ["dont"], "#9": ["dont"], "do": None}
    kept = Propensity(spec, task, WordRule(keep_words=("#7", "#9")))
    kept.fit(batches)
    assert [row["word"] for row in kept.report["problems"][0]["words"]] == ["do"]
    for names in (("#7", "dont"), ("dont",), ("#7", "#70")):
        with pytest.raises(
            MERError, match=f"keep_words .* names '{names[-1]}', which the model does not read as a word"
        ):
            Propensity(spec, task, WordRule(keep_words=names)).fit(batches)


def test_columns_that_are_constant_but_for_rounding_tell_nothing() -> None:
    pooled = torch.full((50, 1), 123.456) + torch.randn(50, 1, generator=torch.Generator().manual_seed(0)) * 4e-6
    assert pooled.std() > 0
    assert PooledTrace(pooled)(torch.arange(50)).abs().max() < 1e-3
    small = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)) * 1e-6
    assert PooledTrace(small)(torch.arange(50)).std() == pytest.approx(1, abs=0.05)


def test_transcripts_that_are_missing_later() -> None:
    spec, task = DataSpec(), SentimentClassification(2)
    texts = [("so", "good", "")[i % 3] for i in range(60)]
    batch = Batch.random(spec, task, size=60).replace(raw_text=texts)
    propensity = Propensity(spec, task)
    propensity.fit([batch])
    assert propensity.log_p(batch.replace(raw_text=[""] * 60)).shape == (60, 2)
    with pytest.raises(MERError, match="this batch has no transcripts, but the propensities were fitted with them"):
        propensity.log_p(batch.replace(raw_text=[]))


@pytest.mark.parametrize("ids", ["r{}$_${}", "aB3-_xYz{:03}_{}", "r{}"])
def test_a_recordings_labels_have_no_part_in_its_propensities(ids: str) -> None:
    source = data(train=120)
    batches = [
        batch.replace(ids=[ids.format(i % 10, i) for i in batch.index.tolist()])
        for batch in source.batch_source("train")
    ]
    changed = [
        batch.replace(target=batch.target.where(batch.index % 10 != 4, (batch.target + 1) % 3)) for batch in batches
    ]
    before, after = (Propensity(source.spec, source.task, WordRule("maci")) for _ in range(2))
    before.fit(batches)
    after.fit(changed)
    own = torch.arange(120) % 10 == 4
    assert not torch.equal(before.target[own], after.target[own])
    assert torch.equal(before.out_of_fold[own], after.out_of_fold[own])
    assert not torch.equal(before.out_of_fold[~own], after.out_of_fold[~own])


def test_features_that_are_not_finite() -> None:
    spec, task = DataSpec(), SentimentClassification(2)
    batch = Batch.random(spec, task, size=6)
    x = batch.audio.x.clone()
    x[2] = float("inf")
    batch = batch.replace(audio=batch.audio.replace(x=x), ids=[f"clip {i}" for i in range(6)])
    with pytest.raises(
        MERError, match="features of sample 'clip 2' are not finite, so they tell no bias; .*validate-data"
    ):
        Propensity(spec, task, source="audio").fit([batch])


def test_samples_are_found_by_their_place() -> None:
    spec, task = DataSpec(tokens=True), SentimentClassification(3)
    batch = Batch.random(spec, task, size=6)
    with pytest.raises(MERError, match="does not number the samples of the training split from 0"):
        Propensity(spec, task).fit([batch, batch])


def test_without_words() -> None:
    spec, task = DataSpec(), SentimentClassification(3)
    with pytest.raises(MERError, match="neither token ids nor transcripts, so there are no biased words to go by"):
        Propensity(spec, task).fit([Batch.random(spec, task, size=6)])


def test_special_tokens_and_padding_are_no_words() -> None:
    spec, task = DataSpec(tokens=True, vocab_size=108, text_len=3), SentimentClassification(2)
    batch = Batch.random(spec, task, size=30)
    first = torch.full((30, 1), spec.unk_id)
    text = batch.text.replace(x=torch.cat([first, batch.text.x[:, 1:]], 1))
    propensity = Propensity(spec, task, WordRule("maci", min_cv=0.0))
    propensity.fit([batch.replace(text=text)])
    assert set(propensity.words[propensity.words >= 0].tolist()) == {104, 105, 106, 107}


def by_hand(propensity: Propensity, batch: Batch) -> Tensor:
    counts = torch.stack([(batch.text.x == word).sum(1) for word in propensity.words]).T.float()
    if propensity.rule.words == "frequent":
        counts = 3 * counts / counts.sum(1, keepdim=True).clamp(min=1)
    return (counts @ propensity.coefficients + propensity.intercept).log_softmax(1)


@pytest.mark.parametrize("words", ["frequent", "maci"])
def test_new_samples_by_hand_and_saved(words: Words) -> None:
    source = data(train=100)
    propensity = fitted(source, words, max_words=30)
    assert propensity.coefficients.any()
    (batch, *_) = source.batch_source("valid")
    torch.testing.assert_close(propensity.log_p(batch), by_hand(propensity, batch))
    again = Propensity(source.spec, source.task, propensity.rule)
    again.load_state_dict(propensity.state_dict())
    assert torch.equal(again.log_p(batch), propensity.log_p(batch))
    assert again.fitted
    assert again.diagnostics() == propensity.diagnostics()
    assert not len(again.out_of_fold)  # of the samples of a split, which a checkpoint does not bring


def test_saved_ones_of_another_trace_are_refused() -> None:
    spec, task = DataSpec(tokens=True, vocab_size=200), SentimentClassification(3)
    saved = Propensity(spec, task, WordRule("maci")).state_dict()
    Propensity(spec, task, WordRule("maci")).load_state_dict(saved)
    with pytest.raises(MERError, match="another trace .* words maci and source words, words frequent; set them alike"):
        Propensity(spec, task).load_state_dict(saved)
    for other in ({"keep_words": ("good",)}, {"min_share": 0.1}, {"min_cv": 0.2}):
        with pytest.raises(MERError, match="another trace .*: min_share, min_cv or keep_words differ; set them alike"):
            Propensity(spec, task, WordRule("maci", **other)).load_state_dict(saved)


def test_emotions_have_propensities_of_their_own() -> None:
    source = data("emotions", train=200)
    propensity = fitted(source, max_words=20)
    assert propensity.words.shape == (4, 20)
    assert propensity.out_of_fold.shape == (200, 4, 2)
    weights = propensity.train_weights()
    torch.testing.assert_close(weights.mean(0), torch.ones(4, dtype=torch.float64))
    single = Propensity(source.spec, SentimentClassification(2), WordRule(max_words=20))
    single.fit([batch.replace(target=batch.target[:, 1]) for batch in source.batch_source("train")])
    torch.testing.assert_close(weights[:, 1], single.train_weights())
    (batch, *_) = source.batch_source("valid")
    torch.testing.assert_close(propensity.log_p(batch)[:, 1], single.log_p(batch))
    assert isinstance(propensity.task, EmotionDetection)
    assert {
        "propensity/words_happy",
        "propensity/gain_sad",
        "propensity/open_sad",
        "propensity/ess_angry",
    } <= propensity.diagnostics().keys()


def test_scores_are_rounded() -> None:
    source = data("regression", train=150)
    propensity = fitted(source)
    (batch, *_) = source.batch_source("train")
    seven = build_task("seven").encode(batch.target)
    assert torch.equal(propensity.classes(batch.target), seven)
    assert torch.equal(propensity.target[batch.index], seven)
    assert propensity.out_of_fold.shape == (150, 7)
    assert isinstance(propensity.task, SentimentRegression)


@pytest.mark.parametrize("name", ["audio", "vision"])
def test_another_source(name: Any) -> None:
    source = data(train=200)
    propensity = fitted(source, source=name)
    assert propensity.out_of_fold.shape == (200, 3)
    assert propensity.coefficients.shape == (source.spec.dim(name), 3)
    assert "propensity/words" not in propensity.diagnostics()
    full = torch.cat([propensity.log_p(batch) for batch in source.batch_source("train")])
    shares = full.exp().mean(0)
    torch.testing.assert_close(shares, propensity.prior, atol=1e-3, rtol=0)  # the intercepts are free
    assert propensity.report["problems"][0]["curve"][-1].keys() == {"strength", "ess", "largest_weight"}


def test_a_source_that_is_not_read() -> None:
    spec = DataSpec(modalities=["text", "audio"])
    with pytest.raises(MERError, match="source is vision, but the model reads text, audio only; set source: words"):
        Propensity(spec, SentimentClassification(3), source="vision")
    with pytest.raises(
        MERError, match="unknown source 'video' of Propensity; choose from words, audio, vision, recording, groups"
    ):
        Propensity(spec, SentimentClassification(3), source="video")  # type: ignore[arg-type]


def test_strength_and_largest_weight() -> None:
    source = data(train=150)
    propensity = fitted(source, strength=0.5, largest=2.0, gate=False)
    raw = deconfounding_weights(propensity.out_of_fold, propensity.target, propensity.prior, strength=0.5, largest=2.0)
    torch.testing.assert_close(propensity.train_weights(), raw / raw.mean())
    assert torch.equal(propensity.train_weights(0.0), torch.ones(150, dtype=torch.float64))
    p, prior = propensity.out_of_fold, propensity.prior.double()
    torch.testing.assert_close(propensity.train_offsets(), p - prior.log())


def test_the_report_is_plain_and_tells_the_trade_off() -> None:
    source = data(train=400)
    report = json.loads(json.dumps(fitted(source).report, allow_nan=False))
    (problem,) = report["problems"]
    curve = problem["curve"]
    assert [point["strength"] for point in curve] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert curve[0]["ess"] == pytest.approx(400)
    sizes, distances = ([point[key] for point in curve] for key in ("ess", "imbalance"))
    assert sizes == sorted(sizes, reverse=True)
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.6 * distances[0]
    first = problem["words"][0]
    assert sum(first["shares"]) == pytest.approx(1.0)
    counted = sum(int((batch.text.x == first["number"]).sum()) for batch in source.batch_source("train"))
    assert first["count"] == counted


def test_a_row_a_sample() -> None:
    rows = fitted(data("emotions", train=60), max_words=10).sample_rows()
    assert [row["index"] for row in rows] == list(range(60))
    assert rows[0]["id"] == "train_00000"
    assert rows[5]["p_0_sad"] + rows[5]["p_1_sad"] == pytest.approx(1.0, abs=1e-5)
    assert {"class_happy", "weight_angry"} <= rows[0].keys()


def of_groups(size: int = 200, start: int = 0) -> Batch:
    """Features of samples whose groups, ten from ``start``, prefer a class."""
    generator = torch.Generator().manual_seed(start)
    batch = Batch.random(DataSpec(), SentimentClassification(3), size=size)
    group = torch.arange(size) % 10 + start
    chance = torch.randint(3, (size,), generator=generator)
    target = torch.where(torch.rand(size, generator=generator) < 0.7, group % 3, chance)
    return batch.replace(target=target, ids=[f"g{g}$_${i}" for i, g in enumerate(group.tolist())], raw_text=[])


def test_groups_are_a_source_as_recordings_are() -> None:
    batch, task = of_groups(), SentimentClassification(3)
    speakers = {name: f"speaker {name[1]}" for name in batch.ids}
    by_id = Propensity(DataSpec(), task, source="recording")
    by_map = Propensity(DataSpec(), task, source="groups", groups=speakers)
    for propensity in (by_id, by_map):
        propensity.fit([batch])
        assert propensity.is_open
        assert propensity.diagnostics()["propensity/groups"] == 10
    assert torch.equal(by_id.train_weights(), by_map.train_weights())
    (problem,) = json.loads(json.dumps(by_map.report))["problems"]
    assert {row["word"] for row in problem["groups"]} == set(speakers.values())
    assert problem["curve"][-1]["imbalance"] < 0.6 * problem["curve"][0]["imbalance"]
    y, group = batch.target, torch.arange(200) % 10
    shares = y.bincount(minlength=3) / 200
    own = torch.stack([y[group == g].bincount(minlength=3) for g in range(10)])
    expected = (own + problem["l2"] * shares) / (20 + problem["l2"])
    torch.testing.assert_close(by_map.log_p(batch).exp(), expected[group], atol=1e-5, rtol=0)


def test_unknown_groups_weigh_one() -> None:
    task, other = SentimentClassification(3), of_groups(start=20)
    propensity = Propensity(DataSpec(), task, WordRule(max_words=4), source="recording")
    propensity.fit([of_groups()])
    weights = propensity.weights(propensity.log_p(other), other.target)
    torch.testing.assert_close(weights, torch.ones(200).double(), atol=1e-5, rtol=0)
    known = propensity.weights(propensity.log_p(of_groups()), of_groups().target)
    assert ((known - 1).abs() > 0.01).sum() == 80  # of the four groups that there is room for
    names = dict.fromkeys(of_groups().ids, "one")
    by_map = Propensity(DataSpec(), task, WordRule(max_words=4), source="groups", groups=names)
    by_map.fit([of_groups()])
    again = Propensity(DataSpec(), task, WordRule(max_words=4), source="groups")  # as from an export, without the file
    again.load_state_dict(by_map.state_dict())
    assert again.log_p(other).isfinite().all()


def test_groups_that_are_lacking() -> None:
    batch, task = of_groups(), SentimentClassification(3)
    with pytest.raises(
        MERError, match="source is groups, but groups is not given; give a CSV file with the columns id"
    ):
        Propensity(DataSpec(), task, source="groups").fit([batch])
    with pytest.raises(
        MERError, match=r"199 training samples have no group, 'g1\$_\$1' for one; give groups a line for"
    ):
        Propensity(DataSpec(), task, source="groups", groups={batch.ids[0]: "Ann"}).fit([batch])
    numbered = batch.replace(ids=[f"train_{i}" for i in range(200)])
    with pytest.raises(
        MERError, match="ids such as 'train_0' do not tell the recording; set source: groups, and groups"
    ):
        Propensity(DataSpec(), task, source="recording").fit([numbered])


def told(batch: Batch) -> Batch:
    """The same, whose ids tell nothing and whose speakers are told."""
    speakers = [f"speaker {name[1]}" for name in batch.ids]
    return batch.replace(ids=[f"train_{i}" for i in range(len(batch))], names={"speaker": speakers})


def test_speakers_that_the_data_tell_are_groups() -> None:
    batch, task = of_groups(), SentimentClassification(3)
    speakers = {name: f"speaker {name[1]}" for name in batch.ids}
    by_map = Propensity(DataSpec(), task, source="groups", groups=speakers)
    by_map.fit([batch])
    spoken = told(batch)
    by_field = Propensity(DataSpec(), task, source="groups", groups="speaker")
    by_field.fit([spoken.take(range(100, 200)), spoken.take(range(100))])
    assert by_field.is_open
    assert torch.equal(by_field.train_weights(), by_map.train_weights())
    assert torch.equal(by_field.log_p(spoken), by_map.log_p(batch))
    assert by_field.report == by_map.report
    other = spoken.replace(names={})  # a test file that tells nobody
    assert torch.equal(by_field.log_p(other)[0], by_field.log_p(other)[1])


def test_groups_that_the_data_do_not_tell() -> None:
    batch, task = of_groups(), SentimentClassification(3)
    propensity = Propensity(DataSpec(), task, source="groups", groups="speaker")
    with pytest.raises(MERError, match="the data do not tell the speaker by which groups .*; give the file a field"):
        propensity.fit([batch])
    spoken = told(batch)
    some = spoken.replace(names={"speaker": ["Ann", *[""] * 199]})
    with pytest.raises(MERError, match="do not tell the speaker of 199 samples"):
        propensity.fit([some])
