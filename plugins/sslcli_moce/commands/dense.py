"""The backbone whose features are clustered."""

from typing import TYPE_CHECKING, Literal

from sslcli.cli.output import talk
from sslcli.errors import UserError

if TYPE_CHECKING:
    from sslcli.evaluation.subjects import Subject
    from sslcli.nn import Backbone

Pool = Literal["auto", "cls", "mean"]


def open_dense(run: str, pool: Pool) -> "Subject":
    """The backbone that RUN names, which timm must be able to build again. Raises UserError."""
    from sslcli.evaluation.opening import open_subject

    subject = open_subject(run, pool, note=talk)
    backbone = getattr(subject.encoder, "backbone", None)
    if backbone is None:
        raise UserError(f"{run} is no backbone to keep beside the clusters", "name a run, a checkpoint or timm:NAME")
    if not backbone.timm_config():
        refuse(run, backbone)
    if pool == "mean" and not hasattr(backbone.exported, "num_prefix_tokens"):
        return open_subject(run, "auto")  # a network without tokens: its head may norm what it pools
    return subject


def refuse(run: str, backbone: "Backbone") -> None:
    """The error for a backbone that timm cannot build."""
    from sslcli.nn.experts import experts_in

    if any(True for _ in experts_in(backbone)):
        raise UserError(
            f"{run} is a mixture of experts, and clusters are found by a dense backbone",
            "name the run that it began with, or take a backbone out of it: sslcli moce select-expert",
        )
    raise UserError(
        f"timm cannot build the {type(backbone).__name__} of {run}, so it cannot be kept beside the clusters",
        "name a run with a ViT or ResNet of timm, or timm:NAME",
    )
