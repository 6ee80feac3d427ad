"""Routings by the cluster of an image: every token of an image takes the same experts (MoCE, arXiv:2402.05382).

    p     = softmax(W C[x] / temperature)                      W [E, D] of each block, C[x] the centroid of x's cluster
    gates = top k of softmax(W C[x] / temperature + noise)     not normalised again: the output counts by its gate
    loss  = imbalance * CV^2(sum over images of p) + confidence * mean entropy of p

The gate depends on the cluster alone, so that all there is to know of a routing is a table of clusters by experts.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.experts import Columns, Route
from sslcli.nn.gates import entropies, importance, sample_noise, squared_variation, straight_through, top_gates
from sslcli_moce.options import ClusterOptions, ClusterRoutingOptions, FixedRoutingOptions
from sslcli_moce.placing import Placing, row_of


class ClusterConditional(nn.Module, ABC):
    """What routings by cluster share: the clusters, and the gates of each of them."""

    options: ClusterOptions

    def __init__(self, options: ClusterOptions, context: Context, *, trained: bool = False) -> None:
        super().__init__()
        self.placing = context.once("moce.placing", lambda: Placing(options.clusters, context, trained=trained))

    def recognise(self, images: Tensor) -> dict[str, Tensor]:
        """The clusters of images that nobody has told about; asked once, whatever the number of blocks."""
        return self.placing.recognise(images)

    @property
    def centroids(self) -> Tensor:
        """The unit centroids of the clusters, `[m, D]`, as they were found."""
        return self.placing.centroids

    @property
    def sizes(self) -> Tensor:
        """How many pictures of the training set each cluster has, `[m]`."""
        return torch.tensor(self.placing.sizes)

    def probabilities(self) -> Tensor:
        """How much each cluster wants each expert, `[m, E]`, without noise."""
        return self.table()[:-1]

    def gates(self) -> Tensor:
        """What multiplies the experts' outputs for an image of each cluster when judged, `[m, E]`."""
        return self.opened(self.probabilities())

    @abstractmethod
    def table(self) -> Tensor:
        """The probabilities of every cluster, and of no cluster, `[m + 1, E]`."""

    @abstractmethod
    def opened(self, probabilities: Tensor) -> Tensor:
        """Gates of probabilities `[..., E]`."""


class ClusterRouting(ClusterConditional):
    """A learned gate on the centroid (`moce.cluster`)."""

    def __init__(self, options: ClusterRoutingOptions, context: Context) -> None:
        super().__init__(options, context, trained=options.centroids == "trained")
        if options.top_k > options.experts:
            raise UserError(f"routing.top_k is {options.top_k}, of {options.experts} experts", "choose at most as many")
        self.options: ClusterRoutingOptions = options
        self.noise = 1.0 / options.experts if options.noise is None else options.noise
        self.key, self.seed = f"moce/{context.block}", context.seed
        self.gate = nn.Linear(self.centroids.shape[1], options.experts, bias=False)
        nn.init.normal_(self.gate.weight, std=options.gate_deviation)

    def forward(self, tokens: Tensor, columns: Columns | None) -> Route:
        """Gates `[B, 1, E]`: the same for all tokens `[B, N, D]` of an image."""
        cluster = row_of(self.placing.of(columns), len(self.centroids))
        with torch.autocast(tokens.device.type, enabled=False):
            logits = self.logits()
            chosen = logits[cluster]
            clear = chosen.softmax(dim=-1)
            noisy = chosen + self.drawn(chosen, columns) if self.training and self.noise else chosen
            gates = self.opened(noisy.softmax(dim=-1))
            losses = self.losses(clear, logits[:-1]) if self.training else {}
            logs = {"entropy": entropies(clear).mean(), "certainty": clear.amax(dim=-1).mean()}
        return Route(gates[:, None], losses, logs)

    def logits(self) -> Tensor:
        """Of every cluster, and of no cluster, `[m + 1, E]`, float32."""
        logits: Tensor = self.gate(self.placing.seen().float()) / self.options.temperature
        return logits

    def table(self) -> Tensor:
        """The probabilities of every cluster, and of no cluster, `[m + 1, E]`."""
        with torch.no_grad():
            return self.logits().softmax(dim=-1)

    def opened(self, probabilities: Tensor) -> Tensor:
        """The k largest, by their value or by 1."""
        gates = top_gates(probabilities, self.options.top_k)
        return straight_through(gates) if self.options.gate_scale == "straight_through" else gates

    def drawn(self, logits: Tensor, columns: Columns | None) -> Tensor:
        """Noise on the logits, one draw an image and epoch."""
        return self.noise * sample_noise(columns, self.seed, self.key, logits)

    def losses(self, batch: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Balance and certainty, weighted: of the images of this step `[B, E]`, or of all clusters by their sizes."""
        options = self.options
        weights = self.sizes.to(logits) if options.regularised == "data" else None
        probabilities = batch if weights is None else logits.softmax(dim=-1)
        wanted = importance(batch) if weights is None else weights @ probabilities
        found = {
            "imbalance": options.imbalance * squared_variation(wanted, unbiased=options.unbiased),
            "confidence": options.confidence * doubt(probabilities, weights, options.confidence_form),
        }
        return {name: term for name, term in found.items() if getattr(options, name)}


def doubt(probabilities: Tensor, weights: Tensor | None, form: str) -> Tensor:
    """How uncertain the rows of `[R, E]` are in the mean: by entropy in nats, or by 1 less the largest part."""
    rows = 1.0 - probabilities.amax(dim=-1) if form == "top" else entropies(probabilities)
    return rows.mean() if weights is None else (weights @ rows) / weights.sum()


class FixedRouting(ClusterConditional):
    """A fixed path for every cluster (`moce.fixed`): its number's digits to the base E, one for each block."""

    paths: Tensor

    def __init__(self, options: FixedRoutingOptions, context: Context) -> None:
        super().__init__(options, context)
        self.options: FixedRoutingOptions = options
        ordinal = sorted(block % context.depth for block in options.blocks).index(context.block or 0)
        numbers = torch.arange(len(self.centroids) + 1)  # of no cluster: as one cluster more
        digits = torch.div(numbers, options.experts**ordinal, rounding_mode="floor") % options.experts
        self.register_buffer("paths", nn.functional.one_hot(digits, options.experts).float(), persistent=False)

    def forward(self, tokens: Tensor, columns: Columns | None) -> Route:
        """Gates `[B, 1, E]`, 1 for one expert and 0 for the others."""
        return Route(self.table()[row_of(self.placing.of(columns), len(self.centroids))][:, None])

    def table(self) -> Tensor:
        """The path of every cluster, and of no cluster, `[m + 1, E]`."""
        return self.paths

    def opened(self, probabilities: Tensor) -> Tensor:
        """They are gates already."""
        return probabilities
