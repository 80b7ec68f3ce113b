"""LightningDataModules: CMU-MOSI, CMU-MOSEI, IEMOCAP, a user's own corpus, and the synthetic default.

More than 300 lines, because each corpus documents what it takes, and is nothing but that beside MERDataModule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader
from typing_extensions import override

from mer_zoo.batch import MODALITIES, Batch, BatchSource
from mer_zoo.data.corpus.corpus import Corpus, SplitData, check_compatible, shortened, with_meaning
from mer_zoo.data.corpus.meaning import LabelKind, Meaning
from mer_zoo.data.corpus.overlap import check_different, check_unseen
from mer_zoo.data.dataset import SplitDataset, check_labels, check_tokens
from mer_zoo.data.dialogues import BatchKind, DialogueBatches, check_dialogues, rows_of_dialogues
from mer_zoo.data.draws import TrainDraws, WeightedBatches
from mer_zoo.data.files.features import check_present
from mer_zoo.data.heard import HeardInTraining, check_share, with_heard
from mer_zoo.data.labelling import ClassWeights, build_for, missing_classes, same_meaning, taken_for, told_by, usually
from mer_zoo.data.lengths import LengthBatches, by_length
from mer_zoo.data.loader import PATIENCE, EpochOrder, ResumableLoader, check_shared_memory
from mer_zoo.data.missing.conditions import Condition, build_conditions, is_test_split
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.data.scaler import Scaler
from mer_zoo.data.source import MappedSource, SplitSource
from mer_zoo.data.store.store import open_corpus
from mer_zoo.data.synthetic.generate import LabelForm, SyntheticConfig, generate
from mer_zoo.data.tokenizer import TokenizerOption, token_conventions, with_token_ids
from mer_zoo.errors import MERError
from mer_zoo.feature_spec import FeatureSpec, differing, gaps_of
from mer_zoo.functional.draws import global_seed
from mer_zoo.layers.text_encoder import TextEncoder
from mer_zoo.metrics import Convention
from mer_zoo.options import check_choice
from mer_zoo.task import EMOTIONS, Task

__all__ = ["IEMOCAP", "MOSEI", "MOSI", "MERDataModule", "SyntheticMER"]

DEFAULT_SCM = SyntheticConfig()


class MERDataModule(LightningDataModule):
    """Reads a corpus, hands out whole batches, and makes the test loaders of the conditions asked for.

    Shapes and task are known at construction (the file is converted to a memory-mapped store on first use), so that a
    model can be built from ``spec`` and ``task``.

    Args:
        path: A file or folder in any format of docs/data.md.
        batch_size: Samples a batch (and a process).
        task: ``regression``, ``two``, ``binary``, ``five``, ``seven``, ``classes`` or ``emotions``, see
            :func:`mer_zoo.task.build_task`; or a task, such as ``mer_zoo.EmotionDetection(["joy", "fear"])``.
        modalities: The modalities to use.
        text: Whether text is handed out as ``features`` or as ``tokens`` (ids, for a text encoder).
        standardize: Scale audio and vision by the training split's mean and deviation.
        conditions: Test loaders: names of presets, or Condition objects; see :mod:`mer_zoo.data.missing.conditions`.
        convention: Metric convention of sentiment tasks.
        nan: What to do with NaN and inf in features: ``error``, or ``zero`` (replaced, counted, reported).
        cache_dir: Where converted stores go; by default beside the source.
        predict_split: The split that ``predict`` reads; the first test split when left out.
        num_workers: Processes that fetch batches; 0 is best for data in memory.
        seed: Keys the missing patterns.
        tokenizer: The tokenizer that made the token ids, by its name or folder, or the ids of its special tokens, as
            ``{pad: 1, unk: 3, cls: 0, sep: 2, mask: 50264}``; when left out, what texts begin and end with tells
            whether they are those of BERT, RoBERTa, XLM-RoBERTa, DeBERTa or ALBERT. Where the file has none and text is
            read as tokens, it makes them of the texts.
        max_lengths: Most steps of a modality that are read, such as ``{text: 25, audio: 150}``; null reads all. Not for
            aligned data.
        labels: What labels are, where the file does not say it and signs in the data do not decide: ``sentiment``,
            ``classes``, ``binary`` or ``emotions``; see docs/tasks.md.
        label_range: Smallest and largest sentiment, such as -1 and 1.
        label_names: Names of the classes, in the order of their numbers, or of the emotions, in that of their columns.
        class_weights: What classes weigh in the loss of task ``classes``: ``balanced``, by how often each is true in
            the training split, or one number a class; by default all weigh the same.
        batches: Whether batches are of ``samples``, or of whole ``dialogues`` (videos, where nothing else tells them)
            in the order of their turns, for networks that read a sample among those around it; ``batch_size`` is then
            the most samples of a batch that holds several. ``lengths`` trains on batches of samples of like length,
            which is faster where padding is cut, and evaluates like ``samples``: in the order of lengths.
        splits: Which splits of the file are taken for train, valid or a test split instead of those of these names,
            such as ``{train: train_mix}``.
        heard_share: Which share of the training samples takes what was heard (``heard_text`` of the file) as its text,
            drawn anew in each epoch; 0 for none.

    Raises:
        MERError: If the file can't be used; the message names the fault and the remedy.

    Example:
        >>> MERDataModule("no_such_file.pkl")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: no_such_file.pkl does not exist; give the path of a corpus file or folder (data.path)
    """

    usual_emotions: Sequence[str] = ()

    def __init__(
        self,
        path: str,
        batch_size: int = 32,
        task: Task | str = "regression",
        modalities: Sequence[str] = MODALITIES,
        text: Literal["features", "tokens"] = "features",
        standardize: bool = True,
        conditions: str | list[str | Condition] = "default",
        convention: Convention = "mmsa",
        nan: Literal["error", "zero"] = "error",
        cache_dir: str | None = None,
        predict_split: str | None = None,
        num_workers: int = 0,
        seed: int = 0,
        max_lengths: dict[str, int] | None = None,
        tokenizer: TokenizerOption = None,
        labels: LabelKind | None = None,
        label_range: tuple[float, float] | None = None,
        label_names: list[str] | None = None,
        class_weights: ClassWeights | None = None,
        batches: BatchKind = "samples",
        splits: dict[str, str] | None = None,
        heard_share: float = 0.0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise MERError(f"batch_size is {batch_size}; give at least 1")
        if num_workers < 0:
            raise MERError(f"num_workers is {num_workers}; give the number of processes that load, 0 for none")
        check_choice("data", "batches", batches, get_args(BatchKind))
        self.batches = batches
        self.path, self.nan, self.cache_dir, self.roles = path, nan, cache_dir, splits
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.standardize, self.heard_share = standardize, check_share(heard_share)
        self.told = told_by(task, labels, label_range, label_names, convention)
        self.taken_for = taken_for(task)
        needed = text == "tokens" and "text" in modalities
        self.tokenizer = tokenizer
        corpus, special = token_conventions(self.read(), tokenizer, needed)
        self.corpus = usually(
            with_meaning(corpus, self.told, self.taken_for, sealed=True), self.usual_emotions, self.taken_for
        )
        self.task: Task = build_for(self.corpus, task, convention, class_weights)
        self.task_name = self.task.name
        self.convention: Convention = getattr(self.task, "convention", convention)
        names = list(self.corpus.splits)
        self.predict_split = predict_split or next(filter(is_test_split, names), names[0])
        self.corpus.split(self.predict_split)
        self.is_cut = bool(max_lengths)
        self.spec = shortened(self.corpus.spec(modalities, text == "tokens", special), max_lengths or {})
        check_present(self.corpus, self.spec.modalities, self.spec.tokens)
        self.conditions = build_conditions(conditions, list(self.corpus.splits), self.spec.modalities)
        for condition in self.conditions:
            if condition.pattern is not None:
                condition.pattern.check(self.spec)
            if condition.heard and condition.source is None:
                self._heard(self.corpus, condition.split)
        self._scaler: Scaler | None = None
        self._foreign: dict[str, Corpus] = {}
        self._in_training: HeardInTraining | None = None

    def read(self) -> Corpus:
        """Open the corpus; a subclass may make it instead."""
        return open_corpus(self.path, self.cache_dir, self.nan, told=self.told, task=self.taken_for, roles=self.roles)

    @override
    def setup(self, stage: str) -> None:
        for note in self.corpus.notes:
            rank_zero_info(note)
        for note in missing_classes(self.corpus, self.task) if stage == "fit" else ():
            rank_zero_info(note)
        if stage == "fit" and self.standardize:
            self._fitted_scaler()
        if stage == "fit" and self.heard_share:
            self._in_training = HeardInTraining(self.dataset("train", heard=True), self.heard_share, self.seed)

    def _fitted_scaler(self) -> Scaler | None:
        if self._scaler is None and self.standardize:
            if "train" not in self.corpus.splits:
                raise MERError(
                    f"{self.corpus.source} has no train split to standardise by; pass --ckpt_path of a trained run,"
                    " or set data.standardize: false"
                )
            split = self.corpus.split("train")
            used = {name: split.features[name] for name in self.spec.modalities if name in split.features}
            self._scaler = Scaler.fit(used, split.spans, gaps_of(self.corpus.made_by))
        return self._scaler

    def scaler_state(self) -> dict[str, dict[str, Tensor]] | None:
        """The scaler's statistics, for the checkpoint; None without standardisation."""
        scaler = self._fitted_scaler()
        return None if scaler is None else scaler.state()

    def load_scaler_state(self, state: dict[str, dict[str, Tensor]] | None) -> None:
        """Take over the statistics of a checkpoint, so that a model meets the scale it was trained on."""
        if (state is not None) != self.standardize:
            was = "without" if state is None else "with"
            raise MERError(
                f"the checkpoint was trained {was} standardisation; set data.standardize:"
                f" {str(state is not None).lower()}"
            )
        if state is not None:
            for name in self.spec.modalities:
                width, kept = self.spec.dim(name), state["mean"].get(name)
                if name != "text" and (kept is None or len(kept) != width):
                    raise MERError(
                        f"the checkpoint holds statistics of {0 if kept is None else len(kept)} features of {name}, but"
                        f" the data have {width}; use the data that it was trained on"
                    )
            self._scaler = Scaler(state["mean"], state["std"])

    def check_features(self, trained: Mapping[str, FeatureSpec], what: str = "the checkpoint") -> None:
        """Refuse features that are made by something else than those that a model was trained on.

        Args:
            trained: What made these, by modality, as far as it is known.
            what: The model, for the message.

        Raises:
            MERError: Naming both.
        """
        used = {key: spec for key, spec in self.corpus.made_by.items() if key in self.spec.modalities}
        found = differing(trained, used)
        if found is not None:
            raise MERError(
                f"{what} and {self.corpus.source} have {found}; extract the features as those it was trained on"
            )

    def dataset(self, split: str, source: str | None = None, heard: bool = False) -> SplitDataset:
        """The dataset of one split, of this corpus or of another one at path ``source``.

        Args:
            split: Its name.
            source: The other corpus.
            heard: Whether its text is to be what was heard.

        Raises:
            MERError: If there is no such split, the other corpus has other feature dimensions, the split holds samples
                that this corpus trains on, or the file does not tell what was heard.
        """
        corpus = self.corpus if source is None else self._other(source)
        data = self._heard(corpus, split) if heard else corpus.split(split)
        if source is not None:
            check_unseen(self.corpus, corpus, split)
        check_labels(data, self.task, corpus.source)
        if self.spec.tokens:
            check_tokens(data, self._vocabulary(), corpus.source)
        fit = self.is_cut or source is not None
        dataset = SplitDataset(data, self.spec, self.task, self._fitted_scaler(), fit, gaps_of(corpus.made_by))
        if self.batches == "dialogues":
            check_dialogues(dataset.conversation, f"{split} of {corpus.source}")
        return dataset

    def _heard(self, corpus: Corpus, split: str) -> SplitData:
        return with_heard(corpus.split(split), self.spec, f"{split} of {corpus.source}")

    def _vocabulary(self) -> int:
        """How many token ids the model's text encoders know; those of the corpus, as far as no model is there."""
        model = None if self.trainer is None else getattr(self.trainer, "lightning_module", None)
        encoders = [] if model is None else [part for part in model.modules() if isinstance(part, TextEncoder)]
        return min([encoder.vocab_size for encoder in encoders], default=self.spec.vocab_size)

    def _other(self, source: str) -> Corpus:
        if source not in self._foreign:
            corpus = same_meaning(open_corpus(source, self.cache_dir, self.nan, task=self.taken_for), self.corpus)
            corpus = with_token_ids(corpus, self.tokenizer, self.spec.tokens)
            check_compatible(corpus, self.corpus, self.spec)
            self._foreign[source] = corpus
        return self._foreign[source]

    def batch_source(self, split: str, device: torch.device | str = "cpu") -> BatchSource:
        """A re-iterable over one split: unshuffled, complete on every rank, already on the device."""
        return SplitSource(self.dataset(split), self.batch_size, device, self.batches)

    def condition_source(self, condition: Condition, device: torch.device | str = "cpu") -> BatchSource:
        """A re-iterable over what a condition tests on, with its modalities missing, like :meth:`batch_source`."""
        dataset = self.dataset(condition.split, condition.source, condition.heard)
        source = SplitSource(dataset, self.batch_size, device, self.batches)
        return MappedSource(source, lambda batch: self._under(condition, batch))

    def samples(self, condition: Condition, places: Sequence[int]) -> Batch:
        """Samples of what a condition tests on, by their places there, as a test under it has them."""
        dataset = self.dataset(condition.split, condition.source, condition.heard)
        return self._under(condition, dataset.__getitems__(places))

    def _under(self, condition: Condition, batch: Batch) -> Batch:
        if condition.pattern is None:
            return batch
        return condition.pattern(batch, self.spec, derive_key(self.seed, condition.split, condition.pattern.draws))

    def _loader(self, split: str, source: str | None = None, shuffle: bool = False) -> DataLoader[Batch]:
        dataset = self.dataset(split, source)
        if dataset.split.labels is None and split != self.predict_split:
            raise MERError(f"split {split!r} of {self.corpus.source} has no labels; such files serve predict only")
        return self._dataloader(dataset, shuffle)

    def _dataloader(self, dataset: SplitDataset, shuffle: bool = False) -> DataLoader[Batch]:
        draws = self._draws() if shuffle else None
        order: DialogueBatches | LengthBatches | WeightedBatches | None = None
        if draws is not None:
            order = self._weighted(draws, dataset)
        elif self.batches == "dialogues":
            order = self._dialogues(dataset, shuffle)
        elif self.batches == "lengths" if shuffle else self._any_order():
            order = self._lengths(dataset, shuffle)
        largest = min(self.batch_size, len(dataset)) if order is None else max(self.batch_size, *order.sizes)
        check_shared_memory(self.num_workers, largest * dataset.sample_bytes)
        return ResumableLoader(
            dataset,
            batch_size=self.batch_size if order is None else None,
            sampler=order or (EpochOrder(dataset) if shuffle else None),
            num_workers=self.num_workers,
            # Seeds of workers, which draw nothing: from the global generator, they would move what training draws.
            generator=torch.Generator(),
            collate_fn=_as_is,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            timeout=PATIENCE if self.num_workers else 0,
        )

    def _dialogues(self, dataset: SplitDataset, shuffle: bool) -> DialogueBatches:
        rows = rows_of_dialogues(dataset.conversation)
        trainer = self.trainer
        if trainer is None:
            return DialogueBatches(rows, self.batch_size, shuffle, global_seed() or 0)
        if getattr(trainer, "overfit_batches", 0):
            raise MERError("overfit_batches takes samples one by one, not whole dialogues; set data.batches: samples")
        processes, rank = trainer.world_size, trainer.global_rank
        return DialogueBatches(rows, self.batch_size, shuffle, global_seed() or 0, processes, rank)

    def _any_order(self) -> bool:
        """Whether an evaluation may read samples in the order of lengths: it gains by it, and reads all of them."""
        trainer: Any = self.trainer
        if trainer is None or self._keeps_padding() or trainer.predicting or trainer.overfit_batches:
            return False
        part = trainer.limit_test_batches if trainer.testing else trainer.limit_val_batches
        return isinstance(part, float) and part == 1.0  # else whoever asks for a part means the first of the file

    def _lengths(self, dataset: SplitDataset, shuffle: bool) -> LengthBatches:
        trainer: Any = self.trainer
        processes, rank = (1, 0) if trainer is None else (trainer.world_size, trainer.global_rank)
        if shuffle and trainer is not None and trainer.overfit_batches:
            raise MERError("overfit_batches takes samples as they come, not by length; set data.batches: samples")
        return LengthBatches(by_length(dataset), self.batch_size, shuffle, global_seed() or 0, processes, rank)

    def _draws(self) -> TrainDraws | None:
        """How the model that is trained wants its samples drawn; None for each of them once."""
        model: Any = getattr(getattr(self.trainer, "lightning_module", None), "model", None)
        found = model.offered(TrainDraws) if hasattr(model, "offered") else None
        return found if isinstance(found, TrainDraws) else None

    def _weighted(self, draws: TrainDraws, dataset: SplitDataset) -> WeightedBatches:
        trainer: Any = self.trainer
        name = trainer.lightning_module.model.name
        if self.batches != "samples" or getattr(trainer, "overfit_batches", False):
            taken = f"data.batches: {self.batches}" if self.batches != "samples" else "overfit_batches"
            raise MERError(
                f"{name} draws training samples one by one, and {taken} takes them as they are; set draw: false, so"
                f" that the loss is weighted instead"
            )
        if draws.weights is None or len(draws.weights) != len(dataset):
            raise MERError(
                f"{name} has not read this training split, so it can't say how often each sample is drawn; prepare it"
                f" with this datamodule"
            )
        processes, rank = trainer.world_size, trainer.global_rank
        return WeightedBatches(draws.weights, self.batch_size, global_seed() or 0, processes, rank)

    @override
    def train_dataloader(self) -> DataLoader[Batch]:
        return self._loader("train", shuffle=True)

    @override
    def val_dataloader(self) -> DataLoader[Batch]:
        return self._loader("valid")

    @override
    def test_dataloader(self) -> list[DataLoader[Batch]]:
        if not self.conditions:
            raise MERError("there is nothing to test: no test split, and no condition; give some in data.conditions")
        loaders = []
        for condition in self.conditions:
            dataset = self.dataset(condition.split, condition.source, condition.heard)
            if dataset.split.labels is None:
                raise MERError(f"split {condition.split!r} has no labels to test on; use predict")
            loaders.append(self._dataloader(dataset))
        places = {(c.split, None if self._is_own(c.source) else c.source): c.name for c in reversed(self.conditions)}
        check_different({name: self.dataset(*place).split for place, name in places.items()})
        return loaders

    def _is_own(self, source: str | None) -> bool:
        return source is not None and Path(source).expanduser().resolve() == Path(self.path).expanduser().resolve()

    @override
    def predict_dataloader(self) -> DataLoader[Batch]:
        return self._dataloader(self.dataset(self.predict_split))

    @override
    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self._in_training is not None and self.trainer is not None and self.trainer.training:
            batch = self._in_training(batch, self.trainer.current_epoch)
        # Cut on the CPU: finding the longest sample would make a GPU wait.
        return batch if self._keeps_padding() else batch.trim()

    def _keeps_padding(self) -> bool:
        """Whether the model, as far as one is there, needs the padding that no sample of a batch does."""
        model = getattr(self.trainer, "lightning_module", None)
        return model is None or bool(getattr(getattr(model, "model", None), "fixed_length", True))

    @override
    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch if batch.index.device == device else batch.to(device, non_blocking=True)

    @override
    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if self.trainer is None or not self.trainer.testing:
            return batch
        return self._under(self.conditions[dataloader_idx], batch)

    def origin(self) -> dict[str, Any]:
        """Where the data come from and how they are used; no split is looked at, so a training run may record it."""
        return {
            "corpus": type(self).__name__,
            "source": self.corpus.source,
            "sha256": self.corpus.sha256,
            "modalities": list(self.spec.modalities),
            "text": "tokens" if self.spec.tokens else "features",
            **({"made_by": self._made_by()} if self.corpus.made_by else {}),
        }

    def _made_by(self) -> dict[str, Any]:
        return {key: self.corpus.made_by[key].plain() for key in self.spec.modalities if key in self.corpus.made_by}

    def describe(self) -> dict[str, Any]:
        """What the run record says about the data."""
        counts = {name: len(split) for name, split in self.corpus.splits.items()}
        notes = [*self.corpus.notes, *missing_classes(self.corpus, self.task)]
        return {**self.origin(), "counts": counts, "notes": notes}

    def label_options(self) -> dict[str, Any]:
        """Options that say what the labels were taken for, so that a run's configuration decides it for other files."""
        meaning = self.corpus.meaning or Meaning()
        limits = None if meaning.range is None else list(meaning.range)
        return {"labels": meaning.kind, "label_range": limits, "label_names": list(meaning.names) or None}


def _as_is(batch: Any) -> Any:
    # The dataset has fetched a whole Batch already; DataLoader's type says list.
    return batch


class MOSI(MERDataModule):
    """CMU-MOSI: 2199 opinion clips with sentiment in [-3, 3].

    Args:
        path: An MMSA, MulT, CIDer or CASP file, or a converted store.
        batch_size: Samples a batch (and a process).
        task: See :class:`MERDataModule`.
        **options: See :class:`MERDataModule`.

    References:
        Zadeh et al., "Multimodal Sentiment Intensity Analysis in Videos", IEEE Intelligent Systems 31(6), 2016.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file, rng = f"{mkdtemp()}/clips.npz", np.random.default_rng(0)
        >>> fields = {f"{split}/audio": rng.normal(size=(4, 5, 3)) for split in ("train", "valid", "test")}
        >>> fields |= {f"{split}/regression_labels": rng.uniform(-3, 3, 4) for split in ("train", "valid", "test")}
        >>> np.savez(file, **fields)
        >>> data = MOSI(file, batch_size=4, modalities=["audio"])
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader())).audio.x.shape, data.task.shape
        (torch.Size([4, 5, 3]), (1,))
    """

    def __init__(self, path: str, batch_size: int = 32, task: Task | str = "regression", **options: Any) -> None:
        super().__init__(path, batch_size, task, **options)


class MOSEI(MERDataModule):
    """CMU-MOSEI: about 23,000 clips with sentiment in [-3, 3].

    Args:
        path: An MMSA, MulT or CASP file, or a converted store.
        batch_size: Samples a batch (and a process).
        task: See :class:`MERDataModule`.
        **options: See :class:`MERDataModule`.

    References:
        Zadeh et al., "Multimodal Language Analysis in the Wild", ACL 2018.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file, rng = f"{mkdtemp()}/clips.npz", np.random.default_rng(0)
        >>> fields = {f"{split}/audio": rng.normal(size=(4, 5, 3)) for split in ("train", "valid", "test")}
        >>> fields |= {f"{split}/regression_labels": rng.uniform(-3, 3, 4) for split in ("train", "valid", "test")}
        >>> np.savez(file, **fields)
        >>> MOSEI(file, task="seven", modalities=["audio"]).task.shape
        (7,)
    """

    def __init__(self, path: str, batch_size: int = 32, task: Task | str = "regression", **options: Any) -> None:
        super().__init__(path, batch_size, task, **options)


class IEMOCAP(MERDataModule):
    """IEMOCAP with four binary emotions: neutral, happy, sad, angry.

    Args:
        path: A MulT file, or a converted store.
        batch_size: Samples a batch (and a process).
        task: See :class:`MERDataModule`.
        **options: See :class:`MERDataModule`.

    References:
        Busso et al., "IEMOCAP: interactive emotional dyadic motion capture database", LREC 42, 2008.

    Example:
        >>> import numpy as np
        >>> from tempfile import mkdtemp
        >>> file, rng = f"{mkdtemp()}/clips.npz", np.random.default_rng(0)
        >>> fields = {f"{split}/audio": rng.normal(size=(4, 5, 3)) for split in ("train", "valid", "test")}
        >>> fields |= {f"{split}/labels": rng.integers(0, 2, (4, 4)) for split in ("train", "valid", "test")}
        >>> np.savez(file, **fields)
        >>> IEMOCAP(file, modalities=["audio"]).task.problems
        ('neutral', 'happy', 'sad', 'angry')
    """

    usual_emotions = EMOTIONS

    def __init__(self, path: str, batch_size: int = 32, task: Task | str = "emotions", **options: Any) -> None:
        super().__init__(path, batch_size, task, **options)


class SyntheticMER(MERDataModule):
    """The embedded default: a structural causal model with a known confounder; see docs/synthetic.md.

    Best possible accuracy over three classes / without neutral, percent (benchmarks/studies/bayes_synthetic.py): with
    the topic's association 91.4 / 92.4 on test_iid, 76.3 / 78.2 on test_ood, 79.3 / 81.7 on test_rct; without it 86.0 /
    87.4 on test_iid, 86.1 / 87.5 on test_ood, 86.1 / 87.4 on test_rct.

    Args:
        scm: Sizes and strengths of the causal model; its label form follows the task.
        task: See :class:`MERDataModule`.
        text: Text of this corpus is token ids.
        **options: See :class:`MERDataModule`.

    Example:
        >>> data = SyntheticMER(SyntheticConfig(train=8, valid=4, test=4), batch_size=4)
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader())).text.x.shape
        torch.Size([4, 26])
    """

    def __init__(
        self,
        scm: SyntheticConfig = DEFAULT_SCM,
        task: Task | str = "binary",
        text: Literal["tokens"] = "tokens",
        **options: Any,
    ) -> None:
        self.scm = scm
        forms: dict[str, LabelForm] = {"binary": "classes", "emotions": "emotions"}
        self.labels: LabelForm = forms.get(task if isinstance(task, str) else task.name, "continuous")
        super().__init__("SyntheticMER", task=task, text=text, **options)

    @override
    def read(self) -> Corpus:
        return generate(self.scm, self.labels)

    @override
    def label_options(self) -> dict[str, Any]:
        return {}
