"""BYOL: foretell the teacher's projection of another crop of the same image, without negatives."""

from sslcli.api import Importer, Loss, Offers, hookimpl
from sslcli_byol.import_options import ByolImportOptions
from sslcli_byol.options import BootstrapOptions


@hookimpl
def sslcli_losses() -> Offers:
    """`byol`."""
    yield Loss(
        "byol",
        BootstrapOptions,
        "sslcli_byol.loss:Bootstrap",
        summary="foretell the teacher's projection of another crop of the same image; no negatives",
        paper="arXiv:2006.07733",
    )


@hookimpl
def sslcli_importers() -> Offers:
    """`byol`: the released checkpoints."""
    yield Importer(
        "byol",
        ByolImportOptions,
        "sslcli_byol.importing:import_byol",
        summary="checkpoints released by the authors of BYOL: ResNet-50 and ResNet-200 (2x), pickles of JAX and Haiku",
        paper="arXiv:2006.07733",
    )
