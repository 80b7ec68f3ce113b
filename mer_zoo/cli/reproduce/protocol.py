"""What a reproduction does otherwise than the paper, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mer_zoo.cli.reproduce.plan import Experiment

__all__ = ["differences"]


def differences(experiments: Sequence[Experiment], seeds: int) -> list[str]:
    """The differences that bear on figures, a sentence each.

    Args:
        experiments: What was run for them; all of one paper.
        seeds: How many seeds were trained.

    Example:
        >>> from mer_zoo.cli.reproduce.plan import plan
        >>> from mer_zoo.cli.reproduce.rows import chosen_rows
        >>> differences(plan(chosen_rows("CUMDF:1:CUMDF")), 5)[0]
        'Seeds: the mean of 5 here as in the manuscript.'
    """
    source = experiments[0].training.source
    sentences = {"CIDer": _cider, "CausalMER": _causalmer, "CUMDF": _cumdf}[source]
    told = [_seeds(source, seeds), *(sentence for one in experiments for sentence in sentences(one))]
    return list(dict.fromkeys(told))


def _seeds(source: str, seeds: int) -> str:
    if source == "CUMDF":
        return f"Seeds: the mean of {seeds} here{' as in' if seeds == 5 else '; of 5 in'} the manuscript."
    return f"Seeds: the mean of {seeds} here; the paper does not print how many it took."


def _cider(one: Experiment) -> Iterator[str]:
    training, nest = one.training, one.training.nest
    metrics = {figure.metric for figure in one.figures}
    if metrics & {"Acc2", "F1"}:
        yield (
            "Acc2 and F1 are of a network trained on three classes and scored without neutral samples, Acc7 is of"
            " another trained on seven, as in CIDer's code."
        )
    if "CIDerNet" in nest:
        yield (
            "The paper searches heads, layers, dropouts and the weights of MSSD anew for each experiment; here they are"
            " the same everywhere (configs/sweeps/cider.yaml searches them)."
        )
    else:
        yield (
            "The paper does not print the settings of the models that it compares with, nor whether they were trained"
            f" with data missing; here those of the model's own paper or code ({training.config}.yaml), which trains as"
            " that paper does."
        )
    if "MACI" in nest:
        yield (
            "CIDer's code chooses tau on the test set, for each metric anew; here it is chosen on validation data"
            " (tau_selection: deconfounded)."
        )
    if "CLUE" in nest:
        yield "The choice of CLUE's alpha is ours, on validation data; the paper does not print how it was chosen."
    if "MPLMM" in nest:
        yield (
            "The paper trains MPLMM under the pattern that it is tested under; here once, with whole modalities"
            " missing, as in MPLMM's own paper."
        )
        if training.corpus == "MOSI":
            yield "MPLMM is trained in one stage on CMU-MOSI; its own paper pre-trains on complete CMU-MOSEI."
    if training.split == "OOD":
        yield (
            "The paper's OOD files are not at hand; mer-zoo split-ood makes splits of other samples, by annealing and"
            " for the task, with the label shift of the paper's, as far as its tables tell it."
        )
    if training.tested != training.corpus:
        yield "The paper tests on the other corpus in features that the two share (CASP); both files must have them."
    if metrics & {"gpu_memory_GiB", "seconds_per_epoch", "parameters_without_bert"}:
        yield (
            "Table VI counts modules that DMD, DLF and CLUE on MAG-BERT build and never use (here: DMD 10,295,580,"
            " DLF 3,566,105, CLUE 759,111) and, of MPLMM and GEAR, what it does not name (2,219,066 and 300,168 here);"
            " parameters are the mean of the networks for three and seven classes; memory"
            " and seconds are those of the machine."
        )


def _causalmer(one: Experiment) -> Iterator[str]:
    training = one.training
    if {figure.model for figure in one.figures} & {"MulT", "EF-LSTM", "LF-LSTM"}:
        yield (
            "The paper quotes this row from the MulT paper; the settings are MulT's there, for its LSTMs, which have"
            " none in print, ours."
        )
    yield (
        "The paper does not print which epoch is tested; here that of the smallest validation loss."
        if "causalmer" in training.config
        else "Epochs are chosen on validation data (auto: the task's own metric)."
    )
    yield "The paper reads the GloVe vectors of MulT's aligned files; other text gives other figures."
    if "MCTN" in training.nest:
        yield (
            "A prediction of MCTN reads the text alone, so all sets without text have the same figures here; those that"
            " the paper prints differ, as of a chain for each set (chain)."
        )
    if "RAVEN" in training.nest:
        yield "RAVEN has one step a word here, as the file has; its largest shift (beta) is that of the authors' code."
    if "RMFN" in training.nest:
        yield "No code of RMFN was released; it is written from its paper, and docs say what is inferred."
    if "DCCA" in training.nest:
        yield (
            "Those who use DCCA and DCCAE as baselines train without labels first, for each rate of missing modalities,"
            " and classify by an SVM; here labels and correlations are learnt at once."
        )
    if "GCNet" in training.nest:
        yield (
            "GCNet reads whole videos, which the file has to tell; its own paper trains it for each rate of missing"
            " modalities and on other features, here once."
        )
    if "CausalMER" in training.nest:
        yield (
            "The paper's text branch starts from the pretrained albert-base-v2; here from random numbers unless"
            " --model.wrappers.albert PATH names its files."
        )
    if "balance_weight=0" in " ".join(training.options):
        yield "Table 6 switches off the balance among effects; here balance_weight 0, with the other KL term as it is."
    if any(figure.metric.startswith("contribution") for figure in one.figures):
        yield "Contributions are of right predictions in seven classes, with a missing modality zeroed."


def _cumdf(one: Experiment) -> Iterator[str]:
    yield (
        "The manuscript reads GloVe, COVAREP and MA-Net features, MulT's aligned files have FACET in the place of"
        " MA-Net."
    )
    yield "F1 is weighted and without neutral samples for sentiment; the manuscript does not print which it takes."
    if "CUMDF" in one.training.nest:
        yield (
            "There is no released code; what the manuscript leaves open is inferred (docstrings of CUMDF and CUMDFNet),"
            " above all that labels never guide a test and the inner coefficients of its penalty."
        )
        yield "The manuscript does not print which epoch is tested; here that of the smallest validation loss."
    else:
        yield (
            "The manuscript does not print the settings of the models that it compares with; here those of the model's"
            " own paper or code, on GloVe text in place of BERT."
        )
    if "TransM" in one.training.nest:
        yield (
            "TransM's decoders read the modality that they translate into; where it is missing, positions alone. Words"
            " are its steps here, the utterances of a video in its paper."
        )
    if "MRMS" in one.patterns:
        yield "Frames are missing with the ratio of MRMS in each modality, and never all of a sample (inferred)."
