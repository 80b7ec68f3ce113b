"""Options that make no sense are refused in one sentence, with exit code 2, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from mer_zoo.cli import main

FIT = ["fit", "--data=SyntheticMER", "--data.task=seven", "--data.batch_size=8", "--model.backbone=LFLSTM"]
FIT += ["--data.scm.train=16", "--data.scm.valid=8", "--data.scm.test=8", "--model.backbone.dim=4"]
FIT += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.max_epochs=2"]
FIT += ["--model.optimizer=Adam"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--data.num_workers=-1", "num_workers is -1; give"),
        ("--model.optimizer.lr=-1", "Invalid learning rate: -1.0; give the optimizer other options"),
        ("--model.optimizer.weight_decay=-1", "Invalid weight_decay value: -1.0; give"),
        ("--model.optimizer.betas=[2,0.9]", "Invalid beta parameter at index 0: 2.0; give"),
        ("--model.lr_scheduler=StepLR --model.lr_scheduler.step_size=0", "StepLR: step_size is 0; give at least 1"),
        ("--model.lr_scheduler=StepLR --model.lr_scheduler.step_size=-3", "StepLR: step_size is -3; give at least 1"),
        (
            "--trainer.limit_val_batches=0",
            "without validation there is nothing to stop by or to choose a checkpoint by",
        ),
        ("--trainer.check_val_every_n_epoch=3", "check_val_every_n_epoch is 3 and max_epochs 2: without validation"),
        ("--trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch is 0; give at least 1"),
        ("--trainer.accumulate_grad_batches=0", "accumulate_grad_batches is 0; give at least 1"),
        ("--trainer.accumulate_grad_batches=-2", "accumulate_grad_batches is -2; give at least 1"),
        ("--trainer.limit_train_batches=0", "limit_train_batches is 0: nothing would be trained"),
        ("--trainer.gradient_clip_val=-1", "gradient_clip_val is -1; give a positive"),
        ("--early_stopping.patience=-1", "patience is -1; give"),
        ("--early_stopping.min_delta=-0.5", "min_delta is -0.5; give"),
        ("--early_stopping.monitor=val/Acc7 --early_stopping.min_delta=-0.5", "min_delta is -0.5; give"),
        ("--last_checkpoint.filename=best", "two callbacks keep their checkpoints as 'best'; give"),
        ("--trainer.max_epochs=0", "max_epochs is 0: nothing would be trained"),
        ("--trainer.max_steps=0", "max_steps is 0: nothing would be trained"),
        ("--trainer.num_sanity_val_steps=-7", "num_sanity_val_steps is -7; give"),
        ("--trainer.log_every_n_steps=-3", "log_every_n_steps is -3; give"),
        ("--trainer.val_check_interval=0", "val_check_interval is 0; give"),
        ("--model.lr_scheduler=StepLR --model.lr_scheduler.step_size=2 --model.lr_scheduler.gamma=-1", "gamma is -1"),
        ('--model.param_groups={"*":{"lr":-1}}', "param_groups '*': Invalid learning rate: -1"),
        ("--trainer.devices=-3", "an int > 0; see mer-zoo fit --help"),
        ("--seed_everything=-1", "seed_everything is -1; give"),
        ("--seed_everything=4294967296", "seed_everything is 4294967296; give"),
        ("--model.backbone.dim=0", "dim of LFLSTM is 0, but must be at least 1"),
    ],
)
def test_an_option_out_of_range_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([*FIT, *options.split()])
    assert stopped.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mer-zoo: error: ")]
    assert words in line
    assert not list(tmp_path.rglob("*.ckpt"))


def test_validation_every_second_epoch_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main([*FIT, "--trainer.check_val_every_n_epoch=2"])
    assert list(tmp_path.rglob("best.ckpt"))
