"""A model in plain values: what its parts are called, and their arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mer_zoo.errors import MERError
from mer_zoo.text import told

__all__ = ["Part", "Recipe"]

FORMAT = 1
_PARTS = {"format", "spec", "task", "backbone", "wrappers"}


@dataclass(frozen=True)
class Part:
    """A task, a network or a wrapper.

    Attributes:
        name: Name of its class: of the zoo, or with its module in front.
        arguments: By name, plain values that are checked when it is made.
    """

    name: str
    arguments: Mapping[str, Any]

    @classmethod
    def read(cls, kind: str, content: object) -> Part:
        """Read what :meth:`plain` wrote.

        Args:
            kind: What it should be, for messages.
            content: The plain values.

        Raises:
            MERError: If it has other fields, or a field of another type.
        """
        named = isinstance(content, Mapping) and content.keys() == {"class", "arguments"}
        if not isinstance(content, Mapping) or not named or not isinstance(content["arguments"], Mapping):
            raise MERError(f"the description of a {kind} has its class and arguments by name, and nothing else")
        if not isinstance(content["class"], str):
            raise MERError(f"the class of a {kind} is {told(content['class'])}, which is no {kind} of mer_zoo")
        return cls(content["class"], content["arguments"])

    def plain(self) -> dict[str, Any]:
        """Plain values."""
        return {"class": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True)
class Recipe:
    """How to build a model.

    Attributes:
        spec: The arguments of its DataSpec.
        task: What its logits mean.
        backbone: The network.
        wrappers: The innermost first.

    Example:
        >>> Recipe.read({"format": 1, "spec": {}, "task": {}, "backbone": {}, "wrappers": []})
        Traceback (most recent call last):
        mer_zoo.errors.MERError: the description of a Task has its class and arguments by name, and nothing else
    """

    spec: Mapping[str, Any]
    task: Part
    backbone: Part
    wrappers: tuple[Part, ...] = ()

    @property
    def parts(self) -> Iterator[Part]:
        """All parts."""
        yield from (self.task, self.backbone, *self.wrappers)

    @classmethod
    def read(cls, content: object) -> Recipe:
        """Read what :meth:`plain` wrote, maybe after a journey through JSON.

        Args:
            content: The plain values.

        Raises:
            MERError: If it has other fields, or a field of another type.
        """
        if not isinstance(content, Mapping) or content.keys() != _PARTS or content["format"] != FORMAT:
            raise MERError(
                f"the description of a model has {', '.join(sorted(_PARTS))}, the format being {FORMAT}, and nothing"
                " else"
            )
        if not isinstance(content["spec"], Mapping) or not isinstance(content["wrappers"], list):
            raise MERError("the description of a model has a spec by names, and a list of wrappers")
        return cls(
            content["spec"],
            Part.read("Task", content["task"]),
            Part.read("Backbone", content["backbone"]),
            tuple(Part.read("Wrapper", wrapper) for wrapper in content["wrappers"]),
        )

    def plain(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": FORMAT,
            "spec": dict(self.spec),
            "task": self.task.plain(),
            "backbone": self.backbone.plain(),
            "wrappers": [wrapper.plain() for wrapper in self.wrappers],
        }
