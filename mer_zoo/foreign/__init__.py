"""Reading files of other people: under one budget, from regular files only, without running anything in them."""

from mer_zoo.foreign.budget import Budget
from mer_zoo.foreign.opening import open_regular, read_regular
from mer_zoo.foreign.trees import read_json, read_yaml

__all__ = ["Budget", "open_regular", "read_json", "read_regular", "read_yaml"]
