# ruff: noqa: I001  # "as" marks what is exported; one import a module reads better than one a name
from . import report as report
from .published import Published as Published, published as published
from .record import RunResults as RunResults, load_results as load_results
from .run import show_results as show_results, write_results as write_results

__all__: list[str]
