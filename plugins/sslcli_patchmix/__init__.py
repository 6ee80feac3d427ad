"""PatchMix: pictures made of patches of several, and contrast whose targets are how much two of them share."""

from sslcli.api import Augmentation, Figure, Importer, Loss, Offers, hookimpl
from sslcli_patchmix.figure_options import SimilarityFigureOptions
from sslcli_patchmix.import_options import PatchMixImportOptions
from sslcli_patchmix.mix_options import PatchMixOptions
from sslcli_patchmix.options import MixToMixOptions, MixToOriginOptions, OriginToOriginOptions

PAPER = "arXiv:2306.12243"
LOSS = "sslcli_patchmix.loss:SimilarityContrast"  # what differs between the three is which views meet


@hookimpl
def sslcli_augmentations() -> Offers:
    """`patchmix`."""
    yield Augmentation(
        "patchmix",
        PatchMixOptions,
        "sslcli_patchmix.augmentation:PatchMix",
        summary="each image becomes a patchwork of itself and the next ones of the batch",
        paper=PAPER,
        mixes=True,
    )


@hookimpl
def sslcli_losses() -> Offers:
    """`patchmix.origin_to_origin`, `patchmix.mix_to_origin` and `patchmix.mix_to_mix`."""
    yield Loss(
        "patchmix.origin_to_origin",
        OriginToOriginOptions,
        LOSS,
        summary="find the teacher's key of another crop of the same image in the batch",
        paper=PAPER,
    )
    yield Loss(
        "patchmix.mix_to_origin",
        MixToOriginOptions,
        LOSS,
        summary="find the keys of all images that a mixed one is made of, each by its share",
        paper=PAPER,
    )
    yield Loss(
        "patchmix.mix_to_mix",
        MixToMixOptions,
        LOSS,
        summary="find the keys of mixed images by how much of them is the same",
        paper=PAPER,
    )


@hookimpl
def sslcli_importers() -> Offers:
    """`patchmix`: the released checkpoints."""
    yield Importer(
        "patchmix",
        PatchMixImportOptions,
        "sslcli_patchmix.importing:import_patchmix",
        summary="checkpoints of pre-training released by the authors of PatchMix: ViT-T, ViT-S and ViT-B",
        paper=PAPER,
    )


@hookimpl
def sslcli_figures() -> Offers:
    """`similarity`."""
    yield Figure(
        "similarity",
        SimilarityFigureOptions,
        "sslcli_patchmix.figure:draw",
        summary="how alike pictures are to one of their class, to two that resemble it, and to six others",
        paper=PAPER,
        shows=("patchmix.origin_to_origin", "patchmix.mix_to_origin", "patchmix.mix_to_mix"),
    )
