"""Writes the quickstart's figures into results/, its table into README.md and docs/quickstart.md, its picture too.

The page says what the table belongs to: the configuration, and the losses under every test condition after three
batches of training, which change with data, networks, losses, optimiser and what stands for missing words, and take
seconds to compare (tests/test_readme.py).

    python -m scripts.quickstart_table runs/quickstart
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mer_zoo.cli.bases import with_bases
from mer_zoo.cli.parser import MERCLI
from mer_zoo.reports.layout import figures_of
from mer_zoo.reports.measured import write_measured
from mer_zoo.reports.tables import Table
from scripts.render_results import rendered

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "quickstart.yaml"
PAGE = ROOT / "docs" / "quickstart.md"
README = ROOT / "README.md"
FIGURES = ROOT / "results" / "quickstart_cpu.csv"
REGION = '<!-- table results/quickstart_cpu.csv "quickstart" -->\n<!-- end of table -->\n'
RUNS = {"mult": [], "mult_causalmer": ["--model.wrappers+=CausalMER"]}  # as scripts/quickstart.sh trains them
STEPS = "losses after three batches,"
TABLE = re.compile(r"^\| model \|.*\n(?:\|.*\n)+", flags=re.MULTILINE)
INTRODUCTION = """# The quickstart's table

`make quickstart` trains MulT, plain and under CausalMER, on [SyntheticMER](synthetic.md), and tests both on the
training distribution (IID), with the confounder reversed (OOD), in a randomised trial (RCT) and with modalities
missing (`{l,a}`: only text and audio are present). Accuracy without neutral samples in per cent:"""


def settings() -> dict[str, str]:
    """What the configuration says, in short: another one makes the table another one."""
    content = yaml.safe_load(with_bases(CONFIG.read_text(encoding="utf-8"), CONFIG))
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {
        "configuration, SHA-256": digest[:16],
        "seed": str(content["seed_everything"]),
        "epochs": str(content["trainer"]["max_epochs"]),
    }


def first_losses(run: str) -> list[float]:
    """Loss on four batches of each test condition, after three batches of training.

    Args:
        run: Which of the two.
    """
    small = [f"--trainer.limit_{loop}_batches={number}" for loop, number in {"train": 3, "val": 1, "test": 4}.items()]
    small += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--record.pictures=false"]
    small += ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    with TemporaryDirectory() as folder:
        place = [f"--trainer.logger.save_dir={folder}"]
        cli = MERCLI(["fit", f"--config={CONFIG}", *RUNS[run], *small, *place])
        results = cli.trainer.test(cli.model, cli.datamodule, verbose=False)[0]
    return [value for name, value in results.items() if name.endswith("/loss")]


def table_of(page: Path) -> Table:
    """The first table of models in a page.

    Args:
        page: README.md, docs/quickstart.md or the report of the run.
    """
    found = TABLE.search(page.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{page} has no table of models; run make quickstart first")
    header, _, *rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in found[0].splitlines()]
    return Table("", header, rows)


def provenance_of(page: Path) -> dict[str, str]:
    """What the page says that its table belongs to.

    Args:
        page: docs/quickstart.md.
    """
    section = page.read_text(encoding="utf-8").partition("## What it belongs to")[2]
    return dict(re.findall(r"^\| ([^|]+) \| `([^`|]+)` \|$", section, flags=re.MULTILINE))


def _origin(out: Path) -> dict[str, str]:
    """The settings, with the versions that were at work; refused where the run was made with others."""
    wanted = settings()
    record: dict[str, Any] = json.loads((out / "mult" / "provenance.json").read_text(encoding="utf-8"))
    for run in RUNS:
        used = yaml.safe_load((out / run / "config.yaml").read_text(encoding="utf-8"))
        for name, value in {"seed": used["seed_everything"], "epochs": used["trainer"]["max_epochs"]}.items():
            if str(value) != wanted[name]:
                raise SystemExit(f"{out / run} has {name} {value}, not {wanted[name]}; run make quickstart as it is")
    steps = {f"{STEPS} {run}": " ".join(f"{loss:.4f}" for loss in first_losses(run)) for run in RUNS}
    versions = {package: record["packages"][package] for package in ("torch", "lightning")}
    return {**wanted, **steps, **versions}


def main(out: Path) -> None:
    """Write table, picture and provenance.

    Args:
        out: The folder of make quickstart.
    """
    origin, record = _origin(out), json.loads((out / "mult" / "provenance.json").read_text(encoding="utf-8"))
    about = {"device": "CPU, 2 cores", "commit": record["git"]["mer_zoo"]["commit"][:7], "command": "make quickstart"}
    figures = figures_of(table_of(out / "report.md"), "quickstart", metric="Acc2_non0", **about)
    write_measured(FIGURES, (replace(figure, seeds="1") for figure in figures))
    lines = "".join(f"| {name} | `{value}` |\n" for name, value in origin.items())
    page = f"{INTRODUCTION}\n\n{REGION}\n![the same as a picture](quickstart.png)\n\n## What it belongs to\n\n"
    page += "`make quickstart-table` writes table and picture from the results of this configuration:\n\n"
    page += f"| | |\n|---|---|\n{lines}"
    PAGE.write_text(rendered(page), encoding="utf-8")
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copyfile(out / "report.png", ROOT / "docs" / "quickstart.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
