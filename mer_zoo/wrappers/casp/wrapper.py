r"""CASP: a trained network is adapted to another corpus by its inputs alone, in two steps.

Idea: what a network was trained on and what it meets differ in scale and habit more than in what matters. First the
representations of a sample, whole and without one modality, are drawn together (and those of others apart), so that the
network finds its way in the new inputs. Predictions that stayed as they were in the meantime are then trusted, and the
network learns them as labels. Nothing is changed but gain and offset of its LayerNorms.

Input and shapes (B batch, N samples of the target's training split, K moments):
    inner model: joint representation r (B, D), and test-time logits (B, *task shape);
    adapt: inputs of the target's training split; their labels are taken away before anything sees them;
    forward, predict: the inner model's.

Where the paper is in the code:
    contrastive loss of two views (NT-Xent)       functional/adaptation.py, nt_xent
    view without a modality                       data/missing/drop.py, blanked
    stability, pseudo-labels                      functional/adaptation.py, pseudo_labels
    both stages                                   CASP.adapt

Differences from the released code:
    * samples whose predictions changed least get labels; the released comparison takes the others (``stable: above``),
      and which quantile is meant is not said: half the samples (``quantile``);
    * the last epoch is kept; there both stages keep the one that is best on labelled validation samples of the target,
      which adaptation without labels does not have. The second stage of the released code can't run: it passes an
      option that there is not;
    * LayerNorms are found by their class, also the one behind the last layer, which the released names miss;
    * evaluation mode, without dropout; a missing modality is missing to the masks as well, where there its zeros count
      as observed;
    * samples are shuffled; classes and emotions learn the probabilities of their mean logits (ours).
It is no test-time adaptation of a stream: epochs over a split of the target. Results are marked ``transductive``.

Nests: outermost, around any trained nest whose network has a LayerNorm; the representation is the network's. In
``mer-zoo fit`` it changes nothing; ``mer-zoo adapt RUN --data.path TARGET`` puts it around a run's best checkpoint.

References:
    Guo et al., "Bridging the Gap for Test-Time Multimodal Sentiment Analysis", AAAI 2025, arXiv:2412.07121.
    Released code: zrguo/CASP (MIT); nothing copied.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource
from mer_zoo.data.missing.drop import blanked
from mer_zoo.data.source import MappedSource
from mer_zoo.errors import MERError
from mer_zoo.functional.adaptation import Stable, nt_xent, pseudo_labels
from mer_zoo.functional.counterfactual import soft_cross_entropy
from mer_zoo.model import Model, Wrapper
from mer_zoo.options import check_choice
from mer_zoo.training.modes import calibrating, evaluating
from mer_zoo.wrappers.casp.layer_norms import layer_norms, seen
from mer_zoo.wrappers.first_training import shuffled

__all__ = ["CASP", "without_labels"]

TRANSDUCTIVE = "[transductive]"


def without_labels(source: BatchSource, model: Model) -> BatchSource:
    """A source whose labels are unknown ones, so that nobody behind it can have read them.

    Example:
        >>> from mer_zoo import DataSpec, MulT, SentimentRegression
        >>> model = MulT(DataSpec(), SentimentRegression())
        >>> next(iter(without_labels([Batch.random(model.spec, model.task, size=2)], model))).target.tolist()
        [nan, nan]
    """

    def unlabelled(batch: Batch) -> Batch:
        unknown = model.task.unknown_target(len(batch)).to(batch.target.device)
        return batch.replace(target=unknown, unimodal={})

    return MappedSource(source, unlabelled)


class CASP(Wrapper):
    """Adaptation to the inputs of another corpus; see the module's text for the idea.

    Args:
        backbone: The trained model.
        epochs: Epochs of the contrastive stage.
        every: Epochs between two moments at which predictions are kept, beside the one before the first.
        label_epochs: Epochs of the stage with pseudo-labels; 0 for the contrastive stage alone.
        quantile: Share of the samples that get pseudo-labels.
        stable: Whether those that changed least do (``below``), or, as released, those above that quantile.
        temperature: Of the contrastive loss.
        lr: Learning rate of both stages, by Adam.
        clip_norm: Largest norm of a gradient.
        seed: Of the order of samples and of the modalities that a view lacks.

    Raises:
        MERError: If the network has no LayerNorm, or an option is out of range.

    Example:
        >>> from mer_zoo import DataSpec, MulT, SentimentRegression
        >>> model = CASP(MulT(DataSpec(), SentimentRegression(), dim=4, heads=2, depth=1), epochs=1, every=1)
        >>> model.adapt([Batch.random(model.spec, model.task, size=6)])
        >>> model.label, model.notes()[0]
        ('CASP[transductive](MulT)', 'CASP: gains and offsets of 39 LayerNorms were adapted to the inputs of 6 ...')
    """

    def __init__(
        self,
        backbone: Model,
        epochs: int = 15,
        every: int = 3,
        label_epochs: int = 5,
        quantile: float = 0.5,
        stable: Stable = "below",
        temperature: float = 0.5,
        lr: float = 1e-3,
        clip_norm: float = 0.8,
        seed: int = 0,
    ) -> None:
        super().__init__(backbone)
        layer_norms(backbone)
        check_choice("CASP", "stable", stable, get_args(Stable))
        for name, count, least in (("epochs", epochs, 1), ("every", every, 1), ("label_epochs", label_epochs, 0)):
            if count < least:
                raise MERError(f"{name} of CASP is {count}; give at least {least}")
        if label_epochs and every > epochs:
            raise MERError(f"every of CASP is {every}, and its epochs {epochs}, so that nothing could be compared")
        for name, value in {"temperature": temperature, "lr": lr, "clip_norm": clip_norm}.items():
            if not 0 < value < float("inf"):
                raise MERError(f"{name} of CASP is {value}; give a finite number above 0")
        if not 0 < quantile < 1:
            raise MERError(f"quantile of CASP is {quantile}; give a share between 0 and 1")
        self.epochs, self.every, self.label_epochs = epochs, every, label_epochs
        self.quantile, self.temperature, self.lr, self.clip_norm, self.seed = quantile, temperature, lr, clip_norm, seed
        self.stable: Stable = stable
        self.counts = torch.zeros(2, dtype=torch.long)  # samples, and those with pseudo-labels; part of the extra state

    def get_extra_state(self) -> Tensor:
        """What it was adapted to, in numbers."""
        return self.counts

    def set_extra_state(self, state: Tensor) -> None:
        """Take them over."""
        self.counts = state.cpu()
        self.mark = TRANSDUCTIVE if bool(self.counts[0]) else ""

    def adapt(self, train: BatchSource) -> None:
        """Adapt the network to the inputs of the target's training split; labels are taken away first.

        Args:
            train: The split.

        Raises:
            MERError: If it is empty, or a loss is not finite.
        """
        train = without_labels(train, self)
        parameters = [p for layer in layer_norms(self).values() for p in layer.parameters()]
        generator = torch.Generator().manual_seed(self.seed)
        device = parameters[0].device
        forked = [device] if device.type == "cuda" else []
        # cuDNN has no gradient of recurrent layers in evaluation mode
        with (
            evaluating(self),
            calibrating(self, False),
            torch.backends.cudnn.flags(enabled=False),
            torch.random.fork_rng(devices=forked),
        ):
            torch.manual_seed(self.seed)
            index, kept = self._contrast(train, parameters, generator)
            places, labels = pseudo_labels(kept, self.quantile, self.stable)
            if self.label_epochs:
                self._learn(train, parameters, generator, index[places], labels.to(device))
        self.set_extra_state(torch.tensor([len(index), len(places) if self.label_epochs else 0]))

    def _contrast(
        self, train: BatchSource, parameters: list[nn.Parameter], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Draw two views of each sample together; (N,) indices, and (K, N, *task shape) predictions of the moments."""
        names = self.spec.modalities
        step = self._stepping(parameters)
        index, first = self._predictions(train)
        kept = [first]
        for epoch in range(self.epochs):
            for batch in shuffled(train, generator):
                gone = names[int(torch.randint(len(names), (), generator=generator))]
                given = seen(self, batch)
                view = blanked(given, [name for name in names if name != gone], self.spec)
                whole, less = (self.backbone(each).features.float() for each in (given, view))
                step(nt_xent(whole, less, self.temperature))
            if (epoch + 1) % self.every == 0:
                kept.append(self._predictions(train)[1])
        return index, torch.stack(kept)

    def _learn(
        self,
        train: BatchSource,
        parameters: list[nn.Parameter],
        generator: torch.Generator,
        labelled: Tensor,
        labels: Tensor,
    ) -> None:
        """Learn the pseudo-labels of the samples whose indices are ``labelled``."""
        label_of = {index: row for row, index in enumerate(labelled.tolist())}
        step = self._stepping(parameters)
        for _ in range(self.label_epochs):
            for batch in shuffled(train, generator):
                rows = [row for row, index in enumerate(batch.index.tolist()) if index in label_of]
                if not rows:
                    continue
                chosen = batch.take(rows)
                wanted = labels[[label_of[index] for index in chosen.index.tolist()]]
                logits = self.backbone.predict(seen(self, chosen)).logits.float()
                if self.task.is_classification:
                    step(soft_cross_entropy(wanted, logits).mean())
                else:
                    step((logits - wanted).abs().mean())

    def _stepping(self, parameters: list[nn.Parameter]) -> Callable[[Tensor], None]:
        optimizer = torch.optim.Adam(parameters, lr=self.lr)

        def step(loss: Tensor) -> None:
            if not loss.isfinite():
                raise MERError("the adaptation has a loss that is not finite; lower lr of CASP")
            slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter.grad = slope
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            self.eval()  # whoever keeps an answer until then forgets that of the weights before

        return step

    @torch.no_grad()
    def _predictions(self, train: BatchSource) -> tuple[Tensor, Tensor]:
        """(N,) indices in the order of the split, and the (N, *task shape) test-time logits."""
        found = [(self.backbone.predict(seen(self, batch)).logits.float(), batch.index) for batch in train]
        if not found:
            raise MERError("there are no samples to adapt to; give a split with some")
        logits, index = (torch.cat(column) for column in zip(*found, strict=True))
        order = index.argsort()
        return index[order].cpu(), logits[order].cpu()

    @override
    def notes(self) -> list[str]:
        return [self._told(), *super().notes()]

    def _told(self) -> str:
        samples, labelled = self.counts.tolist()
        if not samples:
            return "CASP changed nothing: it acts after training only; mer-zoo adapt puts it around a trained run"
        layers = len(layer_norms(self))
        return (
            f"CASP: gains and offsets of {layers} LayerNorms were adapted to the inputs of {samples} unlabelled samples"
            f" of the target, {labelled} of them with pseudo-labels; the results are transductive"
        )
