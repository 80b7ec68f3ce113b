from typing import Any

import pytest
import torch
from golden_cases import Case, golden
from torch import Tensor

from mer_zoo.backbones import MulT
from mer_zoo.backbones.mplmm.network import MPLMM, Completion
from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.data.missing.pattern import SMM, MissingPattern
from mer_zoo.errors import MERError
from mer_zoo.model import Backbone
from mer_zoo.task import EmotionDetection, SentimentClassification, SentimentRegression, Task

TASK = SentimentRegression()
SMALL: dict[str, Any] = {"dim": 8, "heads": 2, "depth": 1, "prompt_length": 2, "seed": 0}
# What is left under each missing code of the released code.
CODES = [("audio", "vision"), ("text", "vision"), ("text", "audio"), ("vision",), ("audio",), ("text",), MODALITIES]
LETTERS = {"l": "text", "a": "audio", "v": "vision"}


class FourClasses(SentimentClassification):
    def __init__(self) -> None:
        super().__init__(3)
        self.shape = (4,)


def make(spec: DataSpec | None = None, task: Task | None = None, **options: Any) -> MPLMM:
    torch.manual_seed(0)
    return MPLMM(spec or DataSpec(), task or TASK, **{**SMALL, **options})


def with_codes(batch: Batch, codes: list[int]) -> Batch:
    """Take from each sample what its code says is missing."""

    def take(name: str) -> Modality:
        modality = batch.modality(name)
        there = torch.tensor([name in CODES[code] for code in codes])[:, None]
        x = modality.x.masked_fill(~there if modality.is_tokens else ~there[..., None], 0)
        return Modality(x, modality.mask, modality.mask & there)

    return batch.replace(**{name: take(name) for name in MODALITIES})


def all_codes(spec: DataSpec | None = None, task: Task | None = None) -> Batch:
    return with_codes(Batch.random(spec or DataSpec(), task or TASK, size=7), list(range(7)))


def golden_batch(case: Case, codes: list[int]) -> tuple[DataSpec, Batch]:
    (text, audio, vision), (t, a, v) = case.config["feature_dims"], case.config["lens"]
    spec = DataSpec(text, audio, vision, text_len=t, audio_len=a, vision_len=v)
    batch = Batch.random(spec, TASK, size=len(codes))
    real = {
        name: Modality(x, torch.ones(x.shape[:2], dtype=torch.bool)) for name in MODALITIES for x in [case.inputs[name]]
    }
    labels = case.inputs["labels"]
    target = labels.long() if "loss.l1" not in case.outputs else labels
    return spec, with_codes(batch.replace(**real, target=target), codes)


def check_golden(model: Backbone, case: Case, batch: Batch) -> Any:
    """Compare what both stages have in common, and return the output for more."""
    streams: dict[str, Tensor] = {}
    for name, encoder in model.crossmodal.items():  # type: ignore[operator, union-attr]
        encoder.register_forward_hook(lambda _, __, out, name=name: streams.update({name: out}))
    model.eval()
    output = model(batch)
    loss = model.task.criterion(output.logits, batch.target).mean()
    found = {"pred": output.logits, "joint": output.features}
    found["h_l_with_a"] = streams["text_from_audio"].transpose(0, 1)
    found["h_v_with_l"] = streams["vision_from_text"].transpose(0, 1)
    for letter, name in LETTERS.items():
        pair = torch.cat([streams[f"{name}_from_{other}"] for other in MODALITIES if other != name], 2).transpose(0, 1)
        hidden = output.hidden[name].transpose(0, 1)
        for key, value in {f"mem_in_{letter}": pair, f"mem_out_{letter}": hidden}.items():
            torch.testing.assert_close(value, case.outputs[key][: len(value)], atol=1e-5, rtol=1e-4)
    for key, value in found.items():
        torch.testing.assert_close(value, case.outputs[key], atol=1e-5, rtol=1e-4)
    (expected,) = (value for key, value in case.outputs.items() if key.startswith("loss."))
    torch.testing.assert_close(loss, expected, atol=0, rtol=1e-5)
    return output


@pytest.mark.parametrize("name", ["mplmm_all_modes", "mplmm_cls"])
def test_prompt_model_is_the_released_one(name: str) -> None:
    case = golden(name)
    config, codes = case.config, case.config["missing_mode"]
    assert case.inputs["missing_mode"].tolist() == codes
    spec, batch = golden_batch(case, codes)
    sizes = {"dim": config["proj_dim"], "heads": config["num_heads"], "depth": config["nlevels"]}
    task = TASK if config["output_dim"] == 1 else FourClasses()
    model = MPLMM(spec, task, **sizes, prompt_length=config["prompt_length"], causal=config["attn_mask"])
    report = load_released(model, case.params, "mplmm")
    assert not report.unused
    assert set(report.kept) == {"views._extra_state"}
    output = check_golden(model, case, batch)
    assert isinstance(output.aux, Completion)
    for letter, modality in (("l", "text"), ("v", "vision")):
        made = output.aux.sequences[modality].transpose(0, 1)
        torch.testing.assert_close(made, case.outputs[f"x_{letter}"], atol=1e-5, rtol=1e-4)
    matrices = case.outputs["missing_type_matrix"]
    torch.testing.assert_close(output.aux.type_matrix, matrices[codes], atol=1e-5, rtol=1e-4)
    tokens = model.prompts.tokens(output.aux.type_matrix)
    for i, letter in enumerate("lav"):
        expected = case.outputs[f"mem_in_{letter}"][-config["prompt_length"] :]
        torch.testing.assert_close(tokens[i].transpose(0, 1), expected, atol=1e-5, rtol=1e-4)


def test_stage_one_is_mult() -> None:
    case = golden("mplmm_pretrain_mult")
    config = case.config
    spec, batch = golden_batch(case, [6] * len(case.inputs["labels"]))
    sizes = {"dim": config["proj_dim"], "heads": config["num_heads"], "depth": config["nlevels"]}
    model = MulT(spec, TASK, **sizes, variant="released", causal=config["attn_mask"])
    load_released(model, case.params, "mult")
    check_golden(model, case, batch)


@pytest.mark.parametrize("task", [TASK, SentimentClassification(3), EmotionDetection()], ids=lambda t: type(t).__name__)
def test_gradient_reaches_every_parameter(task: Task) -> None:
    model, batch = make(task=task), all_codes(task=task)
    torch.autograd.backward(model(batch).logits.square().sum())
    assert [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("code", range(7))
def test_every_parameter_is_in_the_graph_of_every_code(code: int) -> None:
    model, batch = make(), with_codes(Batch.random(DataSpec(), TASK, size=2), [code] * 2)
    torch.autograd.backward(model(batch).logits.square().sum())
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("code", range(6))
def test_what_is_missing_is_not_read(code: int) -> None:
    model = make().eval()
    batch = with_codes(Batch.random(DataSpec(), TASK, size=2), [code] * 2)
    loud = {}
    for name in MODALITIES:
        modality = batch.modality(name)
        loud[name] = modality if name in CODES[code] else modality.replace(x=modality.x + 100)
    assert torch.equal(model(batch).logits, model(batch.replace(**loud)).logits)


def test_codes_tell_samples_apart_that_are_equal_otherwise() -> None:
    model, batch = make().eval(), all_codes()
    nothing = {name: Modality(torch.zeros_like(m.x), torch.ones_like(m.mask), m.observed)
               for name in MODALITIES for m in [batch.modality(name)]}  # fmt: skip
    for name, modality in nothing.items():
        real = modality.observed.any(1, keepdim=True).expand_as(modality.mask)
        nothing[name] = modality.replace(observed=real)
    logits = model(batch.replace(**nothing)).logits.squeeze(1)
    assert len(set(logits.tolist())) == 7


def test_partly_missing_is_read_and_nothing_real_is_missing() -> None:
    model = make().eval()
    batch = Batch.random(DataSpec(), TASK, size=2)
    observed = batch.audio.mask.clone()
    observed[:, 1:] = False
    partly = batch.replace(audio=batch.audio.replace(observed=observed))
    assert torch.equal(model(partly).logits, model(batch).logits)
    none = torch.zeros_like(batch.audio.mask)
    empty = batch.replace(audio=Modality(torch.zeros_like(batch.audio.x), none))
    torch.testing.assert_close(model(empty).logits, model(with_codes(batch, [1, 1])).logits)


def test_nothing_at_all_is_read_as_it_is() -> None:
    model, batch = make(), Batch.random(DataSpec(), TASK, size=2)
    zeros = {name: batch.modality(name).replace(x=torch.zeros_like(batch.modality(name).x)) for name in MODALITIES}
    gone = {name: m.replace(observed=torch.zeros_like(m.mask)) for name, m in zeros.items()}
    torch.autograd.backward(model(batch.replace(**gone)).logits.sum())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    assert torch.equal(model(batch.replace(**gone)).logits, model(batch.replace(**zeros)).logits)


def test_special_tokens_are_no_words() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    model, batch = make(spec).eval(), Batch.random(spec, TASK, size=2)
    ids = batch.text.x.clone()
    ids[:, 0] = spec.cls_id
    batch = batch.replace(text=Modality(ids, batch.text.mask))
    view = SMM(["audio", "vision"])(batch, spec, 0)
    assert view.text.observed.any(1).all()
    gone = view.text.replace(observed=torch.zeros_like(view.text.mask))
    torch.testing.assert_close(model(view).logits, model(view.replace(text=gone)).logits)
    assert not torch.allclose(model(view).logits, model(view.replace(text=batch.text.replace(x=view.text.x))).logits)


def train(prompt_init: Any) -> tuple[MPLMM, dict[str, Tensor]]:
    """A few steps on mixed codes; the prompts as they were, and the model after."""
    model = make(prompt_init=prompt_init, drop_rate=0.9)
    before = {name: p.detach().clone() for name, p in model.prompts.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = Batch.random(DataSpec(), TASK, size=8)
    for _ in range(4):
        (step,) = model.steps(batch)
        optimizer.zero_grad()
        torch.autograd.backward(model.task.criterion(step.output.logits, step.batch.target).mean())
        optimizer.step()
    return model, before


FACTORS = {"kind", "mixing.text", "mixing.audio", "mixing.vision"}


def test_released_prompts_get_no_gradient_and_never_move() -> None:
    model, before = train("released")
    for name, parameter in model.prompts.named_parameters():
        if name in FACTORS:
            assert parameter.grad is not None
            assert not parameter.grad.any()
            assert not parameter.any()
        elif "." not in name or name.split(".")[0] in ("missing", "present"):
            assert not torch.equal(parameter, before[name]), name
    assert "never move" in model.notes()[0]


def test_normal_prompts_move() -> None:
    model, before = train("normal")
    moved = {name for name, parameter in model.prompts.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(before)
    assert model.notes() == []


def test_steps_draw_codes_anew_and_the_same_for_a_seed() -> None:
    def observed(model: MPLMM, batch: Batch) -> list[list[bool]]:
        (step,) = model.steps(batch)
        return [step.batch.modality(name).observed.any(1).tolist() for name in MODALITIES]

    batch = Batch.random(DataSpec(), TASK, size=64)
    model, other = make(), make()
    first = observed(model, batch)
    assert first == observed(other, batch)
    assert first != observed(model, batch)
    assert all(any(kept) for kept in zip(*first, strict=True))
    assert observed(make(drop_rate=0.0), batch) == [[True] * 64] * 3


@pytest.mark.parametrize("pattern", [SMM(["text"]), SMM(["audio", "vision"])], ids=str)
def test_conditions_name_what_is_missing(pattern: MissingPattern) -> None:
    model, batch = make().eval(), Batch.random(DataSpec(), TASK, size=2)
    view = pattern(batch, DataSpec(), 0)
    assert isinstance(pattern, SMM)
    code = CODES.index(pattern.available)
    torch.testing.assert_close(model(view).logits, model(with_codes(batch, [code, code])).logits)


def test_refusals() -> None:
    with pytest.raises(MERError, match="needs all three, but the data is used with text, audio; take another network"):
        make(DataSpec(modalities=["text", "audio"]))
    with pytest.raises(MERError, match="dim is 2, but positions"):
        make(dim=2)
    with pytest.raises(MERError, match="prompt_length of MPLMM is 0, but must be at least 1"):
        make(prompt_length=0)
    with pytest.raises(MERError, match="unknown prompt_init 'zero' of MPLMM; choose from released, normal"):
        make(prompt_init="zero")
    with pytest.raises(MERError, match="unknown positions 'place' of MPLMM; choose from time, released"):
        make(positions="place")
    with pytest.raises(MERError, match=r"rate is 1.5; give a number in \[0, 1\]"):
        make(drop_rate=1.5)
    with pytest.raises(MERError, match="MPLMM was built for 6 steps of text, but the batch has 5; pad batches"):
        make()(Batch.random(DataSpec(text_len=5), TASK))
