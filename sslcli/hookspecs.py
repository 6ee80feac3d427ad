"""The hooks of a plugin. Each takes no argument and yields records of `sslcli.api`."""

from collections.abc import Iterable

import pluggy

from sslcli.api import Augmentation, Backbone, Evaluation, Figure, Importer, Loss, Routing

hookspec = pluggy.HookspecMarker("sslcli")


@hookspec
def sslcli_losses() -> Iterable[Loss]:  # type: ignore[empty-body]
    """Terms to minimise."""


@hookspec
def sslcli_augmentations() -> Iterable[Augmentation]:  # type: ignore[empty-body]
    """Image to views, or views to mixed views."""


@hookspec
def sslcli_backbones() -> Iterable[Backbone]:  # type: ignore[empty-body]
    """Views to tokens and features."""


@hookspec
def sslcli_routings() -> Iterable[Routing]:  # type: ignore[empty-body]
    """Which expert a token goes to, in a mixture-of-experts backbone."""


@hookspec
def sslcli_importers() -> Iterable[Importer]:  # type: ignore[empty-body]
    """Weights that other code released, to a run."""


@hookspec
def sslcli_evaluations() -> Iterable[Evaluation]:  # type: ignore[empty-body]
    """Judgements of a trained backbone."""


@hookspec
def sslcli_figures() -> Iterable[Figure]:  # type: ignore[empty-body]
    """Pictures of a trained backbone."""
