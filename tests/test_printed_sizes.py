"""CIDer's Table VI: parameters without BERT, as the paper prints them and as the zoo has them with its settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo.cli.bases import with_bases
from mer_zoo.cli.sizes import MOSI
from mer_zoo.model import Model
from mer_zoo.reports import published
from mer_zoo.reports.identities import identity_of
from mer_zoo.task import SentimentClassification, SentimentRegression, Task
from mer_zoo.training.cost import parameter_counts

CONFIGS = Path(__file__).parents[1] / "configs" / "mosi"
SCORE = SentimentRegression()
CLASSES = [SentimentClassification(classes) for classes in (3, 7)]


def build(name: str, task: Task) -> Model:
    """A model of the table by the options of its configuration, on features in place of BERT."""
    identity = identity_of("CIDer", "VI", name)
    assert identity is not None
    path = CONFIGS / f"{identity.config}.yaml"
    content = yaml.safe_load(with_bases(path.read_text(), path))["model"]
    options: dict[str, Any] = {k: v for k, v in content["backbone"]["init_args"].items() if k != "text_encoder"}
    model: Model = vars(mer_zoo.backbones)[content["backbone"]["class_path"]](MOSI, task, **options)
    for wrapper in content.get("wrappers", []):
        told: dict[str, Any] = {"class_path": wrapper} if isinstance(wrapper, str) else wrapper
        model = vars(mer_zoo.wrappers)[told["class_path"]](model, **told.get("init_args", {}))
    assert model.name == identity.nest
    return model


def printed(name: str) -> float:
    (figure,) = (f for f in published(name, metric="parameters_without_bert") if f.table == "VI")
    return figure.value


def size(model: Model) -> int:
    return parameter_counts(model)["trained_without_text_encoder"]


@pytest.mark.parametrize("name", ["EMT-DLFR", "LNLN"])
def test_networks_are_as_large_as_printed(name: str) -> None:
    assert size(build(name, SCORE)) == printed(name)


def test_cider_is_as_large_as_printed() -> None:
    """The mean over the two tasks; MACI's share is what it adds to the network whose classifier it replaces."""
    models = [build("CIDer", task) for task in CLASSES]
    assert [size(model) for model in models] == [244_086, 251_806]
    assert sum(size(model) for model in models) / 2 == printed("CIDer") == 247_946
    macis = [next(part for part in model.nest if isinstance(part, mer_zoo.MACI)) for model in models]
    own = [size(maci) - size(maci.backbone) for maci in macis]
    assert sum(own) / 2 == printed("MACI") == 37_405


@pytest.mark.parametrize(
    ("name", "task", "paper", "ours"),
    [
        ("DMD", SCORE, 12_578_232, 10_295_580),
        ("DLF", SCORE, 10_750_808, 3_566_105),
        ("CLUE", CLASSES[0], 3_798_579, 759_111),
    ],
)
def test_what_is_built_and_never_used_is_not_counted(name: str, task: Task, paper: int, ours: int) -> None:
    identity = identity_of("CIDer", "VI", name)
    assert identity is not None
    assert "builds and never uses" in identity.note
    assert (printed(name), size(build(name, task))) == (paper, ours)
    docs = (Path(__file__).parents[1] / "docs" / "test.md").read_text()
    assert f"{paper:,}" in docs
    assert f"{ours:,}" in docs


@pytest.mark.parametrize(("name", "paper", "ours"), [("MPLMM", 2_242_946, 2_219_066), ("GEAR", 372_071, 300_168)])
def test_where_the_paper_does_not_say_what_it_counts_both_numbers_are_told(name: str, paper: int, ours: int) -> None:
    assert (printed(name), size(build(name, SCORE))) == (paper, ours)
    docs = (Path(__file__).parents[1] / "docs" / "test.md").read_text()
    assert f"| {name} | {paper:,} | {ours:,} |" in docs


def test_mplmm_lacks_one_pointwise_convolution_of_each_modality() -> None:
    spread = sum((width + 1) * 30 for width in (MOSI.text_dim, MOSI.audio_dim, MOSI.vision_dim))
    assert printed("MPLMM") - size(build("MPLMM", SCORE)) == spread
