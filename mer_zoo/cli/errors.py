"""Turns what argument parsing reports into one sentence that names the thing and the remedy."""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from mer_zoo.errors import MERError, TrainingError
from mer_zoo.renames import current_path, former_option

__all__ = [
    "chain",
    "exit_code",
    "explain",
    "explain_place",
    "explain_service",
    "explain_trainer",
    "explain_unfit",
    "is_mistake",
    "stopped_by",
]

DATA = ("IEMOCAP", "MOSEI", "MOSI", "MERDataModule", "SyntheticMER")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BARRED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
HELP = "see mer-zoo fit --help, or --model.backbone.help CLASS for the options of a class"


def explain(
    message: str, error: BaseException | None = None, owner: type | None = None, options: Sequence[str] = ()
) -> str:
    r"""Say in one sentence what is wrong with a command line or a configuration.

    Args:
        message: What jsonargparse reports, often a tree of every type that was tried.
        error: The exception behind it; a :class:`MERError` anywhere in its chain says it best.
        owner: The class whose options were being read.
        options: The options there are.

    Returns:
        One line.

    Example:
        >>> explain("Option 'widht' is not accepted")
        "option 'widht' does not exist; see mer-zoo fit --help, or --model.backbone.help CLASS for the options of ..."
        >>> explain('Parser key "model.backbone":\n  - Expected a dot import path string: MulTT')
        "model.backbone: unknown class 'MulTT', did you mean MulT; choose from ...LFLSTM...MulT..."
    """
    for cause in chain(error):
        if isinstance(cause, MERError):
            return str(cause)
    key = re.search(r'Parser key "([^"]+)"', message)
    where = f"{key.group(1)}: " if key else ""
    option = re.search(r"Option '([^']+)' is not accepted", message)
    if option:
        called = None if owner is None else former_option(owner, option.group(1))
        return called or f"{where}{_unknown_option(option.group(1), options)}"
    unrecognized = re.search(r"unrecognized arguments: (--[\w.]+)|does not accept option '([^']+)'", message)
    if unrecognized:
        return _unknown_option((unrecognized.group(1) or unrecognized.group(2)).lstrip("-"), options)
    path = re.search(r"given class_path '([^']+)'", message)
    if path and current_path(path.group(1)) != path.group(1):
        return f"{where}{path.group(1)} has moved; it is {current_path(path.group(1))}"
    if key and key.group(1) == "model.wrappers" and "Expected a <class 'list'>" in message:
        return f"{where}this is a list; add to it with --model.wrappers+=NAME"
    required = re.search(r"the following arguments are required: ([\w, ]+)", message)
    if required and required.group(1) == "backbone":
        return f"{where}a wrapper can't stand for the network; name a network there and add --model.wrappers+=NAME"
    if required and required.group(1) == "path":
        return f"{where}the corpus needs its file; give --data.path FILE"
    listed = re.search(
        r"Expected a (?:<class ')?[\w.]*(?:Sequence|list|tuple)\b.*Got value: ([\w.+-]+(?:,[\w.+-]+)+)", message
    )
    if listed:
        return f"{where or _owner(message)}this is a list; write it in brackets and quotes, '[{listed.group(1)}]'"
    other = re.search(r"Import path ([\w.]+)\.(\w+) does not correspond to a subclass of Model", message)
    if other:
        module, last = other.groups()
        return (
            f"{where}{module}.{last} is no Backbone; a factory is named {module}:{last}, and of a network"
            " NAME = mer_zoo.adapt(network, feature_dim=...) makes one, in a module of your own"
        )
    name = re.search(r"Expected a dot import path string: (\S+)", message)
    if name:
        return f"{where}{_unknown_class(name.group(1), key.group(1) if key else '')}"
    return where + _essence(message)


def explain_place(error: OSError) -> str | None:
    """Say in one sentence what is wrong with a file or folder; None for faults that are not the user's.

    Args:
        error: What was raised.

    Example:
        >>> explain_place(NotADirectoryError(errno.ENOTDIR, "Not a directory", "notes.txt/runs"))
        'notes.txt/runs: Not a directory; give a place that can be read and written'
    """
    if isinstance(error, FileNotFoundError):
        return f"{error}; give the path of a file that exists"
    if error.errno in FULL:
        return f"{error.filename or 'a file of the run'}: {error.strerror}; make room, then go on"
    if error.errno in BARRED and error.filename is not None:
        return f"{error.filename}: {error.strerror}; give a place that can be read and written"
    return None


def explain_service(error: Exception) -> str | None:
    """Say in one sentence what W&B could not do; None for what is not its own.

    Args:
        error: What was raised.

    Example:
        >>> explain_service(ValueError("something else"))
    """
    if type(error).__module__.partition(".")[0] != "wandb":
        return None
    return (
        f"W&B: {_essence(str(error)).rstrip('.')}; log in by wandb login, or set WANDB_MODE=offline to keep runs here"
    )


def explain_trainer(error: Exception) -> str:
    r"""Say in one line what Lightning found wrong with the options of its Trainer.

    Args:
        error: What Lightning raised.

    Example:
        >>> explain_trainer(ValueError("No such device.\nTry another."))
        'No such device. Try another; see mer-zoo fit --help for the options of --trainer'
    """
    return f"{' '.join(str(error).split()).rstrip('.')}; see mer-zoo fit --help for the options of --trainer"


def explain_unfit(error: BaseException) -> str | None:
    r"""Say what a constructor refused; None where it is no option that it refused.

    Where an option may be one of several types, jsonargparse keeps what it tried in a text of its own, and of the
    exceptions the first one alone. What torch's layers refuse are sizes that were given to a network.

    Args:
        error: What was raised.

    Example:
        >>> explain_unfit(ValueError("Does not validate against any of the Union subtypes\n  - no such rate"))
        'no such rate'
    """
    if "Does not validate against any of the Union subtypes" in str(error):
        return _lacking_package(str(error)) or "; ".join(_findings(str(error), ("Expected a", "Given value"))) or None
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    by_torch = place is not None and str(place.tb_frame.f_globals.get("__name__")).startswith("torch.")
    return f"{' '.join(str(error).split()).rstrip('.')}; {HELP}" if by_torch else None


def _lacking_package(message: str) -> str | None:
    """What a class needs that is not installed; None where that is not what was reported.

    Where one of several packages would do, Lightning names the usual one last.
    """
    named = re.search(r"given class_path '([\w.]+)'", message)
    packages = re.findall(r"pip install (?:-U )?['\"]?([A-Za-z0-9][\w.-]*)", message)
    if named is None or not packages:
        return None
    name = named.group(1).rpartition(".")[2]
    is_logger = name.endswith("Logger")
    where, instead = ("trainer.logger: ", "take CSVLogger") if is_logger else ("", "leave it out")
    return f"{where}{name} needs a package that is not there; pip install {packages[-1]}, or {instead}"


def is_mistake(error: BaseException) -> bool:
    """Whether a :class:`MERError` stands anywhere in the chain of an exception.

    Args:
        error: What was raised.

    Example:
        >>> is_mistake(ValueError("a bug")), is_mistake(MERError("a typo"))
        (False, True)
    """
    return any(isinstance(cause, MERError) for cause in chain(error))


def exit_code(error: BaseException) -> int:
    """1 where training could not go on or a disk is full, 2 where a command was refused.

    Args:
        error: What was raised.

    Example:
        >>> exit_code(TrainingError("the disk is full")), exit_code(MERError("a typo"))
        (1, 2)
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return 1
    return 1 if any(isinstance(cause, TrainingError) for cause in chain(error)) else 2


def stopped_by(error: BaseException) -> signal.Signals | None:
    """The signal that ended a command before it was done; None where it was something else.

    Lightning ends after a SIGTERM as a command that is done, with exit code 0, and after Ctrl-C with 1.

    Args:
        error: What was raised.

    Example:
        >>> stopped_by(KeyboardInterrupt()), stopped_by(SystemExit(0))
        (<Signals.SIGINT: 2>, None)
    """
    if isinstance(error, SystemExit) and error.code not in (None, 1):
        return None  # whoever gave this code has told why
    for cause in chain(error):
        if isinstance(cause, KeyboardInterrupt):
            return signal.SIGINT
        if type(cause).__name__ == "SIGTERMException":  # Lightning's, which is not imported for the sake of this
            return signal.SIGTERM
    return None


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and what it came of, or was raised in the handling of.

    Args:
        error: What was raised.

    Example:
        >>> refused = ValueError("not so")
        >>> refused.__context__ = KeyError("so")
        >>> list(chain(refused))
        [ValueError('not so'), KeyError('so')]
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _owner(message: str) -> str:
    """The option that a report begins with."""
    found = re.search(r"(?:^|\n)\s*(?:- )?([\w.]+): Expected", message)
    return f"{found.group(1)}: " if found else ""


def _unknown_option(name: str, options: Sequence[str]) -> str:
    """Options of a class are known without its name, others by their whole path."""
    close = get_close_matches(name, options, 1)
    return f"option {name!r} does not exist{f', did you mean {close[0]}' if close else ''}; {HELP}"


def _unknown_class(name: str, key: str) -> str:
    import mer_zoo.backbones
    import mer_zoo.wrappers

    kinds = {"backbone": mer_zoo.backbones.__all__, "wrappers": mer_zoo.wrappers.__all__, "data": DATA}
    names = next((known for kind, known in kinds.items() if kind in key), None)
    if names is None:
        return f"unknown class {name!r}; give an imported class or its full path"
    close = get_close_matches(name, names, 1)
    guess = f", did you mean {close[0]}" if close else ""
    return f"unknown class {name!r}{guess}; choose from {', '.join(sorted(names))}"


def _essence(message: str) -> str:
    """The innermost findings of the report, without the types that were tried in vain."""
    text = "; ".join(_findings(message, ("Expected a <class 'NoneType'>", "Given value type:"))) or message.strip()
    text = re.sub(r"<class '([^']+)'>", r"\1", text)
    return re.sub(r'^Parser key "[^"]+":\s*', "", text) + ("" if "--help" in text else f"; {HELP}")


def _findings(message: str, noise: tuple[str, ...]) -> list[str]:
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    noise += ("Parser key", "Does not validate", "Subtypes:", "Errors:")
    return list(dict.fromkeys(line for line in lines if line and not line.startswith(noise)))
