"""Hostile JSON that keeps most of the structure of a sound one."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

__all__ = ["NAMES", "damage_bytes", "hostile_json"]

NAMES = ["os.system", "posix.system", "builtins.eval", "builtins.exec", "__import__", "torch.load", "torch.hub.load"]
NAMES += [
    "mer_zoo.cli.main",
    "mer_zoo.data.convert",
    "mer_zoo.cli.sweeps.main",
    "mer_zoo.sharing.recipe.importlib.import_module",
]
NAMES += [
    "antigravity",
    "this.s",
    "turtledemo.clock",
    "idlelib.run",
    "subprocess.Popen",
    "pickle.loads",
    "LFLSTM.__init__",
]
NAMES += [
    "mer_zoo.backbones.LFLSTM",
    "mer_zoo.sharing.export.torch.load",
    "Backbone",
    "Model",
    "AdaptedBackbone",
    "__class__",
]
NAMES += [
    "MulT",
    "MISA",
    "CUMDF",
    "GEAR",
    "MACI",
    "MSSD",
    "EmotionDetection",
    "SentimentClassification",
    "albert",
    "t5",
]
CALL = {"class": "os.system", "arguments": {"command": "true"}}
NEST = {"class_path": "os.system", "init_args": {"command": "true"}}
_DEEP = "stands for something that is nested deeply"
TRICKS = ["__import__('os').system('true')", "!!python/object/apply:os.system [true]", "../../etc/passwd", "/dev/zero"]
TRICKS += ["\x00", "\ud800", "x" * 10_000, "", "text", "audio", "${oc.env:HOME}", "%s%n{0.__class__}"]
VALUES: list[Any] = [None, True, False, 0, -1, 1, 3, 255, 60_000, 2**31, 2**63, 10**400, 0.5, -1e308, float("nan")]
VALUES += [float("inf"), [], {}, [[]], [None], list(range(1000)), CALL, NEST, [CALL], {"a": NEST}, *TRICKS, *NAMES]


def _places(tree: Any, owner: Any = None, key: Any = None) -> Iterator[tuple[Any, Any]]:
    if owner is not None:
        yield owner, key
    for inner, item in list(
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    ):
        yield from _places(item, tree, inner)


def _change(rng: random.Random, tree: Any) -> None:
    places = list(_places(tree))
    if not places:
        return
    owner, key = rng.choice(places)
    kind = rng.randrange(7)
    if kind == 0:
        del owner[key]
    elif kind == 1 and isinstance(owner, dict):
        owner[rng.choice([*NAMES, "self", "seed", "__dunder__", "spec"])] = owner.pop(key)
    elif kind == 2 and isinstance(owner, list):
        owner += [owner[key]] * rng.choice([1, 100])
    elif kind == 3:
        other, there = rng.choice(places)
        owner[key] = (
            deepcopy(other[there]) if there in other or (isinstance(other, list) and there < len(other)) else None
        )
    elif kind == 4:
        owner[key] = _DEEP
    else:
        owner[key] = deepcopy(rng.choice(VALUES))


def hostile_json(rng: random.Random, tree: Any) -> bytes:
    """Change parts of a tree, and now and then its text."""
    tree = deepcopy(tree)
    for _ in range(rng.choice([1, 1, 2, 5])):
        _change(rng, tree)
    depth, middle = rng.choice([10, 300, 900, 5000]), json.dumps(rng.choice(VALUES))
    packed = json.dumps(tree).replace(json.dumps(_DEEP), '[{"a": ' * depth + middle + "}]" * depth)
    kind = rng.random()
    if kind < 0.03:
        packed = packed.replace("{", '{"format": 1, "format": 1, ', 1)
    elif kind < 0.06:
        packed = "[" * rng.choice([900, 100_000]) + packed
    elif kind < 0.09:
        packed = packed.replace(": 1", f": {'9' * rng.choice([30, 5000])}", 1)
    elif kind < 0.15:
        return damage_bytes(rng, packed.encode())
    return packed.encode()


def damage_bytes(rng: random.Random, data: bytes) -> bytes:
    """Flip, cut or double some bytes."""
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 3])):
        place = rng.randrange(max(1, len(damaged)))
        kind = rng.randrange(6)
        if kind == 0:
            del damaged[place:]
        elif kind == 1:
            damaged[place:place] = damaged[place : place + rng.choice([1, 100])]
        elif damaged:
            damaged[place] = rng.randrange(256)
    return bytes(damaged)
