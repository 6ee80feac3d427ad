"""Mugs: features of three granularities, each learned by a loss of its own on shared crops."""

from sslcli.api import Importer, Loss, Offers, hookimpl
from sslcli_mugs.import_options import MugsImportOptions
from sslcli_mugs.options import GroupOptions, InstanceOptions, LocalGroupOptions

PAPER = "arXiv:2203.14415"


@hookimpl
def sslcli_losses() -> Offers:
    """`mugs.instance`, `mugs.local_group` and `mugs.group`."""
    yield Loss(
        "mugs.instance",
        InstanceOptions,
        "sslcli_mugs.instance:InstanceDiscrimination",
        summary="find the teacher's key of another crop of the same image among a queue of keys",
        paper=PAPER,
    )
    yield Loss(
        "mugs.local_group",
        LocalGroupOptions,
        "sslcli_mugs.local_group:LocalGroupDiscrimination",
        summary="the same for each image together with its nearest neighbours out of a memory",
        paper=PAPER,
        needs=("tokens",),
    )
    yield Loss(
        "mugs.group",
        GroupOptions,
        "sslcli_mugs.group:GroupDiscrimination",
        summary="agree with the teacher on which prototypes an image falls, centred and sharpened",
        paper=PAPER,
    )


@hookimpl
def sslcli_importers() -> Offers:
    """`mugs`: the released checkpoints."""
    yield Importer(
        "mugs",
        MugsImportOptions,
        "sslcli_mugs.importing:import_mugs",
        summary="checkpoints released by the authors of Mugs: ViT-S, ViT-B and ViT-L, full or backbone only",
        paper=PAPER,
    )
