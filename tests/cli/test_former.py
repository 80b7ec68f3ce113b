"""Configurations from before: a run's own are read, those written by hand are told the names of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import capture_parser

from mer_zoo.cli.former import use_current_names
from mer_zoo.cli.parser import MERCLI
from mer_zoo.errors import MERError

HEADER = "# lightning.pytorch==2.6.0\n"
FORMER = """\
model:
  backbone: {class_path: mer_zoo.MulT, init_args: {d_model: 20, num_heads: 5, attn_dropout: 1e-2}}
  wrappers: [{class_path: mer_zoo.wrappers.GEAR, init_args: {dropout: 0.4}}]
data: {class_path: mer_zoo.SyntheticMER}
"""


def settings(path: Path, *args: str) -> Any:
    return capture_parser(MERCLI).parse_args(["fit", f"--config={path}", *args]).fit.model


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_written_configuration_is_read_under_the_names_of_today(tmp_path: Path) -> None:
    model = settings(written(tmp_path / "config.yaml", HEADER + FORMER))
    network, wrapper = model.backbone.init_args, model.wrappers[0].init_args
    assert (network.dim, network.heads, network.attn_dropout, wrapper.out_dropout) == (20, 5, 0.01, 0.4)
    assert "d_model" not in network


def test_what_is_given_beside_it_wins(tmp_path: Path) -> None:
    path = written(tmp_path / "config.yaml", HEADER + FORMER)
    assert settings(path, "--model.backbone.dim=30", "--model.backbone.heads=6").backbone.init_args.dim == 30


def test_a_configuration_by_hand_is_told_the_name(tmp_path: Path) -> None:
    with pytest.raises(MERError, match="MulT has no option (d_model; it is called dim|num_heads; it is called heads)"):
        settings(written(tmp_path / "mine.yaml", FORMER))


def test_one_by_hand_may_build_on_a_written_one(tmp_path: Path) -> None:
    written(tmp_path / "config.yaml", HEADER + FORMER)
    own = "base: config.yaml\nmodel: {backbone: {init_args: {dim: 40}}}\n"
    network = settings(written(tmp_path / "mine.yaml", own)).backbone.init_args
    assert (network.dim, network.heads) == (40, 5)


def test_an_option_under_both_names_is_refused(tmp_path: Path) -> None:
    text = HEADER + FORMER.replace("d_model: 20", "d_model: 20, dim: 40")
    with pytest.raises(MERError, match="MulT has no option d_model; it is called dim"):
        settings(written(tmp_path / "config.yaml", text))


def test_classes_that_moved_are_found_in_any_file(tmp_path: Path) -> None:
    text = "trainer: {callbacks: [{class_path: mer_zoo.resume.LastCheckpoint, init_args: {filename: often}}]}\n"
    for name, header in {"mine.yaml": "", "config.yaml": HEADER}.items():
        path = written(tmp_path / name, header + text + FORMER.replace("d_model", "dim").replace("num_heads", "heads"))
        if not header:
            path.write_text(path.read_text().replace("dropout: 0.4", "out_dropout: 0.4"))
        given = capture_parser(MERCLI).parse_args(["fit", f"--config={path}"]).fit.trainer.callbacks[0]
        assert given.class_path == "mer_zoo.training.resume.LastCheckpoint"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "a: [1, {b: c}]",
        "class_path: mer_zoo.MulT",
        "{class_path: [1], init_args: {d_model: 3}}",
        "{class_path: mer_zoo.MulT, init_args: [d_model]}",
        "{class_path: mer_zoo.MulT, init_args: {[1]: 2, d_model: 3}}",
        "{class_path: their.MulT, init_args: {d_model: 3}}",
    ],
)
def test_other_files_stay_as_they_are(text: str) -> None:
    root = yaml.compose(HEADER + text)
    before = None if root is None else yaml.serialize(root)
    assert not use_current_names(root, HEADER + text)
    assert before == (None if root is None else yaml.serialize(root))


def test_a_file_that_refers_to_itself_again_and_again_is_gone_through_once() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    text = "\n".join(lines)
    assert not use_current_names(yaml.compose(text), text)


def test_a_word_that_meant_something_else_is_read_as_it_was_meant() -> None:
    def read(options: str, header: str = HEADER) -> Any:
        text = f"{header}wrappers: [{{class_path: mer_zoo.MACI, init_args: {options}}}]\n"
        root = yaml.compose(text)
        use_current_names(root, text)
        return yaml.safe_load(yaml.serialize(root))["wrappers"][0]["init_args"]["variant"]

    assert read("{variant: paper, tau: 0.0}") == "released"
    assert read("{variant: paper, tau: 0.0, labels: true}") == "paper"
    assert read("{variant: paper, tau: 0.0}", header="") == "paper"


def test_an_option_that_is_lacking_is_read_as_what_was_meant() -> None:
    def read(options: str, header: str = HEADER) -> Any:
        text = f"{header}wrappers: [{{class_path: mer_zoo.CUMDF, init_args: {options}}}]\n"
        root = yaml.compose(text)
        use_current_names(root, text)
        return yaml.safe_load(yaml.serialize(root))["wrappers"][0]["init_args"]

    meant = {"penalty_weight": 0.1, "lambda_q": 1.0, "lambda_k": 1.0, "lambda_v": 1.0}
    assert read("{penalty_weight: 0.1}") == meant
    assert read("{penalty_weight: 0.1, dropout: 0.2}") == {**meant, "out_dropout": 0.2}
    assert read("{penalty_weight: 0.1, lambda_k: 0.5}") == {**meant, "lambda_k": 0.5}
    assert read("{penalty_weight: 0.1}", header="") == {"penalty_weight": 0.1}
