"""Options to try an offer with, and the view groups that a loss reads. No torch."""

from collections.abc import Mapping
from typing import Any

from sslcli.api import Offer, Options, Reads, ViewShape

GIVEN: Mapping[str, Any] = {"size": 16, "source": "global"}  # what the host's own classes ask for without a default


def example_options(offer: Offer, **given: Any) -> Options:
    """The options of an offer at their defaults; what has none takes the first of its `Field(examples=[...])`."""
    return offer.options(**{**required_options(offer), **given})


def required_options(offer: Offer) -> dict[str, Any]:
    """A value for each option that has no default."""
    fields = offer.options.model_fields
    examples = {name: field.examples[0] for name, field in fields.items() if field.is_required() and field.examples}
    return {**{name: value for name, value in GIVEN.items() if name in fields}, **examples}


def views_read(reads: Reads, *, size: int = 16) -> dict[str, ViewShape]:
    """View groups that hold every crop that a loss reads: two crops unless it names more."""
    crops = {"global": 2}
    for view in (*reads.student, *reads.teacher, *reads.images, *reads.plans):
        group, _, crop = view.partition(":")
        crops[group] = max(crops.get(group, 2), int(crop or 0) + 1)
    return {group: ViewShape(count, size) for group, count in crops.items()}
