"""CUMDF: a teacher that sees everything, and may know the label, teaches a student that does not.

Idea: the teacher reads complete batches, and while it is trained the embedding of the true label guides its attention.
The student reads views in which frames, words and whole modalities are missing, and never knows the label: its guide is
the expectation over the classes that the view itself makes likely. The student is drawn towards the teacher, more
strongly in the modalities that contribute little.

Input and shapes (B batch, m each modality in use, d width):
    inner model: hidden[m] (B, T_m, d_m) of at least two modalities, features (B, F);
    output.features (B, D + F), H of LG-MMT beside the inner features, or H alone (B, D) of a network that has an
    LG-MMT; output.logits: forward and predict are the same, and are the student's (or, with ``role="teacher"``, the
    teacher's without labels).

Where the manuscript is in the code (by equation):
    LG-MMT (5-9)                         layers/label_guided.py; behind another network wrappers/cumdf/guided_head.py
    distillation SRD (10)                wrappers/cumdf/attribution.py, Distillation, functional/attribution.py, srd
    attribution and its loss (11-16)     wrappers/cumdf/attribution.py, ModalityAttribution, functional/attribution.py
    penalty (17), objective (19)         functional/attribution.py, weight_penalty; CUMDF._student_step
    incomplete views                     wrappers/cumdf/views.py, data/missing/views.py
    teacher                              wrappers/cumdf/teacher.py

There is no released code. What the manuscript leaves open is inferred:
    * it guides every sample by its own label and says nothing of test time, which would leak the answer; here only a
      teacher in training is given labels, each hidden with probability ``label_drop`` so that it learns to do without;
    * the representation that the student is drawn to is guided by the true labels (``teacher_labels``);
    * the teacher's objective is task loss and penalty;
    * the coefficients of the penalty (``lambda_q``, ``lambda_k``, ``lambda_v``) are not printed. With 1, and still with
      .01, Adam takes W_Q, W_K and W_V to zero within a few epochs, and every attention weight is the uniform one; the
      default of 1e-4 lets them live. The validation loss on SyntheticMER does not decide between them
      (docs/results.md);
    * the teacher is a copy of the student's network with its first weights (or those of a checkpoint);
    * modalities that contribute less get more weight in a distance of their pooled sequences; without attribution all
      weigh the same.

What is kept where: a frozen teacher is no part of the state, so a student's checkpoint predicts without the teacher's
file. A teacher trained jointly is part of the checkpoint; `mer-zoo export --student` leaves it out.

Reproduction: there is no released code; on SyntheticMER see docs/results.md, no figure of the manuscript yet.

References:
    "Label-Guided Enhancement: A Distillation Framework for Uncertainty-Aware Multimodal Emotion Recognition", anonymous
    manuscript. No released code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from mer_zoo.batch import Batch, BatchSource, Output, Step
from mer_zoo.data.missing.pattern import derive_key
from mer_zoo.data.missing.views import IncompleteViews
from mer_zoo.distributed import distributed_mean
from mer_zoo.functional.attribution import distillation_weights, weight_penalty
from mer_zoo.functional.draws import dropped_at, uniform
from mer_zoo.model import Model, Shown, Wrapper
from mer_zoo.options import check_weights
from mer_zoo.wrappers.cumdf.attribution import (
    CounterfactualHead,
    Distillation,
    Effect,
    ModalityAttribution,
    Projection,
    Target,
)
from mer_zoo.wrappers.cumdf.checks import Role, TeacherLabels, check_inner, check_numbers, check_words, only_step
from mer_zoo.wrappers.cumdf.guided_head import Guided, GuidedHead
from mer_zoo.wrappers.cumdf.teacher import Teacher, load_teacher
from mer_zoo.wrappers.cumdf.views import UncertainMissing, stack_views

__all__ = ["CUMDF"]

LAMBDA = 1e-4


class CUMDF(Wrapper):
    """Label-guided teacher and student; see the module's text for the idea and what is inferred.

    A term of weight 0 is not computed and has no parameters. Without a teacher, the same network on the same incomplete
    views remains. Tests and predictions have the effects ``attribution_text`` and so on, (B,), of the predicted class.

    Args:
        backbone: The network.
        role: Train a ``student``, or a ``teacher`` alone on complete data.
        teacher: The student's: ``joint`` trains it too, in an optimiser step of its own; the path of a checkpoint
            freezes it; None is none.
        dim: Width of LG-MMT behind a network that has none; by default that of its first hidden sequence.
        heads: Its heads; by default 4.
        guided: Whether it is guided by labels (false: the ablation "w/o LG-MMT"); by default it is.
        out_dropout: Its dropout in front of the classifier; by default 0.
        srd_weight: Weight of the distance to the teacher.
        attribution_weight: Weight of the attribution's loss (0: the ablation "w/o attribution").
        penalty_weight: Weight of the penalty of LG-MMT's attention.
        lambda_q: Coefficient of W_Q inside the penalty.
        lambda_k: Coefficient of W_K.
        lambda_v: Coefficient of W_V.
        alpha: The manuscript's alpha_st, the strength inside the distance.
        label_drop: Probability p_drop that a label is hidden from a teacher in training.
        teacher_labels: Whether what the student is drawn to is guided by the ``truth`` or by the ``expected`` label.
        projection: Whether the distance has learned projections on ``both`` sides, or ``none``.
        effect: Which effect the attribution measures, see
            :class:`~mer_zoo.wrappers.cumdf.attribution.ModalityAttribution`.
        counterfactual_head: Whether counterfactual predictions have a head of their ``own``, W_s_con of Eq. 12, or
            the student's, ``shared``.
        views: Incomplete views of each batch; the teacher sees the batch once.
        max_rate: Largest rate of missing frames in the views.
        set_rate: Share of the samples that also lose whole modalities.
        seed: Seed of the views and of hidden labels; None for the global one.

    Raises:
        MERError: If the inner model lacks hidden sequences, has replaced its logits, makes incomplete views itself or
            takes several steps, or for an option out of range; when trained, if the teacher's checkpoint does not fit.

    Example:
        >>> from mer_zoo.batch import DataSpec
        >>> from mer_zoo.backbones import LFLSTM
        >>> from mer_zoo.task import SentimentClassification
        >>> spec, task = DataSpec(), SentimentClassification(3)
        >>> model = CUMDF(LFLSTM(spec, task))
        >>> teacher, student = model.steps(Batch.random(spec, task, size=2))
        >>> sorted(student.losses)
        ['cumdf/attribution', 'cumdf/penalty', 'cumdf/srd', 'cumdf/unimodal']
    """

    shown_effects: ClassVar[Mapping[str, Shown]] = ModalityAttribution.shown
    file_options: ClassVar[Mapping[str, tuple[str, ...]]] = {"teacher": ("joint",)}
    for_prediction: ClassVar[Mapping[str, Any]] = {"role": "student", "teacher": None, "attribution_weight": 0.0}

    def __init__(
        self,
        backbone: Model,
        role: Role = "student",
        teacher: str | None = "joint",
        dim: int | None = None,
        heads: int | None = None,
        guided: bool | None = None,
        out_dropout: float | None = None,
        srd_weight: float = 0.1,
        attribution_weight: float = 0.1,
        penalty_weight: float = 0.1,
        lambda_q: float = LAMBDA,
        lambda_k: float = LAMBDA,
        lambda_v: float = LAMBDA,
        alpha: float = 1.0,
        label_drop: float = 0.5,
        teacher_labels: TeacherLabels = "truth",
        projection: Projection = "both",
        effect: Effect = "unimodal",
        counterfactual_head: CounterfactualHead = "shared",
        views: int = 1,
        max_rate: float = 0.7,
        set_rate: float = 0.5,
        seed: int | None = None,
    ) -> None:
        super().__init__(backbone)
        check_inner(backbone)
        words = {"projection": projection, "effect": effect, "counterfactual_head": counterfactual_head}
        check_words(role=role, teacher_labels=teacher_labels, **words)
        weights = {"srd_weight": srd_weight, "attribution_weight": attribution_weight, "penalty_weight": penalty_weight}
        lambdas = {"lambda_q": lambda_q, "lambda_k": lambda_k, "lambda_v": lambda_v}
        check_weights("CUMDF", {**weights, **lambdas, "alpha": alpha})
        check_numbers(label_drop, views)
        self.role, self.attribution_weight = role, attribution_weight
        self.penalty_weight, self.lambdas = penalty_weight, (lambda_q, lambda_k, lambda_v)
        self.label_drop, self.teacher_labels, self.num_views = label_drop, teacher_labels, views
        self.guided = GuidedHead(backbone, dim, heads, guided, out_dropout)
        self.feature_dim = self.guided.feature_dim
        self.views = IncompleteViews(UncertainMissing(max_rate, set_rate), seed)
        backbone.drop_head()
        self.replaces_logits = True
        self.srd_weight = srd_weight if role == "student" and teacher is not None and alpha else 0.0
        self.mark = "[teacher]" if role == "teacher" else "" if self.srd_weight else "[no teacher]"
        self.teacher_path = None if teacher == "joint" or not self.srd_weight else teacher
        self._frozen: list[Teacher] = []  # in a list, and so neither parameter nor state nor ever in training mode
        self._build(teacher == "joint", alpha, projection, effect, counterfactual_head == "own")

    def _build(self, joint: bool, alpha: float, projection: Projection, effect: Effect, own_head: bool) -> None:
        """What only training needs."""
        names, dim = tuple(self.guided.axes), self.guided.dim
        self.teacher = Teacher(self.backbone, self.guided) if joint and self.srd_weight else None
        self.num_steps = 2 if self.teacher is not None else 1
        self.distillation: Distillation | None = None
        if self.srd_weight:
            self.distillation = Distillation(names, self.guided.joint_dim, dim, alpha, projection)
        self.attribution: ModalityAttribution | None = None
        if self.attribution_weight and self.role == "student":
            width = self.feature_dim if own_head else 0
            self.attribution = ModalityAttribution(
                self.task, names, dim, self.guided.context_dim, effect, own_head=width
            )

    @override
    def forward(self, batch: Batch) -> Output:
        return self._answer(self.backbone(batch), batch)

    @override
    def predict(self, batch: Batch) -> Output:
        return self._answer(self.backbone.predict(batch), batch)

    def _answer(self, output: Output, batch: Batch) -> Output:
        """Replace features and logits; no label is read."""
        found: Guided = self.guided(self.backbone, output, batch)
        effects = {name: value for name, value in output.effects.items() if name != "factual"}
        if self.attribution is not None and (self.explaining or not self.calibrating):
            effects |= self.attribution.of_samples(found, partial(self.guided.rescore, self.backbone, found.mask))
        return output.replace(logits=found.logits, features=found.features, effects=effects)

    @override
    def prepare(self, train: BatchSource) -> None:
        super().prepare(train)
        if self.teacher is not None:
            self.teacher.backbone.prepare(train)  # a copy has a state of its own
        if self.teacher_path is not None:
            self._frozen_teacher()  # a wrong path is told before the first epoch

    @override
    def steps(self, batch: Batch) -> Iterator[Step]:
        if self.role == "teacher":
            yield self._teacher_step(self.backbone, self.guided, batch)[0]
            self.views.count += self.training
            return
        goal = None
        if self.teacher is not None:
            step, goal = self._teacher_step(self.teacher.backbone, self.teacher.guided, batch)
            yield step
        elif self.teacher_path is not None:
            goal = self._frozen_goal(batch)
        yield self._student_step(batch, goal)

    def _teacher_step(self, backbone: Model, guided: GuidedHead, batch: Batch) -> tuple[Step, Target]:
        """Train a teacher on the complete batch; what a student is drawn to comes of the same pass of the network."""
        step = only_step(backbone, batch)
        hidden = self._hidden_labels(step.batch)
        found: Guided = guided(backbone, step.output, step.batch, step.batch.target, hidden)
        losses = {**step.losses, **self._penalty(backbone, guided)}
        output = step.output.replace(logits=found.logits, features=found.features)
        with torch.no_grad():
            known = step.batch.target if self.teacher_labels == "truth" else None
            goal = Target(guided.join(backbone, found.x, found.mask, known), found.pooled())
        return replace(step, output=output, losses=losses), goal

    def _hidden_labels(self, batch: Batch) -> Tensor:
        """(B,) bool, the samples whose label the teacher does not get."""
        key = derive_key(self.views.seed, f"labels {self.views.count}", self.views.pattern)
        draws = uniform(key, batch.index, torch.zeros(1, dtype=torch.long, device=batch.index.device))
        return dropped_at(self.label_drop, draws).squeeze(1)

    def _frozen_teacher(self) -> Teacher:
        if not self._frozen:
            assert self.teacher_path is not None
            self._frozen.append(load_teacher(self.teacher_path, self, self.backbone, self.guided))
        here = next(self.guided.parameters())
        if next(self._frozen[0].parameters()).device != here.device:
            self._frozen[0].to(here.device)
        return self._frozen[0]

    def _frozen_goal(self, batch: Batch) -> Target:
        teacher = self._frozen_teacher()
        with torch.inference_mode():
            found = teacher(batch, batch.target if self.teacher_labels == "truth" else None)
            h, pooled = found.h, found.pooled()
        return Target(h.clone(), pooled.clone())  # tensors of inference mode may not be kept for a gradient

    def _student_step(self, batch: Batch, goal: Target | None) -> Step:
        """L = L_task + a L_reg + b L_cou + c L_SRD on incomplete views (Eq. 19)."""
        view = stack_views([self.views(batch, self.spec) for _ in range(self.num_views)])
        step = only_step(self.backbone, view)
        found: Guided = self.guided(self.backbone, step.output, step.batch)
        losses = {**step.losses, **self._penalty(self.backbone, self.guided)}
        weights = found.h.new_full((len(self.guided.axes),), 1 / len(self.guided.axes))
        if self.attribution is not None:
            rescore = partial(self.guided.rescore, self.backbone, found.mask)
            target = step.batch.target
            shares, balance, unimodal = self.attribution(found.x, found.mask, found.context, rescore, target)
            losses["cumdf/attribution"] = self.attribution_weight * balance
            if unimodal is not None:
                losses["cumdf/unimodal"] = unimodal
            weights = distillation_weights(shares)
        if self.distillation is not None and goal is not None:
            distance = self.distillation(Target(found.h, found.pooled()), goal.repeat(self.num_views), weights)
            losses["cumdf/srd"] = self.srd_weight * distributed_mean(distance)
        return replace(step, output=step.output.replace(logits=found.logits, features=found.features), losses=losses)

    def _penalty(self, backbone: Model, guided: GuidedHead) -> dict[str, Tensor]:
        penalised = guided.penalised(backbone) if self.penalty_weight and any(self.lambdas) else []
        return {"cumdf/penalty": self.penalty_weight * weight_penalty(penalised, self.lambdas)} if penalised else {}

    @override
    def diagnostics(self) -> dict[str, float]:
        shares = {} if self.attribution is None else self.attribution.proportions()
        return {**super().diagnostics(), **{f"cumdf/share_{name}": share for name, share in shares.items()}}
