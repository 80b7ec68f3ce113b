"""Joint representations and effects of the samples of a test, as they are kept and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from mer_zoo import CUMDF, LFLSTM, CausalMER, SyntheticMER
from mer_zoo.callbacks import RunRecord
from mer_zoo.callbacks import features as keeping
from mer_zoo.data import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import WrapperFactory
from mer_zoo.module import MERModule
from mer_zoo.reports.kept_features import FEATURES, conditions_with_features, read_features
from mer_zoo.reports.kept_scores import read_scores


def record_of_test(folder: Path, conditions: list[str], wrapper: WrapperFactory, **record: Any) -> MERModule:
    torch.manual_seed(0)
    config = SyntheticConfig(train=8, valid=4, test=5)
    data = SyntheticMER(config, task="binary", batch_size=2, standardize=False, conditions=list(conditions))
    module = MERModule(LFLSTM(data.spec, data.task, dim=4), wrappers=[wrapper])
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    callback = RunRecord(str(folder), pictures=False, **record)
    Trainer(callbacks=[callback], default_root_dir=folder, **quiet).test(module, data, verbose=False)
    return module


def test_representations_are_those_of_the_model_and_later_tests_add_theirs(tmp_path: Path) -> None:
    record_of_test(tmp_path, ["default"], CausalMER, features=True)
    module = record_of_test(tmp_path, ["availability"], CausalMER, features=True)
    assert set(conditions_with_features(tmp_path)) > {"iid", "ood", "{l}", "{a,v}"}
    data = module.datamodule
    assert data is not None
    condition = next(each for each in data.conditions if each.name == "{a,v}")
    model = module.model.eval()
    expected = torch.cat([model.predict(batch).features.detach() for batch in data.condition_source(condition)])
    kept = read_features(tmp_path, "{a,v}")
    torch.testing.assert_close(kept.features, expected)
    assert kept.ids[4] == "test_iid_00004"
    assert read_features(tmp_path, "ood").ids[0] == "test_ood_00000"
    with pytest.raises(MERError, match="no joint representations of 'RMM 0.3'"):
        read_features(tmp_path, "RMM 0.3")


def test_effects_are_kept_for_each_sample(tmp_path: Path) -> None:
    module = record_of_test(tmp_path, ["default"], CUMDF)
    assert not (tmp_path / FEATURES).exists()
    kept = read_scores(tmp_path, "ood", (3,))
    assert kept is not None
    named = [f"CUMDF: attribution of {name}" for name in ("text", "audio", "vision")]
    assert [name for name in kept.facts if ": " in name] == named
    torch.testing.assert_close(kept.facts[named[1]], module.test_scores["ood"].effects["attribution_audio"])


def test_more_than_there_is_room_for_is_refused_before_the_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "check_room", lambda counts, width: refuse(sum(counts) * width))
    with pytest.raises(MERError, match="no room for 60 numbers"):
        record_of_test(tmp_path, ["default"], CausalMER, features=True)
    assert not (tmp_path / "results.json").exists()


def refuse(numbers: int) -> None:
    raise MERError(f"no room for {numbers} numbers")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FEATURES).write_bytes(b"none")
    with pytest.raises(MERError, match=r"features\.safetensors can't be read"):
        conditions_with_features(tmp_path)
