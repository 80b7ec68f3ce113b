"""The configurations of runs on a page: first what tells the models apart, then all of them, folded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mer_zoo.errors import MERError
from mer_zoo.foreign import read_json, read_yaml
from mer_zoo.reports.groups import Group
from mer_zoo.reports.page.markup import element, folded, html_table
from mer_zoo.reports.record import RunResults
from mer_zoo.reports.tables import ABSENT, Table
from mer_zoo.text import in_html

__all__ = ["differing_options", "flat_options", "runs_table", "settings"]

_PLACES = ("trainer.logger.", "trainer.default_root_dir", "ckpt_path", "config", "overwrite")  # where, and not how
_LONGEST = 80  # of a value in the table


def flat_options(config: Any, prefix: str = "") -> dict[str, str]:
    """The options of a configuration by their names on the command line.

    Args:
        config: Content of a config.yaml.
        prefix: What the names begin with.

    Example:
        >>> flat_options({"model": {"backbone": {"class_path": "mer_zoo.MulT", "init_args": {"dim": 16}}}})
        {'model.backbone': 'mer_zoo.MulT', 'model.backbone.dim': '16'}
    """
    return dict(_flat(config, prefix))


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and "class_path" in value:
        yield name, str(value["class_path"])
        value = value.get("init_args") or {}
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, f"{name}[{place}]")
    elif name and not isinstance(value, Mapping):
        yield name, "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def differing_options(groups: Mapping[str, Sequence[Mapping[str, str]]]) -> Table | None:
    """What tells models apart, a row an option; None where nothing does.

    Args:
        groups: By the model's label the options of each of its runs; where a run lies does not count.

    Example:
        >>> runs = {"MulT": [{"seed": "0"}, {"seed": "1"}], "TFN": [{"seed": "0"}]}
        >>> differing_options(runs).rows
        [['seed', '0, 1', '0']]
    """
    names = dict.fromkeys(name for runs in groups.values() for options in runs for name in options)
    rows = []
    for name in names:
        if name.startswith(_PLACES):
            continue
        found = [list(dict.fromkeys(run.get(name, ABSENT) for run in runs)) for runs in groups.values()]
        if len({tuple(sorted(values)) for values in found}) > 1:
            rows.append([name, *(_short(", ".join(values)) for values in found)])
    notes = ["A value for each seed where they differ; folders of runs are left out."]
    return Table("What differs between the models", ["option", *groups], rows, notes) if rows else None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def runs_table(groups: Sequence[Group]) -> Table:
    """Every run with what it was made by.

    Args:
        groups: The models.
    """
    rows = []
    for group in groups:
        for run in group.runs:
            made = _provenance(run)
            packages = made.get("packages")
            packages = packages if isinstance(packages, dict) else {}
            versions = ", ".join(
                f"{name} {packages[name]}" for name in ("mer-zoo", "torch", "lightning") if name in packages
            )
            seed = ABSENT if run.seed is None else str(run.seed)
            cells = [_commit(made), str(made.get("device") or ABSENT), versions or ABSENT, str(run.path.parent)]
            rows.append([group.label, seed, *cells])
    header = ["model", "seed", "commit", "device", "packages", "folder"]
    return Table("Runs", header, rows, ["A commit with + had changes that were not committed."], names=len(header))


def _provenance(run: RunResults) -> dict[str, Any]:
    try:
        found = read_json(run.path.parent / "provenance.json", limit=2**20)
    except (OSError, MERError):
        return {}
    return found if isinstance(found, dict) else {}


def _commit(made: Mapping[str, Any]) -> str:
    git = made.get("git")
    own = git.get("mer_zoo") if isinstance(git, dict) else None
    commit = own.get("commit") if isinstance(own, dict) else None
    if not isinstance(own, dict) or not isinstance(commit, str):
        return ABSENT
    return commit[:7] + ("+" if own.get("dirty") else "")


def settings(groups: Sequence[Group]) -> str:
    """The section of a page about configurations.

    Args:
        groups: The models.
    """
    found: dict[str, list[dict[str, str]]] = {}
    lists = []
    for group in groups:
        configs = [_config(run) for run in group.runs]
        flat = [flat_options(config) for config in configs if not isinstance(config, str)]
        if flat:
            found[group.label] = flat
        lists.append(folded(_title(group), "".join(_listed(group, configs))))
    difference = differing_options(found) if len(found) > 1 else None
    return "\n".join([html_table(runs_table(groups)), *([html_table(difference)] if difference else []), *lists])


def _title(group: Group) -> str:
    seeds = ", ".join(str(run.seed) for run in group.runs if run.seed is not None)
    return f"{group.label}: configuration" + (f", seeds {seeds}" if len(group.runs) > 1 and seeds else "")


def _config(run: RunResults) -> Any:
    """What the run's config.yaml holds; a sentence where there is none that can be read."""
    path = run.path.parent / "config.yaml"
    try:
        found = read_yaml(path)
    except OSError:
        return f"{path} is not there"
    except MERError as error:
        return str(error)
    return found if isinstance(found, dict) else f"{path} holds no options"


def _listed(group: Group, configs: Sequence[Any]) -> Iterator[str]:
    """The first configuration whole, and of each other what differs from it."""
    first = configs[0]
    yield _preformatted(first if isinstance(first, str) else yaml.safe_dump(first, sort_keys=False, width=100))
    for run, config in zip(group.runs[1:], configs[1:], strict=True):
        name = run.path.parent.name if run.seed is None else f"seed {run.seed}"
        if isinstance(config, str) or isinstance(first, str):
            yield element("p", in_html(f"{name}: {config if isinstance(config, str) else 'as its config.yaml says'}"))
            continue
        ours, theirs = flat_options(first), flat_options(config)
        other = [f"{key}: {theirs.get(key, ABSENT)}" for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        yield element("p", in_html(f"{name} differs in"), class_="note") + _preformatted("\n".join(other) or "nothing")


def _preformatted(text: str) -> str:
    return element("pre", "\n".join(map(in_html, text.split("\n"))))
