"""Hand an ordinary backbone over: extract it, save it, open it with plain timm, and compare it with the mixture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslcli.errors import RunError, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sslcli.data.source import Source
    from sslcli_moce.commands.mixture import Mixture

COMPARED = 16  # pictures
TOLERANCE = 1e-4  # the largest difference of any feature between the two


@dataclass(frozen=True)
class Handed:
    """A backbone in its folder."""

    folder: Path
    experts: tuple[int, ...]
    cluster: int
    gates: tuple[float, ...]  # of each layer, for that cluster: what was folded in
    gate: float  # the mean over the layers of the probability that the gate gives these experts
    difference: float  # the largest, of any feature of some pictures, from those of the mixture


def hand_over(
    mixture: "Mixture", cluster: int, folder: Path, source: "Source | None", note: Callable[[str], None]
) -> Handed:
    """Extract the experts of a cluster into a folder. Raises RunError when they do not give the mixture's features."""
    from sslcli.nn.stored import save_backbone
    from sslcli_moce.extraction import certainty, extract_expert, gate_values, paths_of
    from sslcli_moce.selection import named

    experts = paths_of(mixture.backbone)[cluster]
    ordinary = extract_expert(mixture.backbone, cluster)
    if not ordinary.timm_config():
        raise UserError(f"timm has no backbone such as this {type(ordinary).__name__}", "train the mixture with a vit")
    network = f"{mixture.description.get('network', 'backbone')} with experts {named(experts)}"
    picked = {"run": mixture.run, "experts": list(experts), "cluster": cluster}
    save_backbone(folder, ordinary, dict(mixture.description) | {"network": network, "moce": picked})
    difference = largest_difference(mixture, cluster, folder, shown(mixture, source))
    if not difference <= TOLERANCE:
        raise RunError(
            f"the features of the extracted backbone differ from the mixture's by up to {difference:.1e}",
            "this is a bug: please report it",
        )
    gates, gate = gate_values(mixture.backbone, cluster), certainty(mixture.backbone, cluster)
    return Handed(folder, experts, cluster, gates, gate, difference)


def shown(mixture: "Mixture", source: "Source | None") -> "Tensor":
    """Pictures of a source as the backbone is shown them, normalised `[B, 3, S, S]`; noise where there are none."""
    import torch

    from sslcli.data.fingerprint import spread
    from sslcli.evaluation.card import normalise
    from sslcli.evaluation.features import Pictures, load

    card = mixture.card
    if source is not None:
        pictures = Pictures(source, card, spread(len(source), COMPARED))
        for crops, _, _ in load(pictures, COMPARED, workers=0):
            if len(crops):
                return normalise(crops, card)
    noise = torch.Generator().manual_seed(0)
    return torch.randn(COMPARED, 3, card.image_size, card.image_size, generator=noise)


def largest_difference(mixture: "Mixture", cluster: int, folder: Path, images: "Tensor") -> float:
    """Between what plain timm makes of a folder and the mixture that is told the cluster, over all tokens."""
    import timm
    import torch

    plain: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    backbone, columns = mixture.backbone.eval(), {"cluster": torch.full((len(images),), cluster)}
    with torch.no_grad():
        wanted = backbone.encode(backbone.embed(images), columns=columns)
        theirs = plain.forward_features(images)
        vectors = plain.forward_head(theirs)
    return float(max((theirs - wanted.normed).abs().max(), (vectors - wanted.pooled).abs().max()))
