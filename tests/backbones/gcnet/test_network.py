"""GCNet beside the released code, and what it reads of dialogues."""

import csv
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_cases import golden, gradients
from lightning.pytorch import Trainer
from torch import Tensor

from mer_zoo.backbones import GCNet
from mer_zoo.backbones.gcnet.graph import speaker_relations, temporal_relations
from mer_zoo.batch import Batch, DataSpec, Modality
from mer_zoo.compat import load_released
from mer_zoo.compat.gcnet import in_order
from mer_zoo.data import MERDataModule
from mer_zoo.data.missing.pattern import SMM
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule
from mer_zoo.task import NominalClassification, SentimentRegression, Task
from mer_zoo.wrappers import JTT

SPEC, TASK = DataSpec(), SentimentRegression()
MELD = Path(os.environ.get("MELD_TABLES", Path(__file__).parents[4] / "shared" / "data" / "meld"))
NAMES = ("audio", "text", "vision")  # the order of the released missing code


def close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def make(**options: Any) -> GCNet:
    torch.manual_seed(0)
    return GCNet(SPEC, TASK, **{"dim": 4, "seed": 0, "dropout": 0.0, **options})


def dialogues(lengths: list[int], seed: int = 0) -> Batch:
    """A batch of dialogues of these lengths, the samples in no order."""
    size = sum(lengths)
    batch = Batch.random(SPEC, TASK, size, seed)
    number = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    turn = torch.cat([torch.arange(length) for length in lengths])
    batch = batch.replace(
        dialogue=number, turn=turn, dialogue_size=torch.tensor(lengths)[number], speaker=(turn * turn) % 3 % 2
    )
    return batch.take(torch.randperm(size, generator=torch.Generator().manual_seed(1)).tolist())


def numbers(batch: Batch) -> list[int]:
    assert batch.dialogue is not None
    return batch.dialogue.tolist()


def only(batch: Batch, number: int) -> Batch:
    return batch.take([row for row, dialogue in enumerate(numbers(batch)) if dialogue == number])


class Released:
    """A case as a network and batches of its utterances: all that is there, and what the code leaves."""

    def __init__(self, name: str, **options: Any) -> None:
        case = golden(name)
        config, given = case.config, case.inputs
        self.name, self.out, self.mask = name, case.outputs, given["umask"].bool()
        count = config["n_classes"]
        task: Task = TASK if count == 1 else NominalClassification([str(i) for i in range(count)])
        text, audio, vision = (config[f"{modality}_dim"] for modality in ("text", "audio", "vision"))
        spec = DataSpec(text, audio, vision, 1, 1, 1)
        self.model = GCNet(
            spec,
            task,
            dim=config["hidden"],
            graph_dim=config["graph_hidden"],
            past=config["wp"],
            future=config["wf"],
            speakers=config["n_speakers"],
            time_attention=config["time_attn"],
            seed=0,
            **options,
        ).eval()
        names = {kind: config[f"relations_{kind}"] for kind in ("temporal", "speaker")}
        self.order = names["temporal"]
        report = load_released(self.model, in_order(case.params, **names), "gcnet")
        assert {key.split(".")[0] for key in report.kept} == {"views"}
        self.used = report.used
        self.code = given["missing_code"].transpose(0, 1).bool()  # (D, S, 3)
        number, turn = self.mask.nonzero(as_tuple=True)
        there = torch.ones(len(turn), 1, dtype=torch.bool)
        size = self.mask.sum(1)[number]
        target = given["labels"][self.mask]
        x = {modality: given[modality].transpose(0, 1)[self.mask][:, None] for modality in NAMES}
        self.whole = Batch(
            text=Modality(x["text"], there),
            audio=Modality(x["audio"], there),
            vision=Modality(x["vision"], there),
            target=target if count == 1 else target.long(),
            index=torch.arange(len(turn)),
            speaker=given["speakers"][self.mask].long(),
            dialogue=number,
            turn=turn,
            dialogue_size=size,
        )
        left = self.code[self.mask]
        self.view = self.whole.replace(
            **{
                modality: Modality(x[modality] * left[:, i, None, None], there, left[:, [i]])
                for i, modality in enumerate(NAMES)
            }
        )

    def rows(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1)[self.mask]


@pytest.mark.parametrize("variant", ["released", "ours"])
@pytest.mark.parametrize("name", ["gcnet_iemocap", "gcnet_mosi"])
def test_the_released_network(name: str, variant: str) -> None:
    case = Released(name, variant="released")
    model, out = case.model, case.out
    assert model.views is not None
    model.views.register_forward_hook(lambda *_: case.view)
    (step,) = model.steps(case.whole)
    output, padding = step.output, ~case.mask[..., None]
    close(output.logits, case.rows(out["logits"]))
    close(output.features, case.rows(out["hidden"]))
    whole = torch.cat([output.aux.made[modality] for modality in NAMES], 2).transpose(0, 1)
    close(whole, out["reconstruction"])
    second = model.head(model._run(whole.transpose(0, 1), output.aux.dialogues))
    close(second[case.mask], case.rows(out["reccls.logits"]))
    # the code of padding counts in the released loss, and no sample of ours is padding
    missing = output.aux.missing | (~case.code & padding)
    output = output.replace(aux=output.aux._replace(missing=missing))
    model.released = variant == "released"
    (loss,) = model.losses(output, step.batch).values()
    prefix = "" if model.released else "aligned."
    close(loss, out[f"{prefix}loss.reconstruction"])
    target = case.whole.target
    task = (
        F.cross_entropy(output.logits, target)
        if target.dtype == torch.long
        else F.mse_loss(output.logits[:, 0], target)
    )
    close(task, out["loss.task"])
    close(task + loss, out[f"{prefix}loss.total"])
    torch.autograd.backward(task + loss)
    parameters = dict(model.named_parameters())
    expected = {
        key.removeprefix(prefix): value
        for key, value in gradients(name).items()
        if key.startswith("aligned.") == bool(prefix)
    }
    assert len(expected) > 30
    for key, value in expected.items():
        found = parameters[case.used[key]].grad
        assert found is not None
        if key == "graph_net_temporal.conv1.weight":
            found = found[[["past", "now", "future"].index(relation) for relation in case.order]]
        close(found, value)


def test_an_utterance_hears_of_its_dialogue_and_of_nothing_else() -> None:
    lengths = [4, 1, 6]
    model, batch = make(time_attention=True).eval(), dialogues(lengths)
    logits = model(batch).logits
    for number in range(len(lengths)):  # nor of the longest in its batch
        one = only(batch, number)
        close(model(one).logits, logits[batch.dialogue == number])
    first = numbers(batch).index(0)
    x = batch.audio.x.clone()
    x[first] += batch.audio.mask[first][:, None]
    moved = (model(batch.replace(audio=batch.audio.replace(x=x))).logits - logits).abs().squeeze(1)
    assert (moved[batch.dialogue == 0] > 0).all()
    assert not moved[batch.dialogue != 0].any()


def test_as_released_padding_is_heard() -> None:
    model, batch = make(variant="released").eval(), dialogues([2, 6])
    assert not torch.allclose(model(only(batch, 0)).logits, model(batch).logits[batch.dialogue == 0], atol=1e-6)


def test_the_order_of_samples_says_nothing_but_turns_and_speakers_do() -> None:
    model, batch = make().eval(), dialogues([5, 3])
    logits = model(batch).logits
    order = [3, 1, 7, 0, 2, 6, 4, 5]
    close(model(batch.take(order)).logits, logits[order])
    assert batch.turn is not None
    assert not torch.allclose(model(batch.replace(turn=-batch.turn + 9)).logits, logits)
    assert batch.speaker is not None
    others = model(batch.replace(speaker=1 - batch.speaker)).logits
    assert not torch.allclose(others, logits)
    one = make(speakers=1).eval()
    assert torch.equal(one(batch).logits, one(batch.replace(speaker=1 - batch.speaker)).logits)
    crowd = batch.replace(speaker=5 * batch.speaker)
    assert torch.equal(model(crowd).logits, logits)  # who is not told apart is the last


def test_windows_bound_the_edges() -> None:
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    relations = temporal_relations(mask, past=1, future=0)
    edges = relations.any(1)
    assert edges[0].int().tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    assert edges[1].sum() == 3
    assert not relations[:, 0].any()  # nobody hears of the past
    everybody = temporal_relations(mask, -1, -1).any(1)
    assert everybody.sum((1, 2)).tolist() == [16, 4]
    speaker = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]])
    assert torch.equal(speaker_relations(everybody, speaker, 2).sum(1).bool(), everybody)


def test_every_parameter_learns_from_dialogues_with_missing_modalities() -> None:
    model, batch = make(time_attention=True, rate=0.6), dialogues([6, 3, 5])
    (step,) = model.steps(batch)
    assert step.batch.audio.observed.any(1).sum() < len(batch)
    loss = step.losses["gcnet/reconstruction"] + step.output.logits.square().mean()
    torch.autograd.backward(loss)
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    learnt = [p.grad for name, p in model.named_parameters() if name.endswith("conv1.weight")]
    assert len(learnt) == 2
    assert all(of_graph is not None and of_graph.flatten(1).any(1).all() for of_graph in learnt)  # every relation


def test_only_what_is_missing_is_completed() -> None:
    batch = dialogues([3, 2])
    (step,) = make(rate=0.0).steps(batch)
    assert step.losses["gcnet/reconstruction"] == 0
    never = batch.replace(audio=batch.audio.replace(observed=torch.zeros_like(batch.audio.mask)))
    model = make(rate=1.0)
    (step,) = model.steps(never)
    missing = step.output.aux.missing
    assert not missing[..., 0].any()  # nothing tells what it would have been
    assert missing[..., 1:].any()
    loud = never.replace(audio=never.audio.replace(x=never.audio.x + 5))
    assert torch.equal(model.eval()(loud).logits, model(never).logits)


def test_a_missing_text_of_tokens_is_zero_too() -> None:
    spec = DataSpec(tokens=True, vocab_size=200)
    torch.manual_seed(0)
    model, batch = GCNet(spec, TASK, dim=4, seed=0).eval(), Batch.random(spec, TASK, 3)
    view = SMM(["audio", "vision"])(batch, spec, 0)
    other = view.replace(text=view.text.replace(x=torch.full_like(view.text.x, 150)))
    assert torch.equal(model(view).logits, model(other).logits)
    assert not torch.equal(model(view).logits, model(batch).logits)


def test_data_without_dialogues_are_read_one_by_one_and_parts_of_dialogues_refused() -> None:
    model, batch = make().eval(), dialogues([4])
    untold = batch.replace(dialogue=None, dialogue_size=None, turn=None, speaker=None)
    close(model(untold).logits[2:3], model(untold.take([2])).logits)
    close(model(untold).logits, model.fuse(untold.text, untold.audio, untold.vision).logits)
    with pytest.raises(MERError, match=r"a batch holds a dialogue in part.*set data\.batches: dialogues"):
        model(batch.take([0, 1]))
    assert make(partial=True)(batch.take([0, 1])).logits.shape == (2, 1)


def test_a_second_pass_reads_what_was_reconstructed() -> None:
    one, two, batch = make().eval(), make(second_pass=True).eval(), dialogues([4, 2])
    output = one(batch)
    made = torch.cat([output.aux.made[name] for name in NAMES], 2)
    close(two(batch).features, output.aux.dialogues.flat(one._run(made, output.aux.dialogues)))


def test_refusals() -> None:
    with pytest.raises(MERError, match="speakers of GCNet is 0, but must be at least 1"):
        make(speakers=0)
    with pytest.raises(MERError, match="past of GCNet is -2, but must be at least -1"):
        make(past=-2)
    with pytest.raises(MERError, match="unknown variant 'old' of GCNet"):
        make(variant="old")
    weights = {"graph_net_temporal.conv1.weight": torch.zeros(3, 2, 2)}
    with pytest.raises(MERError, match="has 3 relations, but now, then are named; name past, now, future"):
        in_order(weights, temporal=["now", "then"])


@pytest.mark.skipif(not (MELD / "train_sent_emo.csv").exists(), reason="MELD_TABLES does not name MELD's three tables")
def test_the_dialogues_of_meld_run_through_it(tmp_path: Path) -> None:
    """With counts of words for text, and lengths of words for audio."""
    for split in ("train", "dev", "test"):
        shutil.copy(MELD / f"{split}_sent_emo.csv", tmp_path)
        with (tmp_path / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
            lines = [row["Utterance"].split() for row in csv.DictReader(file)]
        features = np.zeros((2, len(lines), 1, 8))
        for row, words in enumerate(lines):
            for word in words:
                features[0, row, 0, zlib.crc32(word.lower().encode()) % 8] += 1
                features[1, row, 0, min(len(word), 8) - 1] += 1
        (tmp_path / split).mkdir()
        for name, x in zip(("text", "audio"), features, strict=True):
            np.save(tmp_path / split / f"{name}.npy", x)
    data = MERDataModule(
        str(tmp_path),
        task="classes",
        batch_size=256,
        batches="dialogues",
        modalities=["text", "audio"],
        text="features",
    )
    model = GCNet(data.spec, data.task, dim=8, time_attention=True, seed=0)
    module = MERModule(model, optimizer=lambda p: torch.optim.Adam(p, lr=0.01))
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=12, enable_checkpointing=False, **quiet)
    trainer.fit(module, data)
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
    model.eval()
    batches = list(data.batch_source("test"))
    found = [model(batch).logits for batch in batches]
    assert sum(map(len, found)) == 2610
    speakers = max(int(batch.speaker.max()) for batch in batches if batch.speaker is not None)
    assert speakers >= model.speakers  # more than are told apart
    number = numbers(batches[0])[0]
    close(model(only(batches[0], number)).logits, found[0][batches[0].dialogue == number])


def test_a_first_training_gets_whole_dialogues() -> None:
    batch = dialogues([3, 2, 4])
    batch = batch.replace(index=torch.arange(9))
    parts = [only(batch, number) for number in range(3)]
    model = JTT(GCNet(SPEC, TASK, dim=4, seed=0), epochs=1)
    model.prepare(parts)
    (step,) = model.steps(parts[0])
    assert step.output.logits.isfinite().all()
