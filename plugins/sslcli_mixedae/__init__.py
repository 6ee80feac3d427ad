"""MixedAE: an autoencoder of mixed images, whose patches must find the patches of their own source."""

from sslcli.api import Augmentation, Figure, Loss, Offers, hookimpl
from sslcli_mixedae.figure_options import MixedAttentionOptions
from sslcli_mixedae.options import ComposeOptions, ContrastOptions, ReconstructionOptions

PAPER = "arXiv:2303.17152"


@hookimpl
def sslcli_augmentations() -> Offers:
    """`mixedae.mix`."""
    yield Augmentation(
        "mixedae.mix",
        ComposeOptions,
        "sslcli_mixedae.mixing:ComposeMixing",
        summary="one image of an equal share of the patches of each of several",
        paper=PAPER,
        mixes=True,
    )


@hookimpl
def sslcli_losses() -> Offers:
    """`mixedae.reconstruction` and `mixedae.homologous_contrast`, which share a forward."""
    yield Loss(
        "mixedae.reconstruction",
        ReconstructionOptions,
        "sslcli_mixedae.reconstruction:MixedReconstruction",
        summary="rebuild every image of a mixed one from its own patches",
        paper=PAPER,
        needs=("tokens", "attention_choice"),
    )
    yield Loss(
        "mixedae.homologous_contrast",
        ContrastOptions,
        "sslcli_mixedae.contrast:HomologousContrast",
        summary="patches of one source agree, and not with the others of a mixed image",
        paper=PAPER,
        needs=("tokens", "attention_choice"),
    )


@hookimpl
def sslcli_figures() -> Offers:
    """`mixed-attention`."""
    yield Figure(
        "mixed-attention",
        MixedAttentionOptions,
        "sslcli_mixedae.figures.mixed_attention:draw",
        summary="where CLS and a patch look, and which keys the patch chooses in mixed pictures",
        paper=PAPER,
        needs="network",
        shows=("mixedae.reconstruction", "mixedae.homologous_contrast"),
    )
