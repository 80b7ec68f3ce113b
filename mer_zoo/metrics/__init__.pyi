# ruff: noqa: I001  # "as" marks what is exported; one import a module reads better than one a name
from .collections import (
    class_metrics as class_metrics,
    emotion_metrics as emotion_metrics,
    sentiment_metrics as sentiment_metrics,
)
from .confusion import (
    ClassMetric as ClassMetric,
    ConfusionMetric as ConfusionMetric,
    EmotionMetric as EmotionMetric,
    PolarityMetric as PolarityMetric,
)
from .conventions import Convention as Convention
from .contribution import ModalityContribution as ModalityContribution
from .nominal import NominalMetric as NominalMetric, OneClassMetric as OneClassMetric
from .groups import ByGroup as ByGroup, GroupValue as GroupValue, by_group as by_group
from .permutation import mcnemar as mcnemar, permutation_test as permutation_test
from .regression import Corr as Corr, MeanAbsoluteError as MeanAbsoluteError
from .robustness import AUILC as AUILC
from .significance import (
    Interval as Interval,
    bootstrap as bootstrap,
    mean_std as mean_std,
    paired_bootstrap as paired_bootstrap,
    paired_bootstrap_area as paired_bootstrap_area,
)
from .names import METRICS as METRICS

__all__: list[str]
