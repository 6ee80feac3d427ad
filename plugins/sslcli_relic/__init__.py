"""ReLIC and RELICv2: contrast between crops, and the same likelihoods whichever crop is asked."""

from sslcli.api import Importer, Loss, Offers, hookimpl
from sslcli_relic.import_options import Relicv2ImportOptions
from sslcli_relic.options import RelicOptions, Relicv2Options


@hookimpl
def sslcli_losses() -> Offers:
    """`relic` and `relicv2`."""
    yield Loss(
        "relic",
        RelicOptions,
        "sslcli_relic.loss:Relic",
        summary="find the teacher's key of another crop in the batch, as surely from either crop",
        paper="arXiv:2010.07922",
    )
    yield Loss(
        "relicv2",
        Relicv2Options,
        "sslcli_relic.loss:Relicv2",
        summary="the same from large and small crops to large ones, among a few negatives drawn from the batch",
        paper="arXiv:2201.05119",
    )


@hookimpl
def sslcli_importers() -> Offers:
    """`relicv2`: the released checkpoints."""
    yield Importer(
        "relicv2",
        Relicv2ImportOptions,
        "sslcli_relic.importing:import_relicv2",
        summary="checkpoints released by the authors of RELICv2: ResNets of seven sizes, pickles of JAX and Haiku",
        paper="arXiv:2201.05119",
    )
