"""An answer as HTML, for people who look at it and for those who have it read to them."""

from __future__ import annotations

from collections.abc import Sequence

from mer_zoo.clips.clip import ClipFeatures
from mer_zoo.demo.answer import Answer, Sureness
from mer_zoo.demo.seen import as_address
from mer_zoo.explain.explanation import Block
from mer_zoo.reports.page.markup import element
from mer_zoo.reports.tables import ABSENT
from mer_zoo.text import in_html

__all__ = ["Given", "complaint", "page_of"]


class Given:
    """What a person gave, as the page tells it.

    Args:
        found: Its features.
        name: The name of the file; empty for a sentence.
        was_typed: Whether the person said what the words are.
        looks_at: What the pictures are that the model was shown.
    """

    def __init__(self, found: ClipFeatures, name: str = "", was_typed: bool = False, looks_at: str = "") -> None:
        self.found, self.name, self.was_typed, self.looks_at = found, name, was_typed, looks_at


def complaint(sentence: str) -> str:
    """A sentence on what went wrong, which is read out at once.

    Args:
        sentence: Text.

    Example:
        >>> complaint("there are no words")
        '<p class="complaint" role="alert">There are no words.</p>'
    """
    sentence = sentence[:1].upper() + sentence[1:] + ("" if sentence.endswith((".", "?", "!")) else ".")
    return element("p", in_html(sentence), class_="complaint", role="alert")


def page_of(given: Given, answer: Answer, whole: Answer | None = None) -> str:
    """All that is shown of an answer.

    Args:
        given: What it is an answer to.
        answer: The answer.
        whole: The answer to all that is there, where this one is to less.

    Example:
        >>> import numpy as np
        >>> from mer_zoo import LFLSTM, DataSpec, SentimentClassification
        >>> from mer_zoo.demo.answer import answer
        >>> found = ClipFeatures({"text": np.ones((2, 6), np.float32)}, text="so <good>")
        >>> shown = page_of(Given(found), answer(LFLSTM(DataSpec(), SentimentClassification(3)).eval(), found))
        >>> "so &lt;good&gt;" in shown, shown.count("<table")
        (True, 1)
    """
    parts = [_verdict(answer, whole), _shares(answer), _given(given, answer), *_reasons(answer)]
    return element("div", "\n".join(parts), class_="answer")


def _verdict(answer: Answer, whole: Answer | None) -> str:
    lines = [element("h2", in_html(answer.predicted))]
    if answer.score is not None:
        lines.append(_score(answer.score, answer.sureness))
    if whole is not None:
        lines.append(_beside(answer, whole))
    return element("section", "".join(lines), class_="verdict", aria_label="Prediction")


def _score(score: float, sureness: Sureness) -> str:
    told = f"Score {element('strong', f'{score:+.2f}')}"
    if sureness.interval is None or sureness.level is None:
        return element("p", told, class_="score")
    low, high = sureness.interval
    share = f"{100 * sureness.level:g} of 100"
    return element("p", f"{told}, for {share} clips between {low:+.2f} and {high:+.2f}", class_="score")


def _beside(answer: Answer, whole: Answer) -> str:
    off = [name for name in answer.there if name not in answer.used]
    score = "" if whole.score is None else f", score {whole.score:+.2f}"
    told = f"With {_listed(off)} switched off. With all that is there: {whole.predicted}{score}."
    return element("p", in_html(told), class_="beside")


def _shares(answer: Answer) -> str:
    """The probabilities, and how far they can be trusted."""
    sureness = answer.sureness
    problems, rows = sureness.probabilities, []
    if len(problems) == 1:
        [(problem, shares)] = problems.items()
        likely = sureness.likely.get(problem, ())
        rows = [_share(name, share, "likely" if name in likely else "") for name, share in shares.items()]
    else:  # of each the last outcome, that it is there
        for problem, shares in problems.items():
            likely = sureness.likely.get(problem, ())
            rows.append(_share(problem, list(shares.values())[-1], " or ".join(likely)))
    table = _table("How likely each is", ["", "", "probability", ""], rows) if rows else ""
    return element("section", table + _note(_trust(answer)), aria_label="Probabilities")


def _share(name: str, share: float, mark: str) -> list[str]:
    marked = element("span", in_html(mark), class_="mark") if mark else ""
    return [in_html(name), _bar(share, 1.0), f"{100 * share:.0f} %", marked]


def _trust(answer: Answer) -> str:
    sureness = answer.sureness
    if sureness.level is None:
        return f"Not calibrated, so take no share at its word: {sureness.refused}." if sureness.refused else ""
    told = f"Calibrated on validation data; the classes marked likely hold the true one in {100 * sureness.level:g} of"
    told += " 100 clips that are like those."
    if not sureness.is_promised:
        told += f" That is not promised for {_listed(answer.used)} alone, of which no validation data told."
    return told


def _given(given: Given, answer: Answer) -> str:
    found = given.found
    facts = [] if not given.name else [("Clip", f"{given.name}, {found.seconds:.1f} s; read, and deleted")]
    facts.append(("Words", f"“{found.text}”" if found.text else ABSENT))
    if given.name and found.text:
        facts.append(("Known", "as you typed them" if given.was_typed else "as they were heard"))
    facts.append(("Seen by the model", _listed(answer.used)))
    lines = [element("dt", in_html(name)) + element("dd", in_html(value)) for name, value in facts]
    if found.faults:
        faults = "".join(element("li", in_html(fault)) for fault in found.faults)
        lines.append(element("dt", "Lacking") + element("dd", element("ul", faults)))
    return element("section", element("h3", "What you gave") + element("dl", "".join(lines)) + _pictures(given))


def _pictures(given: Given) -> str:
    pictures = given.found.pictures
    if not pictures:
        return ""
    shown = [
        f'<img src="{as_address(picture)}" alt="picture {place} of {len(pictures)} that the model was shown">'
        for place, picture in enumerate(pictures, 1)
    ]
    caption = element("figcaption", in_html(f"{given.looks_at}, as the model was shown it."))
    return element("figure", "".join(shown) + caption, class_="seen")


def _reasons(answer: Answer) -> list[str]:
    """What the answer comes of."""
    blocks = [_without(answer)] if answer.without else []
    blocks += [_block(block) for block in answer.effects]
    return [element("section", element("h3", "What the answer comes of") + "".join(blocks))] if blocks else []


def _without(answer: Answer) -> str:
    """What is said without each modality."""
    what = "score" if answer.score is not None else f"probability of {answer.predicted}"
    lost = {name: answer.lost(name) for name in answer.without}
    largest = max((abs(value) for value in lost.values() if value is not None), default=0.0)
    rows = [["all that is used", in_html(answer.predicted), _figure(answer, answer), "", ""]]
    for name, other in answer.without.items():
        value = lost[name]
        bar = ["", ""] if value is None else [_bar(value, largest), f"{value:+.2f}"]
        rows.append([f"without {name}", in_html(other.predicted), _figure(answer, other), *bar])
    note = f"Lost: how much the {what} falls without the modality; below 0 it rises, so the modality spoke against it."
    return _table("Without a modality", ["", "says", what, "", "lost"], rows) + _note(note)


def _figure(answer: Answer, other: Answer) -> str:
    """The score that another answer gives, or the probability that it gives to what this one predicts."""
    if other.score is not None:
        return f"{other.score:+.2f}"
    share = other.sureness.probabilities.get("", {}).get(answer.predicted)
    return ABSENT if share is None else f"{100 * share:.0f} %"


def _block(block: Block) -> str:
    names = list(dict.fromkeys(name for row in block.rows for name in row.answers))
    largest = max((abs(row.bar) for row in block.rows if row.bar is not None), default=0.0)
    rows = []
    for row in block.rows:
        numbers = [ABSENT if row.answers.get(name) is None else f"{row.answers[name]:+.2f}" for name in names]
        bar = ["", ABSENT] if row.bar is None else [_bar(row.bar, largest), f"{row.bar:+.2f}"]
        rows.append([in_html(row.name), *numbers, *bar])
    return _table(block.title, ["", *names, "", block.bar], rows) + _note(block.note)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of markup, the first cell of each row its name; what stands above bars is for the eye alone."""
    heads = "".join(element("th", in_html(name), scope="col") if name else "<td></td>" for name in head)
    lines = [
        element("tr", element("th", row[0], scope="row") + "".join(element("td", cell) for cell in row[1:]))
        for row in rows
    ]
    parts = [
        element("caption", in_html(caption)),
        element("thead", element("tr", heads)),
        element("tbody", "".join(lines)),
    ]
    return element(
        "div", element("table", "".join(parts)), class_="wide", tabindex="0", role="region", aria_label=caption
    )


def _bar(value: float, largest: float) -> str:
    width = 100 * abs(value) / largest if largest else 0.0
    kind = "bar against" if value < 0 else "bar"
    return element("span", "", class_=kind, style=f"width: {min(width, 100.0):.1f}%", aria_hidden="true")


def _note(text: str) -> str:
    return element("p", in_html(text), class_="note") if text else ""


def _listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> _listed(["text", "audio", "vision"])
        'text, audio and vision'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
