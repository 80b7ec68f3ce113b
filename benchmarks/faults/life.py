"""Whether the parts of every network and wrapper still act after a short training on SyntheticMER; a table for a page.

    python -m benchmarks.faults.life --out runs/life.json                          # goes on where it was stopped
    python -m benchmarks.faults.life --out runs/life.json --page docs/life.md      # writes the table into the page
    python -m benchmarks.faults.life --out runs/lnln.json --only LNLN --epochs 8    # "MACI" takes its other forms, too

What there is comes from the lists of the package, so that a new class is looked at without being named here. Each is
trained with the defaults of the library but for the width, by Adam at 3e-3, three times its default, so that a hundred
steps show what some hundred would do; a wrapper around a network of its own paper or, where it has none, around LFLSTM.
What is measured says `mer_zoo.life`. A part of which a
sign has fallen below a hundredth of what it was at initialisation is dead: that is a failure, unless NAMED has it with
the reason; so is an entry of NAMED that is not dead. The exit code is 1 after any failure.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from rich.console import Console

import mer_zoo.backbones
import mer_zoo.wrappers
from benchmarks.studies.frame import QUIET
from benchmarks.studies.zoo_mosi import SIZES
from mer_zoo.batch import DataSpec
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.life import Dead, Life, LifeCheck, dead_parts
from mer_zoo.model import Model
from mer_zoo.module import MERModule
from mer_zoo.reports.tables import Table
from mer_zoo.runs.files import whole_file, write_json
from mer_zoo.task import Task

Sizes = Mapping[str, Mapping[str, Any]]
PARTNERS = {"CASP": "MulT", "CUMDF": "CUMDFNet", "MACI": "CIDerNet", "MSSD": "CIDerNet"}
OTHERS = "LFLSTM"
SHOWN = 3  # dead parts in the table
TABLE = re.compile(r"^\| nest \|.*\n(?:\|.*\n)+", flags=re.MULTILINE)
HEADER = ["nest", "parts", "attentions", "entropy / uniform", "left", "gradient", "left", "swap", "left", "dead"]


@dataclass(frozen=True)
class Nest:
    """A network, or a wrapper around one.

    Args:
        backbone: Name of the network.
        wrapper: Name of the wrapper; None for the plain network.
        options: Options of the wrapper.
        network: Options of the network.
    """

    backbone: str
    wrapper: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Such as ``MACI(CIDerNet)``, with the options."""
        network, options = (", ".join(f"{k}={v}" for k, v in each.items()) for each in (self.network, self.options))
        name = f"{self.backbone}, {network}" if network else self.backbone
        name = name if self.wrapper is None else f"{self.wrapper}({name})"
        return f"{name}, {options}" if options else name

    def build(self, spec: DataSpec, task: Task, sizes: Sizes) -> Model:
        """Make it.

        Args:
            spec: Shapes of the data.
            task: What the logits mean.
            sizes: Options of the networks by their names.
        """
        model: Model = getattr(mer_zoo.backbones, self.backbone)(
            spec, task, **{**sizes.get(self.backbone, {}), **self.network}
        )
        wrapper: Any = getattr(mer_zoo.wrappers, self.wrapper) if self.wrapper else None
        return wrapper(model, **self.options) if wrapper else model


@dataclass(frozen=True)
class Named:
    """Parts that are dead, and why that is so.

    Args:
        nest: Name of the nest.
        sign: Pattern of the signs of life that are missing.
        parts: Pattern of their names.
        reason: A sentence.
        always: Whether a few steps show it already.
        later: Whether a few steps alone show it, and many bring the parts to life.
    """

    nest: str
    sign: str
    parts: str
    reason: str
    always: bool = True
    later: bool = False

    def covers(self, nest: str, dead: Dead) -> bool:
        """Whether a dead part is one of them."""
        return nest == self.nest and fnmatchcase(dead.sign, self.sign) and fnmatchcase(dead.part, self.parts)


_SURE = (
    "at this learning rate the completeness is soon taken for exactly 1, where its sigmoid has no gradient and the"
    " proxy no weight: the proxy's gradient is reversed, that of the sentiment too (kept from the authors' code), so"
    " that the scores are better without it; with the gradient not reversed, or at 1e-3, it stays below 1"
)
_UNIFORM = (
    "the attention term (Eq. 18), printed or released, is least where both views look at everything alike, and that"
    " is where it takes the last layer, also with a tenth of its weight; with beta: 0 the layer lives"
)
_FIRST_STEP = (
    "where a decoder starts is seen by the attention of its first step alone, which at first looks at everything alike,"
    " so that rounding hides it; after 96 steps both encoders' maps act"
)
_SAME_LABEL = (
    "its loss is a mean over vectors that bear the same label, which is the same in whichever order they come; its"
    " gradient shows that it acts"
)
_INVARIANT = (
    "the error of the invariant features, with the weight of 100 that the authors' script names, has nearly all of the"
    " gradient; what is swapped at their inputs still changes the scores or the losses, by .63 and more of what it did"
)
_SQUEEZED = (
    "the gate of a channel attention is made by a sixteenth of its channels, here four units behind a ReLU, and in"
    " three of six gates all are off after 96 steps (gradients of 8.5e-4 to 2.1e-3 are 0), so that these are the same"
    " for all samples looked at; the maps behind them learn"
)
NAMED = [
    *(Named("IFMMIN", "gradient", part, _INVARIANT, always=False) for part in ("cascade.decoders.*", "head.out")),
    Named("LNLN", "training swap", "discriminator*", _SAME_LABEL),
    Named("FDMER", "training swap", "discriminator.fc*", _SAME_LABEL),
    Named("IMDer", "gradient", "recovery.refine.*.squeeze", _SQUEEZED, always=False),
    Named(
        "DiCMoR",
        "gradient",
        "recovery.flows.*",
        "a likelihood above 1 is no loss (kept from the authors' code): once the sequences of a modality are that"
        " likely, its flow learns no more, and goes on making guesses",
        always=False,
    ),
    Named(
        "DCCAE",
        "gradient",
        "decoders.*",
        "errors of reconstructions weigh a thousandth (kept from the code of the baselines), so that their gradients"
        " are small from the start; with reconstruction_weight: 1 they live",
        always=False,
    ),
    *(
        Named("MCTN", sign, part, _FIRST_STEP, later=True)
        for sign, part in (("*", "encoder?.fc*"), ("training swap", "decoder?[[]0.1]"))
    ),
    *(Named("LNLN", "*", f"{part}*", _SURE, always=False) for part in ("check", "estimate", "proxy")),
    Named(
        "MISA",
        "*",
        "*.text*",
        "its scores soon hang on some of the modalities alone: here the text's vectors become the same for all samples,"
        " with the restoration or without it",
        always=False,
    ),
    *(
        Named(nest, "attention", "backbone.mct.layers.*.attention", _UNIFORM, always=False)
        for nest in ("MSSD(CIDerNet)", "MSSD(CIDerNet, variant=paper), variant=paper")
    ),
    Named(
        "DFR(LFLSTM)",
        "swap",
        "backbone.head*",
        "trains the network, and at test time the layer that was fitted again stands in its place, as it is to",
        always=False,
    ),
]
# Forms of other parts, losses or training texts than the defaults.
FORMS = [
    Nest("LFLSTM", "PropensityWeighting", {"mode": "exchange"}),
    Nest("CUMDFNet", network={"common": "mamba"}),
    Nest("CIDerNet", network={"variant": "paper"}),
    Nest("CIDerNet", "MACI", {"variant": "paper"}, {"variant": "paper"}),
    Nest("CIDerNet", "MSSD", {"variant": "paper"}, {"variant": "paper"}),
]
# What shows that the check can fail: the penalty of CUMDF with all three coefficients at 1 kills LG-MMT.
CONTROL = Nest("CUMDFNet", "CUMDF", dict.fromkeys(("lambda_q", "lambda_k", "lambda_v"), 1.0))


def nests() -> list[Nest]:
    """All networks and all wrappers of the package, and their other forms."""
    wrapped = [Nest(PARTNERS.get(name, OTHERS), name) for name in mer_zoo.wrappers.__all__]
    return [*map(Nest, mer_zoo.backbones.__all__), *wrapped, *FORMS]


def examine(
    nest: Nest, data: SyntheticMER, sizes: Sizes, epochs: int, rate: float, samples: int = 13
) -> tuple[Life, Life]:
    """Train a nest and look for signs of life.

    Args:
        nest: The nest.
        data: What it is trained on.
        sizes: Options of the networks by their names.
        epochs: How often.
        rate: Learning rate of Adam.
        samples: How many are looked at.

    Returns:
        The signs before and after.
    """
    seed_everything(0, verbose=False)
    check = LifeCheck(samples)
    module = MERModule(
        nest.build(data.spec, data.task, sizes), optimizer=partial(torch.optim.Adam, lr=rate), clip_norm=1.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(max_epochs=epochs, callbacks=[check], accelerator="cpu", enable_checkpointing=False, **QUIET)
        trainer.fit(module, data)
    assert check.before is not None
    assert check.after is not None
    return check.before, check.after


def unnamed(nest: str, dead: Iterable[Dead]) -> list[Dead]:
    """Dead parts that have no reason."""
    return [each for each in dead if not any(entry.covers(nest, each) for entry in NAMED)]


def risen(nest: str, dead: Sequence[Dead], few_steps: bool = False) -> list[Named]:
    """Entries of NAMED for parts that are not dead, though they should be, after few steps or many."""
    due = [
        entry for entry in NAMED if entry.nest == nest and (few_steps if entry.later else entry.always or not few_steps)
    ]
    return [entry for entry in due if not any(entry.covers(nest, each) for each in dead)]


def row(name: str, before: Life, after: Life) -> list[str]:
    """A row of the table."""
    cells = [name, str(len(after.gradient)), str(len(after.attention))]
    ratios = [1 - value for value in after.attention.values()]
    cells += [f"{min(ratios):.2f} to {max(ratios):.4f}" if ratios else "", _left(before.attention, after.attention)]
    for first, last in ((before.gradient, after.gradient), (_effects(before), _effects(after))):
        cells += [f"{min(last[part] for part in first if part in last):.1e}", _left(first, last)]
    dead = dead_parts(before, after)
    reasons: dict[str, list[str]] = {}
    for entry in NAMED:
        if any(entry.covers(name, each) for each in dead):
            reasons.setdefault(entry.reason, []).append(entry.parts)
    told = [f"{', '.join(parts)}: {reason}" for reason, parts in reasons.items()]
    others = unnamed(name, dead)
    told += [*map(str, others[:SHOWN]), *([f"and {len(others) - SHOWN} more"] if len(others) > SHOWN else [])]
    return [*cells, "; ".join(told)]


def _effects(life: Life) -> dict[str, float]:
    """What each input does: for the scores or, where they do not hang on it, for the losses."""
    return {**life.swap, **life.training}


def _left(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """The smallest share of a sign that is left."""
    shares = [after.get(part, 0.0) / value for part, value in before.items() if value > 0]
    return f"{min(shares):.2g}" if shares else ""


def table(records: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table of all nests that have been looked at."""
    order = [nest.name for nest in [*nests(), CONTROL] if nest.name in records]
    rows = [row(name, *_lives(records[name])) for name in order]
    return Table("Signs of life", HEADER, rows)


def _lives(record: Mapping[str, Any]) -> tuple[Life, Life]:
    return Life(**record["before"]), Life(**record["after"])


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description="Look for parts that no longer act after a short training.")
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON file of all signs; what it holds is not done again"
    )
    parser.add_argument("--page", type=Path, help="Markdown file whose table gets these rows")
    parser.add_argument("--only", action="append", help="one network or wrapper")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1000, help="training samples")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate")
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Look, and show what was found."""
    options, console = parser().parse_args(args), Console(width=200)
    records: dict[str, Any] = json.loads(options.out.read_text()) if options.out.exists() else {}
    data = SyntheticMER(SyntheticConfig(train=options.samples, valid=64, test=4), task="binary")
    failures = 0
    for nest in [*nests(), CONTROL]:
        if options.only and (nest.wrapper or nest.backbone) not in options.only:
            continue
        if nest.name not in records:
            before, after = examine(nest, data, SIZES, options.epochs, options.rate)
            records[nest.name] = {"before": asdict(before), "after": asdict(after)}
            write_json(options.out, records)
        dead = dead_parts(*_lives(records[nest.name]))
        found = [*map(str, unnamed(nest.name, dead)), *(f"not dead: {entry.parts}" for entry in risen(nest.name, dead))]
        console.log(f"{nest.name}: {'; '.join(found) or 'alive'}")
        failures += bool(found) != (nest == CONTROL)
    shown = table(records)
    shown.show(console)
    if options.page is not None:
        text = renewed(options.page.read_text(encoding="utf-8"), shown)
        with whole_file(options.page) as part:
            part.write_text(text, encoding="utf-8")
    return 1 if failures else 0


def renewed(page: str, shown: Table) -> str:
    """A page whose table has the rows of another; rows of nests that were not looked at now stay as they are."""
    found = TABLE.search(page)
    kept = {} if found is None else _rows(found.group())
    _, _, text = shown.markdown().partition("\n\n")
    head = text.splitlines()[:2]
    kept.update(_rows(text))
    order = [nest.name for nest in [*nests(), CONTROL] if nest.name in kept]
    return TABLE.sub(lambda _: "\n".join([*head, *(kept[name] for name in order)]) + "\n", page)


def _rows(table: str) -> dict[str, str]:
    """Line of each nest."""
    return {line[2:].partition(" |")[0]: line for line in table.splitlines()[2:]}


if __name__ == "__main__":
    sys.exit(main())
