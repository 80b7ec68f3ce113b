"""Checkpoints that stay readable, but of which a field is odd: told in one sentence, or used where it does no harm."""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mer_zoo import CUMDF, LFLSTM, MPLMM, MERModule, MulT, SyntheticMER
from mer_zoo.callbacks import RunRecord
from mer_zoo.data import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.sharing.export import export_checkpoint
from mer_zoo.training.resume import LastCheckpoint
from mer_zoo.wrappers.cumdf.teacher import load_teacher

Content = dict[str, Any]
ESCAPE = "\x1b[2J\x1b]0;title\x07<script>alert(1)</script>](javascript:x)"
HUGE = 10**5000
NAMES = {"model": "LFLSTM", "mult": "MulT", "cumdf": "CUMDF"}


def data() -> SyntheticMER:
    return SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), batch_size=4)


def module(kind: str, source: SyntheticMER) -> MERModule:
    torch.manual_seed(0)
    if kind == "mult":
        return MERModule(MulT(source.spec, source.task, dim=4, heads=2, depth=1))
    wrappers: list[Any] = [CUMDF] if kind == "cumdf" else []
    return MERModule(LFLSTM(source.spec, source.task, dim=4), wrappers)


def trainer(folder: Path, epochs: int) -> Trainer:
    places: dict[str, Any] = {"dirpath": folder / "checkpoints", "auto_insert_metric_name": False}
    best = ModelCheckpoint(**places, monitor="val/loss", filename="best")
    last = LastCheckpoint(**places, filename="last", save_on_train_epoch_end=True)
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        default_root_dir=folder,
        callbacks=[best, last, EarlyStopping("val/loss"), RunRecord(pictures=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for kind in NAMES:
        folder, source = tmp_path_factory.mktemp(kind), data()
        trainer(folder, epochs=1).fit(module(kind, source), source)
        found[kind] = folder / "checkpoints" / "last.ckpt"
    return found


def a_test(path: Path, folder: Path) -> None:
    source = data()
    trainer(folder, epochs=2).test(module("model", source), source, ckpt_path=str(path), verbose=False)


def a_resumed_fit(path: Path, folder: Path) -> None:
    source = data()
    trainer(folder, epochs=2).fit(module("model", source), source, ckpt_path=str(path))


def an_export(path: Path, folder: Path) -> None:
    export_checkpoint(path, folder / "out")


def a_teacher(path: Path, folder: Path) -> None:
    source = data()
    student = CUMDF(LFLSTM(source.spec, source.task, dim=4))
    load_teacher(str(path), student, student.backbone, student.guided)


def a_first_stage(path: Path, folder: Path) -> None:
    source = data()
    MPLMM(source.spec, source.task, pretrained=str(path), dim=4, heads=2, depth=1, prompt_length=2).prepare([])


WAYS: dict[Callable[[Path, Path], None], str] = {
    a_test: "model",
    a_resumed_fit: "model",
    an_export: "model",
    a_teacher: "cumdf",
    a_first_stage: "mult",
}


def put(*keys: str, value: Any) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return edit


def drop(*keys: str) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        place: Any = content
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return edit


def weight(change: Callable[[torch.Tensor], Any]) -> Callable[[Content], None]:
    """Change the first weight of two dimensions, which every way reads."""

    def edit(content: Content) -> None:
        state = content["state_dict"]
        wide = [name for name, value in state.items() if value.dim() == 2 and "teacher" not in name]
        name = next((name for name in wide if "crossmodal" in name), wide[0])
        state[name] = change(state[name].clone())

    return edit


def filled(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        tensor[0, 0] = number
        return tensor

    return fill


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def many(depth: int) -> Any:
    """A short list that no walk over it comes to the end of."""
    value: Any = [1]
    for _ in range(depth):
        value = [value] * 10
    return value


def optimizer(*keys: Any, change: Callable[[Any], Any]) -> Callable[[Content], None]:
    """Change a value in the state of the optimiser."""

    def edit(content: Content) -> None:
        place: Any = content["optimizer_states"][0]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = change(place[keys[-1]])

    return edit


def stopped_for_no_reason(content: Content) -> None:
    for state in content["callbacks"].values():
        if "stopping_reason" in state:
            state["stopping_reason"] = 99


NAN = torch.full((1,), float("nan"))
ENDLESS = torch.ones(1).expand(10**12)  # one number
# To be refused by every way in.
ODD: dict[str, Callable[[Content], None]] = {
    "state is a list": put("state_dict", value=[1]),
    "state is none": put("state_dict", value=None),
    "state has a number for a name": put("state_dict", value={1: torch.zeros(1)}),
    "weight is a list": weight(lambda tensor: tensor.tolist()),
    "weight is none": weight(lambda _: None),
    "weight has another shape": weight(lambda tensor: tensor[:1]),
    "weight has another dimension": weight(lambda tensor: tensor[0]),
    "weight is whole numbers": weight(lambda tensor: tensor.long()),
    "weight is complex": weight(lambda tensor: tensor.to(torch.complex64)),
    "weight is sparse": weight(lambda tensor: tensor.to_sparse()),
    "weight is nan": weight(filled(float("nan"))),
    "weight is infinite": weight(filled(-float("inf"))),
    "version is a number": put("pytorch-lightning_version", value=2),
    "version is of other states": put("pytorch-lightning_version", value="0.9.0"),
    "weight is a shape alone": weight(lambda tensor: tensor.to("meta")),
    "anything is endless": put("surprise", value=many(15)),
    "anything holds itself": lambda content: content.update(surprise=[content]),
    "anything is one number for ever": put("surprise", value=[ENDLESS]),
    "anything is sparse": put("surprise", value={"a": torch.ones(2).to_sparse()}),
    "deviation is one number for ever": put("mer_zoo", "scaler", "std", "audio", value=ENDLESS),
    "deviation is a shape alone": put("mer_zoo", "scaler", "std", "audio", value=torch.ones(5, device="meta")),
    "deviation is sparse": put("mer_zoo", "scaler", "std", "audio", value=torch.ones(5).to_sparse()),
    "deviation is too exact": put("mer_zoo", "scaler", "std", "audio", value=torch.ones(5).double()),
    "deviation is of eight bits": put("mer_zoo", "scaler", "std", "audio", value=torch.ones(5).to(torch.float8_e4m3fn)),
    "version is a text": put("pytorch-lightning_version", value="newest"),
    "epoch is a text": put("epoch", value="one"),
    "epoch is negative": put("epoch", value=-1),
    "epoch is huge": put("epoch", value=HUGE),
    "step is true": put("global_step", value=True),
    "step is a tensor": put("global_step", value=torch.zeros(2)),
    "callbacks is a list": put("callbacks", value=[1]),
    "callbacks holds a text": put("callbacks", value={"ModelCheckpoint": "best"}),
    "loops is a text": put("loops", value="none"),
    "optimizer states is a mapping": put("optimizer_states", value={}),
    "lr schedulers holds numbers": put("lr_schedulers", value=[1]),
    "record is a list": put("mer_zoo", value=[]),
    "record is a text": put("mer_zoo", value=ESCAPE),
    "record is missing": drop("mer_zoo"),
    "model is missing": drop("mer_zoo", "model"),
    "model is a number": put("mer_zoo", "model", value=3),
    "model is another": put("mer_zoo", "model", value=ESCAPE),
    "task is none": put("mer_zoo", "task", value=None),
    "task is a tensor": put("mer_zoo", "task", value=torch.zeros(3)),
    "seed is a text": put("mer_zoo", "seed", value="0"),
    "seed is a fraction": put("mer_zoo", "seed", value=0.5),
    "seed is huge": put("mer_zoo", "seed", value=HUGE),
    "recipe is a list": put("mer_zoo", "recipe", value=[1]),
    "recipe holds a tensor": put("mer_zoo", "recipe", "spec", value=torch.zeros(1)),
    "recipe is deep": put("mer_zoo", "recipe", "spec", value={"a": nested(300)}),
    "recipe holds a huge number": put("mer_zoo", "recipe", "spec", "text_len", value=HUGE),
    "recipe holds nan": put("mer_zoo", "recipe", "spec", "text_len", value=float("nan")),
    "refused is a number": put("mer_zoo", "recipe", value={"refused": 3}),
    "about is a text": put("mer_zoo", "about", value="about"),
    "label is a number": put("mer_zoo", "about", "model", value=1),
    "parameters is a text": put("mer_zoo", "about", "parameters", value="many"),
    "notes is a text": put("mer_zoo", "about", "notes", value="note"),
    "notes holds a list": put("mer_zoo", "about", "notes", value=[["note"]]),
    "packages is a list": put("mer_zoo", "about", "packages", value=["torch"]),
    "packages holds a number": put("mer_zoo", "about", "packages", value={"torch": 2}),
    "python is a tuple": put("mer_zoo", "about", "python", value=(3, 11)),
    "git is a text": put("mer_zoo", "about", "git", value="main"),
    "dirty is a text": put("mer_zoo", "about", "git", value={"commit": "1", "dirty": "yes"}),
    "data is a list": put("mer_zoo", "about", "data", value=[]),
    "corpus is a number": put("mer_zoo", "about", "data", "corpus", value=5),
    "modalities holds a number": put("mer_zoo", "about", "data", "modalities", value=[1]),
    "scaler is a tensor": put("mer_zoo", "scaler", value=torch.zeros(3)),
    "scaler has no mean": drop("mer_zoo", "scaler", "mean"),
    "scaler's mean is a tensor": put("mer_zoo", "scaler", "mean", value=torch.zeros(3)),
    "scaler has another modality": put("mer_zoo", "scaler", "mean", "smell", value=torch.zeros(3)),
    "scaler lacks a deviation": drop("mer_zoo", "scaler", "std", "audio"),
    "mean is a list": put("mer_zoo", "scaler", "mean", "audio", value=[0.0]),
    "mean is nan": put("mer_zoo", "scaler", "mean", "audio", value=NAN),
    "mean is a matrix": put("mer_zoo", "scaler", "mean", "audio", value=torch.zeros(2, 2)),
    "mean has another length": put("mer_zoo", "scaler", "mean", "audio", value=torch.zeros(77)),
    "deviation is zero": put("mer_zoo", "scaler", "std", "audio", value=torch.zeros(5)),
    "deviation is whole numbers": put("mer_zoo", "scaler", "std", "audio", value=torch.ones(5).long()),
}
# To be used by every way in.
HARMLESS: dict[str, Callable[[Content], None]] = {
    "nothing": lambda _: None,
    "more than there was": put("surprise", value={"a": [1, None, "x"]}),
    "more in the record": put("mer_zoo", "surprise", value=["x"]),
    "more in about": put("mer_zoo", "about", "surprise", value=3.5),
    "label with escapes": put("mer_zoo", "about", "model", value=ESCAPE),
    "note with escapes": put("mer_zoo", "about", "notes", value=[ESCAPE, "\ud800", "x" * 100_000]),
    "versions with escapes": put("mer_zoo", "about", "packages", value={ESCAPE: ESCAPE}),
    "corpus with escapes": put("mer_zoo", "about", "data", "corpus", value=ESCAPE),
    "task of the data with escapes": put("mer_zoo", "about", "data", "task", value=ESCAPE + "\n```\n# heading"),
    "deviation that would be trained": lambda content: content["mer_zoo"]["scaler"]["std"].update(
        audio=torch.nn.Parameter(content["mer_zoo"]["scaler"]["std"]["audio"])
    ),
    "no seed": put("mer_zoo", "seed", value=None),
    "no git": put("mer_zoo", "about", "git", value=None),
    "no data": put("mer_zoo", "about", "data", value=None),
}
# To be refused in one sentence, or used, as the way has to do with it or not.
EITHER: dict[str, Callable[[Content], None]] = {
    "recipe is missing": drop("mer_zoo", "recipe"),
    "recipe has other parts": put("mer_zoo", "recipe", value={"format": 1}),
    "recipe has an unknown class": put("mer_zoo", "recipe", "backbone", value={"class": ESCAPE, "arguments": {}}),
    "recipe has a list for a class": put("mer_zoo", "recipe", "backbone", value=[1]),
    "recipe has a text for wrappers": put("mer_zoo", "recipe", "wrappers", value="none"),
    "recipe has an empty spec": put("mer_zoo", "recipe", "spec", value={}),
    "recipe has an option of another type": put("mer_zoo", "recipe", "backbone", "arguments", "dim", value="4"),
    "refused with escapes": put("mer_zoo", "recipe", value={"refused": ESCAPE}),
    "about is missing": drop("mer_zoo", "about"),
    "scaler is none": put("mer_zoo", "scaler", value=None),
    "epoch is missing": drop("epoch"),
    "callbacks is missing": drop("callbacks"),
    "monitor is a number": lambda content: content["callbacks"].update(
        {key: {"monitor": 3} for key in content["callbacks"]}
    ),
    "state of callbacks is empty": lambda content: content["callbacks"].update(
        {key: {} for key in content["callbacks"]}
    ),
    "curve is a text": put("mer_zoo_curve", value="none"),
    "curve holds texts": put("mer_zoo_curve", value=[{"step": "x"}, 3]),
    "loops is missing": drop("loops"),
    "loops is empty": put("loops", value={}),
    "fit loop is empty": put("loops", "fit_loop", value={}),
    "epoch progress is a text": put("loops", "fit_loop", "epoch_progress", value={"current": "x", "total": 3}),
    "counts are texts": put("loops", "fit_loop", "epoch_progress", "current", value={"ready": "x"}),
    "states of loaders are odd": put("loops", "fit_loop", "state_dict", value={"combined_loader": [{"batches": "x"}]}),
    "optimizer states is empty": put("optimizer_states", value=[]),
    "optimizer states lacks groups": put("optimizer_states", value=[{"state": {}}]),
    "optimizer groups are odd": put("optimizer_states", value=[{"state": {0: 3}, "param_groups": [{"params": [0]}]}]),
    "optimizer has a state of another shape": optimizer("state", 0, "exp_avg", change=lambda value: value[:1]),
    "optimizer has a state of whole numbers": optimizer("state", 0, "exp_avg", change=lambda value: value.long()),
    "optimizer has one number for a state": optimizer("state", 0, "exp_avg", change=lambda v: v[0, 0].expand(v.shape)),
    "optimizer has negative steps": optimizer("state", 0, "step", change=lambda value: -value),
    "optimizer has parameters in another order": optimizer("param_groups", 0, "params", change=lambda v: v[::-1]),
    "optimizer has one parameter many times": optimizer("param_groups", 0, "params", change=lambda v: [0] * len(v)),
    "optimizer has impossible options": optimizer("param_groups", 0, "betas", change=lambda _: (2.0, 3.0)),
    "optimizer has a negative rate": optimizer("param_groups", 0, "lr", change=lambda value: -value),
    "optimizer has another switch": optimizer("param_groups", 0, "capturable", change=lambda _: True),
    "stopped for no reason": stopped_for_no_reason,
    "progress is negative": put("loops", "fit_loop", "epoch_progress", "current", "processed", value=-3),
    "numpy draws from beside its numbers": lambda content: content["mer_zoo_training"]["processes"][0]["rng"][
        "numpy"
    ].__setitem__(2, 10**6),
    "many processes": lambda content: content["mer_zoo_training"].update(
        processes=content["mer_zoo_training"]["processes"] * 5000
    ),
    "hyper parameters is a list": put("hyper_parameters", value=[1]),
    "training state is a text": put("mer_zoo_training", value="x"),
    "training state is empty": put("mer_zoo_training", value={}),
    "no processes": put("mer_zoo_training", "processes", value=[]),
    "processes hold texts": put("mer_zoo_training", "processes", value=["x"]),
    "generators are odd": put("mer_zoo_training", "processes", value=[{"rng": {"torch": 3}, "means": {}}]),
    "generator is short": lambda content: content["mer_zoo_training"]["processes"][0]["rng"].update(
        torch=torch.zeros(3, dtype=torch.uint8)
    ),
    "means are texts": lambda content: content["mer_zoo_training"]["processes"][0].update(means={"train/loss": "x"}),
    "stopping is a text": put("mer_zoo_training", "stopping", value="yes"),
    "monitored is a text": put("mer_zoo_training", "monitored", value="low"),
    "sampler seed is a text": put("mer_zoo_training", "sampler_seed", value="one"),
    "logged step is a text": put("mer_zoo_training", "logged_step", value="one"),
}


@cache
def whole(path: Path) -> Content:
    """What a checkpoint holds, to be copied."""
    content: Content = torch.load(path, weights_only=True)
    return content


def edited(checkpoints: dict[str, Path], way: Callable[[Path, Path], None], folder: Path, edit: Any) -> Path:
    content = copy.deepcopy(whole(checkpoints[WAYS[way]]))
    edit(content)
    path = folder / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    return path


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_odd_checkpoints_are_refused_in_one_sentence(
    checkpoints: dict[str, Path], way: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    told = {}
    for name, edit in ODD.items():
        path = edited(checkpoints, way, tmp_path / name, edit)
        try:
            way(path, tmp_path / name)
            told[name] = "nothing"
        except MERError as error:
            sentence = str(error)
            told[name] = "" if "checkpoint" in sentence and _is_a_line(sentence) else sentence
        except Exception as error:
            told[name] = repr(error)
    unused = {"mean has another length"} if way not in (a_test, a_resumed_fit) else set()
    assert {name: fault for name, fault in told.items() if fault and name not in unused} == {}


def _is_a_line(sentence: str) -> bool:
    return len(sentence) < 500 and sentence.isprintable()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.filterwarnings("ignore:the best epoch before")  # its file is not beside the edited one
def test_what_does_no_harm_is_used(
    checkpoints: dict[str, Path], way: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    for name, edit in HARMLESS.items():
        way(edited(checkpoints, way, tmp_path / name, edit), tmp_path / name)
        if way is an_export:
            card = (tmp_path / name / "out" / "README.md").read_text()
            before, _, rest = card.partition("```python")
            card = before + rest.partition("\n```\n")[2]  # but for code, which is code
            assert "```" not in card
            assert all(line.isprintable() for line in card.splitlines())
            assert not any(markup in card for markup in ("<script", "](javascript", "\n# heading"))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.filterwarnings("ignore:the best epoch before")  # its file is not beside the edited one
def test_what_a_way_does_not_know_ends_in_no_traceback(
    checkpoints: dict[str, Path], way: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    told = {}
    for name, edit in EITHER.items():
        path = edited(checkpoints, way, tmp_path / name, edit)
        try:
            way(path, tmp_path / name)
        except MERError as error:
            told[name] = "" if _is_a_line(str(error)) else str(error)
        except Exception as error:
            told[name] = repr(error)
    assert {name: fault for name, fault in told.items() if fault} == {}


@pytest.mark.filterwarnings("ignore:the best epoch before")
def test_patience_is_what_was_asked_for(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    def forever(content: Content) -> None:
        for state in content["callbacks"].values():
            if "patience" in state:
                state.update(patience=10**9, wait_count=2)

    path, source = edited(checkpoints, a_resumed_fit, tmp_path, forever), data()
    run = trainer(tmp_path, epochs=2)
    run.fit(module("model", source), source, ckpt_path=str(path))
    stopping = next(callback for callback in run.callbacks if isinstance(callback, EarlyStopping))  # type: ignore[attr-defined]
    assert stopping.patience == 3


@pytest.mark.filterwarnings("ignore:the best epoch before")
def test_a_rate_that_nobody_asked_for_is_told(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = edited(checkpoints, a_resumed_fit, tmp_path, optimizer("param_groups", 0, "lr", change=lambda _: 0.5))
    with pytest.warns(UserWarning, match=r"goes on with lr 0\.5, as in the checkpoint, not 0\.001"):
        a_resumed_fit(path, tmp_path)


def test_nothing_is_made_of_a_size_that_a_checkpoint_tells(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    made = pickle.dumps(10**12, 2)[2:-1]
    call = b"cbuiltins\nbytearray\n" + made + b"\x85R"
    with zipfile.ZipFile(checkpoints["model"]) as old, zipfile.ZipFile(tmp_path / "last.ckpt", "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content[:2] + b"}(X\x01\x00\x00\x00a" + call + content[2:-1] + b"u."
            new.writestr(entry, content)
    with pytest.raises(MERError, match="is damaged or not a checkpoint"):
        a_test(tmp_path / "last.ckpt", tmp_path)


def test_there_are_many_edits() -> None:
    assert len(ODD) + len(EITHER) >= 100
