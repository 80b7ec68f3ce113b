"""The pictures of a report beside its conditions and curves: what they are drawn from, and when they are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from report_toys import content, write_run

from mer_zoo.reports import load_results, write_results
from mer_zoo.reports.groups import Group, conditions_of, group_runs
from mer_zoo.reports.pictures.confusion import confusion_of, confusion_picture
from mer_zoo.reports.pictures.gallery import all_pictures
from mer_zoo.reports.pictures.gaps import gap_picture
from mer_zoo.reports.pictures.style import COLOURS, DASHES, MARKERS, blank, save_picture, svg
from mer_zoo.reports.pictures.training import history, training_picture
from mer_zoo.reports.pictures.triangle import position, triangle_picture
from mer_zoo.task import SentimentClassification, SentimentRegression, build_task


def groups_of(tmp_path: Path, **options: object) -> list[Group]:
    models = ("MulT", "TFN")
    folders = [
        write_run(tmp_path / f"{model}{seed}", model=model, seed=seed, **options) for model in models for seed in (0, 1)
    ]
    return group_runs([load_results(folder) for folder in folders])


def texts(figure: object) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]  # type: ignore[attr-defined]


def test_every_picture_is_drawn_where_runs_allow_it(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, curves=["RMFM"])
    (groups[0].runs[0].path.parent / "metrics.csv").write_text("epoch,val/loss\n0,1.0\n1,0.5\n")
    conditions = conditions_of(groups[0].runs)
    names = [picture.name for picture in all_pictures(groups, conditions, "Acc3")]
    assert names == ["report", "robustness", "gaps", "contribution", "confusion", "training"]


def test_only_the_conditions_are_drawn_of_bare_runs(tmp_path: Path) -> None:
    groups = groups_of(tmp_path, sets=[])
    for group in groups:
        for run in group.runs:
            (run.path.parent / "scores.safetensors").unlink()
    assert [one.name for one in all_pictures(groups, conditions_of(groups[0].runs), "Acc3")] == ["report"]


def test_gaps_say_what_the_table_says(tmp_path: Path) -> None:
    groups = groups_of(tmp_path)
    figure = gap_picture(groups, conditions_of(groups[0].runs), "Acc3", "toys")
    assert figure is not None
    for group in groups:
        assert f"{100 * group.gap('Acc3', '{a}')[0]:+.1f}" in texts(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "mean"


def test_corners_of_the_triangle_are_modalities(tmp_path: Path) -> None:
    corners = [
        position({name: float(name == one) for name in ("text", "audio", "vision")})
        for one in ("text", "audio", "vision")
    ]
    sides = [
        torch.dist(torch.tensor(a), torch.tensor(b)) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    assert sides == pytest.approx([1, 1, 1], abs=1e-6)
    figure = triangle_picture(groups_of(tmp_path), "toys")
    assert figure is not None
    assert {"text", "audio", "vision"} <= set(texts(figure))


def test_rows_of_a_confusion_matrix_are_true_classes(tmp_path: Path) -> None:
    results, scores = content(sets=[])
    logits = torch.zeros_like(scores["iid"].logits)
    logits[:, 2] = 9.0  # all are called positive
    scores["iid"].logits.copy_(logits)
    write_results(tmp_path, results, scores, pictures=False)
    counts = confusion_of(load_results(tmp_path), "iid")
    assert counts is not None
    assert counts[:, :2].sum() == 0
    truth = build_task("binary").encode(scores["iid"].target)
    assert counts[:, 2].tolist() == truth.bincount(minlength=3).tolist()


def test_classes_of_sentiment_are_scores(tmp_path: Path) -> None:
    figure = confusion_picture(groups_of(tmp_path, task="regression"), "toys")
    assert figure is not None
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["-3", "-2", "-1", "0", "+1", "+2", "+3"]
    assert confusion_picture(groups_of(tmp_path / "other", task="emotions"), "toys") is None


@pytest.mark.parametrize(("monitor", "best"), [("val/loss", 1), ("val/Acc3", 2), ("val/nothing", None), ("[1]", None)])
def test_the_epoch_that_was_kept_is_that_of_the_configuration(tmp_path: Path, monitor: str, best: int | None) -> None:
    rows = (
        "epoch,step,train/loss,val/Acc3,val/loss\n0,1,,0.4,0.9\n0,1,1.0,,\n1,2,,0.6,0.5\n2,3,,0.7,0.6\n3,4,,0.7,nan\n"
    )
    (tmp_path / "metrics.csv").write_text(rows)
    (tmp_path / "config.yaml").write_text(f"checkpoint: {{monitor: {monitor}, mode: auto}}\n")
    found = history(tmp_path)
    assert found is not None
    assert found.best == best
    assert found.values["val/loss"] == {0: 0.9, 1: 0.5, 2: 0.6}


def test_the_epoch_that_was_kept_is_that_of_the_task_where_the_configuration_leaves_it_to_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,val/Acc3,val/MAE\n0,0.4,1.2\n1,0.7,1.4\n2,0.6,1.0\n")
    (tmp_path / "config.yaml").write_text("checkpoint: {monitor: auto, mode: auto}\n")
    for task, best in ((SentimentClassification(3), 1), (SentimentRegression(), 2), (None, None)):
        found = history(tmp_path, task)
        assert found is not None
        assert found.best == best


@pytest.mark.parametrize("text", ["", "\0\xff", "epoch\n1,2,3\n", "epoch,val/loss\nx,1\n"])
def test_odd_logs_are_left_out(tmp_path: Path, text: str) -> None:
    groups = groups_of(tmp_path, sets=[])
    (groups[0].runs[0].path.parent / "metrics.csv").write_text(text, encoding="latin-1")
    assert training_picture(groups, "toys") is None


def test_models_differ_in_colour_marker_and_dashes() -> None:
    assert len(set(MARKERS)) == len(COLOURS) == len(DASHES)


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_pictures_are_equal_files(tmp_path: Path, kind: str) -> None:
    for name in ("a", "b"):
        figure = blank(1)
        figure.text(0.5, 0.5, "text")
        save_picture(figure, tmp_path / name / f"toy.{kind}")
    first, second = ((tmp_path / name / f"toy.{kind}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


def test_two_pictures_of_a_page_share_no_ids() -> None:
    figure = blank(1)
    figure.text(0.5, 0.5, "<b>-->")
    assert svg(figure, "one").replace("one-", "two-") == svg(figure, "two")
    assert "<!--" not in svg(figure, "one")
