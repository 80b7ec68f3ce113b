"""Wrapper: a model around another model, as every debiasing method is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.errors import MERError
from mer_zoo.model.model import Model, check_model
from mer_zoo.scores import Scores

__all__ = ["Wrapper", "WrapperFactory", "check_final_logits"]


class Wrapper(Model):
    """A model around another model; everything is the inner model's until overridden.

    ``steps`` and ``predict`` are the inner model's too: a wrapper that changes the scores overrides them beside
    ``forward``.

    Args:
        backbone: The inner model: a Backbone or another Wrapper.

    Raises:
        MERError: If the inner model is none, or the same wrapper already stands inside.

    Example:
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentRegression
        >>> class HalfWeight(Wrapper):
        ...     def steps(self, batch):
        ...         for step in self.backbone.steps(batch):
        ...             step.task_weight = 0.5 * step.task_weight
        ...             yield step
        >>> model = HalfWeight(LFLSTM(DataSpec(), SentimentRegression()))
        >>> model.name, [step.task_weight for step in model.steps(Batch.random(model.spec, model.task))]
        ('HalfWeight(LFLSTM)', [0.5])
    """

    def __init__(self, backbone: Model) -> None:
        super().__init__()
        check_model(backbone, type(self).__name__)
        if type(self) in {type(model) for model in backbone.nest}:
            raise MERError(f"{type(self).__name__} stands twice in the nest {backbone.name}; name each wrapper once")
        self.backbone = backbone

    @override
    def forward(self, batch: Batch) -> Output:
        output: Output = self.backbone(batch)
        return output

    @override
    def predict(self, batch: Batch) -> Output:
        return self.backbone.predict(batch)

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        yield from self.backbone.steps(batch)

    @override
    def drop_head(self) -> None:
        self.backbone.drop_head()

    @override
    def prepare(self, train: BatchSource) -> None:
        self.backbone.prepare(train)

    @override
    def calibrate(self, valid: Scores) -> None:
        self.backbone.calibrate(valid)

    @override
    def rescore(self, valid: Scores) -> Tensor:
        return self.backbone.rescore(valid)

    @override
    def oracle(self, test: Scores) -> list[Tensor]:
        return self.backbone.oracle(test)

    @override
    def diagnostics(self) -> dict[str, float]:
        return self.backbone.diagnostics()

    @override
    def notes(self) -> list[str]:
        return self.backbone.notes()

    @property
    @override
    def calibrates(self) -> bool:
        return type(self).calibrate is not Wrapper.calibrate or self.backbone.calibrates

    @property
    @override
    def nest(self) -> list[Model]:
        return [self, *self.backbone.nest]

    @property
    @override
    def name(self) -> str:
        return f"{type(self).__name__}({self.backbone.name})"

    @property
    @override
    def label(self) -> str:
        return f"{type(self).__name__}{self.mark}({self.backbone.label})"


def check_final_logits(owner: str, backbone: Model) -> None:
    """Refuse an inner model whose logits are not the same in training and at test time, where a wrapper fuses them.

    Those of training may be meant for the loss alone, and those of a test be of a layer that training does not know.

    Args:
        owner: The wrapper.
        backbone: Its inner model.

    Raises:
        MERError: Naming both.
    """
    if backbone.trains_other_logits:
        inner = next(type(model).__name__ for model in reversed(backbone.nest) if model.trains_other_logits)
        raise MERError(
            f"{owner} fuses the scores of {backbone.name}, but in training {inner} has added to them what only the"
            f" final scores may be"
            f" added; put {inner} outside, as in {inner}({owner}(...))"
        )
    if backbone.refits_logits:
        inner = next(type(model).__name__ for model in reversed(backbone.nest) if model.refits_logits)
        raise MERError(
            f"{owner} learns with the scores of {backbone.name} as training knows them, but {inner} fits them anew on"
            " validation data; leave one of them out"
        )


WrapperFactory = Callable[[Model], Wrapper]
