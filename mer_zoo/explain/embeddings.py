"""``mer-zoo embeddings``: joint representations of test samples in two dimensions, and numbers beside the pictures.

Scatter plots convince anybody of anything: t-SNE finds clusters in noise, and PCA shows two of many dimensions. So each
panel has what can be counted in all dimensions: the silhouette of the classes, and how often the nearest neighbours
tell the class, those of the same recording left out, beside the share of the largest class.

References:
    van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 9, 2008.
    Rousseeuw, "Silhouettes", Journal of Computational and Applied Mathematics 20, 1987.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mer_zoo.data.corpus.conversation import recordings
from mer_zoo.errors import MERError
from mer_zoo.explain.gradients import INSTALL
from mer_zoo.explain.scatter import Panel, scatter_picture
from mer_zoo.reports.groups import named_groups
from mer_zoo.reports.kept_features import KeptFeatures, conditions_with_features, read_features
from mer_zoo.reports.pictures.style import save_picture
from mer_zoo.reports.record import RunResults, load_results
from mer_zoo.reports.tables import Table, open_console
from mer_zoo.runs.files import whole_file, write_csv
from mer_zoo.task import build_task
from mer_zoo.text import shown, told

__all__ = ["Embedding", "embed", "main", "neighbour_accuracy"]

NEIGHBOURS = 10
MOST_PANELS = 24
METHODS = ("pca", "tsne")
NOTE = (
    "Silhouette from -1 to 1, 0 where classes lie in each other, and neighbours: share of the samples whose"
    f" {NEIGHBOURS} nearest, of other recordings where ids name them, tell the class; both in all dimensions of the"
    " representation as it is (Euclidean). Largest: share of the largest class, what no neighbour is needed for."
)


@dataclass(frozen=True)
class Embedding:
    """Joint representations of one run under one condition.

    Attributes:
        label: What the run is called.
        condition: The condition.
        classes: The label of each sample in words.
        dimensions: Width of the representation.
        points: (N, 2) by method.
        silhouette: Of the classes, in all dimensions; by method in the picture's two.
        neighbours: Share of the samples whose nearest neighbours tell the class, in all dimensions.
        largest: Share of the largest class.
    """

    label: str
    condition: str
    classes: list[str]
    dimensions: int
    points: dict[str, Tensor]
    silhouette: dict[str, float]
    neighbours: float
    largest: float


def neighbour_accuracy(
    x: Tensor, classes: Sequence[str], groups: Sequence[str] | None = None, count: int = NEIGHBOURS
) -> float:
    """How often the nearest neighbours of a sample have its class in their majority.

    Args:
        x: (N, D).
        classes: N classes.
        groups: N recordings; samples of one are no neighbours, as they would be told by their speaker.
        count: Number of neighbours; of equally frequent classes among them that of the lower ranks counts.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
        >>> neighbour_accuracy(x, list("aaabbb"), count=2), neighbour_accuracy(x, list("aaabbb"), list("ccceee"), 2)
        (1.0, 0.0)
    """
    names = {name: number for number, name in enumerate(dict.fromkeys(classes))}
    y = torch.tensor([names[name] for name in classes])
    places = {name: number for number, name in enumerate(dict.fromkeys(groups or ()))}
    g = torch.arange(len(y)) if groups is None else torch.tensor([places[name] for name in groups])
    right = 0
    for start in range(0, len(x), 1024):  # rows of the matrix of distances at a time
        rows = slice(start, start + 1024)
        distance = torch.cdist(x[rows].double(), x.double()).masked_fill(g[rows, None] == g, torch.inf)
        near, order = distance.sort(1)
        k = min(count, len(x) - 1)
        known = near[:, :k].isfinite()
        votes = torch.zeros(len(order), len(names), dtype=torch.float64)
        weight = torch.where(
            known, 1 - torch.arange(k) / (1000 * k), 0.0
        ).double()  # the nearer one where votes are equal
        votes.scatter_add_(1, y[order[:, :k]], weight)
        right += int((votes.argmax(1) == y[rows]).sum())
    return right / len(x)


def embed(label: str, condition: str, kept: KeptFeatures, classes: list[str], seed: int = 0) -> Embedding:
    """Bring representations into two dimensions, and count what can be seen.

    Args:
        label: What the run is called.
        condition: The condition.
        kept: The representations.
        classes: The label of each sample in words; samples with an empty one are left out.
        seed: Of t-SNE.

    Raises:
        MERError: Without scikit-learn, or for fewer than three samples or one class alone.
    """
    sklearn = _sklearn()
    labelled = [place for place, name in enumerate(classes) if name]
    x, classes = kept.features[labelled], [classes[place] for place in labelled]
    ids = [kept.ids[place] for place in labelled]
    if len(x) < 3 or len(set(classes)) < 2 or len(set(classes)) == len(x):
        raise MERError(
            f"{told(condition)} of {shown(label)} has {len(x)} samples of {len(set(classes))} classes, which makes no"
            " picture; take a condition with more"
        )
    perplexity = min(30.0, (len(x) - 1) / 3)
    planes = {
        "pca": sklearn.decomposition.PCA(min(2, *x.shape), svd_solver="full").fit_transform(x.double().numpy()),
        "tsne": sklearn.manifold.TSNE(2, perplexity=perplexity, init="random", random_state=seed).fit_transform(
            x.numpy()
        ),
    }
    points = {name: _plane(torch.as_tensor(plane)) for name, plane in planes.items()}
    silhouette = {"": float(sklearn.metrics.silhouette_score(x.numpy(), classes))}
    silhouette |= {name: float(sklearn.metrics.silhouette_score(points[name].numpy(), classes)) for name in points}
    largest = max(classes.count(name) for name in set(classes)) / len(classes)
    near = neighbour_accuracy(x, classes, recordings(ids))
    return Embedding(label, condition, classes, x.shape[1], points, silhouette, near, largest)


def _plane(points: Tensor) -> Tensor:
    """(N, 2) float32; of a representation of one number the second is 0."""
    return torch.nn.functional.pad(points.float(), (0, 2 - points.shape[1]))


def _sklearn() -> Any:
    try:
        import sklearn
        import sklearn.decomposition
        import sklearn.manifold
        import sklearn.metrics
    except ImportError:
        raise MERError(f"embeddings are scikit-learn's, which is not installed; {INSTALL}") from None
    return sklearn


def _runs(paths: Sequence[Path], names: Sequence[str] | None) -> list[tuple[str, RunResults]]:
    """The runs and what they are called: as told, or by their models, with their folders where these are alike."""
    if names is not None:
        groups = named_groups(paths, names)
        return [(group.label, run) for group in groups for run in group.runs]
    runs = [load_results(path) for path in paths]
    alike = len({run.model for run in runs}) < len(runs)
    return [(f"{run.model} · {run.path.parent.name}" if alike else run.model, run) for run in runs]


def _chosen(runs: Sequence[tuple[str, RunResults]], asked: Sequence[str] | None) -> list[str]:
    """The conditions: those asked for, or all that every run has kept, whose patterns say no more than a rate."""
    kept = [conditions_with_features(run.path.parent) for _, run in runs]
    common = [name for name in runs[0][1].conditions if all(name in each for each in kept)]
    chosen = list(asked) if asked else common
    lacking = next((name for name in chosen if name not in common), None)
    if not chosen or lacking is not None:
        have = ", ".join(map(shown, common)) or "none"
        raise MERError(
            f"not every run has kept joint representations of {told(lacking or 'one condition')}; all have {have}"
        )
    if len(chosen) * len(runs) > MOST_PANELS:
        raise MERError(
            f"{len(chosen)} conditions of {len(runs)} runs are {len(chosen) * len(runs)} panels; choose at most"
            f" {MOST_PANELS} by --conditions, such as 'RMFM 0.1,RMFM 0.3,RMFM 0.5'"
        )
    return chosen


def embeddings_table(found: Sequence[Embedding]) -> Table:
    """The numbers of all panels."""
    header = ["run", "condition", "samples", "dimensions", "silhouette", "in PCA's two", "in t-SNE's two", "neighbours"]
    rows = []
    for one in found:
        flat = [f"{one.silhouette[name]:+.3f}" for name in ("", *METHODS)]
        shares = [f"{100 * one.neighbours:.1f}", f"{100 * one.largest:.1f}"]
        rows.append([one.label, one.condition, str(len(one.classes)), str(one.dimensions), *flat, *shares])
    return Table("Joint representations, neighbours in percent", [*header, "largest"], rows, [NOTE])


def main(args: list[str]) -> None:
    """Run ``mer-zoo embeddings``.

    Args:
        args: Command line after the word embeddings.

    Raises:
        MERError: If a run has kept no representations, or scikit-learn is not installed.
    """
    options = _parser().parse_args(args)
    _sklearn()
    runs = _runs(options.runs, None if options.names is None else options.names.split(","))
    conditions = _chosen(runs, None if options.conditions is None else options.conditions.split(","))
    found = []
    for label, run in runs:
        task = build_task(run.task, run.convention)  # type: ignore[arg-type]
        for condition in conditions:
            kept = read_features(run.path.parent, condition)
            found.append(embed(label, condition, kept, task.name_targets(kept.target), options.seed))
    table = embeddings_table(found)
    table.show(open_console())
    if options.out is not None:
        _write(options.out, found, table)
        sys.stdout.write(
            f"written: {shown(str(options.out))} (embeddings.md, embeddings.csv, PCA and t-SNE as png and svg)\n"
        )


def _write(folder: Path, found: Sequence[Embedding], table: Table) -> None:
    words = {"pca": "principal components", "tsne": "t-SNE"}
    for method in METHODS:
        panels = [
            Panel(one.label, one.condition, one.points[method], one.classes, _caption(one, method)) for one in found
        ]
        figure = scatter_picture(panels, f"Joint representations, {words[method]}")
        for kind in ("png", "svg"):
            save_picture(figure, folder / f"embeddings_{method}.{kind}")
    write_csv(folder / "embeddings.csv", [dict(zip(table.header, row, strict=True)) for row in table.rows])
    pictures = [f"![{words[method]}](embeddings_{method}.png)" for method in METHODS]
    with whole_file(folder / "embeddings.md") as part:
        text = ["# Joint representations", table.markdown(), *pictures]
        part.write_text("\n\n".join(text) + "\n", encoding="utf-8")


def _caption(one: Embedding, method: str) -> str:
    drawn = f"{one.silhouette['']:+.2f} in {one.dimensions}, {one.silhouette[method]:+.2f} drawn"
    return f"silhouette {drawn}; neighbours {100 * one.neighbours:.0f} %, largest {100 * one.largest:.0f} %"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "mer-zoo embeddings",
        description="Joint representations of test samples in two dimensions, by PCA and t-SNE, with numbers beside the"
        " pictures. The runs are tested with --record.features=true before.",
        epilog="Example: mer-zoo embeddings RUN_A RUN_B --conditions 'RMFM 0.1,RMFM 0.3,RMFM 0.5' --out pictures",
        allow_abbrev=False,
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, a row of the picture each")
    parser.add_argument(
        "--conditions", help="which, with commas, a column each; by default all that every run has kept"
    )
    parser.add_argument("--names", help="what to call the runs, one name for each path: plain,debiased")
    parser.add_argument("--seed", type=int, default=0, help="seed of t-SNE (default: 0)")
    parser.add_argument("--out", type=Path, help="folder for embeddings.md, embeddings.csv and the pictures")
    return parser
