"""MCIS around small models: its terms by hand, untouched training, choice of strengths, composition, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from toys import MeanNet, loss_of
from typing_extensions import override

from mer_zoo.backbones import LFLSTM
from mer_zoo.batch import Batch, DataSpec, Modality, Output
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.functional.term_search import subtract_terms
from mer_zoo.model import Model, WrapperFactory
from mer_zoo.module import MERModule
from mer_zoo.scores import Scores
from mer_zoo.sharing import load_pretrained, save_pretrained
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, JTT, MACI, MCIS, MSSD, CausalMER, GroupDRO, MulDeF, PropensityWeighting
from mer_zoo.wrappers.mcis.inputs import MeanInputs
from mer_zoo.wrappers.mcis.strengths import Measure, TermStrengths

SPEC = DataSpec()
TOKENS = DataSpec(tokens=True, vocab_size=130)
THREE = SentimentClassification(3)
EMOTIONS = EmotionDetection()
REGRESSION = SentimentRegression()


def split(task: Task = THREE, spec: DataSpec = TOKENS, size: int = 60, seed: int = 3) -> Batch:
    batch = Batch.random(spec, task, size, seed)
    batch = batch.replace(raw_text=[f"well this is {'so' if i % 2 else 'not'} bad" for i in range(size)])
    many = batch.target.dim() == 2 or not task.is_classification
    return batch if many else batch.replace(target=torch.arange(size) % task.num_outputs)


def wrap(task: Task = THREE, spec: DataSpec = TOKENS, **options: Any) -> MCIS:
    """Prepared with a split of every class."""
    torch.manual_seed(0)
    model = MCIS(MeanNet(spec, task), **options)
    model.prepare([split(task, spec)])
    return model.eval()


def scores_of(model: Model, batch: Batch) -> Scores:
    with torch.no_grad():
        output = model.eval().predict(batch)
    return Scores(output.logits, output.effects, batch.target, batch.index)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)


class Given(MeanNet):
    """Answers by hand: f where words are, u where none is, w where some are masked."""

    answers: dict[str, Tensor]

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        ids = text.token_ids
        assert ids is not None
        masked = (ids == TOKENS.mask_id).sum(1)
        words = (ids > TOKENS.mask_id).sum(1)
        kinds = ["f" if not gone else "u" if not left else "w" for gone, left in zip(masked, words, strict=True)]
        return Output(torch.stack([self.answers[kind] for kind in kinds]), super().fuse(text, audio, vision).features)


@pytest.mark.parametrize(
    ("task", "answers", "expected"),
    [
        (THREE, {"f": [2.0, 1.0, 0.5], "u": [1.0, 0.2, 0.1], "w": [0.8, 0.1, 0.9]}, [0.7, 0.8, -0.45]),
        (REGRESSION, {"f": [1.4], "u": [0.6], "w": [0.3]}, [0.8]),
    ],
)
@pytest.mark.parametrize("label_input", ["mean", "masked"])
def test_by_hand(task: Task, answers: dict[str, list[float]], expected: list[float], label_input: Any) -> None:
    net = Given(TOKENS, task)
    net.answers = {kind: torch.tensor(values) for kind, values in answers.items()}
    model = MCIS(net, label_input, content="rare", num_words=1, strengths="fixed", x=0.5, y=1.0).eval()
    ids = torch.tensor([[101, 110, 111, 102, 0, 0]] * 2 + [[101, 110, 110, 102, 0, 0]])
    batch = Batch.random(TOKENS, task, size=3)
    batch = batch.replace(text=Modality(ids, ids > 0))
    model.prepare([batch])  # 110 is the most frequent word, so 111 is content
    output = model.predict(batch.take([0]))
    close(output.logits, torch.tensor([expected]))
    close(output.effects["plain"], net.answers["f"][None])
    if task is THREE:
        assert [int(scores.argmax()) for scores in (output.effects["plain"], output.logits)] == [0, 1]


def test_the_mean_is_of_the_training_split_whatever_the_sample() -> None:
    spec = DataSpec(text_dim=2, text_len=3, modalities=["text"])
    x = torch.tensor([[[1.0, 3.0], [5.0, 5.0], [9.0, 9.0]], [[7.0, 7.0], [7.0, 7.0], [3.0, 5.0]]])
    mask = torch.tensor([[True, True, False], [False, False, True]])  # padding counts as zeros, wherever it stands
    batch = Batch.random(spec, THREE, size=2)
    batch = batch.replace(text=Modality(x, mask))
    means = MeanInputs(spec)
    means.fit([batch])
    for like in (batch, batch.take([1])):
        found = means.batch(like)
        assert found.text.x.tolist() == [[[2.0, 4.0], [2.5, 2.5], [0.0, 0.0]]]
        assert found.text.mask.tolist() == [[True, True, False]]
        assert len(found) == 1


def test_the_mean_keeps_to_a_shared_time_axis() -> None:
    spec = DataSpec(text_len=4, audio_len=4, vision_len=4, aligned=True)
    batch = Batch.random(spec, THREE, size=5).trim()
    means = MeanInputs(spec)
    means.fit([batch])
    changed = means.without_words(batch)
    assert not changed.text.x.any()
    for name in ("audio", "vision"):
        assert torch.equal(changed.modality(name).mask, batch.modality(name).mask)
        assert not changed.modality(name).x[~batch.modality(name).mask].any()
        close(changed.modality(name).x[0], means.get_buffer(f"x_{name}"))  # of full length


@pytest.mark.parametrize("task", [THREE, REGRESSION, EMOTIONS])
def test_training_is_untouched(task: Task) -> None:
    torch.manual_seed(0)
    net = MeanNet(TOKENS, task)
    model, batch = MCIS(net), split(task)
    model.prepare([batch])
    assert [name for name, _ in model.named_parameters()] == [f"backbone.{name}" for name, _ in net.named_parameters()]
    assert torch.equal(loss_of(model, batch), loss_of(net, batch))
    assert torch.equal(model(batch).logits, net(batch).logits)


def test_the_label_term_is_asked_for_once_an_evaluation() -> None:
    model, batch = wrap(), split(seed=4)
    calls = []
    model.backbone.register_forward_hook(lambda *_: calls.append(1))
    first = model.predict(batch).effects["label"]
    model.predict(batch)
    assert len(calls) == 5  # f and w twice
    with torch.no_grad():
        model.get_parameter("backbone.head.bias").add_(1.0)
    model.train()
    model.eval()
    close(model.predict(batch).effects["label"], first + 1)


def test_a_term_of_no_strength_is_left_out_of_a_test() -> None:
    batch = split(seed=4)
    for x, y, expected in ((0.0, 0.0, set()), (0.5, 0.0, {"label"}), (0.0, -1.0, {"context"})):
        model = wrap(strengths="fixed", x=x, y=y)
        model.calibrating = False
        assert {"label", "context"} & model.predict(batch).effects.keys() == expected
        model.explaining = True
        assert {"label", "context"} <= model.predict(batch).effects.keys()


@pytest.mark.parametrize("task", [THREE, REGRESSION, EMOTIONS])
@pytest.mark.parametrize("selection", ["validation", "deconfounded"])
@pytest.mark.filterwarnings("ignore:MCIS chose")
def test_calibration_chooses_by_its_rule(task: Task, selection: Any) -> None:
    model = wrap(task, strengths=selection)
    batch = split(task, seed=4)
    valid = scores_of(model, batch)
    f, u, w = (valid.effects[name] for name in ("plain", "label", "context"))
    meant = f - 2 * w + 0.3 * u
    valid.target = (meant.argmax(-1) if task.is_classification else meant[:, 0]).detach()
    valid.weights = torch.rand(len(batch), *task.shape[:-1]).squeeze(-1) + 0.5
    if task is THREE:
        valid.weights = valid.weights.flatten()[: len(batch)]
    model.calibrate(valid)
    chosen = model.strengths.in_use
    weights = valid.weights if selection == "deconfounded" else None
    terms = torch.stack([u, w, torch.zeros_like(f)])
    assert torch.equal(chosen, model.strengths.search(f, terms, valid.target, weights))
    assert chosen.any()
    close(model.rescore(valid), scores_of(model, batch).logits)
    if task is REGRESSION:
        assert chosen[0].tolist() == pytest.approx([-0.3, 2.0, 0.0], abs=0.11)
    else:
        again = TermStrengths(task, "validation")
        assert again.search(f, terms, valid.target).shape == (len(task.problems), 3)
    assert ("mcis/ess" in " ".join(model.diagnostics())) == (selection == "deconfounded")


def test_the_measure_is_searched_by() -> None:
    torch.manual_seed(1)
    f, terms = torch.randn(50, 3), torch.randn(3, 50, 3)
    target = torch.cat([torch.zeros(44), torch.ones(3), torch.full((3,), 2.0)]).long()
    macro, weighted = (
        TermStrengths(THREE, "validation", measure=measure).search(f, terms, target) for measure in get_args(Measure)
    )
    assert not torch.equal(macro, weighted)


def test_without_weights_that_is_told() -> None:
    model = wrap()
    assert "MCIS's strengths were not chosen as deconfounded asks" in model.notes()[0]
    model.calibrate(scores_of(model, split(seed=4)))
    (note,) = model.notes()
    assert note == "MCIS's strengths were chosen on plain validation data, for want of weights of its samples"


def test_oracle_searches_the_evaluated_split_and_says_so() -> None:
    model = wrap(strengths="oracle")
    assert model.label == "MCIS[our reading, oracle strengths](MeanNet)"
    assert wrap().label == "MCIS[our reading](MeanNet)"
    test = scores_of(model, split(seed=4))
    plain, best = model.oracle(test)
    assert torch.equal(plain, test.logits)
    terms = torch.stack([test.effects["label"], test.effects["context"], torch.zeros_like(plain)])
    found = model.strengths.search(plain, terms, test.target)[0]
    close(best, subtract_terms(plain, terms, found))
    assert "searched on the evaluated split itself, an oracle's choice" in model.notes()[0]
    assert wrap().oracle(test) == []


def test_lexicon(tmp_path: Path) -> None:
    ids = torch.tensor([[101, 110, 111, 112, 102, 0], [101, 112, 110, 102, 0, 0]])
    batch = Batch.random(TOKENS, THREE, size=2)
    batch = batch.replace(text=Modality(ids, ids > 0), raw_text=["a good film", "film a"])
    file = tmp_path / "words.txt"
    file.write_text("Good\nbad\n")
    model = MCIS(LFLSTM(TOKENS, THREE, dim=4), content=str(file), strengths="fixed", y=1.0).eval()
    model.prepare([batch])
    assert model.context.view(batch).text.x[0].tolist() == [101, 110, 103, 112, 102, 0]
    assert torch.equal(model.context.view(batch).text.x[1], ids[1])
    save_pretrained(model, tmp_path / "shared")
    again = load_pretrained(tmp_path / "shared").eval()
    file.unlink()
    close(again.predict(batch).logits, model.predict(batch).logits)
    file.write_text("nowhere\n")
    other = MCIS(MeanNet(TOKENS, THREE), content=str(file))
    with pytest.raises(MERError, match=r"no word of .*words.txt is known in the training split"):
        other.prepare([batch])
    file.write_text("\n")
    with pytest.raises(MERError, match="has no words; give a text file with a word a line"):
        MCIS(MeanNet(TOKENS, THREE), content=str(file))
    with pytest.raises(MERError, match=r"biased"):
        MCIS(MeanNet(TOKENS, THREE), content="biased")


def test_without_token_ids_the_label_term_stands_alone() -> None:
    model = wrap(spec=SPEC, strengths="fixed", x=1.0, y=1.0)
    batch = split(spec=SPEC, seed=4)
    output = model.predict(batch)
    close(output.logits, output.effects["plain"] - output.effects["label"])
    assert model.notes() == ["MCIS took off no context: there were no token ids by which words could be masked"]


def test_the_attribute_term_is_the_mean_of_the_group() -> None:
    speakers = {f"random$_${i}": "Ann" if i < 6 else "Bob" for i in range(10)}
    batch = Batch.random(TOKENS, THREE, size=10)
    model = MCIS(MeanNet(TOKENS, THREE), attribute=speakers, strengths="fixed", z=1.0)
    model.prepare([batch])
    model.train()
    logits = [step.output.logits for part in (batch.take([0, 1, 7]), batch.take([2, 8])) for step in model.steps(part)]
    ann, bob = torch.stack([*logits[0][:2], logits[1][0]]).mean(0), torch.stack([logits[0][2], logits[1][1]]).mean(0)
    model.eval()
    found = model.predict(batch.take([5, 9]).replace(ids=["random$_$5", "random$_$9"])).effects["attribute"]
    close(found, torch.stack([ann, bob]))
    stranger = model.predict(batch.take([0]).replace(ids=["nobody"])).effects["attribute"]
    close(stranger[0], torch.cat(logits).mean(0))
    (step,) = model.steps(batch.take([3]))  # what was read is closed
    close(model.predict(batch.take([0])).effects["attribute"], step.output.logits)


def test_three_terms_are_searched_with_an_attribute() -> None:
    model = MCIS(MeanNet(TOKENS, THREE), attribute="recording", strengths="validation")
    model.prepare([split()])
    list(model.train().steps(split()))
    model.calibrate(scores_of(model, split(seed=4)))
    assert {"mcis/x", "mcis/y", "mcis/z"} == model.diagnostics().keys()


NESTS: dict[str, WrapperFactory] = {
    "MCIS(MSSD)": lambda net: MCIS(MSSD(net, alpha=0)),
    "MSSD(MCIS)": lambda net: MSSD(MCIS(net), alpha=0),
    "MCIS(GEAR)": lambda net: MCIS(GEAR(net)),
    "MCIS(GroupDRO)": lambda net: MCIS(GroupDRO(net, min_group=1)),
    "GroupDRO(MCIS)": lambda net: GroupDRO(MCIS(net), min_group=1),
    "MCIS(JTT)": lambda net: MCIS(JTT(net, epochs=1)),
    "MCIS(PropensityWeighting)": lambda net: MCIS(PropensityWeighting(net, mode="product")),
    "PropensityWeighting(MCIS)": lambda net: PropensityWeighting(MCIS(net)),
}


@pytest.mark.filterwarnings("ignore:.*effective sample size", "ignore:PropensityWeighting")
@pytest.mark.parametrize("nest", NESTS)
def test_calibration_through_a_nest(nest: str) -> None:
    torch.manual_seed(0)
    model = NESTS[nest](MeanNet(TOKENS, THREE)).eval()
    model.prepare([split()])
    batch = split(seed=4)
    valid = scores_of(model, batch)
    model.calibrate(valid)
    after = scores_of(model, batch)
    close(model.rescore(valid), after.logits)
    close(after.effects["factual"], model(batch).logits)
    assert torch.isfinite(loss_of(model, batch))


def test_refusals() -> None:
    prepared = wrap()
    inner: Any
    for inner in (CausalMER, CLUE, MACI, MulDeF):
        with pytest.raises(MERError, match=f"MCIS and {inner.__name__} both take what the words alone say off"):
            MCIS(MSSD(inner(MeanNet(TOKENS, THREE)), alpha=0))
    outer: Any
    for outer in (CausalMER, CLUE):
        with pytest.raises(MERError, match=f"{outer.__name__} and MCIS both take"):
            outer(prepared)
    for outer in (MACI, CUMDF, GEAR, MulDeF):
        with pytest.raises(MERError, match=r"computes its scores from .*, so those of MCIS\(MeanNet\) would be lost"):
            outer(prepared)
    with pytest.raises(MERError, match=r"MCIS\(MeanNet\) has no means of a training split yet; fit it"):
        MCIS(MeanNet(TOKENS, THREE)).predict(split())
    with pytest.raises(MERError, match="x is 0.5, but strengths deconfounded does not use it; set strengths: fixed"):
        wrap(x=0.5)
    with pytest.raises(MERError, match="y of MCIS is nan; give a finite number"):
        wrap(strengths="fixed", y=float("nan"))
    with pytest.raises(MERError, match=r"z of MCIS is 0.5, but there is no attribute to take off; give one"):
        wrap(strengths="fixed", z=0.5)
    with pytest.raises(MERError, match="unknown strengths 'propensity' of MCIS; choose from deconfounded, validation"):
        wrap(strengths="propensity")
    with pytest.raises(MERError, match="unknown label_input 'zeros' of MCIS; choose from mean, masked"):
        wrap(label_input="zeros")
    with pytest.raises(MERError, match="attribute of MCIS is words, which the context term takes off"):
        wrap(attribute="words")
    with pytest.raises(MERError, match="num_words of MCIS is 0; give at least 1"):
        wrap(num_words=0)


@pytest.mark.filterwarnings("ignore:.*effective sample size", "ignore:deconfounded metrics")
def test_fit_test_and_checkpoint(tmp_path: Path) -> None:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    quiet |= {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": tmp_path, "enable_checkpointing": False}
    data = SyntheticMER(SyntheticConfig(train=24, valid=16, test=12), batch_size=8, task="regression")
    torch.manual_seed(0)
    module = MERModule(MeanNet(data.spec, data.task), wrappers=[MCIS])
    runner = Trainer(**quiet)
    runner.fit(module, datamodule=data)
    assert {"val/mcis/x", "val/mcis/y"} <= runner.callback_metrics.keys()
    runner.save_checkpoint(tmp_path / "model.ckpt")
    runner.test(module, data, verbose=False)
    fresh = MERModule(MeanNet(data.spec, data.task), wrappers=[MCIS])
    Trainer(**quiet).test(fresh, data, ckpt_path=tmp_path / "model.ckpt", verbose=False)
    torch.testing.assert_close(fresh.test_scores["iid"].logits, module.test_scores["iid"].logits)
