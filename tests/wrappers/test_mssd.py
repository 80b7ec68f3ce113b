"""MSSD: its losses, what they train, what it needs, and how it nests."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from toys import MeanNet, TwoStep, loss_of
from typing_extensions import override
from zoo_cases import BACKBONES, nest, refusal

from mer_zoo.backbones import EFLSTM, LFLSTM, CIDerNet, MulT
from mer_zoo.batch import Batch, DataSpec, Modality, Output, Step
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.missing.pattern import RMM
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone, Model, Wrapper, adapt
from mer_zoo.module import MERModule
from mer_zoo.task import SentimentClassification, Task
from mer_zoo.wrappers import MACI, MSSD, CausalMER

SPEC = DataSpec()
THREE = SentimentClassification(3)
MOSI = DataSpec(text_dim=768, audio_dim=5, vision_dim=20, text_len=50, audio_len=375, vision_len=500)
SIZES = SyntheticConfig(train=48, valid=24, test=24)


class Attending(Backbone):
    """One head of attention over all steps of all modalities; no dropout."""

    def __init__(self, spec: DataSpec, task: Task, width: int = 4) -> None:
        super().__init__(spec, task)
        self.project = nn.ModuleDict({name: nn.Linear(dim, width) for name, dim in self.input_dims.items()})
        self.feature_dim = width
        self.head = nn.Linear(width, task.num_outputs)
        total = sum(spec.length(name) for name in spec.modalities)
        self.hidden_shape = {name: (spec.length(name), width) for name in spec.modalities}
        self.attention_shape = (1, total, total)

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        given = self.in_use(text, audio, vision)
        x = torch.cat([layer(given[name].x) for name, layer in self.project.items()], 1)
        scores = x @ x.transpose(1, 2)
        y = torch.tanh(scores.softmax(-1) @ x + x)
        features = y.mean(1)
        parts = torch.split(y, [given[name].x.shape[1] for name in self.project], 1)
        return Output(self.classify(features), features, dict(zip(self.project, parts, strict=True)), scores)


def wrap(spec: DataSpec = SPEC, **options: Any) -> MSSD:
    torch.manual_seed(0)
    return MSSD(Attending(spec, THREE), **options)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def plain_losses(model: MSSD, student: Output, teacher: Output, batch: Batch, view: Batch) -> dict[str, Tensor]:
    """The paper's formulas, literally."""
    recon = []
    for name, decoder in model.decoders.items():
        assert student.hidden is not None
        missing = (batch.modality(name).observed & ~view.modality(name).observed)[..., None].float()
        fake, original = decoder(student.hidden[name]) * missing, teacher.inputs[name].detach() * missing
        elements = missing.expand_as(original).sum()
        recon.append(F.smooth_l1_loss(fake, original, reduction="sum") / (elements + 1e-6))
    assert student.attention is not None
    assert teacher.attention is not None
    target = F.softmax(teacher.attention.detach(), -1)
    attention = F.kl_div(F.log_softmax(student.attention, -1), target, reduction="batchmean")
    joint = 1 - F.cosine_similarity(student.features, teacher.features.detach()).mean()
    weighted = (model.alpha * torch.stack(recon).sum(), model.beta * attention, model.gamma * joint)
    return dict(zip(("mssd/recon", "mssd/attention", "mssd/joint"), weighted, strict=True))


@pytest.mark.parametrize("modalities", [["text"], ["text", "vision"], ["text", "audio", "vision"]])
def test_losses_are_the_formulas(modalities: list[str]) -> None:
    spec = DataSpec(modalities=modalities)
    model = wrap(spec, alpha=0.3, beta=0.7, gamma=0.2).eval()
    batch = Batch.random(spec, THREE, size=5)
    view = model.views(batch, spec)
    complete, incomplete = model.steps(batch)
    assert torch.equal(complete.output.logits, model(batch).logits)
    assert torch.equal(incomplete.output.logits, model(view).logits)
    assert complete.losses == {}
    assert complete.batch is batch
    expected = plain_losses(model, model(view), model(batch), batch, view)
    assert incomplete.losses.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 1e-3
        close(incomplete.losses[name], value)


def test_targets_are_from_before_the_first_step_and_get_no_gradient() -> None:
    """The second stage is trained as if a frozen copy of the network from before the first were its teacher."""
    model, batch = wrap().eval(), Batch.random(SPEC, THREE, size=5)
    teacher, view = copy.deepcopy(model), model.views(batch, SPEC)
    steps = model.steps(batch)
    next(steps)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    second = next(steps)
    expected = plain_losses(model, model(view), teacher(batch), batch, view)
    for losses in (second.losses, expected):
        model.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        if losses is second.losses:
            first = grads
    assert first.keys() == grads.keys()
    assert "backbone.head.weight" not in grads
    for name, grad in grads.items():
        close(first[name], grad)


def test_the_text_target_is_no_way_for_gradients() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model, batch = MSSD(LFLSTM(spec, THREE), alpha=1.0, gamma=0.0, rate=1.0), Batch.random(spec, THREE, size=4)
    _, incomplete = model.steps(batch)
    torch.autograd.backward(incomplete.losses["mssd/recon"])
    embedding = model.backbone.get_parameter("text_embedding.weight")
    assert embedding.grad is not None
    assert embedding.grad.abs().sum(1).nonzero().flatten().tolist() == [spec.unk_id]


def test_all_weights_zero_is_augmentation_alone() -> None:
    model = wrap(alpha=0.0, beta=0.0, gamma=0.0).eval()
    batch = Batch.random(SPEC, THREE, size=5)
    complete, incomplete = model.steps(batch)
    assert complete.losses == incomplete.losses == {}
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in model.backbone.parameters())
    assert not model.fixed_length
    augmented = (model.backbone(view).logits for view in (batch, model.views(batch, SPEC)))
    close(loss_of(model, batch), torch.stack([THREE.criterion(y, batch.target).mean() for y in augmented]).sum())
    assert not incomplete.batch.text.observed.equal(batch.text.observed)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"alpha": 0.0}, {"mssd/attention", "mssd/joint"}),
        ({"beta": 0.0}, {"mssd/recon", "mssd/joint"}),
        ({"gamma": 0.0}, {"mssd/recon", "mssd/attention"}),
    ],
)
def test_a_term_without_weight_is_left_out(options: dict[str, Any], names: set[str]) -> None:
    model = wrap(**options)
    _, incomplete = model.steps(Batch.random(SPEC, THREE, size=5))
    assert incomplete.losses.keys() == names
    assert model.fixed_length is bool(model.decoders) is ("mssd/recon" in names)
    torch.autograd.backward(loss_of(model, Batch.random(SPEC, THREE, size=5)))
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_nothing_missing_costs_nothing() -> None:
    model = wrap(rate=0.0).eval()
    _, incomplete = model.steps(Batch.random(SPEC, THREE, size=5))
    for value in incomplete.losses.values():
        assert abs(float(value.detach())) < 1e-6


def test_decoders_of_the_published_size() -> None:
    model = MSSD(CIDerNet(MOSI, THREE))
    assert sum(p.numel() for p in model.decoders.parameters()) == 70_794


def test_a_text_of_another_length_is_restored_over_time_too() -> None:
    shrinking = MulT(SPEC, THREE, dim=8, heads=2, depth=1, kernels=(3, 1, 1), mask_padding=False)
    model, batch = MSSD(shrinking), Batch.random(SPEC, THREE, size=4)
    output = model(batch)
    assert output.hidden is not None
    assert output.hidden["text"].shape[1] == 4
    assert model.decoders["text"](output.hidden["text"]).shape == batch.text.x.shape


def test_only_modalities_with_hidden_states_are_restored() -> None:
    model = MSSD(MulT(SPEC, THREE, dim=8, heads=2, depth=1, targets=["vision"]))
    assert list(model.decoders) == ["vision"]
    _, incomplete = model.steps(Batch.random(SPEC, THREE, size=4))
    assert incomplete.losses["mssd/recon"] > 0


def test_batches_must_keep_the_full_length() -> None:
    model, batch = wrap(), Batch.random(SPEC, THREE, size=3)
    short = batch.replace(audio=batch.audio.window(0, 5))
    with pytest.raises(MERError, match="MSSD's decoder was built for 8 hidden steps, not 5; pad batches to"):
        loss_of(model, short)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if refusal(name, "MSSD") is None])
@pytest.mark.parametrize("other", [CausalMER, MACI])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("two_stage", [True, False])
def test_nests(backbone: str, other: Callable[[Model], Wrapper], inside: bool, two_stage: bool) -> None:
    net = nest(backbone, None)
    model = MSSD(other(net), two_stage=two_stage) if inside else other(MSSD(net, two_stage=two_stage))
    batch = Batch.random(SPEC, THREE, size=5)
    with torch.no_grad():
        model.prepare([batch])
    complete, incomplete = steps = list(model.steps(batch))
    assert model.num_steps == (2 if two_stage else 1)
    assert model.replaces_logits
    assert "mssd/joint" in incomplete.losses
    assert "mssd/joint" not in complete.losses
    if other is CausalMER:
        assert all("causalmer/kl" in step.losses and step.task_weight == 0.1 for step in steps)
    else:
        assert all(torch.allclose(step.output.logits.exp().sum(1), torch.ones(5)) for step in steps)
    loss = loss_of(model, batch)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert "factual" in model.predict(batch).effects


def test_predictions_are_the_inner_models() -> None:
    model, batch = wrap().eval(), Batch.random(SPEC, THREE, size=3)
    assert torch.equal(model.predict(batch).logits, model.backbone.predict(batch).logits)


def test_attention_is_left_out_by_default_where_there_is_none() -> None:
    assert (MSSD(EFLSTM(SPEC, THREE)).beta, wrap().beta) == (0.0, 0.1)
    (note,) = MSSD(EFLSTM(SPEC, THREE)).notes()
    assert "MSSD has no attention term: EFLSTM offers no attention maps" in note
    assert wrap().notes() == MSSD(EFLSTM(SPEC, THREE), beta=0.0).notes() == []


class Maker(Wrapper):
    """Makes incomplete views of its own."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.views = IncompleteViews(RMM(0.5))


def test_refusals() -> None:
    with pytest.raises(MERError, match="MSSD compares attention maps, which LFLSTM does not offer; set beta to 0"):
        MSSD(LFLSTM(SPEC, THREE), beta=0.1)
    with pytest.raises(
        MERError, match="MSSD restores inputs .* which CausalMER\\(MeanNet\\) does not offer; .* or set alpha to 0"
    ):
        MSSD(CausalMER(MeanNet(SPEC, THREE)))
    with pytest.raises(
        MERError, match="MSSD needs one optimiser step a batch inside, but TwoStep\\(MeanNet\\) takes 2"
    ):
        MSSD(TwoStep(MeanNet(SPEC, THREE)), alpha=0.0)
    with pytest.raises(MERError, match="MSSD and Maker both make the incomplete view; leave one of them out"):
        MSSD(CausalMER(Maker(LFLSTM(SPEC, THREE))))
    with pytest.raises(MERError, match="set two_stage or leave out accumulate_stage_gradients"):
        wrap(two_stage=False, accumulate_stage_gradients=True)
    with pytest.raises(MERError, match=r"rate .*1\.5"):
        wrap(rate=1.5)
    bad: dict[str, Any] = {"alpha": -0.1, "beta": float("nan"), "gamma": float("inf")}
    for name, value in bad.items():
        with pytest.raises(MERError, match=f"{name} of MSSD is .*; weights are finite and at least 0"):
            wrap(**{name: value})
    assert MSSD(adapt(nn.Identity(), SPEC, THREE, feature_dim=1), alpha=0.0).num_steps == 2


def test_bfloat16_autocast() -> None:
    model, batch = wrap(), Batch.random(SPEC, THREE, size=4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, incomplete = model.steps(batch)
        loss = loss_of(model, batch)
    torch.autograd.backward(loss)
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in incomplete.losses.values())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_float64() -> None:
    model, batch = wrap().double(), Batch.random(SPEC, THREE, size=4).to(torch.float64)
    _, incomplete = model.steps(batch)
    assert all(value.dtype == torch.float64 for value in incomplete.losses.values())


def test_options_from_the_command_line() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--wrappers", type=list[Callable[[Model], Wrapper]])
    given = ["alpha=0.2", "beta=null", "two_stage=false", "rate=per_position", "seed=3"]
    config = parser.parse_args(["--wrappers+=MSSD", *(f"--wrappers.{option}" for option in given)])
    options = config.wrappers[0].init_args
    assert (options.alpha, options.beta, options.two_stage, options.rate) == (0.2, None, False, "per_position")


def quiet(tmp_path: Path, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": tmp_path}
    switches = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "num_sanity_val_steps")
    return Trainer(**{**defaults, **dict.fromkeys(switches, False), **options})


def sgd(params: Any) -> torch.optim.SGD:
    return torch.optim.SGD(params, lr=0.1)


def trained(source: SyntheticMER, **options: Any) -> MERModule:
    torch.manual_seed(0)
    return MERModule(Attending(source.spec, source.task), [partial(MSSD, **options)], optimizer=sgd)


class Whole(SyntheticMER):
    """All of a split in one batch."""

    def first(self) -> Batch:
        self.setup("fit")
        return next(iter(self.batch_source("train")))


@pytest.mark.parametrize(("two_stage", "keep"), [(True, False), (True, True), (False, False)])
def test_training_takes_the_steps_of_the_paper(tmp_path: Path, two_stage: bool, keep: bool) -> None:
    source = Whole(SIZES, batch_size=48)
    module = trained(source, two_stage=two_stage, accumulate_stage_gradients=keep, seed=0)
    by_hand = copy.deepcopy(module.model)
    optimizer = sgd(by_hand.parameters())
    losses = []
    for step in by_hand.steps(source.first()):
        task_loss = by_hand.task.criterion(step.output.logits, step.batch.target).mean()
        losses.append(torch.stack([task_loss, *step.losses.values()]).sum())
        if two_stage:
            torch.autograd.backward(losses.pop())
            optimizer.step()
            if not keep:
                optimizer.zero_grad()
    if losses:
        torch.autograd.backward(torch.stack(losses).sum())
        optimizer.step()
    before = copy.deepcopy(module.model.state_dict())
    quiet(tmp_path).fit(module, datamodule=source)
    for name, value in module.model.named_parameters():
        assert not torch.equal(value, before[name]), name
        close(value, by_hand.get_parameter(name))


@pytest.mark.parametrize("two_stage", [True, False])
@pytest.mark.filterwarnings("ignore:the run goes on otherwise")  # another seed of views is to be no matter
def test_resuming_goes_on_with_the_same_views(tmp_path: Path, two_stage: bool) -> None:
    def run(epochs: int, resume: bool = False) -> MERModule:
        source = Whole(SIZES, batch_size=48)
        checkpoint = ModelCheckpoint(tmp_path, save_last=True, save_top_k=0)
        module = trained(source, two_stage=two_stage, seed=None if resume else 4)
        module.stretches.may_differ = frozenset({"model"})
        trainer = quiet(tmp_path, max_epochs=epochs, enable_checkpointing=True, callbacks=[checkpoint])
        trainer.fit(module, datamodule=source, ckpt_path=tmp_path / "last.ckpt" if resume else None)
        return module

    straight = run(4)
    run(2)
    resumed = run(4, resume=True)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Recording(Wrapper):
    """Notes the views that reach it."""

    def __init__(self, backbone: Model) -> None:
        super().__init__(backbone)
        self.seen: list[Batch] = []

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        self.seen.append(batch)
        yield from self.backbone.steps(batch)


def test_the_inner_model_gets_each_view_once() -> None:
    torch.manual_seed(0)
    inner = Recording(Attending(SPEC, THREE))
    model, batch = MSSD(inner), Batch.random(SPEC, THREE, size=5)
    for _ in range(2):
        list(model.steps(batch))
    assert inner.seen[0] is inner.seen[2] is batch
    first, second = inner.seen[1], inner.seen[3]
    assert not torch.equal(first.audio.observed, second.audio.observed)
    assert torch.equal(first.audio.mask, batch.audio.mask)
    assert not first.audio.x[batch.audio.mask & ~first.audio.observed].any()
