"""What the page of ``mer-zoo demo`` does when something is dropped, typed or switched; the page itself is another's."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mer_zoo.clips.clip import ClipFeatures
from mer_zoo.demo.markup import Given, complaint, page_of
from mer_zoo.demo.predictor import Predictor
from mer_zoo.errors import MERError

__all__ = ["MOST_WORDS", "Desk", "Held"]

MOST_WORDS = 5000  # characters of a sentence


@dataclass(frozen=True)
class Held:
    """What a person has given and may ask about again.

    Args:
        found: The features; None before anything was given, and for a sentence.
        name: The name of the recording.
        text: What the person typed.
    """

    found: ClipFeatures | None = None
    name: str = ""
    text: str = ""


class Desk:
    """What the page does when something is dropped, typed or switched, without the page.

    Args:
        predictor: The model.
        log: Told of errors of the program.
    """

    def __init__(self, predictor: Predictor, log: Callable[[str], object] = lambda _told: None) -> None:
        self.predictor, self.log = predictor, log

    def take(self, path: str | None, text: str, available: Sequence[str]) -> tuple[Held, str]:
        """Read a recording, and delete it.

        Args:
            path: The uploaded file; None where it was taken away.
            text: What is typed.
            available: The modalities that are switched on.

        Returns:
            What is kept of it, and what the page shows.
        """
        held = Held()
        if path is None:
            return held, ""
        file = Path(path)
        try:
            with self._kept_from(file):
                found = self.predictor.features(file, text.strip() or None)
            held = Held(found, file.name, text.strip())
        except MERError as error:
            return held, complaint(f"recording {file.name}: {error}")
        except Exception as error:
            return held, self._failed(error)
        finally:
            _delete(file)
        return held, self.show(held, available)

    def ask(self, held: Held, text: str, available: Sequence[str]) -> tuple[Held, str]:
        """Answer to the words that are typed, and to the recording if there is one.

        Args:
            held: What was given before.
            text: What is typed.
            available: The modalities that are switched on.
        """
        text = text.strip()[:MOST_WORDS]
        try:
            if text and text != held.text:
                found = self.predictor.with_words(held.found if held.name else None, text)
                held = Held(found, held.name, text)
            elif held.found is None:
                raise MERError("there is nothing to answer to; drop a recording, or type a sentence")
        except MERError as error:
            return held, complaint(str(error))
        except Exception as error:
            return held, self._failed(error)
        return held, self.show(held, available)

    def show(self, held: Held, available: Sequence[str]) -> str:
        """The answer to what was given, by the modalities that are switched on.

        Args:
            held: What was given.
            available: The modalities.
        """
        if held.found is None:
            return ""
        try:
            answer = self.predictor.answer(held.found, available)
            whole = None if answer.used == answer.there else self.predictor.answer(held.found)
            return page_of(Given(held.found, held.name, bool(held.text), self.predictor.looks_at), answer, whole)
        except MERError as error:
            return complaint(str(error))
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> str:
        self.log("".join(traceback.format_exception(error)))
        return complaint(f"something went wrong that should not ({type(error).__name__}); the terminal tells more")

    @contextmanager
    def _kept_from(self, file: Path) -> Iterator[None]:
        """Name the recording, not its place on this machine, in what is wrong with it."""
        try:
            yield
        except MERError as error:
            raise MERError(str(error).replace(str(file), file.name)) from None


def _delete(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)
        file.parent.rmdir()  # gradio makes a folder for each
