"""CUMDF under a Trainer: frozen teachers from checkpoints, what is saved, resuming, attribution in the log,
no leak of labels.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from typing_extensions import override

from mer_zoo.backbones import LFLSTM, CUMDFNet
from mer_zoo.batch import Batch
from mer_zoo.cli import main
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.layers.label_guided import LGMMT
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.wrappers import CUMDF, CausalMER

SIZES = SyntheticConfig(train=48, valid=24, test=24)
QUIET: dict[str, Any] = dict.fromkeys(("out_dropout", "attn_dropout", "relu_dropout", "res_dropout"), 0.0)


def data(task: str = "binary", batch_size: int = 48) -> SyntheticMER:
    return SyntheticMER(SIZES, task=task, batch_size=batch_size)


def net(source: SyntheticMER, dim: int = 8) -> Model:
    torch.manual_seed(0)
    return CUMDFNet(source.spec, source.task, dim=dim, heads=2, **QUIET)


def lstm(source: SyntheticMER) -> Model:
    torch.manual_seed(0)
    return LFLSTM(source.spec, source.task, dim=8, out_dropout=0.0)


def module(source: SyntheticMER, make: Callable[[SyntheticMER], Model] = net, **options: Any) -> MERModule:
    inner = make(source)
    return MERModule(
        inner, [partial(CUMDF, **{"seed": 0, **options})], optimizer=lambda p: torch.optim.Adam(p, lr=0.01)
    )


def trainer(tmp_path: Path, *callbacks: Callback, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path, "logger": False}
    switches = ("enable_progress_bar", "enable_model_summary", "num_sanity_val_steps")
    saving = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    given = {**defaults, **dict.fromkeys(switches, False), "enable_checkpointing": saving, **options}
    return Trainer(callbacks=list(callbacks), **given)


def checkpoint(tmp_path: Path, name: str = "teacher", **options: Any) -> Path:
    source = data()
    saving = ModelCheckpoint(tmp_path, filename=name, enable_version_counter=False)
    trainer(tmp_path, saving).fit(module(source, **{"role": "teacher", **options}), datamodule=source)
    return tmp_path / f"{name}.ckpt"


@pytest.mark.parametrize("make", [net, lstm])
def test_a_frozen_teacher_is_no_part_of_the_student(tmp_path: Path, make: Callable[[SyntheticMER], Model]) -> None:
    path = checkpoint(tmp_path, make=make)
    before = torch.load(path, weights_only=True)["state_dict"]
    source = data()
    student = module(source, make, teacher=str(path))
    saving = ModelCheckpoint(tmp_path, filename="student", enable_version_counter=False)
    running = trainer(tmp_path, saving)
    running.fit(student, datamodule=source)
    model = student.model
    assert isinstance(model, CUMDF)
    assert running.global_step == model.num_steps == 1
    (teacher,) = model._frozen
    assert not teacher.training
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    for name, value in teacher.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, before[f"model.{name}"]), name
    mine = {id(p) for p in student.parameters()}
    assert not mine & {id(p) for p in teacher.parameters()}
    assert not any("teacher" in name or "frozen" in name for name in student.state_dict())
    path.unlink()
    alone = module(source, make, teacher=str(path))
    alone.load_state_dict(torch.load(tmp_path / "student.ckpt", weights_only=True)["state_dict"])
    source.setup("test")
    batch = next(iter(source.batch_source("valid")))
    assert torch.equal(alone.eval().model.predict(batch).logits, student.eval().model.predict(batch).logits)


def test_the_frozen_distance_is_to_that_teacher(tmp_path: Path) -> None:
    path, source = checkpoint(tmp_path), data()
    source.setup("fit")
    batch = next(iter(source.batch_source("train")))
    teacher = module(source, role="teacher")
    teacher.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    told = teacher.model
    assert isinstance(told, CUMDF)
    for labels, known in (("truth", batch.target), ("expected", None)):
        student = module(source, teacher=str(path), teacher_labels=labels, attribution_weight=0.0).model
        assert isinstance(student, CUMDF)
        goal = student.eval()._frozen_goal(batch)
        output = told.eval().backbone(batch)
        found = told.guided(told.backbone, output, batch, known)
        torch.testing.assert_close(goal.h, found.h)
        torch.testing.assert_close(goal.pooled, found.pooled())
        assert not goal.h.is_inference()


def test_wrong_teachers_are_told_before_the_first_epoch(tmp_path: Path) -> None:
    path, source = checkpoint(tmp_path), data()
    rubbish = tmp_path / "rubbish.ckpt"
    rubbish.write_bytes(b"no checkpoint")
    foreign = tmp_path / "foreign.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in content.items() if k != "mer_zoo"}, foreign)

    def fit(teacher: Path, task: str = "binary", make: Callable[[SyntheticMER], Model] = net) -> None:
        other = data(task)
        trainer(tmp_path).fit(module(other, make, teacher=str(teacher)), datamodule=other)

    with pytest.raises(MERError, match=r"the teacher .*nowhere\.ckpt does not exist; train one with role: teacher"):
        fit(tmp_path / "nowhere.ckpt")
    with pytest.raises(MERError, match="rubbish.ckpt is damaged or not a checkpoint"):
        fit(rubbish)
    with pytest.raises(MERError, match="foreign.ckpt was not written by mer_zoo"):
        fit(foreign)
    with pytest.raises(MERError, match=r"holds model CUMDF\(CUMDFNet\), but the student is CUMDF\(LFLSTM\)"):
        fit(path, make=lstm)
    with pytest.raises(
        MERError, match=r"holds task SentimentClassification \[3\], but the student is Sentiment.* \[7\]"
    ):
        fit(path, task="seven")
    with pytest.raises(MERError, match="does not fit this teacher .* of CUMDF"):
        fit(path, make=partial(net, dim=16))
    module(source, teacher=str(tmp_path / "nowhere.ckpt"))  # a prediction needs no teacher


@pytest.mark.parametrize("teacher", ["joint", "frozen"])
@pytest.mark.filterwarnings("ignore:the run goes on otherwise")  # another seed of views is to be no matter
def test_resuming_goes_on_as_if_nothing_had_happened(tmp_path: Path, teacher: str) -> None:
    path = "joint" if teacher == "joint" else str(checkpoint(tmp_path))

    def run(epochs: int, resume: bool = False) -> MERModule:
        source = data()
        saving = ModelCheckpoint(tmp_path, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
        student = module(source, teacher=path, seed=9 if resume else 0)
        student.stretches.may_differ = frozenset({"model"})
        start = tmp_path / "last.ckpt" if resume else None
        trainer(tmp_path, saving, max_epochs=epochs).fit(student, datamodule=source, ckpt_path=start)
        return student

    straight = run(4)
    run(2)
    resumed = run(4, resume=True)
    for name, value in straight.state_dict().items():
        # The order of the samples in the one batch differs, and so the rounding; each of four steps of Adam moves
        # weights by 0.01.
        torch.testing.assert_close(resumed.state_dict()[name], value, atol=2e-4, rtol=1e-4, msg=name)


class Shares(Callback):
    """Notes the logged shares of every epoch."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        logged = trainer.callback_metrics
        self.seen.append([float(logged[name]) for name in sorted(logged) if name.startswith("val/cumdf/share_")])


@pytest.mark.parametrize("make", [net, lstm])
def test_shares_are_logged_each_epoch_and_sum_to_one(tmp_path: Path, make: Callable[[SyntheticMER], Model]) -> None:
    source, shares = data(batch_size=16), Shares()
    trainer(tmp_path, shares, max_epochs=3).fit(module(source, make), datamodule=source)
    assert len(shares.seen) == 3
    assert all(len(each) == 3 and sum(each) == pytest.approx(1) for each in shares.seen)
    assert shares.seen[0] != shares.seen[1] != shares.seen[2]


def test_attention_outlives_its_penalty(tmp_path: Path) -> None:
    """With coefficients of 1 the penalty is all that W_Q, W_K and W_V learn; with those of the options they stay."""

    def left(**options: Any) -> tuple[float, float]:
        """Share of the weights' norm, and the largest attention weight over the uniform one, after 120 steps."""
        source = data(batch_size=8)
        trained = module(source, teacher=None, attribution_weight=0.0, **options)
        model = trained.model
        assert isinstance(model, CUMDF)
        before = _norm(model)
        trainer(tmp_path, max_epochs=20).fit(trained, datamodule=source)
        batch = next(iter(source.batch_source("valid")))
        with torch.no_grad():
            x = model.eval().backbone(batch).hidden
            assert x is not None
            real = torch.stack([each.ne(0).any(2) for each in x.values()]).any(0)
            fusion = model.backbone.offered(LGMMT)
            assert fusion is not None
            weights = torch.stack(list(fusion.attention(x, real).values()))
        return _norm(model) / before, float((weights.amax(3) * real.sum(1)[:, None]).mean())

    dead, living = left(lambda_q=1.0, lambda_k=1.0, lambda_v=1.0), left()
    assert dead[0] < 0.2
    assert dead[1] < 1.01
    assert living[0] > 0.7
    assert living[1] > 1.2


def _norm(model: CUMDF) -> float:
    weights = [weight for triple in model.guided.penalised(model.backbone) for weight in triple]
    return float(torch.stack([weight.detach().norm() for weight in weights]).norm())


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("wrappers", [[CUMDF], [CUMDF, CausalMER], [partial(CUMDF, role="teacher")]])
def test_fit_and_test(tmp_path: Path, precision: Any, wrappers: list[Any]) -> None:
    source = data(batch_size=16)
    trained = MERModule(net(source), wrappers)
    running = trainer(tmp_path, precision=precision, max_epochs=2)
    running.fit(trained, datamodule=source)
    running.test(trained, datamodule=source, verbose=False)
    assert all(torch.isfinite(value) for value in running.callback_metrics.values())


def changed(batch: Batch) -> Batch:
    return batch.replace(target=(batch.target + 1) % 3)


@pytest.mark.parametrize("make", [net, lstm])
@pytest.mark.parametrize("options", [{}, {"role": "teacher"}, {"teacher": None}], ids=["student", "teacher", "none"])
def test_labels_change_no_prediction(make: Callable[[SyntheticMER], Model], options: dict[str, Any]) -> None:
    source = data()
    source.setup("fit")
    batch = next(iter(source.batch_source("train")))
    model = module(source, make, **options).model
    other = changed(batch)
    for mode in (True, False):
        model.train(mode)
        assert torch.equal(model(batch).logits, model(other).logits)
        assert torch.equal(model.predict(batch).logits, model.predict(other).logits)
    assert isinstance(model, CUMDF)
    first, second = (list(model.steps(each))[-1].output.logits for each in (batch, other))
    assert torch.equal(first, second) == (model.role == "student")  # only a teacher in training is told
    if model.teacher is not None:
        assert torch.equal(model.teacher(batch).logits, model.teacher(other).logits)
        assert not torch.equal(model.teacher(batch, batch.target).logits, model.teacher(batch, other.target).logits)


class Unrelated(SyntheticMER):
    """Labels drawn without looking at the samples, the three classes alike."""

    @override
    def read(self) -> Corpus:
        corpus = super().read()
        splits = {}
        for place, (name, split) in enumerate(corpus.splits.items()):
            labels = np.random.default_rng([7, place]).integers(0, 3, len(split))
            splits[name] = replace(split, labels=labels)
        return replace(corpus, splits=splits)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["student", "teacher"])
def test_labels_without_a_cause_are_not_predicted(tmp_path: Path, role: str) -> None:
    """Accuracy on 600 unseen samples lies within five deviations (0.096) of a third;
    a teacher that is told knows nearly all.
    """
    sizes = SyntheticConfig(train=300, valid=12, test=600)
    source = Unrelated(sizes, task="binary", batch_size=50, conditions="default")
    trained = module(source, role=role, label_drop=0.5)
    running = trainer(tmp_path, max_epochs=12)
    running.fit(trained, datamodule=source)
    running.test(trained, datamodule=source, verbose=False)
    assert abs(float(running.callback_metrics["test/Acc3"]) - 1 / 3) < 0.096
    model = trained.eval().model
    assert isinstance(model, CUMDF)
    backbone, guided = (model.backbone, model.guided) if role == "teacher" else _parts(model)
    told = []
    with torch.no_grad():
        for batch in source.batch_source("test_iid"):
            logits = guided(backbone, backbone(batch), batch, batch.target).logits
            told.append(logits.argmax(1) == batch.target)
    assert torch.cat(told).float().mean() > 0.9


def _parts(model: CUMDF) -> tuple[Any, Any]:
    assert model.teacher is not None
    return model.teacher.backbone, model.teacher.guided


CONFIG = Path(__file__).parents[3] / "configs/mosi/cumdf.yaml"
ABLATIONS = CONFIG.parents[1] / "base/cumdf.yaml"
OVERRIDES: dict[
    str, Callable[[Any], bool]
] = {  # what the file's comments promise, and what is left of the network then
    "w/o MKE": lambda model: model.backbone.extract is None,
    "w/o LG-MMT": lambda model: not model.backbone.fusion.guided,
    "w/o attribution": lambda model: model.attribution is None,
    "no teacher": lambda model: model.num_steps == 1 and model.distillation is None,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERRIDES)
def test_each_ablation_is_one_override(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus_files: dict[str, Path]
) -> None:
    (line,) = (each for each in ABLATIONS.read_text().splitlines() if each.startswith(f"#   {name} "))
    seen: list[Any] = []
    monkeypatch.setattr(MERModule, "on_fit_end", lambda self: seen.append(self.model))
    monkeypatch.chdir(tmp_path)
    path = corpus_files["mult_mosi_noalign"]
    given = [f"--config={CONFIG}", f"--data.path={path}", "--model.backbone.dim=8", *line.split(name)[1].split()]
    main(["fit", *given, "--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--data.batch_size=4"])
    assert OVERRIDES[name](seen[0])
