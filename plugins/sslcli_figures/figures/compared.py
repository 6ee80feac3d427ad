"""A measure of how far classes are spread, of a run and of another beside it on the same pictures."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sslcli.evaluation.samples import of_another
from sslcli.evaluation.trial import Trial
from sslcli_figures.figures.vectors import Vectors, labelled, members, several
from sslcli_figures.options import SpreadOptions

Measure = Callable[[Tensor, Tensor, list[int]], tuple[Tensor, Tensor]]  # of vectors, labels and classes


@dataclass(frozen=True)
class Measured:
    """The two variants of a measure, and the classes that it was made of."""

    first: Tensor
    second: Tensor
    names: tuple[str, ...]


def measured(options: SpreadOptions, trial: Trial, measure: Measure) -> dict[str, Measured]:
    """By the name of the run: its own, and that of the other where one is named."""
    trials = [trial, *([of_another(trial, options.against)] if options.against else [])]
    return {one.run: measured_of(options, one, measure) for one in trials}


def measured_of(options: SpreadOptions, trial: Trial, measure: Measure) -> Measured:
    """Of one run. Classes with one picture only are left out."""
    rows, labels, classes = labelled(trial)
    numbers = several(labels, list(range(len(classes))), 2)
    found = Vectors(rows, labels, classes).take(members(labels, numbers, options.per_class, options.seed))
    found = found.unit() if options.unit else found
    assert found.labels is not None
    first, second = measure(found.rows, found.labels, numbers)
    return Measured(first, second, tuple(classes[number] for number in numbers))
