"""Builds the package and runs the smoke suite on it with the lowest declared and the newest versions of its needs.

    python scripts/compat.py                                       # both
    LOWEST_PYTHON=python3.10 python scripts/compat.py lowest

Each set of versions is installed into an empty environment of a scratch folder (about 6 GB, deleted afterwards; TMPDIR
chooses where). LOWEST_PYTHON is the interpreter for the lowest versions, by default python3.10 or else this one.
"""

from __future__ import annotations

import argparse
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "sweep"
NEEDED = {"mer_zoo/py.typed", "mer_zoo/reports/published_results.csv"}
LIMIT = 3600  # seconds that one command may take, the slowest being an installation


def say(text: str) -> None:
    """Write a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that has to succeed, in an environment without this source tree; its output goes on as it comes."""
    clean = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    done = subprocess.run(  # noqa: S603
        [*map(str, command)], cwd=cwd, env=clean, stdout=subprocess.PIPE, text=True, check=False, timeout=LIMIT
    )
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command[:6]))} failed")
    return done.stdout


def build(scratch: Path) -> tuple[Path, Path]:
    """Build the source distribution from a copy of the tree, and the wheel from the source distribution."""
    source = scratch / "source"
    listed = run("git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    python = environment(scratch / "builder", Path(sys.executable))
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", scratch / "dist", source, cwd=scratch)
    check(source, *(scratch / "dist").glob("*.whl"), *(scratch / "dist").glob("*.tar.gz"))
    (wheel,) = (scratch / "dist").glob("*.whl")
    return wheel, source


def check(source: Path, wheel: Path, archive: Path) -> None:
    """Compare what was built with the tree it was built from."""
    modules = {path.relative_to(source).as_posix() for path in (source / "mer_zoo").rglob("*.py")}
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
        about = {name.split(".dist-info/")[1] for name in opened.namelist() if ".dist-info/" in name}
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    faults = [f"the wheel lacks {name}" for name in sorted((modules | NEEDED) - held)]
    faults += [f"the wheel should not hold {name}" for name in sorted(held - modules - NEEDED)]
    faults += [f"the wheel lacks its {name}" for name in ("licenses/LICENSE", "entry_points.txt") if name not in about]
    wanted = modules | NEEDED | {"pyproject.toml", "README.md", "LICENSE"}
    faults += [f"the source distribution lacks {name}" for name in sorted(wanted - packed)]
    if faults:
        sys.exit("\n".join(faults))
    say(f"{wheel.name}: {len(modules)} modules and {', '.join(sorted(NEEDED))}; {archive.name} has them too")


def lowest(wheel: Path) -> list[str]:
    """Pins of the lowest versions that the wheel's metadata allow, without what only other extras need."""
    with zipfile.ZipFile(wheel) as opened:
        (inside,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(opened.read(inside))
    pins = []
    for requirement in metadata.get_all("Requires-Dist", []):
        spec, _, marker = requirement.partition(";")
        if "extra" in marker and not re.search(rf"extra == ['\"]({'|'.join(EXTRAS.split(','))})['\"]", marker):
            continue
        name, bound = re.match(r"[\w.-]+", spec), re.search(r">=\s*([\w.]+)", spec)
        if name is None or bound is None:
            sys.exit(f"{requirement} has no lowest version; declare one")
        pins.append(f"{name[0]}=={bound[1]}")
    return pins


def lowest_python() -> Path:
    """The interpreter for the lowest versions."""
    given = os.environ.get("LOWEST_PYTHON")
    found = shutil.which(given or "python3.10")
    # a version manager's stand-in is there for versions that it does not run
    works = found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0  # noqa: S603
    if given and not works:
        sys.exit(f"LOWEST_PYTHON is {given}, which does not run")
    return Path(found) if found and works else Path(sys.executable)


def environment(folder: Path, python: Path) -> Path:
    """Make an empty environment and return its interpreter."""
    run(python, "-m", "venv", folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def try_out(which: str, scratch: Path, wheel: Path, source: Path) -> None:
    """Install the wheel with its extras, and run the smoke suite on it."""
    begin, pins = time.monotonic(), scratch / "pins.txt"
    pins.write_text("\n".join(lowest(wheel)) if which == "lowest" else "")
    python = environment(scratch / which, lowest_python() if which == "lowest" else Path(sys.executable))
    run(python, "-m", "pip", "install", "--quiet", "--upgrade", "pip")
    run(python, "-m", "pip", "install", "--quiet", "--constraint", pins, f"{wheel}[{EXTRAS}]", "pytest")
    run(python, "-m", "pip", "check")
    installed, folder = time.monotonic(), scratch / f"{which}_smoke"
    shutil.copytree(source / "tests" / "smoke", folder)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    where = run(python, "-c", "import mer_zoo; print(mer_zoo.__file__)", cwd=folder)
    if str(scratch / which) not in where:
        sys.exit(f"mer_zoo is imported from {where}, not from the environment")
    say(run(python, "-m", "pytest", "-q", "--disable-warnings", folder, cwd=folder).strip())
    names = [re.split(r"[=]", pin)[0] for pin in lowest(wheel)]
    told = "import sys; from importlib.metadata import version as v; "
    told += f"print('Python ' + sys.version.split()[0], *(n + ' ' + v(n) for n in {names}), sep=', ')"
    say(f"{which} passed: {run(python, '-c', told).strip()}")
    say(f"installed in {installed - begin:.0f} s, smoke suite in {time.monotonic() - installed:.0f} s")
    shutil.rmtree(scratch / which)


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="lowest, newest; default: both")
    chosen = parser.parse_args().which or ["lowest", "newest"]
    if not {*chosen} <= {"lowest", "newest"}:
        parser.error(f"{' '.join(chosen)} is neither lowest nor newest")
    with TemporaryDirectory(prefix="compat") as scratch:
        wheel, source = build(Path(scratch))
        for which in chosen:
            try_out(which, Path(scratch), wheel, source)


if __name__ == "__main__":
    main()
