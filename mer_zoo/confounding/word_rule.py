"""The option ``words`` of those who go by biased words: a rule by which they are found, or a file that names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from mer_zoo.confounding.trace import LISTED, WordRule, Words
from mer_zoo.data.files.word_list import read_word_list
from mer_zoo.errors import MERError
from mer_zoo.options import check_choice

__all__ = ["RULES", "listed_words", "word_rule"]

RULES = get_args(Words)
"""Values of ``words`` that name no file."""


def word_rule(
    owner: str,
    words: str | None = "frequent",
    max_words: int = 100,
    keep_words: Sequence[str] = (),
    option: str = "words",
    **options: Any,
) -> WordRule:
    r"""What counts as biased, by the options of who asks.

    Args:
        owner: The class whose options they are, for messages.
        words: ``frequent`` or ``maci``; a CSV file of :func:`~mer_zoo.data.files.word_list.read_word_list`, whose words
            without ``keep`` are the biased ones, whatever their counts; None for those of a file that is not at hand,
            where what was fitted is loaded.
        max_words: Most words.
        keep_words: Words that are meant, and never count.
        option: What the option is called there.
        **options: Others of :class:`~mer_zoo.confounding.WordRule`.

    Raises:
        MERError: If the file can't be read, or names more words than there is room for.

    Example:
        >>> from tempfile import mkdtemp
        >>> path = Path(mkdtemp()) / "words.csv"
        >>> _ = path.write_text("word,keep\ngood,yes\nfilm,no\n")
        >>> rule = word_rule("PropensityWeighting", str(path))
        >>> rule.words, rule.listed
        ('listed', ('film',))
    """
    kept = tuple(keep_words)
    if words in RULES:
        return WordRule(str(words), max_words, keep_words=kept, **options)
    listed = None if words is None else listed_words(owner, words, max_words, option)
    return WordRule(LISTED, max_words, keep_words=kept, listed=listed, **options)


def listed_words(owner: str, file: str, most: int, option: str = "words") -> tuple[str, ...]:
    """The words of a file that aren't kept.

    Args:
        owner: Who asks, for the message.
        file: The file; a word that names none, and is no choice, is refused as such.
        most: How many there is room for.
        option: What the option is called there.

    Raises:
        MERError: If it can't be read, or names more.
    """
    if not Path(file).suffix and not Path(file).exists():
        check_choice(owner, option, file, (*RULES, "a CSV file of mer-zoo words"))
    listed = tuple(word for word, is_kept in read_word_list(file, option).items() if not is_kept)
    if len(listed) > most:
        raise MERError(
            f"{option} of {owner} lists {len(listed)} words to debias by, beyond the {most} that there is room for;"
            " keep more of them, or raise that number"
        )
    return listed
