"""GEAR against the released code's numbers: with its content network inside, outputs and losses, swap included."""

from typing import Any

import torch
from golden_cases import golden
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, DataSpec, Modality, Output
from mer_zoo.compat import load_released
from mer_zoo.compat.gear import GEAR as KEYS
from mer_zoo.functional.gear import swap_order
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.model import Backbone
from mer_zoo.task import SentimentRegression, Task
from mer_zoo.wrappers import GEAR
from mer_zoo.wrappers.gear.content_bias import BiasBranch

BERT: dict[str, Any] = {"model_type": "bert", "vocab_size": 30522, "hidden_size": 8, "num_hidden_layers": 2}
BERT |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64}
BERT |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
TEXT = "text_model.model_{}.model_text.model."


def subnets(config: dict[str, Any]) -> dict[str, BiasBranch]:
    """The released unimodal networks; content and bias have the same form."""
    text_dim, audio_dim, vision_dim = config["feature_dims"]
    return {
        "text": BiasBranch(text_dim, 1, "first", dim=config["post_text_dim"]),
        "audio": BiasBranch(audio_dim, 1, "lstm", config["a_lstm_hidden_size"], config["post_audio_dim"]),
        "vision": BiasBranch(vision_dim, 1, "lstm", config["v_lstm_hidden_size"], config["post_video_dim"]),
    }


class Content(Backbone):
    """The released content network, and its second text encoder, which only the bias branch of text reads."""

    def __init__(self, spec: DataSpec, task: Task, config: dict[str, Any]) -> None:
        super().__init__(spec, task, BERT)
        self.second = TextEncoder(config=BERT)
        self.parts = nn.ModuleDict(subnets(config))
        self.feature_dim = sum(config[f"post_{name}_dim"] for name in ("text", "audio", "video"))
        self.head = nn.Linear(self.feature_dim, 1)

    @override
    def forward(self, batch: Batch) -> Output:
        output = super().forward(batch)
        return output.replace(inputs={**output.inputs, "text": self.second(batch.text.x, batch.text.mask)})

    @override
    def fuse(self, text: Modality, audio: Modality, vision: Modality) -> Output:
        found = {}
        for name, given in zip(MODALITIES, (text, audio, vision), strict=True):
            part = self.parts[name]
            assert isinstance(part, BiasBranch)
            found[name] = part.features(given.x, given.mask)
        features = torch.cat(list(found.values()), 1)
        return Output(self.classify(features), features, effects=found)

    def load(self, params: dict[str, Tensor]) -> None:
        """Take the content part of a released state dict."""
        mine = {k: v for k, v in params.items() if ".model_c." in k and not k.startswith("fusion_model.")}
        state = {KEYS.translate(k.replace("model_c", "model_b", 1)): v for k, v in mine.items()}
        parts = {k.removeprefix("branches."): v for k, v in state.items() if "model_text" not in k}
        self.parts.load_state_dict(parts)
        for encoder, letter in ((self.text_encoder, "c"), (self.second, "b")):
            assert encoder is not None
            prefix = TEXT.format(letter)
            bert = {k.removeprefix(prefix): v for k, v in params.items() if k.startswith(prefix) and "pooler" not in k}
            encoder.model.load_state_dict(bert)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_outputs_and_losses() -> None:
    case = golden("gear_swap_avg")
    x, config = case.inputs, case.config
    spec = DataSpec(8, 5, 7, x["text"].shape[2], x["audio"].shape[1], x["vision"].shape[1], tokens=True)
    order = x["perm"].long()
    seed = next(s for s in range(100) if torch.equal(swap_order(s, 6, torch.arange(3)), order))
    model = GEAR(
        Content(spec, SentimentRegression(), config),
        dim=config["post_fusion_dim"],
        branches=subnets(config),
        criterion=config["gce"],
        weight=config["weight"],
        lambda_dis=config["lambda_dis"],
        lambda_swap=config["lambda_swap"],
        swap_epochs=config["swap_epochs"],
        q=config["q"],
        seed=seed,
    )
    report = load_released(model, case.params, source="gear")
    assert set(report.used.values()) == {k for k in model.state_dict() if k.startswith(("branches.", "fusion."))}
    assert isinstance(model.backbone, Content)
    model.backbone.load(case.params)

    ids, mask = x["text"][:, 0].long(), x["text"][:, 1].bool()
    audio = Modality(x["audio"], torch.arange(13) < x["audio_lengths"][:, None])
    vision = Modality(x["vision"], torch.arange(11) < x["vision_lengths"][:, None])
    batch = Batch(Modality(ids, mask), audio, vision, x["labels"], torch.arange(3))
    out = case.outputs
    found = model.eval().predict(batch)
    close(found.logits, out["M"])
    for name, letter in zip(MODALITIES, "tav", strict=True):
        close(found.effects[name], out[f"Feature_{letter}"])
        branch = model.branches[name]
        logits = branch(model.backbone(batch).inputs[name], batch.modality(name).mask)
        close(logits, out[letter.upper()])
        close((logits.squeeze(1) - batch.target).abs()[:, None], out[f"bias_err_{letter}"])

    model.train().prepare([batch])
    first, second, third = (next(iter(model.steps(batch))) for _ in range(3))
    assert "gear/swap_bias" not in {**first.losses, **second.losses}
    loss = third.losses
    for name, theirs in zip(MODALITIES, ("text", "audio", "video"), strict=True):
        close(loss[f"gear/bias_{name}"], out[f"loss.{theirs}_bias"])
    task = (third.task_weight * model.task.criterion(third.output.logits, batch.target)).mean()
    fusion = task + loss["gear/bias_fusion"] + loss["gear/swap_content"] + loss["gear/swap_bias"]
    close(fusion, out["loss.fusion"])
    close(task + torch.stack(list(loss.values())).sum(), out["loss.total"])
