"""What an audit says of runs: their answers, their figures, their checkpoint, and whether they are of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from report_toys import content, write_run
from training_runs import train

from mer_zoo.audit import NotChecked, Page, audit
from mer_zoo.audit.answers import check_run
from mer_zoo.audit.finding import Finding
from mer_zoo.audit.material import Material, draft_of, read_material
from mer_zoo.audit.runs import find_runs
from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
from mer_zoo.errors import MERError
from mer_zoo.reports import write_results

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
    before = Path(__file__).parents[1] / "golden" / "before"
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
