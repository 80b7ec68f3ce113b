"""Features pooled to words, in a corpus: every network reads them, and what was not seen during a word is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from mer_zoo import LFLSTM, MERDataModule, MERModule, SentimentRegression
from mer_zoo.audit.prediction import first_samples
from mer_zoo.backbones import EFLSTM, MFN, DiCMoR
from mer_zoo.clips.clip import Clip, ClipFeatures
from mer_zoo.clips.encoders import FrameStatistics, HashedWords, Mel
from mer_zoo.clips.labels import read_labelling
from mer_zoo.clips.output import write_corpus
from mer_zoo.clips.parts import Parts
from mer_zoo.data.survey.material import draft_of, read_material
from mer_zoo.demo.answer import batch_of
from mer_zoo.explain.samples import complete_condition
from mer_zoo.feature_spec import FeatureSpec

WORDS, UNSEEN = 6, 2
MAKERS: dict[str, Any] = {"text": HashedWords(), "audio": Mel(), "vision": FrameStatistics()}
SPECS = {
    key: FeatureSpec(**{**maker.spec.plain(), "dim": 4, "aligned": key != "text"})  # narrow, so that it is quick
    for key, maker in MAKERS.items()
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of three to six words; of the second the third word shows no face, and the third shows none at all."""
    folder = tmp_path_factory.mktemp("aligned")
    splits = ["train"] * 8 + ["valid"] * 4 + ["test"] * 4
    draw = np.random.default_rng(0)
    clips, parts = [], Parts(folder / "parts", SPECS, 60.0)
    for place, split in enumerate(splits):
        path = folder / f"c{place}.wav"
        path.write_bytes(b"RIFF")
        clips.append(Clip(path, split=split, labels={"label": str(place / 4 - 2)}))
        length = WORDS if place < 3 else 3 + place % 4
        x = {key: draw.normal(5, 1, (length, 4)).astype(np.float32) for key in SPECS}
        if place == 1:
            x["vision"][UNSEEN] = 0
        if place == 2:
            del x["vision"]
        parts.keep(clips[-1], ClipFeatures(x, text="so"))
    write_corpus(folder / "f.pkl", clips, parts, read_labelling(clips), SPECS)
    return folder / "f.pkl"


def test_a_word_without_a_face_is_missing_there(file: Path) -> None:
    data = MERDataModule(str(file), batch_size=8, standardize=True)
    assert data.spec.aligned
    assert data.spec.text_len == data.spec.audio_len == data.spec.vision_len == WORDS
    batch = next(iter(data.batch_source("train")))
    row, absent = batch.ids.index("c1"), batch.ids.index("c2")
    assert batch.vision.mask[row].all()
    assert (~batch.vision.observed[row]).nonzero().flatten().tolist() == [UNSEEN]
    assert not batch.vision.x[row, UNSEEN].any()
    assert not batch.vision.observed[absent].any()
    assert torch.equal(batch.audio.observed, batch.audio.mask)
    assert abs(batch.vision.x[batch.vision.observed].mean()) < 1e-5  # the gap moves no statistics


def test_the_page_and_the_audit_take_it_for_missing_too(file: Path) -> None:
    data = MERDataModule(str(file), batch_size=8, standardize=False)
    trained = data.samples(complete_condition(data, "train"), range(8))
    model = LFLSTM(data.spec, SentimentRegression())
    model.made_by = data.corpus.made_by
    material = read_material(draft_of(data.corpus), "f.pkl")
    audited = first_samples(model, material.parts["train"], "f.pkl")
    split = data.corpus.split("train")
    for place in range(3):
        spans = {key: range(*split.spans[key][place].tolist()) for key in SPECS}
        x = {key: split.features[key][place, list(there)] for key, there in spans.items() if there}
        asked = batch_of(ClipFeatures(x), model)
        for key in SPECS:
            wanted = trained.modality(key)
            assert audited.modality(key).observed[place].equal(wanted.observed[place]), (key, place)
            assert asked.modality(key).observed[0].equal(wanted.observed[place]), (key, place)
            torch.testing.assert_close(asked.modality(key).x[0], wanted.x[place])


@pytest.mark.parametrize("network", [EFLSTM, MFN, DiCMoR])
def test_networks_that_need_one_time_axis_train_on_it(network: Any, file: Path) -> None:
    data = MERDataModule(str(file), batch_size=8)
    sizes: dict[str, Any] = {"EFLSTM": {"dim": 4, "variant": "released"}, "MFN": {"mask_padding": False}}
    module = MERModule(network(data.spec, data.task, **sizes.get(network.__name__, {})))
    quiet: Any = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    Trainer(fast_dev_run=True, **quiet).fit(module, data)
