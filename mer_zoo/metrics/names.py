"""The names under which metrics are logged, reported and chosen by, and what each says."""

__all__ = ["METRICS"]

_POLARITY = {
    "non0": "positive against negative sentiment; neutral samples are left out",
    "has0": "negative sentiment against the rest; neutral samples count",
}
_CLASSES = {7: "the seven integers of [-3, 3]", 5: "the five integers of [-2, 2]", 3: "negative, neutral, positive"}
_CLASSES |= {2: "negative, positive"}

METRICS = {
    "MAE": "mean absolute error of the sentiment score; smaller is better",
    "Corr": "Pearson correlation of the sentiment score",
    **{f"Acc{number}": f"accuracy in {number} classes: {what}" for number, what in _CLASSES.items()},
    **{f"F1_{number}": f"F1 averaged over {number} classes, by how often each is true" for number in _CLASSES},
    **{f"F1_{number}_macro": f"F1 averaged over {number} classes, all alike" for number in _CLASSES},
    **{f"Acc2_{kind}": f"accuracy, {what}" for kind, what in _POLARITY.items()},
    **{f"F1_{kind}": f"F1, {what}; which F1 is said by data.convention" for kind, what in _POLARITY.items()},
    "Acc": "accuracy; of several emotions their average",
    "F1": "F1 averaged over classes, by how often each is true; of several emotions their average",
    "F1_macro": "F1 averaged over classes, all alike; of several emotions their average, present and absent alike",
    "UAR": "recall averaged over classes, all alike; of classes",
    "Acc_EMOTION": "accuracy of one emotion",
    "F1_EMOTION": "F1 of one emotion, or of one class",
    "Precision_CLASS": "share of right predictions among those of one class",
    "Recall_CLASS": "share of right predictions among the samples of one class",
    "AUILC": "area under the curve of a metric over missing rates",
}
