"""How the names in a released checkpoint become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

__all__ = ["KeyMap"]


@dataclass(frozen=True)
class KeyMap:
    """Rules that turn the keys of a released state dict into ours.

    Args:
        rules: Pairs of a regular expression and its replacement, applied in turn to each key.
        dropped: Regular expressions of keys that carry nothing, and the reason.
        optional: Regular expressions of keys that our model may lack, and when it does.
        own: Regular expressions of our names that no released checkpoint has, and why; they keep their values.
        parts: For sub-networks: released prefix, such as ``"mult."``, to our prefix and the map of what follows it. A
            key with such a prefix is left to that map alone.
        shared: Pairs as in ``rules``, for codes that store a tensor under the name of every place where it is used:
            where our model has no place for a key, as few of them as it takes lead to the one place of the tensor.

    Example:
        >>> inner = KeyMap(rules=(("^layer_norm", "norm"),), dropped={"version$": "a counter"})
        >>> outer = KeyMap(parts={"net.": ("backbone.", inner)})
        >>> outer.translate("net.layer_norm.bias"), outer.reason_to_drop("net.version")
        ('backbone.norm.bias', 'a counter')
    """

    rules: tuple[tuple[str, str], ...] = ()
    dropped: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, KeyMap]] = field(default_factory=dict)
    shared: tuple[tuple[str, str], ...] = ()

    def translate(self, key: str) -> str:
        """Our name of a released key."""
        for released, (own, part) in self.parts.items():
            if key.startswith(released):
                return own + part.translate(key.removeprefix(released))
        return _substitute(self.rules, key)

    def candidates(self, key: str) -> Iterator[str]:
        """Our names under which the tensor of a released key may stand, the likeliest first.

        Example:
            >>> list(KeyMap(shared=(("layers.[0-9]", "layers.0"),)).candidates("layers.3.bias"))
            ['layers.3.bias', 'layers.0.bias']
        """
        for released, (own, part) in self.parts.items():
            if key.startswith(released):
                yield from (own + name for name in part.candidates(key.removeprefix(released)))
                return
        name = self.translate(key)
        for count in range(len(self.shared) + 1):
            for rules in combinations(self.shared, count):
                yield _substitute(rules, name)

    def reason_to_drop(self, key: str) -> str | None:
        """Why a released key is thrown away, or None if it is to be used."""
        return self._reason(key, "dropped")

    def reason_to_lack(self, key: str) -> str | None:
        """Why our model may have no place for a released key, or None if it must have one."""
        return self._reason(key, "optional")

    def reason_to_keep(self, name: str) -> str | None:
        """Why a released checkpoint may lack one of our names, or None if it must have it."""
        return _first(self.own, name)

    def _reason(self, key: str, kind: str) -> str | None:
        for released, (_, part) in self.parts.items():
            if key.startswith(released):
                return part._reason(key.removeprefix(released), kind)
        return _first(getattr(self, kind), key)


def _substitute(rules: tuple[tuple[str, str], ...], key: str) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def _first(reasons: Mapping[str, str], key: str) -> str | None:
    return next((reason for pattern, reason in reasons.items() if re.search(pattern, key)), None)
