import pytest
import torch
from lightning import Trainer

from mer_zoo import LFLSTM, CausalMER, CUMDFNet, DataSpec, MulT, SentimentClassification, SentimentRegression
from mer_zoo.batch import MODALITIES
from mer_zoo.callbacks import GradientBalance
from mer_zoo.errors import MERError
from mer_zoo.module import MERModule


def test_norms_are_those_of_the_modalities_own_parameters() -> None:
    module = MERModule(LFLSTM(DataSpec(), SentimentRegression(), dim=4))
    callback = GradientBalance()
    callback.on_train_start(Trainer(logger=False, accelerator="cpu"), module)
    own = callback.own(module)
    assert list(own) == ["text", "audio", "vision"]
    for scale, parameters in zip((3.0, 1.0, 2.0), own.values(), strict=True):
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, scale)
    logged: dict[str, float] = {}
    module.log_dict = logged.update  # type: ignore[assignment,method-assign]
    callback.on_before_optimizer_step(None, module, None)  # type: ignore[arg-type]
    callback.on_train_epoch_end(None, module)  # type: ignore[arg-type]
    assert logged["train/gradient_imbalance"] == pytest.approx(0.4082, abs=1e-4)
    assert [logged[f"train/gradient_{name}"] for name in own] == pytest.approx([3.0, 1.0, 2.0])


def test_what_two_modalities_share_is_no_ones() -> None:
    net = MulT(DataSpec(), SentimentRegression())
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    named = torch.nn.ModuleDict({"net": net})  # no model of the zoo, so that names must tell
    for module in (MERModule(net), named):
        for modality, parameters in GradientBalance().own(module).items():
            for parameter in parameters:
                assert not any(other in names[id(parameter)] for other in {"text", "audio", "vision"} - {modality})


def test_names_need_not_tell() -> None:
    net = MERModule(CausalMER(CUMDFNet(DataSpec(), SentimentClassification(3), dim=8, heads=2)))
    by_graph, by_name = GradientBalance().own(net), GradientBalance({m: f"*{m}*" for m in MODALITIES}).own(net)
    assert list(by_graph) == list(MODALITIES)
    assert {id(p) for p in by_graph["text"]} != {id(p) for p in by_name["text"]}


def test_parts_are_named_where_names_do_not_tell() -> None:
    with pytest.raises(MERError, match="parts names 'video'"):
        GradientBalance({"video": "*"})
    module = MERModule(LFLSTM(DataSpec(modalities=["text"]), SentimentRegression(), dim=4))
    with pytest.raises(MERError, match="GradientBalance finds parameters of text alone"):
        GradientBalance().on_train_start(Trainer(logger=False, accelerator="cpu"), module)
