"""Explanations say what the models say: against the availability sets, the formulas and the sums they must give."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mer_zoo import CLUE, CUMDF, LFLSTM, LNLN, MACI, Batch, CausalMER, DataSpec, SyntheticMER
from mer_zoo.data import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.explain import Explanation, explain, find_samples
from mer_zoo.explain.gradients import word_gradients
from mer_zoo.explain.page import effect_rows, markdown, write_explanations
from mer_zoo.explain.samples import complete_condition, find_condition
from mer_zoo.explain.words import token_names, words_of
from mer_zoo.functional.counterfactual import effects
from mer_zoo.model import Model, effects_of
from mer_zoo.task import build_task


@pytest.fixture(scope="module")
def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=16, valid=4, test=6), task="binary", batch_size=8, standardize=False)


def network(data: SyntheticMER) -> Model:
    torch.manual_seed(0)
    return LFLSTM(data.spec, data.task, dim=4).eval()


def debiased(data: SyntheticMER, tau: float = 0.5) -> MACI:
    model = MACI(network(data), tau_selection="fixed", tau=tau, num_words=20).eval()
    model.prepare(data.batch_source("train"))
    return model


def bars(explanation: Explanation, title: str) -> dict[str, float]:
    block = next(block for block in explanation.blocks if block.title == title)
    return {row.name: row.bar for row in block.rows if row.bar is not None}


def test_leaving_one_out_is_the_answer_of_the_availability_set(data: SyntheticMER) -> None:
    model = network(data)
    batch = data.samples(complete_condition(data, "test_iid"), [4, 1])
    for place, one in enumerate(explain(model, batch)):
        rows = {row.name: row for row in one.blocks[0].rows}
        for left, kept in (("text", "{a,v}"), ("audio", "{l,v}"), ("vision", "{l,a}")):
            source = data.condition_source(find_condition(data, kept))
            logits = torch.cat([model.predict(part).logits for part in source])[[4, 1][place]]
            expected = dict(zip(one.answers, logits.softmax(-1).tolist(), strict=True))
            assert rows[f"without {left}"].answers == pytest.approx(expected, abs=1e-5)
            lost = one.answers[one.predicted] - expected[one.predicted]
            assert rows[f"without {left}"].bar == pytest.approx(lost, abs=1e-5)


def test_what_is_missing_is_what_a_test_lets_miss(data: SyntheticMER) -> None:
    condition = find_condition(data, "ood RMFM 0.5")
    (whole,) = data.condition_source(condition)
    batch = data.samples(condition, [3])
    assert batch.audio.x.equal(whole.audio.x[[3]])
    assert batch.text.x.equal(whole.text.x[[3]])
    (one,) = explain(network(data), batch, condition.name)
    assert "[UNK]" in one.words
    assert len(one.words) == int(batch.text.mask.sum())


def test_effects_of_causalmer_are_those_of_its_equations(data: SyntheticMER) -> None:
    model = CausalMER(network(data), fusion="sum").eval()
    torch.nn.init.constant_(model.constants["audio"], 0.7)
    batch = data.samples(complete_condition(data, "test_iid"), [2])
    output = model.predict(batch)
    y = {name: output.effects[f"y_{name}"] for name in data.spec.modalities}
    found = effects(y, output.effects["y_m"], dict(model.constants.items()), "sum")
    (one,) = explain(model, batch)
    values = bars(one, "CausalMER")

    def above(x: Tensor) -> float:
        return float((x - x.mean(-1, keepdim=True)).detach()[0, output.logits.argmax()])

    assert values["total effect (TE)"] == pytest.approx(above(found.te), abs=1e-5)
    nde = {name: values[f"direct effect of {name} (NDE)"] for name in y}
    assert nde == pytest.approx({name: above(found.nde[name]) for name in y}, abs=1e-5)
    assert values["total indirect effect (TIE)"] == pytest.approx(above(found.te) - sum(nde.values()), abs=1e-5)


def test_maci_shows_its_three_answers_and_the_words_that_it_keeps(data: SyntheticMER) -> None:
    model = debiased(data, tau=0.0)
    batch = data.samples(complete_condition(data, "test_iid"), [0])
    (one,) = explain(model, batch)
    named = [row.name for row in next(block for block in one.blocks if block.title == "MACI").rows]
    assert [name.rpartition("(")[2] for name in named] == ["factual)", "with MCM)", "counterfactual)"]
    assert one.kept is not None
    words, ids = set(model.language_bias.words.tolist()), batch.text.x[0][batch.text.mask[0]].tolist()
    expected = [
        word if number in words or number in (101, 102) else "[MASK]"
        for word, number in zip(one.words, ids, strict=True)
    ]
    assert one.kept.split() == expected
    assert "[MASK]" in expected
    assert not any(part.explaining for part in model.nest)


def test_attribution_of_cumdf_is_the_change_without_what_a_modality_says(data: SyntheticMER) -> None:
    model = CUMDF(network(data)).eval()
    assert model.attribution is not None
    batch = data.samples(complete_condition(data, "test_iid"), [0, 1, 2])
    assert not any(name.startswith("attribution") for name in model.predict(batch).effects)
    model.calibrating = False
    output = model.predict(batch)
    found = model.guided(model.backbone, model.backbone.predict(batch), batch)
    x = {**found.x, "audio": torch.zeros_like(found.x["audio"])}  # nothing was trained, so the means are zero
    _, logits = model.guided.rescore(model.backbone, found.mask, x, torch.zeros_like(found.context))
    alone = model.attribution._alone("audio", found.pooled()[:, 1])
    classes = output.logits.argmax(-1, keepdim=True)
    expected = (alone.softmax(-1).gather(1, classes) - logits.softmax(-1).gather(1, classes)).abs().squeeze(1)
    torch.testing.assert_close(output.effects["attribution_audio"], expected)
    moved = model.predict(batch.replace(target=2 - batch.target))  # no label is read
    assert moved.effects["attribution_audio"].equal(output.effects["attribution_audio"])


def test_inner_effects_are_those_of_the_inner_model(data: SyntheticMER) -> None:
    model = CLUE(CausalMER(network(data))).eval()
    output = model.predict(data.samples(complete_condition(data, "test_iid"), [0]))
    found = effects_of(model, output.effects)
    assert [effect.owner for effect in found] == ["CLUE"] * 4 + ["CausalMER"] * 6
    assert found[5].values.equal(output.effects["inner/te"])


@pytest.mark.parametrize("kind", ["tokens", "MACI", "features"])
def test_words_add_up_to_what_is_lost_without_text(data: SyntheticMER, kind: str) -> None:
    pytest.importorskip("captum")
    if kind == "features":
        spec, task = DataSpec(), build_task("regression")
        model: Model = LFLSTM(spec, task, dim=4).eval()
        batch = Batch.random(spec, task, size=2)
    else:
        model = network(data) if kind == "tokens" else debiased(data)
        batch = data.samples(complete_condition(data, "test_iid"), [5])
    one = explain(model, batch, words=True, steps=40)[0]
    words = next(block for block in one.blocks if block.title == "Words").rows
    total = sum(row.bar for row in words if row.bar is not None)
    assert total == pytest.approx(bars(one, "Without a modality")["without text"], abs=2e-3)
    assert max(abs(row.bar or 0.0) for row in words) > 1e-5


def test_without_captum_it_is_told_what_to_install(data: SyntheticMER, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    batch = data.samples(complete_condition(data, "test_iid"), [0])
    with pytest.raises(MERError, match=r"not installed; pip install 'mer-zoo\[explain\]'"):
        word_gradients(network(data), batch, torch.tensor([0]))


def test_samples_and_conditions_are_found_or_the_nearest_named(data: SyntheticMER) -> None:
    assert find_samples(data, ["test_ood_00004", "test_ood_00000"]) == ("test_ood", [4, 0])
    with pytest.raises(
        MERError, match=r"no sample 'test_iid_4\\x1b' in any split of .*the nearest ids are 'test_iid_0000"
    ):
        find_samples(data, ["test_iid_4\x1b"])
    with pytest.raises(MERError, match="no sample 'test_ood_00001' in the split 'test_iid'"):
        find_samples(data, ["test_iid_00000", "test_ood_00001"])
    with pytest.raises(MERError, match=r"no condition 'RMFM 0\.33'; the nearest are 'RMFM 0\.3'"):
        find_condition(data, "RMFM 0.33")


def test_words_are_those_of_the_transcript_or_of_the_tokens(data: SyntheticMER) -> None:
    batch = data.samples(complete_condition(data, "test_iid"), [0])
    words = batch.raw_text[0].split()
    assert words_of(batch, data.spec) == ["[CLS]", *words, "[SEP]"]
    cut = batch.replace(raw_text=["two words"])
    names = token_names(data, "test_iid")
    assert words_of(cut, data.spec, names) == ["[CLS]", *words, "[SEP]"]
    assert words_of(cut, data.spec)[1] == f"#{int(batch.text.x[0, 1])}"


def test_files_hold_all_and_run_nothing(data: SyntheticMER, tmp_path: Path) -> None:
    batch = data.samples(complete_condition(data, "test_iid"), [0, 1]).replace(ids=["<b>$x$|1", "b"])
    found = explain(debiased(data), batch, "iid")
    files = write_explanations(tmp_path, found, "MACI(LFLSTM)")
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    assert "## &lt;b>\\$x\\$\\|1" in (tmp_path / "explain.md").read_text()
    lines = (tmp_path / "effects.csv").read_text().splitlines()
    assert len(lines) == 1 + len(effect_rows(found))
    assert markdown(found, "m").count("**MACI**") == 2


@pytest.mark.parametrize("name", ["emotions", "regression"])
def test_other_tasks(name: str) -> None:
    data = SyntheticMER(SyntheticConfig(train=4, valid=2, test=3), task=name, standardize=False)
    model: Model = network(data)
    model = (
        LNLN(data.spec, data.task, dim=8, heads=2, hyper_heads=2, tokens=3)
        if name == "regression"
        else CausalMER(model)
    )
    (one,) = explain(model, data.samples(complete_condition(data, "test_iid"), [1]))
    assert list(one.answers) == (["score"] if name == "regression" else list(data.task.problems))
    assert len(one.blocks) == 2
    assert one.label
