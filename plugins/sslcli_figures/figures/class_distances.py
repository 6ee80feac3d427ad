"""Distances to other classes by those inside the own: RELICv2's figure of how concentrated classes are."""

from torch import Tensor

from sslcli.evaluation.drawings import Drawing
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.compared import Measured, measured
from sslcli_figures.figures.histograms import histogram
from sslcli_figures.figures.spreads import class_distances
from sslcli_figures.options import ClassDistancesOptions


def draw(options: ClassDistancesOptions, trial: Trial) -> Drawing:
    """A histogram over classes of the ratio by members."""
    found = measured(options, trial, class_distances)
    figure = histogram(
        {run: one.first for run, one in found.items()},
        "distance to other classes / distance inside the class",
        logarithmic=False,
        counted="classes",
    )
    first = found[trial.run]
    return Drawing("Class distances", figure, caption(options, first), {run: facts(one) for run, one in found.items()})


def caption(options: ClassDistancesOptions, found: Measured) -> str:
    """What is seen."""
    length = ", brought to unit length" if options.unit else ""
    return (
        f"For each of {len(found.names)} classes the mean distance of its pictures to those of all other classes, by "
        f"the mean distance of two of its own (at most {options.per_class} test pictures of each{length}). At 1 a "
        "class is as wide as everything; further right, classes are tighter."
    )


def facts(found: Measured) -> dict[str, object]:
    """The ratios of each class."""
    return {"median": float(found.first.median()), "classes": ratios(found)}


def ratios(found: Measured) -> dict[str, dict[str, float]]:
    """By the name of the class, by members and by centres."""
    both: list[Tensor] = [found.first, found.second]
    return {
        name: {"members": members, "centres": centres}
        for name, members, centres in zip(found.names, *(values.tolist() for values in both))
    }
