"""``mer-zoo list`` and ``mer-zoo info``: every name is there, and what is told of it is so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import mer_zoo.backbones
import mer_zoo.data
import mer_zoo.wrappers
from mer_zoo.cli import main
from mer_zoo.cli.catalogue import KINDS, catalogue
from mer_zoo.cli.sizes import MOSI, build, count_flops
from mer_zoo.metrics import METRICS, emotion_metrics, sentiment_metrics
from mer_zoo.reports.measured import Measured, write_measured

CONFIGS = Path(__file__).parents[2] / "configs"


def told(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as leaving:
        main(list(args))
    assert not leaving.value.code
    return capsys.readouterr().out


def names(kind: str) -> list[str]:
    return [entry.name for entry in catalogue(kind)]


def test_networks_and_wrappers_are_those_of_the_package() -> None:
    assert sorted(names("backbones")) == sorted(mer_zoo.backbones.__all__)
    assert sorted(names("wrappers")) == sorted(mer_zoo.wrappers.__all__)


def test_data_are_corpora_and_missing_patterns() -> None:
    patterns = {name for name in mer_zoo.data.__all__ if is_pattern(getattr(mer_zoo.data, name))}
    assert set(names("data")) == patterns | {"IEMOCAP", "MOSEI", "MOSI", "MERDataModule", "SyntheticMER"}


def is_pattern(value: object) -> bool:
    base = mer_zoo.data.MissingPattern
    return isinstance(value, type) and issubclass(value, base) and value is not base


def test_every_metric_has_its_line() -> None:
    found = {name for classes in (None, 2, 3, 5, 7) for name in sentiment_metrics(classes)}
    assert found <= METRICS.keys()
    assert {str(name).replace("sad", "EMOTION") for name in emotion_metrics(["sad"])} <= METRICS.keys()


def test_every_configuration_that_stands_alone_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CONFIGS.parent)
    files = {path.relative_to(CONFIGS.parent) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "base"}
    assert set(map(Path, names("configs"))) == files


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_says_what_it_is(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = told(capsys, "list", kind).splitlines()
    for entry in catalogue(kind):
        assert entry.what
        assert any(line.split() == [*entry.name.split(), *entry.what.split()] for line in lines)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tfn", ["TFN (mer_zoo.backbones.tfn)", "EMNLP 2017", "fusion_dim = 64", "9,497,043", "hidden sequences"]),
        ("LFLSTM", ["text 50 x 64, audio 375 x 64, vision 500 x 64", "266,113", "CausalMER 2  ", "Apache-2.0"]),
        (
            "CausalMER",
            ["Kim, Hong and Choi", "alpha = 0.1", "191,640 more", "needs classes", "MulT (reimplemented)"],
        ),
        ("MOSI", ["IEEE Intelligent Systems", "path ", "task = 'regression'", "batch_size = 32", "num_workers = 0"]),
        ("RMFM", ["rate ", "Probability that a position is missing"]),
        ("Acc2_non0", ["neutral samples are left out"]),
    ],
)
def test_what_is_told_of_a_name(capsys: pytest.CaptureFixture[str], name: str, words: list[str]) -> None:
    text = told(capsys, "info", name)
    for word in words:
        assert word in text
    assert max(map(len, text.split("published figures")[0].splitlines())) <= 120


@pytest.mark.slow
@pytest.mark.parametrize("name", [*mer_zoo.backbones.__all__, *mer_zoo.wrappers.__all__])
def test_every_model_has_its_page(capsys: pytest.CaptureFixture[str], name: str) -> None:
    text = told(capsys, "info", name)
    for word in (
        "paper",
        "options, with their defaults",
        "FLOPs of a prediction",
        "published figures",
        "measured here",
        "licence",
    ):
        assert word in text


def test_what_was_measured_here_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures = [Measured("toy", "MACI(LFDNN)", f"rho {n}", "Acc3", str(70 + n), "0.5") for n in range(9)]
    write_measured(tmp_path / "toy_cpu.csv", figures)
    monkeypatch.setattr("mer_zoo.reports.measured.FOLDER", tmp_path)
    text = told(capsys, "info", "LFDNN")
    assert "  MACI(LFDNN)  toy  rho 0  Acc3 70 ± 0.5\n" in text
    assert "rho 5" in text
    assert "rho 6" not in text
    assert "and 3 lines more" in text
    assert "measured here: nothing yet" in told(capsys, "info", "LFLSTM")


def test_a_name_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["info", "MulTT"])
    assert leaving.value.code == 2
    assert "there is nothing of the name 'MulTT', did you mean MulT; mer-zoo list" in capsys.readouterr().err


def test_operations_are_those_of_the_equations() -> None:
    """Four gates an LSTM step, each of a matrix by the input and one by the state, two operations an entry."""
    model = build("LFLSTM", "regression").eval()
    lstms = [part for part in model.modules() if isinstance(part, nn.LSTM)]
    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    steps = {lstm.input_size: MOSI.length(name) for name, lstm in zip(MOSI.modalities, lstms, strict=True)}
    recurrent = sum(
        2 * 4 * lstm.hidden_size * (lstm.input_size + lstm.hidden_size) * steps[lstm.input_size] for lstm in lstms
    )
    head = sum(2 * part.in_features * part.out_features for part in linears)
    assert count_flops(model) == recurrent + head
    assert torch.backends.mkldnn.enabled


@pytest.mark.parametrize("args", [["--model.wrappers.help", "CausalMER"], ["--model.wrappers.help=mer_zoo.CausalMER"]])
def test_help_of_a_wrapper_is_about_the_wrapper(capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    main(["fit", *args])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("CausalMER")
    assert any(line.split()[:3] == ["--model.wrappers.alpha", "=", "0.1"] for line in lines)
    assert len(lines) < 40


def test_help_of_fit_has_the_options_of_the_corpus(capsys: pytest.CaptureFixture[str]) -> None:
    text = told(capsys, "fit", "--help")
    for option in ("path", "batch_size", "task", "modalities", "conditions", "predict_split"):
        assert f"\n  --data.{option}" in text
