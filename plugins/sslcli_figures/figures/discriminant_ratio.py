"""How well each two classes can be told apart by a line: ReLIC's linear discriminant ratio (arXiv:2010.07922)."""

from torch import Tensor

from sslcli.errors import RunError
from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.compared import Measured, measured
from sslcli_figures.figures.histograms import histogram
from sslcli_figures.figures.spreads import discriminant_ratios
from sslcli_figures.options import DiscriminantRatioOptions


def draw(options: DiscriminantRatioOptions, trial: Trial) -> Drawing:
    """A histogram over ordered pairs of classes of the ratio by the mean."""
    found = measured(options, trial, discriminant_ratios)
    figure = histogram(
        {run: pairs(one.second) for run, one in found.items()},
        "(distance of two class means)² / mean (distance inside the first)²",
        logarithmic=True,
        counted="pairs",
    )
    first = found[trial.run]
    numbers = {run: facts(one) for run, one in found.items()}
    return Drawing("Linear discriminant ratio", figure, caption(options, first), numbers)


def pairs(ratios: Tensor) -> Tensor:
    """The ratios of two different classes, those that are not zero, which a scale of powers cannot show."""
    found = ratios[ratios > 0]
    if not len(found):
        raise RunError("all classes have the same mean", "the backbone has collapsed: judge an earlier checkpoint")
    return found


def caption(options: DiscriminantRatioOptions, found: Measured) -> str:
    """What is seen."""
    length = "of unit length" if options.unit else "as they are"
    return (
        f"For each ordered pair of {len(found.names)} classes, the squared distance of their means by the mean squared "
        f"distance of two pictures of the first (at most {options.per_class} test pictures of each, vectors {length}). "
        "Further right, classes are easier to tell apart. Compare runs with each other, not with published values, "
        "whose scale is not known."
    )


def facts(found: Measured) -> dict[str, object]:
    """Medians, and the ratios of all pairs, by the mean and by the sum as it is printed in the paper."""
    return {
        "median": float(pairs(found.second).median()),
        "median_of_sums": float(pairs(found.first).median()),
        "classes": list(found.names),
        "ratios": [
            [None if first == second else value for second, value in enumerate(row)]
            for first, row in enumerate(found.second.tolist())
        ],
    }
