import pickle
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from forks import process_context
from torch import Tensor
from torchmetrics import MetricCollection

from mer_zoo.errors import MERError
from mer_zoo.functional.sentiment import to_classes
from mer_zoo.metrics import ClassMetric, MeanAbsoluteError, emotion_metrics, sentiment_metrics
from mer_zoo.task import Task, build_task

TASKS = ["regression", "two", "binary", "five", "seven", "emotions"]


def sample(task: Task, size: int = 90) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    target = task.random_target(size, generator)
    if target.is_floating_point():
        target = (target * 2).round() / 2  # with neutral samples and ties of rounding
    return torch.randn(size, *task.shape, generator=generator), target


def values(metrics: MetricCollection) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.compute().items()}


@pytest.mark.parametrize("name", TASKS)
def test_monitored_metric_exists(name: str) -> None:
    task = build_task(name)
    metric = task.monitor[0].removeprefix("val/")
    assert metric in task.metrics()
    assert task.monitor[1] == ("max" if task.metrics()[metric].higher_is_better else "min")


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("sizes", [[1] * 90, [13] * 6 + [12], [89, 1]])
def test_batch_sizes_do_not_matter(name: str, sizes: list[int]) -> None:
    task = build_task(name)
    logits, target = sample(task)
    whole, parts = task.metrics(), task.metrics()
    whole.update(logits, target)
    for part in zip(torch.split(logits, sizes), torch.split(target, sizes), strict=True):
        parts.update(*part)
    assert values(parts) == pytest.approx(values(whole), abs=1e-8)


def test_a_first_batch_on_which_metrics_agree_does_not_tie_them_together() -> None:
    metrics = sentiment_metrics()
    metrics.update(torch.tensor([[1.0], [-1.0]]), torch.tensor([1.0, -1.0]))  # nobody neutral: has0 equals non0
    metrics.update(torch.tensor([[-1.0]]), torch.tensor([0.0]))
    assert values(metrics)["Acc2_non0"] == 1.0
    assert values(metrics)["Acc2_has0"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", TASKS)
def test_pickle_clone_and_reset(name: str) -> None:
    task = build_task(name)
    logits, target = sample(task)
    metrics = task.metrics()
    metrics.update(logits, target)
    assert values(pickle.loads(pickle.dumps(metrics))) == values(metrics)
    fresh = metrics.clone(prefix="val/")
    fresh.reset()
    fresh.update(logits[:30], target[:30])
    fresh.update(logits[30:], target[30:])
    expected = {f"val/{key}": value for key, value in values(metrics).items()}
    assert values(fresh) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("name", ["binary", "seven"])
def test_classes_as_labels_equal_their_sentiment(name: str) -> None:
    task = build_task(name)
    logits, target = sample(task)
    classes = task.shape[0]
    target = to_classes(target, classes) - classes // 2
    real, integer = task.metrics(), task.metrics()
    real.update(logits, target.float())
    integer.update(logits, target + classes // 2)
    assert values(real) == values(integer)


@pytest.mark.parametrize("name", ["regression", "binary", "seven"])
def test_all_neutral(name: str) -> None:
    task = build_task(name)
    metrics = task.metrics()
    metrics.update(torch.randn(5, *task.shape), torch.zeros(5))
    found = values(metrics)
    assert (found["Acc2_non0"], found["F1_non0"], found.get("Corr", 0.0)) == (0.0, 0.0, 0.0)
    assert all(value == value for value in found.values())


def test_no_samples() -> None:
    metrics = sentiment_metrics()
    metrics.update(torch.zeros(0, 1), torch.zeros(0))
    found = values(metrics)
    assert found.pop("MAE") != 0.0
    assert set(found.values()) == {0.0}


def test_unlabelled_samples_are_left_out() -> None:
    metrics, labelled = sentiment_metrics(), sentiment_metrics()
    logits, target = torch.randn(6, 1), torch.tensor([1.0, float("nan"), -2.0, 0.0, float("nan"), 0.5])
    metrics.update(logits, target)
    labelled.update(logits[~target.isnan()], target[~target.isnan()])
    assert values(metrics) == values(labelled)


def test_a_diverged_model_is_not_rewarded() -> None:
    logits = torch.tensor([[1.0], [float("nan")], [float("nan")], [float("nan")]])
    with pytest.raises(MERError, match="3 of 4 scores are not finite numbers"):
        sentiment_metrics().update(logits, torch.tensor([1.0, 2.0, -1.0, 3.0]))


def test_low_precision_keeps_counts() -> None:
    # bfloat16 cannot count beyond 256 in steps of one
    metric = ClassMetric(3, 3, "accuracy")
    logits = torch.eye(3, dtype=torch.bfloat16)[torch.zeros(1000, dtype=torch.long)]
    for start in range(0, 1000, 10):
        metric.update(logits[start : start + 10], torch.full((10,), -1.0 if start < 990 else 1.0))
    assert metric.compute() == pytest.approx(0.99)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        error = MeanAbsoluteError()
        error.update(torch.full((1000, 1), 0.125, dtype=torch.bfloat16), torch.full((1000,), 1.0))
        assert error.compute() == 0.875


def test_converting_the_module_keeps_the_counts() -> None:
    metrics = sentiment_metrics(7).to(torch.bfloat16).half()
    logits, target = sample(build_task("seven"), 1000)
    metrics.update(logits, target)
    expected = sentiment_metrics(7)
    expected.update(logits, target)
    assert values(metrics) == values(expected)


def test_unknown_options() -> None:
    with pytest.raises(MERError, match="num_classes is 4; sentiment has 2, 3, 5 or 7"):
        sentiment_metrics(4)
    with pytest.raises(MERError, match="unknown convention 'other'; choose from mmsa, mult, causalmer"):
        sentiment_metrics(7, "other")  # type: ignore[arg-type]


def test_emotion_names_follow_the_columns() -> None:
    metrics = emotion_metrics(["x", "y"])
    metrics.update(torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[0, 1]]))
    found = values(metrics)
    assert (found["Acc_x"], found["Acc_y"]) == (1.0, 0.0)


def _worker(rank: int, store: str, tasks: list[str]) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    for name in tasks:
        task = build_task(name)
        logits, target = sample(task, 91)
        metrics, alone = task.metrics(), task.metrics()
        # uneven shards, and a second round in which one process has nothing
        metrics.update(logits[:60] if rank == 0 else logits[60:90], target[:60] if rank == 0 else target[60:90])
        if rank == 0:
            metrics.update(logits[90:], target[90:])
        together = values(metrics)
        for metric in alone.values(copy_state=False):
            metric.sync_on_compute = False
        alone.update(logits, target)
        assert together == pytest.approx(values(alone), abs=1e-12), name
    idle = MeanAbsoluteError()
    if rank == 0:
        idle.update(torch.tensor([[1.0]]), torch.tensor([0.0]))
    assert float(idle.compute()) == 1.0
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    processes = [
        process_context().Process(target=_worker, args=(rank, str(tmp_path / "store"), TASKS)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
