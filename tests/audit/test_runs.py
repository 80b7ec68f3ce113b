"""What an audit says of runs: their answers, their figures, their checkpoint, and whether they are of the data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from report_toys import content, write_run
from training_runs import train

from mer_zoo.audit import NotChecked, Page, audit
from mer_zoo.audit.answers import check_run
from mer_zoo.audit.prediction import check_scaler_of
from mer_zoo.audit.runs import Run, find_runs
from mer_zoo.backbones import LFLSTM
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.scaler import Scaler
from mer_zoo.data.survey.finding import Finding
from mer_zoo.data.survey.material import Material, draft_of, read_material
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
from mer_zoo.errors import MERError
from mer_zoo.reports import write_results
from mer_zoo.task import SentimentClassification

NO_DATA = Material("nothing", {})


def found(folder: Path, **ceilings: float) -> dict[str, Finding]:
    """What is said of a run alone, by kind."""
    (run,) = find_runs([folder])
    return {one.kind: one for one in check_run(run, NO_DATA, {}, ceilings) if isinstance(one, Finding)}


def rewritten(folder: Path, changes: dict[str, Any], **options: Any) -> Path:
    """A run whose scores under some conditions are others; metrics stay."""
    results, scores = content(**options)
    for name, change in changes.items():
        scores[name] = change(scores)
    write_results(folder, results, scores, pictures=False)
    return folder


def with_logits(name: str, logits: torch.Tensor) -> Any:
    def change(scores: Any) -> Any:
        scores[name].logits = logits
        return scores[name]

    return change


def test_an_honest_run_is_left_alone(tmp_path: Path) -> None:
    assert set(found(write_run(tmp_path))) == set()


def test_constant_answers(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, 0.0, 1.0]]).repeat(60, 1)
    assert found(rewritten(tmp_path, {"iid": with_logits("iid", logits)}))["constant-answers"].severity == "warning"


def test_constant_scores(tmp_path: Path) -> None:
    logits = torch.full((60, 1), 0.3) + 1e-6 * torch.randn(60, 1)
    changes = {"iid": with_logits("iid", logits)}
    assert "constant-answers" in found(rewritten(tmp_path, changes, task="regression"))


def test_answers_that_are_the_labels(tmp_path: Path) -> None:
    _, scores = content(task="regression")
    changes = {"iid": with_logits("iid", scores["iid"].target[:, None])}
    assert found(rewritten(tmp_path, changes, task="regression"))["answers-are-labels"].severity == "leak"


def test_many_right_answers_are_no_proof_where_they_are_few(tmp_path: Path) -> None:
    assert found(write_run(tmp_path, strength=9.0))["answers-are-labels"].severity == "warning"
    assert found(write_run(tmp_path, strength=9.0, size=120))["answers-are-labels"].severity == "leak"


def test_an_ood_condition_that_is_the_iid_one(tmp_path: Path) -> None:
    one = found(rewritten(tmp_path, {"ood": lambda scores: scores["iid"]}))["identical-conditions"]
    assert one.severity == "leak"
    assert "ood and iid" in one.message or "iid and ood" in one.message


def test_a_majority_class_behind_a_good_accuracy(tmp_path: Path) -> None:
    results, scores = content()
    iid = results["conditions"]["iid"]
    for name in iid["metrics"].keys() - {"loss"}:
        iid["metrics"][name], iid["majority"][name] = 0.84, 0.83
    write_results(tmp_path, results, scores, pictures=False)
    one = found(tmp_path)["majority-class"]
    assert one.severity == "warning"
    assert "hardly better than the most frequent class (83.0)" in one.message


def test_text_alone_does_as_well(tmp_path: Path) -> None:
    results, scores = content()
    for name in results["conditions"]["iid"]["metrics"]:
        results["conditions"]["{l}"]["metrics"][name] = results["conditions"]["iid"]["metrics"][name]
    results["conditions"]["{l}"]["available"] = ["text"]
    results["conditions"]["{l}"] |= {"curve": None, "rate": None, "place": ""}
    write_results(tmp_path, results, scores, pictures=False)
    assert found(tmp_path)["text-alone"].severity == "warning"


def test_a_ceiling(tmp_path: Path) -> None:
    folder = write_run(tmp_path, strength=2.0)
    assert "above-ceiling" not in found(folder, Acc3=0.999)
    one = found(folder, Acc3=0.6)["above-ceiling"]
    assert one.severity == "warning"
    assert found(folder, Acc3=float(one.evidence["value"]) - 1e-4)["above-ceiling"].severity == "note"


def test_an_error_has_its_ceiling_below(tmp_path: Path) -> None:
    folder = write_run(tmp_path, task="regression")
    assert "above-ceiling" in found(folder, MAE=5.0)
    assert "above-ceiling" not in found(folder, MAE=0.0)


def test_an_oracle_is_told_of(tmp_path: Path) -> None:
    assert "chosen-on-test" in found(write_run(tmp_path, model="MACI[oracle tau](CIDerNet)"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SyntheticConfig]:
    """A run with a checkpoint and without a test."""
    folder = tmp_path_factory.mktemp("run")
    train(folder, seed=0)
    checkpoint = next(folder.rglob("*.ckpt"))
    (folder / "checkpoints").mkdir(exist_ok=True)
    if checkpoint.parent.name != "checkpoints":
        checkpoint.rename(folder / "checkpoints" / checkpoint.name)
    return folder, SyntheticConfig(train=28, valid=8, test=8)


def test_a_run_that_was_not_tested_says_so(trained: tuple[Path, SyntheticConfig]) -> None:
    folder, _ = trained
    (run,) = find_runs([folder])
    (one,) = check_run(run, NO_DATA, {}, {})
    assert isinstance(one, NotChecked)
    assert "was not tested" in one.because


def test_a_run_without_checkpoint(tmp_path: Path) -> None:
    corpus = generate(SyntheticConfig(train=40, valid=20, test=20))
    page = audit(corpus, [write_run(tmp_path)])
    assert [one for one in page.not_checked if "labels are read" in one.check and "no checkpoint" in one.because]


def test_a_run_of_other_data_is_refused(tmp_path: Path) -> None:
    corpus = generate(SyntheticConfig(train=40, valid=20, test=20))
    data = {"corpus": "MOSI", "source": "mosi.pkl", "modalities": ["text"], "sha256": "0" * 64}
    write_run(tmp_path, data=data)
    with pytest.raises(MERError, match=r"is a run of 'mosi.pkl' .*, not of SyntheticMER.*; give the data of"):
        audit(corpus, [tmp_path])
    write_run(tmp_path, data={**data, "sha256": None, "counts": {"train": 3}})
    with pytest.raises(MERError, match="with other samples than SyntheticMER"):
        audit(corpus, [tmp_path])


@pytest.mark.parametrize("make", [lambda p: p / "nowhere", lambda p: p])
def test_what_is_no_run_is_refused(tmp_path: Path, make: Any) -> None:
    with pytest.raises(MERError, match="give"):
        find_runs([make(tmp_path)])


def test_runs_of_before_are_audited(tmp_path: Path) -> None:
    before = Path(__file__).parents[1] / "before"
    page = audit(before / "run_mult" / "config.yaml", [before / "run_mult"])
    assert [one for one in page.findings if one.severity == "leak"] == []
    assert not [one for one in page.not_checked if "labels are read" in one.check]
    json.dumps(page.plain(), allow_nan=False)
    assert "Audit of SyntheticMER" in page.markdown()


def test_equal_findings_stand_once() -> None:
    page, one = Page("x"), Finding("a", "note", "b", "c")
    page.add(one, one, NotChecked("d", "e"), NotChecked("d", "e"))
    assert len(page.findings) == len(page.not_checked) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda label, row: label, {"answers-are-labels"}),
        (lambda label, row: 0.25, {"constant-answers"}),
        (lambda label, row: label + row % 3, set()),
    ],
)
def test_predictions_without_a_test(tmp_path: Path, change: Any, expected: set[str]) -> None:
    corpus = generate(SyntheticConfig(train=40, valid=20, test=40), "continuous")
    material = read_material(draft_of(corpus), "made up")
    split = corpus.split("test_iid")
    assert split.labels is not None
    rows = [f"{name},{change(float(split.labels[row]), row)}" for row, name in enumerate(split.ids)]
    (tmp_path / "predictions.csv").write_text("\n".join(["id,score", *rows]))
    (run,) = find_runs([tmp_path])
    said = list(check_run(run, material, {}, {}))
    assert {one.kind for one in said if isinstance(one, Finding)} == expected


@pytest.mark.parametrize("text", ["", "id,score\na,much", "id,score\n" + "a,nan\n", "name\n1"])
def test_odd_predictions_are_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / "predictions.csv").write_text(text)
    (run,) = find_runs([tmp_path])
    first = next(iter(check_run(run, NO_DATA, {}, {})))
    assert isinstance(first, NotChecked)
    assert "predictions.csv" in first.check


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return generate(SyntheticConfig(train=200, valid=60, test=60))


def answers_on(corpus: Corpus, folder: Path, strength: float, **changes: Any) -> dict[str, Finding]:
    """What is said of a run that was tested on the corpus' own labels; a strong one is right."""
    results, scores = content(**changes)
    split = corpus.split("test_iid")
    target = torch.from_numpy(np.array(split.labels))
    noise = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    for score in scores.values():
        score.target, score.ids = target, list(split.ids)
        score.logits = noise + strength * torch.nn.functional.one_hot(target, 3)
    results["data"] = {"corpus": "SyntheticMER", "source": corpus.source, "sha256": corpus.sha256}
    write_results(folder, results, scores, pictures=False)
    return {one.kind: one for one in audit(corpus, [folder]).findings if one.run}


def test_a_text_head_that_wins(tmp_path: Path, corpus: Corpus) -> None:
    weak, strong = (answers_on(corpus, tmp_path / str(strength), strength) for strength in (0.0, 3.0))
    assert weak["text-head-wins"].severity == "warning"
    assert "text-head-wins" not in strong


def test_labels_and_samples_of_a_test_are_those_of_the_corpus(tmp_path: Path, corpus: Corpus) -> None:
    assert not {"other-labels", "tested-on-train"} & answers_on(corpus, tmp_path / "a", 1.0).keys()
    split = corpus.split("test_iid")
    assert split.labels is not None
    turned = replace(corpus, splits={**corpus.splits, "test_iid": replace(split, labels=(split.labels + 1) % 3)})
    assert answers_on(corpus, tmp_path / "b", 1.0).keys() | {"other-labels"} == audited(turned, tmp_path / "b").keys()
    train = replace(corpus.split("train"), ids=[*split.ids, *corpus.split("train").ids[60:]])
    seen = replace(corpus, splits={**corpus.splits, "train": train})
    assert audited(seen, tmp_path / "b")["tested-on-train"].severity == "leak"


def audited(corpus: Corpus, folder: Path) -> dict[str, Finding]:
    return {one.kind: one for one in audit(corpus, [folder]).findings if one.run}


@pytest.mark.parametrize(
    ("parts", "expected"), [(["train"], set()), (["train", "valid", "test_iid"], {"scaler-of-test"})]
)
def test_a_scaler_that_was_fitted_on_test(corpus: Corpus, parts: list[str], expected: set[str]) -> None:
    three = replace(corpus, splits={name: corpus.split(name) for name in ("train", "valid", "test_iid")})
    kinds = ("audio", "vision")
    features = {key: np.concatenate([three.split(name).features[key] for name in parts]) for key in kinds}
    spans = {key: np.concatenate([three.split(name).spans[key] for name in parts]) for key in features}
    model = LFLSTM(three.spec(tokens=True), SentimentClassification(3), dim=4)
    model.scaler_state = Scaler.fit(features, spans).state()
    material = read_material(draft_of(three), "three splits")
    found = check_scaler_of(Run(Path("run"), None, None), model, material)
    assert {one.kind for one in found} == expected
