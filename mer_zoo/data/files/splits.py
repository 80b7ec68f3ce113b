"""The splits of a corpus: what they are called, and what they say of one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mer_zoo.batch import MODALITIES
from mer_zoo.data.corpus.checks import MAX_ID, SPLIT_NAME, Fault, plural, size_of
from mer_zoo.data.corpus.contents import Contents, equal_splits, really_shared
from mer_zoo.data.corpus.conversation import UNKNOWN
from mer_zoo.data.corpus.overlap import MAX_OVERLAPS, REMEDY, named_samples, overlap_faults, sharing
from mer_zoo.data.corpus.tokens import BERT, found_tokens
from mer_zoo.data.files.drafts import Draft, SplitDraft
from mer_zoo.data.files.heard import HEARD_BERT, HEARD_FEATURES
from mer_zoo.errors import MERError

__all__ = ["check_roles", "compare_fields", "compare_samples", "distinct_splits", "named_splits"]

ALIASES = {"dev": "valid", "val": "valid", "validation": "valid", "training": "train", "testing": "test"}
MAX_USES = 3


def check_roles(roles: Mapping[str, str]) -> dict[str, str]:
    """Refuse a choice of splits that says nothing, or two things.

    Args:
        roles: Which split of a file is taken for train, valid or a test split.

    Raises:
        MERError: Naming the part that won't do.

    Example:
        >>> check_roles({"train": "train_mix"})
        {'train': 'train_mix'}
    """
    for own in roles:
        if not SPLIT_NAME.fullmatch(own):
            raise MERError(f"data.splits has {own[:40]!r}; splits are train, valid, test or test_NAME")
    twice = [source for source, count in Counter(roles.values()).items() if count > 1]
    if twice:
        raise MERError(f"data.splits takes {twice[0][:40]!r} twice; train and test on splits of their own")
    return dict(roles)


def named_splits(
    tree: Mapping[Any, Any], draft: Draft, roles: Mapping[str, str] | None = None
) -> dict[str, Mapping[Any, Any]]:
    """The splits of a file under their own names; others are noted, and a fault where there is none else.

    Args:
        tree: What the file holds.
        draft: Where notes and faults go.
        roles: Which splits of the file are taken for train, valid or a test split instead of those of these names.

    Example:
        >>> tree, draft = {"train": {}, "dev": {}, "train_mix": {}}, Draft()
        >>> list(named_splits(tree, draft)), draft.notes
        (['train', 'valid'], ["split 'train_mix' is not used; data.splits: {train: train_mix} trains, ..."])
        >>> draft = Draft()
        >>> list(named_splits(tree, draft, {"train": "train_mix"})), draft.notes
        (['valid', 'train'], ["split 'train' is not used, since data.splits takes 'train_mix' for train"])
    """
    found: dict[str, Mapping[Any, Any]] = {}
    written: dict[str, str] = {}
    others = []
    roles = roles or {}
    own_of = {source: own for own, source in roles.items()}
    for name, fields in tree.items():
        shown = str(name)[:40]
        own = str(name) if SPLIT_NAME.fullmatch(str(name)) else ALIASES.get(shown.lower(), shown.lower())
        taken = own in roles and str(name) not in own_of
        own = own_of.get(str(name), own)
        if taken or not SPLIT_NAME.fullmatch(own) or not isinstance(fields, Mapping):
            others.append((shown, own if taken else "", isinstance(fields, Mapping)))
        elif own in found:
            message = f"{shown} and {written[own]} are both the split {own}"
            draft.faults.append(Fault("", "", message, (), "keep one of them"))
        else:
            found[own], written[own] = fields, shown
    names = ", ".join(str(name)[:40] or "unnamed ones" for name in list(tree)[:8]) or "nothing"
    for own, source in roles.items():
        if own not in found:
            message = f"it has no split {source[:40]!r} to take for {own} (it has {names})"
            draft.faults.append(Fault("", "", message, (), "name one that it has in data.splits"))
    if not found and not roles:
        draft.faults.append(Fault("", "", f"splits are called train, valid, test or test_NAME, but it has {names}"))
    for name, taken_for, is_split in others[:8] if found else []:
        draft.notes.append(_unused(name, roles.get(taken_for, ""), taken_for, is_split))
    return found


def _unused(name: str, instead: str, role: str, is_split: bool) -> str:
    if not is_split:
        return f"entry {name!r} is not used"
    if instead:
        return f"split {name!r} is not used, since data.splits takes {instead[:40]!r} for {role}"
    return f"split {name!r} is not used; data.splits: {{train: {name}}} trains, {{test_NAME: {name}}} tests on it"


def distinct_splits(
    names: Sequence[str], splits: Mapping[str, Mapping[str, Any]], faults: list[Fault]
) -> Iterator[str]:
    """The splits without those made of parts of several others, of which a small pickle can name many.

    Args:
        names: Those of interest.
        splits: Their fields.
        faults: Where the others go.
    """
    uses: Counter[int] = Counter()
    for name in names:
        parts = {key: id(value) for key, value in splits[name].items() if size_of(value)}
        again = [key for key, part in parts.items() if uses[part] >= MAX_USES]
        if again:
            faults.append(Fault(name, again[0], f"{again[0]} is that of {MAX_USES} other splits", (), REMEDY))
        else:
            uses.update(set(parts.values()))
            yield name


def compare_fields(draft: Draft, tree: Mapping[str, Mapping[Any, Any]]) -> None:
    """Compare the fields and shapes of the splits, and find what holds for all of them.

    Args:
        draft: The splits as read.
        tree: The fields that they were read from.
    """
    if not draft.splits:
        return
    (first, reference), *others = draft.splits.items()
    for name, split in others:
        for key in (*MODALITIES, "text_bert"):
            if (key in tree[name]) != (key in tree[first]):
                draft.faults.append(Fault(name, key, f"{key} is in one of {first} and {name}, but not in the other"))
                continue
            ours, theirs = _shape(split, key), _shape(reference, key)
            if ours and theirs and ours != theirs:
                draft.faults.append(Fault(name, key, f"a sample of {key} has shape {ours}, but in {first} {theirs}"))
    heard = {name: split.heard for name, split in draft.splits.items() if split.heard is not None}
    for key in (HEARD_FEATURES, HEARD_BERT):
        arrays = {name: one.tokens if key == HEARD_BERT else one.features for name, one in heard.items()}
        shapes = {name: array.shape[1:] for name, array in arrays.items() if array is not None}
        for name, shape in shapes.items():
            if shape != (one := next(iter(shapes.values()))):
                message = f"a sample of {key} has shape {shape}, but in {next(iter(shapes))} {one}"
                draft.faults.append(Fault(name, key, message))
    tokens = [*(split.tokens for split in draft.splits.values()), *(one.tokens for one in heard.values())]
    largest = [int(ids.max()) + 1 for ids in tokens if ids is not None]
    draft.vocab_size = max([draft.vocab_size, *largest])
    steps = {shape[0] for key in (*MODALITIES, "text_bert") if (shape := _shape(reference, key))}
    lengths = any(split.lengths for split in draft.splits.values())
    draft.aligned = not lengths and len(reference.features) > 1 and len(steps) == 1
    ids = [(s.tokens, s.token_spans) for s in draft.splits.values() if s.tokens is not None]
    special = found_tokens([(tokens, spans) for tokens, spans in ids if spans is not None])
    if special is None:
        draft.notes.append("text_bert begins and ends texts as no known tokenizer does; data.tokenizer names its own")
    elif special is not BERT:
        draft.notes.append(f"text_bert has the special tokens of {special.of}; data.tokenizer can name others")


def _shape(split: SplitDraft, key: str) -> tuple[int, ...]:
    array = split.tokens if key == "text_bert" else split.features.get(key)
    return () if array is None else array.shape[1:]


def compare_samples(draft: Draft, numbered: Sequence[str]) -> None:
    """Find samples that occur twice: noted within a split, a fault between splits.

    Ids that begin anew in each split, as ``dia0_utt0``, are told from shared samples by what the samples hold; the
    split joins them then.

    Args:
        draft: The splits as read.
        numbered: Those without ids in the file.
    """
    if numbered:
        draft.notes.append(f"{', '.join(numbered)}: there are no ids, so samples are numbered")
    ids = {name: split.ids for name, split in draft.splits.items() if name not in numbered}
    for name, own in ids.items():
        repeated = len(own) - len(set(own))
        if repeated:
            draft.notes.append(f"{name}: {plural(repeated, 'sample')} with an id that another one has")
    named = {name: named_samples(name, own) for name, own in ids.items()}
    overlapping = sharing(named)
    contents = {name: _contents(split) for name, split in draft.splits.items()}
    shared = {
        (one, other): really_shared(contents[one], contents[other], named[one] & named[other])
        for one, other in overlapping[:MAX_OVERLAPS]
    }
    really = [pair for pair in overlapping if shared.get(pair, True)]
    draft.faults += overlap_faults(ids, shared, really)
    if overlapping and not really:
        _join_split_and_id(draft, ids, overlapping, named)
    else:
        _note_repeating(draft, named, overlapping)
    if not really:
        _separate_dialogues(draft, contents)
    for one, other in equal_splits({name: content.arrays for name, content in contents.items()}):
        if (one, other) not in really:
            draft.faults.append(Fault("", "", f"{one} and {other} hold the same data", (), REMEDY))


def _contents(split: SplitDraft) -> Contents:
    return Contents(split.ids, split.raw_text, {"labels": split.labels, "tokens": split.tokens, **split.features})


def _join_split_and_id(
    draft: Draft, ids: Mapping[str, Sequence[str]], pairs: Sequence[tuple[str, str]], named: Mapping[str, set[str]]
) -> None:
    """Make ids of different samples different: all of them where most begin anew, else those that stand twice."""
    twice = set[str]().union(*(named[one] & named[other] for one, other in pairs))
    one, other = pairs[0]
    if any(2 * len(named[one] & named[other]) >= min(len(ids[one]), len(ids[other])) for one, other in pairs):
        twice.update(*ids.values())
    if max(len(f"{split}_{name}") for split, own in ids.items() for name in own) > MAX_ID:
        draft.faults.append(Fault("", "id", f"ids begin anew in each split and have nearly {MAX_ID} characters"))
        return
    example = next(name for name in ids[one] if name in named[one] & named[other])
    draft.notes.append(
        f"ids begin anew in each split ({example} names other samples in {one} and in {other}), so the split joins"
        f" them: {one}_{example}"
    )
    for split, own in ids.items():
        joined, anew = draft.splits[split], [row for row, name in enumerate(own) if name in twice]
        joined.ids = [f"{split}_{name}" if name in twice else name for name in own]
        joined.conversation = joined.conversation.with_split(split, anew)


def _separate_dialogues(draft: Draft, contents: Mapping[str, Contents]) -> None:
    """Let the split join names of dialogues that begin anew in each split where ids do not.

    A dialogue has one sample at each turn: where another split has other samples at the same turns, its dialogues are
    others of the same names. Where turns are not told, or often stand twice in a split, nothing tells. Splits that a
    dialogue was dealt out to keep its name.

    Args:
        draft: The splits as read.
        contents: What each of them holds.
    """
    turns = {name: _turns(split) for name, split in draft.splits.items()}
    once = {name: {turn for turn, n in Counter(own).items() if n == 1 and turn} for name, own in turns.items()}
    told = sum(bool(turn) for own in turns.values() for turn in own)
    if 10 * (told - sum(map(len, once.values()))) > told:
        return
    named = {name: set(map(_dialogue, own)) for name, own in once.items()}
    contested, peaceful = dict[tuple[str, str], str](), set[str]()
    for one, other in sharing(named):
        both = once[one] & once[other]
        if both and len(contested) < MAX_OVERLAPS:
            own, its = (replace(contents[name], ids=turns[name]) for name in (one, other))
            both -= really_shared(own, its, both)
        if 2 * len(set(map(_dialogue, both))) >= len(named[one] & named[other]):
            contested[one, other] = min(both)
        else:
            peaceful |= {one, other}
    anew = {name for pair in contested for name in (set(pair) - peaceful or pair)}
    longest = max((len(name) for split in anew for name in draft.splits[split].conversation.dialogue or ()), default=0)
    if anew and longest + max(map(len, anew)) >= MAX_ID:
        draft.faults.append(Fault("", "", f"dialogues begin anew in each split and have nearly {MAX_ID} characters"))
        return
    for (one, other), turn in list(contested.items())[:1]:
        name, example = one if one in anew else other, _dialogue(turn)
        draft.notes.append(
            f"dialogues begin anew in each split (turn {turn.partition(' ')[0]} of {example} is another sample in {one}"
            f" and in {other}), so the split joins their names: {name}_{example}"
        )
    for name in anew:
        split = draft.splits[name]
        split.conversation = split.conversation.with_split(name, range(len(split.ids)))


def _turns(split: SplitDraft) -> list[str]:
    """Turn and dialogue of each sample, empty where one of them is not told."""
    dialogue, turn = split.conversation.dialogue, split.conversation.turn
    if dialogue is None or turn is None:
        return [""] * len(split.ids)
    return [f"{at} {name}" if name and at != UNKNOWN else "" for at, name in zip(turn, dialogue, strict=True)]


def _dialogue(turn: str) -> str:
    return turn.partition(" ")[2]


def _note_repeating(draft: Draft, named: Mapping[str, set[str]], overlapping: Sequence[tuple[str, str]]) -> None:
    distinct = {name: set(split.ids) for name, split in draft.splits.items()}
    repeating = [name for name, own in distinct.items() if len(own) > len(named.get(name, ()))]
    pairs = sharing(distinct) if repeating else []
    for one, other in [pair for pair in pairs if pair not in set(overlapping)][:MAX_OVERLAPS]:
        shared = len(distinct[one] & distinct[other])
        draft.notes.append(f"{plural(shared, 'id')} both in {one} and in {other}")
