from pathlib import Path
from typing import Any

import pytest
import torch
from golden_cases import golden, gradients
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from released_mmin import CODES, TASK, batch_of, check_gradients, close, seeing, sizes, stage_one_of, task_loss

from mer_zoo.backbones import LFLSTM, MMIN
from mer_zoo.backbones.mmin.cascade import Cascade
from mer_zoo.batch import Batch, DataSpec
from mer_zoo.compat import load_released
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.task import Task

SMALL: dict[str, Any] = {"dim": 6, "cascade_dims": (6, 4), "blocks": 2, "head_dims": (5,), "seed": 0}
UTTERANCE = {"encoder": "utterance"}


def make(spec: DataSpec | None = None, task: Task | None = None, **options: Any) -> MMIN:
    torch.manual_seed(0)
    return MMIN(spec or DataSpec(), task or TASK, **{**SMALL, **options})


@pytest.mark.parametrize(("name", "options"), [("mmin_iemocap", {}), ("mmin_mosi", UTTERANCE)])
def test_the_released_first_stage(name: str, options: dict[str, Any]) -> None:
    case = golden(name)
    spec, task, batch = batch_of(case)
    model = MMIN(spec, task, stage=1, **sizes(case), **options).eval()
    used = load_released(model, stage_one_of(case), "mmin").used
    (step,) = model.steps(batch)
    close(step.output.features, case.outputs["stage1.embeddings"])
    close(step.output.logits.squeeze(1), case.outputs["stage1.logits"])
    assert step.losses == {}
    loss = task_loss(model, step.output.logits, batch)
    close(loss, case.outputs["stage1.loss.task"])
    torch.autograd.backward(loss)
    expected = {k.removeprefix("stage1."): v for k, v in gradients(name).items() if k.startswith("stage1.")}
    check_gradients(model, used, expected, 5.0 if options else 0.5)


@pytest.mark.parametrize(("name", "options"), [("mmin_iemocap", {}), ("mmin_mosi", UTTERANCE)])
def test_the_released_second_stage(name: str, options: dict[str, Any]) -> None:
    case = golden(name)
    spec, task, batch = batch_of(case)
    model = MMIN(spec, task, teacher="frozen", **sizes(case), **options).eval()
    report = load_released(model, case.params, "mmin")
    assert all(key.startswith("teacher.netC.") for key in report.unused)
    with seeing(model, case.inputs["missing_index"]):
        (step,) = model.steps(batch)
    out, made = case.outputs, step.output.aux
    for ours, theirs in {"given": "f", "imagined": "imagined", "target": "target"}.items():
        close(getattr(made, ours), out[f"stage2.{theirs}"])
    assert model.cycle is not None
    close(model.cycle(made.imagined)[0], out["stage2.cycle"])
    close(step.output.features, out["stage2.latent"])
    close(step.output.logits.squeeze(1), out["stage2.logits"])
    for loss in ("imagination", "cycle"):
        close(step.losses[f"mmin/{loss}"], out[f"stage2.loss.{loss}"])
    total = task_loss(model, step.output.logits, batch) + sum(step.losses.values())
    close(total, out["stage2.loss.total"])
    torch.autograd.backward(total)
    expected = {k.removeprefix("stage2."): v for k, v in gradients(name).items() if k.startswith("stage2.")}
    check_gradients(model, report.used, expected, 5.0 if options else 1.0)


def test_the_released_cascade() -> None:
    case = golden("mmin_residual_ae")
    cascade = Cascade(case.config["input_dim"], case.config["layers"], case.config["n_blocks"])
    load_released(cascade, case.params, "mmin")
    imagined, latent = cascade(case.inputs["x"])
    close(imagined, case.outputs["recon"])
    close(latent, case.outputs["latent"])


def test_what_is_missing_is_not_read() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model, batch = make(spec).eval(), Batch.random(spec, TASK, size=3)
    view = SMM(["audio", "vision"])(batch, spec, 0)
    other = view.replace(text=view.text.replace(x=torch.randint(5, 200, view.text.x.shape)))
    assert torch.equal(model(view).logits, model(other).logits)
    assert not torch.equal(model(view).logits, model(batch).logits)


def test_targets_are_of_what_is_missing_or_of_everything() -> None:
    batch = Batch.random(DataSpec(), TASK, size=2)
    codes = torch.tensor([[1, 0, 1], [0, 1, 1]])
    found = {}
    for target in ("reverse", "full"):
        model = make(target=target, text_dropout=0.0).eval()
        with seeing(model, codes):
            (step,) = model.steps(batch)
        found[target] = step.output.aux
    complete = make(text_dropout=0.0).eval()(batch).aux.given
    torch.testing.assert_close(found["full"].target, complete)
    gone = torch.cat([(codes[:, [CODES.index(name)]] == 0).expand(2, 6) for name in ("audio", "text", "vision")], 1)
    torch.testing.assert_close(found["reverse"].target[gone], complete[gone])
    torch.testing.assert_close(found["full"].given[~gone], complete[~gone])
    # where a modality is there, the target is what zeros give, as what is given is where it is not
    assert not torch.allclose(found["reverse"].target[~gone], complete[~gone])


@pytest.mark.parametrize("pool", ["max", "last", "attention"])
def test_an_lstm_is_read_without_padding(pool: str) -> None:
    model, batch = make(pool=pool).eval(), Batch.random(DataSpec(), TASK, size=3)
    loud = batch.audio.x.masked_fill(~batch.audio.mask[..., None], 9.0)
    assert torch.equal(model(batch).logits, model(batch.replace(audio=batch.audio.replace(x=loud))).logits)
    assert not torch.equal(model(batch).logits, make(pool="max" if pool != "max" else "last").eval()(batch).logits)


def test_losses_teach_all_but_the_teacher() -> None:
    model, batch = make(teacher="frozen"), Batch.random(DataSpec(), TASK, size=12)
    model.train()
    assert model.teacher is not None
    assert not model.teacher.training
    (step,) = model.steps(batch)
    torch.autograd.backward(torch.stack(list(step.losses.values())).sum())
    idle = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None}
    assert idle == {"teacher", "head"}
    shared = make(share_cycle=True)
    assert sum(p.numel() for p in shared.parameters()) < sum(p.numel() for p in make().parameters())


def fit(folder: Path, model: Model, source: SyntheticMER, start: str | None = None) -> Path:
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    saving = ModelCheckpoint(folder, filename="one")
    quiet: dict[str, Any] = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    epochs = 1 if start is None else 2
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, callbacks=[saving], **quiet)
    trainer.fit(module, source, ckpt_path=start)
    return Path(saving.best_model_path)


def test_stage_two_has_the_encoders_of_stage_one_and_keeps_them(tmp_path: Path) -> None:
    source = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), task="binary", batch_size=8)
    source.setup("fit")
    path = fit(tmp_path / "1", make(source.spec, source.task, stage=1), source)
    first = torch.load(path, weights_only=True)["state_dict"]
    second = make(source.spec, source.task, pretrained=str(path))
    second.prepare([])
    state = second.state_dict()
    for key in (key for key in first if key.startswith("model.encoders.")):
        name = key.removeprefix("model.")
        assert torch.equal(state[name], first[key])
        assert torch.equal(state[f"teacher.{name}"], first[key])
    run = fit(tmp_path / "2", make(source.spec, source.task, pretrained=str(path)), source)
    trained = MERModule.load_from_checkpoint(run).model.state_dict()  # the file of stage 1 is not read again
    moved = [name for name in state if name.startswith("encoders.") and not torch.equal(trained[name], state[name])]
    assert moved
    assert all(torch.equal(trained[name], value) for name, value in state.items() if name.startswith("teacher."))
    path.unlink()
    again = fit(tmp_path / "3", make(source.spec, source.task, pretrained=str(path)), source, str(run))
    resumed = torch.load(again, weights_only=True)["state_dict"]
    assert not torch.equal(resumed[f"model.{moved[0]}"], trained[moved[0]])
    other = fit(tmp_path / "4", LFLSTM(source.spec, source.task, dim=4), source)
    with pytest.raises(MERError, match="holds LFLSTM; give the checkpoint of a run of MMIN without wrappers"):
        make(source.spec, source.task, pretrained=str(other)).prepare([])


def test_refusals() -> None:
    with pytest.raises(MERError, match="needs at least two, but the data is used with text"):
        make(DataSpec(modalities=["text"]))
    with pytest.raises(MERError, match="stage of MMIN is 3"):
        make(stage=3)
    with pytest.raises(MERError, match="stage: 1 has no teacher"):
        make(stage=1, pretrained="one.ckpt")
    with pytest.raises(MERError, match="unknown pool 'middle' of MMIN"):
        make(pool="middle")
