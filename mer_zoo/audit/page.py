"""The audit of a corpus, and of runs on it: every check in turn, on one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mer_zoo.audit.answers import check_run
from mer_zoo.audit.copies import check_copies
from mer_zoo.audit.finding import Page
from mer_zoo.audit.fitted import check_scaling, check_vocabulary
from mer_zoo.audit.prediction import check_checkpoint
from mer_zoo.audit.runs import check_same_corpus, find_runs
from mer_zoo.audit.sentences import check_sentences
from mer_zoo.batch import MODALITIES, available_modalities
from mer_zoo.data.corpus.arrays import READ_ERRORS
from mer_zoo.data.corpus.checks import Fault, plural
from mer_zoo.data.corpus.corpus import Corpus
from mer_zoo.data.datamodule import SyntheticMER
from mer_zoo.data.files.drafts import Draft
from mer_zoo.data.files.formats import read_draft
from mer_zoo.data.files.groups import read_groups
from mer_zoo.data.store.drafts import describe_splits
from mer_zoo.data.store.fingerprint import labelling_sha256, regrouped_sha256, source_sha256
from mer_zoo.data.store.reader import MEANING, open_splits, read_index
from mer_zoo.data.store.store import LABELLING, META, is_store
from mer_zoo.data.survey.finding import Finding, NotChecked
from mer_zoo.data.survey.lengths import check_lengths
from mer_zoo.data.survey.material import Material, draft_of, read_material
from mer_zoo.data.survey.probes import samples_of
from mer_zoo.data.survey.splits import check_groups, check_ids
from mer_zoo.data.survey.telling import check_telling
from mer_zoo.data.synthetic.generate import SyntheticConfig
from mer_zoo.errors import MERError
from mer_zoo.foreign import read_yaml
from mer_zoo.sharing.recipe import Modules

__all__ = ["audit"]

YAML = (".yaml", ".yml")


def audit(
    data: str | Path | Corpus,
    runs: Sequence[str | Path] = (),
    modalities: Sequence[str] = MODALITIES,
    groups: str | Path | None = None,
    ceilings: Mapping[str, float] | None = None,
    modules: Modules = (),
    seed: int = 0,
) -> Page:
    """Look for reasons not to believe figures on a corpus.

    Nothing is written, and nothing of the files is executed. Features are read once, a block at a time; probes are
    fitted on 4,000 samples of a split at the most, which ``seed`` chooses.

    Args:
        data: A file or folder in any format of docs/data.md, a store, the config.yaml of a run, or a corpus in memory.
        runs: Folders of runs on it.
        modalities: What is looked at, where some are not used.
        groups: A CSV file with ``id`` and who speaks, or another group that splits should not share.
        ceilings: What is not to be believed, by metric, such as ``{"Acc2_non0": 0.9}``.
        modules: Modules of models that are not of the zoo, to predict with their checkpoints.
        seed: Chooses samples where there are too many.

    Returns:
        The page of findings.

    Raises:
        MERError: If the data cannot be read, or a run is none, or one of another corpus.

    Example:
        >>> from mer_zoo.data.synthetic.generate import SyntheticConfig, generate
        >>> corpus = generate(SyntheticConfig(train=60, valid=30, test=40))
        >>> audit(corpus).exit_code
        0
        >>> corpus.splits["test_ood"] = corpus.splits["test_iid"]
        >>> [finding.kind for finding in audit(corpus).findings]
        ['identical-splits']
    """
    found = find_runs([Path(run).expanduser() for run in runs])
    draft, source, notes = _read(data)
    _leave_out([name for name in MODALITIES if name not in available_modalities(modalities)], draft)
    if not any(split.ids for split in draft.splits.values()):
        raise MERError(f"{source} holds no samples that can be audited: {_faults(draft)}")
    material = read_material(draft, source, seed)
    material.groups = None if groups is None else read_groups(Path(groups).expanduser())
    for run in found:
        check_same_corpus(run, material)
    page = Page(source, _facts(material))
    page.add(*notes, *_refused(draft, material))
    samples = samples_of(material)
    for check in (check_ids, check_groups, check_sentences, check_copies, check_scaling, check_vocabulary):
        page.add(*check(material))
    page.add(*check_telling(material, samples), *check_lengths(material, samples))
    if not found:
        page.add(NotChecked("answers, results and whether labels are read at prediction", "no run was given"))
    for run in found:
        page.add(*check_run(run, material, samples, ceilings or {}), *check_checkpoint(run, material, modules))
    return page


def _leave_out(modalities: Sequence[str], draft: Draft) -> None:
    for split in draft.splits.values():
        split.features = {key: array for key, array in split.features.items() if key not in modalities}
        if "text" in modalities:
            split.tokens, split.token_spans, split.raw_text = None, None, None


def _read(data: str | Path | Corpus) -> tuple[Draft, str, list[Finding | NotChecked]]:
    """Describe the data; a store whose source is not at hand says so."""
    if isinstance(data, Corpus):
        return draft_of(data), data.source, []
    path = Path(data).expanduser()
    if path.suffix in YAML:
        return _configured(path)
    if is_store(path):
        return _store(path)
    draft = read_draft(path)
    draft.sha256 = source_sha256(path)
    return draft, str(path), []


def _store(path: Path) -> tuple[Draft, str, list[Finding | NotChecked]]:
    """Map a store, also one whose splits overlap, which others refuse."""
    try:
        index = read_index(path / META)
        splits = open_splits(path, index)
    except READ_ERRORS as error:
        raise MERError(f"{path} is a damaged store ({error}); delete it and convert the source again") from error
    draft = Draft(
        describe_splits(path, splits), index["aligned"], index["vocab_size"], index["notes"], sha256=index.get("sha256")
    )
    return draft, str(path), list(_source_of(path, index))


def _source_of(path: Path, index: Mapping[str, Any]) -> Iterator[Finding | NotChecked]:
    if index.get(LABELLING) not in (None, labelling_sha256(path, index["splits"], index.get(MEANING) or {})):
        yield Finding(
            "edited-store",
            "warning",
            f"labels, tokens, spans, ids or texts of {path} are others than were converted",
            "convert the source again",
        )
    what, source = f"whether {path} still holds what its source does", index.get("source")
    if not isinstance(source, str) or not Path(source).is_file():
        yield NotChecked(what, f"its source {source} is gone; what the store holds was audited")
    elif index.get("sha256") is None:
        yield NotChecked(what, "the store was made before fingerprints were kept")
    elif index["sha256"] not in _fingerprints(Path(source), index):
        yield NotChecked(what, f"{source} has changed since; convert it again and audit that")


def _fingerprints(source: Path, index: Mapping[str, Any]) -> tuple[str, str | None]:
    """What a store of a source says, in its own splits and in those of ``mer-zoo split-ood``."""
    own = source_sha256(source)
    return own, regrouped_sha256(own, {name: about["ids"] for name, about in index["splits"].items()})


def _configured(path: Path) -> tuple[Draft, str, list[Finding | NotChecked]]:
    """The data that a configuration names; classes are looked up by name, and nothing is imported."""
    try:
        content = read_yaml(path)
    except OSError as error:
        raise MERError(f"{path} cannot be read ({error.strerror}); give the config.yaml of a run") from None
    data = content.get("data") if isinstance(content, Mapping) else None
    options = data.get("init_args") if isinstance(data, Mapping) else None
    if not isinstance(options, Mapping) or not isinstance(data, Mapping):
        raise MERError(f"{path} names no data; give the config.yaml of a run, or the data themselves")
    if str(data.get("class_path")).rpartition(".")[2] != SyntheticMER.__name__:
        named = options.get("path")
        if not isinstance(named, str) or Path(named).suffix in YAML:
            raise MERError(f"{path} names no file of data (data.init_args.path); give the data themselves")
        return _read(named)
    try:
        corpus = SyntheticMER(
            SyntheticConfig(**(options.get("scm") or {})), task=options.get("task") or "binary", conditions=[]
        ).corpus
    except TypeError as error:
        raise MERError(f"{path}: data.scm is none of SyntheticMER ({error}); mend it") from None
    return draft_of(corpus), corpus.source, []


def _facts(material: Material) -> list[str]:
    counts = ", ".join(f"{name} {len(part.ids)}" for name, part in material.parts.items())
    total = sum(len(part.ids) for part in material.parts.values())
    recordings = material.recordings()
    kinds = material.modalities or ["no features"]
    if any(part.draft.tokens is not None for part in material.parts.values()):
        kinds = [*kinds, "token ids"]
    number = "" if recordings is None else f", of {len({one for own in recordings.values() for one in own})} recordings"
    facts = [f"{plural(total, 'sample')}: {counts}{number}; {', '.join(kinds)}"]
    kept = [
        f"{len(part.kept)} of {len(part.ids)} of {n}"
        for n, part in material.parts.items()
        if len(part.kept) < len(part.ids)
    ]
    return [*facts, *([f"probes see {', '.join(kept)}"] if kept else [])]


def _refused(draft: Draft, material: Material) -> Iterator[Finding]:
    """What validate-data calls a fault; overlaps have findings of their own."""
    faults = [str(fault) for fault in draft.faults if fault.field != "id" and "hold the same data" not in fault.message]
    scanned = [note for part in material.parts.values() for note in part.notes if "infinite" in note]
    if faults or scanned:
        told = [*faults, *scanned]
        yield Finding(
            "faults",
            "warning" if faults else "note",
            f"the corpus has faults: {'; '.join(told[:4])}" + (f"; and {len(told) - 4} more" if len(told) > 4 else ""),
            "mend the file (mer-zoo validate-data lists every fault)",
            {"faults": len(faults)},
        )


def _faults(draft: Draft) -> str:
    faults: list[Fault] = draft.faults
    return "; ".join(str(fault) for fault in faults[:4]) or "it is empty"
