"""Models come back from a folder or a Hub as they were, and nothing else comes with them."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import huggingface_hub
import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file
from toys import TINY_BERT, MeanNet, Shifting
from typing_extensions import override
from zoo_cases import BACKBONES, SPECS, TASKS, TINY, build, combinations, nest, refusal, training_split

import mer_zoo.backbones
import mer_zoo.wrappers
from mer_zoo import load_pretrained, save_pretrained
from mer_zoo.backbones import LFLSTM, MAGBERT, MPLMM, MulT, SelfMM
from mer_zoo.batch import Batch
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Model, adapt
from mer_zoo.module import MERModule
from mer_zoo.sharing.parts import Recipe
from mer_zoo.sharing.recipe import describe, outline
from mer_zoo.wrappers import CLUE, CUMDF, GEAR, MACI, MSSD, CausalMER

Config = dict[str, Any]


def assert_comes_back(model: Model, folder: Path, **options: Any) -> Model:
    save_pretrained(model, folder, overwrite=True)
    state = torch.get_rng_state()
    again = load_pretrained(folder, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert not again.training
    assert again.name == model.name
    batch = Batch.random(model.spec, model.task, size=3, seed=1)
    mine, theirs = model.eval().predict(batch), again.predict(batch)
    assert torch.equal(mine.logits, theirs.logits)
    assert mine.effects.keys() == theirs.effects.keys()
    return again


@pytest.mark.parametrize(("backbone", "wrapper", "task", "spec"), combinations(["three"], ["features"]))
def test_every_backbone_under_every_wrapper(
    tmp_path: Path, backbone: str, wrapper: str | None, task: str, spec: str
) -> None:
    assert_comes_back(stir(build(backbone, wrapper, task, spec)), tmp_path)


def stir(model: Model) -> Model:
    """Change every number of the state, so that nothing comes back by being built alike."""
    generator = torch.Generator().manual_seed(5)
    for value in model.state_dict().values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            value.mul_(1 + 0.1 * torch.rand(value.shape, generator=generator))
    return model


@pytest.mark.parametrize(
    ("task", "spec"),
    [("regression", "text+audio"), ("emotions", "features"), ("seven", "tokens"), ("three", "encoder")],
)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_with_every_kind_of_task_and_data(tmp_path: Path, backbone: str, task: str, spec: str) -> None:
    reason = refusal(backbone, None, task, spec)
    if reason is not None:
        pytest.skip(f"refused by {reason}")
    if spec == "encoder":
        torch.manual_seed(0)
        options = TINY[backbone] | {"text_encoder": TINY_BERT | {"vocab_size": 200}}
        # MAG-BERT's own sizes are its encoder's
        options = {key: value for key, value in options.items() if backbone != "MAGBERT" or key == "text_encoder"}
        model = getattr(mer_zoo.backbones, backbone)(SPECS["tokens"], TASKS[task], **options)
    else:
        model = build(backbone, None, task, spec)
    again = assert_comes_back(stir(model), tmp_path)
    assert again.spec == model.spec
    assert vars(again.task) == vars(model.task)


PAIRS = list(permutations(mer_zoo.wrappers.__all__, 2))


@pytest.mark.filterwarnings("ignore:PropensityWeighting")  # so few samples tell nothing
@pytest.mark.parametrize("pair", PAIRS, ids="".join)
def test_every_nest_of_two_wrappers(tmp_path: Path, pair: tuple[str, str]) -> None:
    inner, outer = (getattr(mer_zoo.wrappers, name) for name in pair)
    try:
        model = outer(inner(nest("CUMDFNet", None, "seven", "tokens")))
    except MERError:
        pytest.skip("refused at construction, by a reason that the tests of wrappers check")
    model.prepare([training_split(SPECS["tokens"], TASKS["seven"])])
    assert_comes_back(stir(model), tmp_path)


def tau_of(model: Model) -> float:
    (tau,) = (value for name, value in model.named_buffers() if name.endswith(".tau"))
    return tau.item()


def test_deep_nests_bring_their_buffers(tmp_path: Path) -> None:
    spec, task = SPECS["tokens"], TASKS["seven"]
    inner = GEAR(MulT(spec, task, **TINY["MulT"]), dim=8, seed=3)
    model = MSSD(CausalMER(inner, fusion="sum", nde_weights=(1.0, 0.5, 0.25)), alpha=0.0, rate=0.5, seed=1)
    assert_comes_back(model, tmp_path / "nest")
    maci = MACI(MulT(spec, task, **TINY["MulT"]), num_words=5, tau_selection="fixed", tau=0.75)
    maci.prepare([training_split(spec, task)])
    again = assert_comes_back(maci, tmp_path / "maci")
    theirs = dict(again.named_buffers())
    assert tau_of(again) == 0.75
    assert theirs["prepared"]
    assert all(torch.equal(value, theirs[name]) for name, value in maci.named_buffers())
    clue = CLUE(LFLSTM(spec, task, dim=4))
    clue.strength.tau.fill_(0.5)
    assert tau_of(assert_comes_back(clue, tmp_path / "clue")) == 0.5


def test_text_encoders_are_rebuilt_from_their_sizes(tmp_path: Path) -> None:
    from transformers import AutoModel

    from mer_zoo.layers.text_encoder import TextEncoder

    TextEncoder(config=TINY_BERT | {"vocab_size": 200}).model.save_pretrained(tmp_path / "bert")
    spec, task = SPECS["tokens"], TASKS["three"]
    encoder = {"path": str(tmp_path / "bert"), "frozen": True}
    model = LFLSTM(spec, task, text_encoder=encoder, dim=4)
    assert isinstance(AutoModel.from_pretrained(tmp_path / "bert"), torch.nn.Module)
    for file in (tmp_path / "bert").iterdir():
        file.unlink()
    again = assert_comes_back(CLUE(model), tmp_path / "model")
    assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()
    inner = again.nest[-1]
    assert isinstance(inner, LFLSTM)
    assert inner.text_encoder is not None
    assert inner.text_encoder.frozen
    assert_comes_back(MAGBERT(spec, task, text_encoder=TINY_BERT | {"vocab_size": 200}), tmp_path / "magbert")
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    paper = CausalMER(LFLSTM(SPECS["features"], task, dim=4), branches={"text": "paper"}, albert=tiny)
    assert_comes_back(paper, tmp_path / "albert")


def test_files_of_training_are_not_asked_for(tmp_path: Path) -> None:
    spec, task = SPECS["features"], TASKS["three"]
    model = MPLMM(spec, task, pretrained="/nowhere/stage1.ckpt", **TINY["MPLMM"])
    assert_comes_back(model, tmp_path / "mplmm")
    taught = CUMDF(LFLSTM(spec, task, dim=8), teacher="/nowhere/teacher.ckpt")
    again = assert_comes_back(taught, tmp_path / "cumdf")
    assert isinstance(again, CUMDF)
    assert again.teacher_path is None
    assert "nowhere" not in (tmp_path / "cumdf" / "config.json").read_text()
    assert not any(name.startswith("distillation") for name in load_file(tmp_path / "cumdf" / "model.safetensors"))


def test_label_banks_stay_at_home(tmp_path: Path) -> None:
    spec, task = SPECS["features"], TASKS["regression"]
    model = SelfMM(spec, task, **TINY["SelfMM"]).train()
    list(model.steps(training_split(spec, task)))
    banks = [name for name, value in model.state_dict().items() if name.endswith("_extra_state") and len(value)]
    assert banks
    assert_comes_back(model, tmp_path)
    assert not set(banks) & set(load_file(tmp_path / "model.safetensors"))


def test_own_classes_need_their_module_to_be_named(tmp_path: Path) -> None:
    model = Shifting(MeanNet(SPECS["features"], TASKS["regression"], width=4))
    model.shift.fill_(0.5)
    save_pretrained(model, tmp_path)
    with pytest.raises(MERError, match=r"'toys\.MeanNet' is no Backbone of mer_zoo; if you trust the module"):
        load_pretrained(tmp_path)
    assert_comes_back(model, tmp_path, modules=("toys",))
    assert_comes_back(model, tmp_path, modules=[sys.modules["toys"]])
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("toys.torch", "toys.nn.Linear", "toys.TINY_BERT", "toys.Shifting", "toys.os.system", "toys."):
        config["backbone"]["class"] = name
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(MERError, match="is no Backbone of mer_zoo"):
            load_pretrained(tmp_path, modules=("toys",))


def test_classes_of_a_script_are_found_where_they_were_moved_to(tmp_path: Path) -> None:
    model = Shifting(MeanNet(SPECS["features"], TASKS["regression"], width=4))
    save_pretrained(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["backbone"]["class"] = "__main__.MeanNet"  # as a model that was trained by the script that defines it
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_pretrained(tmp_path, modules=("toys",)).name == "Shifting(MeanNet)"
    config["backbone"]["class"] = "__main__.nn"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MERError, match=r"'__main__\.nn' is no Backbone"):
        load_pretrained(tmp_path, modules=("toys",))


def test_what_can_not_be_described(tmp_path: Path) -> None:
    spec, task = SPECS["features"], TASKS["three"]

    class Local(MeanNet):
        pass

    branch = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 3))
    for model, message in {
        Local(spec, task): r"Local is defined inside something else",
        adapt(torch.nn.Identity(), spec, task, feature_dim=3): r"module of .* holds a Identity, which no JSON file can",
        CausalMER(MeanNet(spec, task), branches={"audio": branch}): r"branches of CausalMER holds a Sequential",
    }.items():
        with pytest.raises(MERError, match=message):
            save_pretrained(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """An exported CLUE(LFLSTM) on token ids with a text encoder."""
    torch.manual_seed(0)
    encoder = TINY_BERT | {"vocab_size": 200}
    net = LFLSTM(SPECS["tokens"], TASKS["three"], text_encoder=encoder, dim=4)
    save_pretrained(CLUE(net, lstm_dim=4, dim=4), tmp_path / "shared")
    return tmp_path / "shared"


def edit(folder: Path, change: Callable[[Config], object]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


NAMES = [
    "os.system",
    "posix.system",
    "builtins.eval",
    "__import__",
    "__class__",
    "LFLSTM.__init__.__globals__",
    "mer_zoo.backbones.LFLSTM",
    "mer_zoo.backbones.lflstm.LFLSTM",
    "mer_zoo.sharing.export.torch",
    "mer_zoo.sharing.export.torch.load",
    "mer_zoo.backbones.mult.torch.load",
    "mer_zoo.model.AdaptedBackbone",
    "AdaptedBackbone",
    "Backbone",
    "torch.nn.Linear",
    "../LFLSTM",
    "LFLSTM\u0000",
    "",
    None,
    3,
    ["LFLSTM"],
    {"class": "LFLSTM"},
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("part", ["task", "backbone", "wrappers"])
def test_only_classes_of_the_zoo_are_found(
    shared: Path, name: object, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(os, "system", called.append)
    for change in (
        lambda c: (c[part][0] if part == "wrappers" else c[part]).update({"class": name}),
        lambda c: (c[part][0] if part == "wrappers" else c[part]).update(
            {"class": name, "arguments": {"command": "id"}}
        ),
    ):
        edit(shared, change)
        with pytest.raises(MERError, match=r"config\.json is refused: .* is no (Task|Backbone|Wrapper) of mer_zoo"):
            load_pretrained(shared)
    assert called == []


def backbone(name: str, value: object) -> Callable[[Config], object]:
    return lambda c: c["backbone"]["arguments"].update({name: value})


def encoder(name: str, value: object) -> Callable[[Config], object]:
    return lambda c: c["backbone"]["arguments"]["text_encoder"]["config"].update({name: value})


NEST = {"class_path": "os.system", "init_args": {"command": "id"}}
CHANGES: dict[str, tuple[Callable[[Config], object], str]] = {
    "an unknown option": (backbone("command", "id"), "LFLSTM has no option 'command'"),
    "dunder": (backbone("__class__", "x"), "LFLSTM has no option '__class__'"),
    "self": (backbone("self", None), "LFLSTM has no option 'self'"),
    "the spec twice": (backbone("spec", {}), "LFLSTM has no option 'spec'"),
    "text for a number": (backbone("dim", "4"), "dim of LFLSTM is '4', which is no int"),
    "truth for a number": (backbone("dim", True), "which is no int"),
    "a class for a number": (backbone("dim", NEST), "which is no int"),
    "a large width": (backbone("dim", 10**9), "beyond any sensible size"),
    "another width": (backbone("dim", 60_000), "does not fit this"),
    "a negative width": (backbone("dim", -4), "config.json is refused"),
    "far too many layers": (backbone("depth", 60_000), "more layers than its file of weights"),
    "layers without end": (backbone("depth", 10**9), "beyond any sensible size"),
    "a huge number": (backbone("dim", 10**30), "beyond any sensible size"),
    "a huge fraction": (backbone("out_dropout", 1e300), "beyond any sensible size"),
    "an encoder by path": (backbone("text_encoder", "bert-base-uncased"), "is not given by its config alone"),
    "an encoder by path in options": (backbone("text_encoder", {"path": "/etc"}), "is not given by its config alone"),
    "code of an encoder": (encoder("auto_map", {"AutoModel": "a/b--c.D"}), "sets 'auto_map', which is no size"),
    "a kernel to fetch": (encoder("_attn_implementation", "a/b"), "sets '_attn_implementation'"),
    "a kernel as an activation": (encoder("hidden_act", "kernels-community/x"), "only sizes and names"),
    "a class in an encoder": (encoder("hidden_act", NEST), "config.json is refused"),
    "an encoder of another kind": (encoder("model_type", "timm_backbone"), "of type 'timm_backbone' can't be shared"),
    "layers of an encoder": (encoder("num_hidden_layers", 10**6), "config.json is refused"),
    "labels of an encoder": (encoder("num_labels", 10**9), "sets 'num_labels', which is no size"),
    "another class with it": (lambda c: c["backbone"].update(module="os"), "has its class and arguments"),
    "another part": (lambda c: c.update(weights="../../etc/passwd"), "and nothing else"),
    "no wrappers": (lambda c: c.pop("wrappers"), "and nothing else"),
    "wrappers by name": (lambda c: c.update(wrappers={"class": "CLUE"}), "a list of wrappers"),
    "another format": (lambda c: c.update(format=2), "the format being 1"),
    "another width of the data": (lambda c: c["spec"].update(audio_dim=10**6), "does not fit this"),
    "an odd spec": (lambda c: c["spec"].update(modalities="text"), "modalities of DataSpec is 'text'"),
    "an odd name in it": (lambda c: c["spec"].update(modalities=["__init__"]), "non-empty choice of"),
    "a list for the task": (lambda c: c["task"].update(arguments=[]), "has its class and arguments"),
    "another task": (lambda c: c["task"]["arguments"].update(num_classes=7), "does not fit this"),
    "a word that is none": (lambda c: c["task"]["arguments"].update(convention="x"), "convention of Sent"),
    "a teacher to read": (
        lambda c: c["wrappers"].append({"class": "CUMDF", "arguments": {"teacher": "/etc/passwd"}}),
        "teacher of CUMDF names a file",
    ),
    "one stage to read": (
        lambda c: c["backbone"].update({"class": "MPLMM", "arguments": {"pretrained": "/etc/passwd"}}),
        "pretrained of MPLMM names a file",
    ),
    "ALBERT to read": (
        lambda c: c["wrappers"].append({"class": "CausalMER", "arguments": {"albert": "/etc"}}),
        "albert of CausalMER is not given by its sizes",
    ),
    "a branch to build": (
        lambda c: c["wrappers"].append({"class": "CausalMER", "arguments": {"branches": {"text": NEST}}}),
        "branches of CausalMER",
    ),
    "a wrapper twice": (lambda c: c["wrappers"].append(c["wrappers"][0]), "CLUE stands twice"),
    "a wrapper more": (lambda c: c["wrappers"].append({"class": "MSSD", "arguments": {}}), "does not fit this"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_hostile_descriptions_are_refused(shared: Path, change: Callable[[Config], object], message: str) -> None:
    edit(shared, change)
    begin = time.process_time()
    with pytest.raises(MERError, match=message):
        load_pretrained(shared)
    assert time.process_time() - begin < 10


def whole_numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield path
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from whole_numbers(item, (*path, key))


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_no_option_builds_for_long(name: str) -> None:
    recipe = describe(nest(name, None)).plain()
    for *path, last in whole_numbers(recipe["backbone"]["arguments"]):
        changed = deepcopy(recipe)
        place: Any = changed["backbone"]["arguments"]
        for key in path:
            place = place[key]
        place[last] = 2**16 - 1
        begin = time.process_time()
        with suppress(MERError):
            outline(Recipe.read(changed), tensors=100)
        assert time.process_time() - begin < 10, (path, last)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "can't be read as JSON"),
        ("[]", "holds no description"),
        ("null", "holds no description"),
        ('"LFLSTM"', "holds no description"),
        ('{"format": 1, "format": 1}', "a name stands twice"),
        ('{"format": NaN}', "NaN is no number"),
        ('{"format": -Infinity}', "-Infinity is no number"),
        ("[" * 100_000, "can't be read as JSON"),
        ('{"format": ' + "9" * 5000 + "}", "can't be read as JSON"),
        ('{"about": []}', "holds no description"),
        (" " * 2**21, "larger than any description"),
        ("!!python/object/apply:os.system [id]", "can't be read as JSON"),
        ("\ud800", "can't be read as JSON"),
    ],
)
def test_tricks_of_json_are_refused(shared: Path, text: str, message: str) -> None:
    (shared / "config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(MERError, match=message):
        load_pretrained(shared)


def test_links_are_followed_in_the_folder_and_in_a_cache_only(shared: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.json"
    outside.write_bytes((shared / "config.json").read_bytes())
    (shared / "config.json").unlink()
    (shared / "config.json").symlink_to(outside)
    with pytest.raises(MERError, match=r"config\.json is a link to another place"):
        load_pretrained(shared)
    (shared / "config.json").unlink()
    (shared / "config.json").symlink_to("/dev/zero")
    with pytest.raises(MERError, match=r"config\.json is no file"):
        load_pretrained(shared)
    (shared / "config.json").unlink()
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    outside.rename(blobs / "1")
    (shared / "model.safetensors").rename(blobs / "2")
    (snapshot / "config.json").symlink_to("../../blobs/1")
    (snapshot / "model.safetensors").symlink_to("../../blobs/2")
    assert load_pretrained(snapshot).name == "CLUE(LFLSTM)"


def test_weights_of_another_model_are_refused(shared: Path, tmp_path: Path) -> None:
    other = CLUE(LFLSTM(SPECS["tokens"], TASKS["three"], dim=4), lstm_dim=4, dim=4)
    save_pretrained(other, tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(shared / "model.safetensors")
    with pytest.raises(MERError, match=r"does not fit this CLUE\(LFLSTM\)"):
        load_pretrained(shared)
    (shared / "model.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(MERError, match=r"model\.safetensors can't be read"):
        load_pretrained(shared)
    (shared / "model.safetensors").unlink()
    with pytest.raises(MERError, match=r"model\.safetensors is no file"):
        load_pretrained(shared)


@pytest.mark.parametrize(
    "path", ["nowhere", "../nowhere/x", "a/b/c", "/etc/nowhere", "a/..", "-a/b", "https://host/a/b"]
)
def test_what_is_neither_folder_nor_repository(path: str) -> None:
    with pytest.raises(MERError, match="is neither a folder nor owner/name of a repository"):
        load_pretrained(path)


def test_a_hub_gives_the_two_files_only(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def fake(repository: str, **options: Any) -> str:
        asked.append({"repository": repository, **options})
        return str(shared)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    assert load_pretrained("owner/model", revision="v1").name == "CLUE(LFLSTM)"
    files = ["config.json", "model.safetensors"]
    assert asked == [{"repository": "owner/model", "revision": "v1", "allow_patterns": files}]
    with pytest.raises(MERError, match="is a folder, which has no revision 'v1'"):
        load_pretrained(shared, revision="v1")


def test_offline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(MERError, match=r"owner/model is no folder here and can't be fetched from the Hub") as refused:
        load_pretrained("owner/model")
    assert "(the Hub can't be reached, and it was not fetched before)" in str(refused.value)
    assert refused.value.__suppress_context__  # a page of connections that failed


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as fetching asks for: what a repository holds, and its files by revision."""

    folder: ClassVar[Path]
    sent: ClassVar[list[str]]

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0].strip("/").split("/")
        commit, code, headers, body = "a" * 40, 200, {"Content-Type": "application/json"}, b"{}"
        if "owner/model" not in self.path:
            code, headers["X-Error-Code"] = 404, "RepoNotFound"
        elif path[0] == "api" and path[-1] not in ("main", commit):
            code, headers["X-Error-Code"] = 404, "RevisionNotFound"
        elif path[0] == "api":
            names = [*(file.name for file in self.folder.iterdir()), "model.py"]
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in names]
            info = {"id": "owner/model", "sha": commit, "siblings": [{"rfilename": name} for name in names]}
            body = json.dumps(tree if "tree" in path else info).encode()
        else:
            body = (self.folder / path[-1]).read_bytes()
            headers = {"ETag": f'"{sha256(body).hexdigest()}"', "X-Repo-Commit": commit}
            self.sent.append(path[-1])
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


FETCH = """
import sys
from mer_zoo import MERError, load_pretrained
for name, revision in [("owner/model", None), ("owner/model", "main"), ("owner/none", None), ("owner/model", "v9")]:
    try:
        sys.stdout.write(load_pretrained(name, revision=revision).name + chr(10))
    except MERError as error:
        sys.stdout.write(str(error) + chr(10))
"""


@pytest.mark.slow
def test_a_hub_of_this_machine(shared: Path, tmp_path: Path) -> None:
    """The library itself fetches, and what it leaves in its cache is taken for what it is;
    without the hub too, then.
    """
    Hub.folder, Hub.sent = shared, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    hub = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home")}
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    fetch = [sys.executable, "-c", FETCH]
    fetched = subprocess.run(fetch, env=kept | hub, capture_output=True, text=True, check=True).stdout.splitlines()
    server.shutdown()
    server.server_close()
    assert fetched[:2] == ["CLUE(LFLSTM)"] * 2
    assert "(there is none of that name, or it is private)" in fetched[2]
    assert "(it has no such revision)" in fetched[3]
    assert set(Hub.sent) == {"config.json", "model.safetensors"}
    assert any(file.is_symlink() for file in (tmp_path / "home").rglob("config.json"))
    offline = subprocess.run(fetch, env=kept | hub, capture_output=True, text=True, check=True).stdout.splitlines()
    assert offline[:2] == ["CLUE(LFLSTM)"] * 2
    assert "(the Hub can't be reached, and it was not fetched before)" in offline[2]


def test_data_are_scaled_as_in_training(tmp_path: Path) -> None:
    small = SyntheticConfig(train=8, valid=4, test=4)
    data = SyntheticMER(small, task="regression", batch_size=4)
    model = LFLSTM(data.spec, data.task, dim=4)
    data.setup("fit")
    model.scaler_state = data.scaler_state()
    save_pretrained(model, tmp_path)
    other = SyntheticMER(dataclasses.replace(small, seed=1), task="regression", batch_size=4)
    module = MERModule(load_pretrained(tmp_path))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet).test(module, other, verbose=False)
    mine, theirs = data.scaler_state(), other.scaler_state()
    assert mine is not None
    assert theirs is not None
    assert torch.equal(mine["mean"]["audio"], theirs["mean"]["audio"])
    assert torch.equal(mine["std"]["vision"], theirs["std"]["vision"])
