"""The clusters inside a backbone: what the gate sees of an image, by its number in the training set or by its features.

A picture of the training set has the cluster that `sslcli moce cluster` gave it, whatever the crop. One that has no
number there gets the nearest centroid, by the features of the dense backbone that the clusters were made with.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from sslcli.api import Context
from sslcli.disk import expand
from sslcli.errors import UserError
from sslcli.nn.encoders import Pooled, open_network
from sslcli.nn.experts import Columns
from sslcli_moce.clusters import ENCODER, MAKE, NOWHERE, Clusters, nearest, read_clusters


class Placing(nn.Module):
    """Centroids `[m, D]`, and which of them an image belongs to; shared by the routings of all blocks."""

    centroids: Tensor
    codes: Tensor
    ids: Tensor

    def __init__(self, folder: str, context: Context, *, trained: bool = False) -> None:
        super().__init__()
        clusters = read_clusters(folder)
        refuse_other_data(folder, clusters, context)
        self.folder = expand(folder).absolute()
        self.sizes = clusters.sizes.tolist()
        self.register_buffer("centroids", clusters.centroids)
        if trained:
            self.codes = nn.Parameter(clusters.centroids.clone())
        else:
            self.register_buffer("codes", clusters.centroids, persistent=False)
        self.register_buffer("ids", clusters.ids.to(torch.int32), persistent=False)
        self.preparation = context.mean, context.std
        self.encoder: list[Recogniser] = []  # in a list, so that it is no part of the model; opened when first needed

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """As for every module. Raises UserError where the weights were trained with other clusters."""
        refuse_other_clusters(self.folder, self.centroids, state_dict.get(f"{prefix}centroids"))
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def of(self, columns: Columns | None) -> Tensor:
        """The cluster of each image, int64 `[B]`; NOWHERE for a picture that could not be read back then."""
        if columns and "cluster" in columns:
            return columns["cluster"]
        if columns and "index" in columns:
            return self.ids[columns["index"]].long()
        raise UserError(
            "a routing by clusters is not told which images it routes: a loss encodes images of several samples, or "
            "does not say whose they are",
            "let the loss call step.backbone.encode(..., columns=step.facts_of(VIEW)); mixed images have no cluster",
        )

    def seen(self) -> Tensor:
        """What the gate sees of every cluster, and of no cluster at all: the mean of all. `[m + 1, D]`."""
        return torch.cat([self.codes, self.codes.mean(dim=0, keepdim=True)])

    def recognise(self, images: Tensor) -> dict[str, Tensor]:
        """The clusters of normalised images `[B, 3, H, W]` by the nearest centroid."""
        if not self.encoder:
            self.encoder.append(Recogniser(self.folder / ENCODER, *self.preparation))
        return {"cluster": nearest(self.encoder[0](images), self.centroids)}


class Recogniser:
    """Features of images that were normalised for another backbone, by the dense one. Raises UserError."""

    def __init__(self, folder: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder} is not there, so new pictures cannot be placed among the clusters", MAKE)
        network, config = open_network(folder)
        shown = config["pretrained_cfg"]
        self.encoder = Pooled(network, config.get("sslcli", {}).get("pool", "auto")).eval().requires_grad_(False)
        self.size = shown["input_size"][-1]
        own_mean, own_std = (torch.tensor(shown[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        their_mean, their_std = (torch.tensor(colour).view(1, 3, 1, 1) for colour in (mean, std))
        self.scale, self.shift = their_std / own_std, (their_mean - own_mean) / own_std

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features `[B, D]`, float32."""
        self.encoder.to(images.device)
        with torch.autocast(images.device.type, enabled=False):
            shown = images.float() * self.scale.to(images.device) + self.shift.to(images.device)
            if shown.shape[-1] != self.size:
                shown = interpolate(shown, (self.size, self.size), mode="bicubic", antialias=True, align_corners=False)
            features: Tensor = self.encoder(shown)
            return normalize(features.float(), dim=-1)


def refuse_other_data(folder: str, clusters: Clusters, context: Context) -> None:
    """Numbers of pictures mean something in one set only."""
    made_for = clusters.manifest.get("fingerprint")
    if context.fingerprint and context.fingerprint != made_for:
        raise UserError(
            f"the clusters in {folder} are of other pictures: {clusters.manifest.get('data')}, "
            f"{len(clusters.ids)} of them, and this run trains on {context.samples}, or they have changed since",
            f"name the clusters of these pictures as routing.clusters; {MAKE}",
        )


def refuse_other_clusters(folder: Path, own: Tensor, given: Tensor | None) -> None:
    """Weights bring the centroids that they were trained with; the numbers of the folder's clusters mean others."""
    if given is not None and given.shape == own.shape and not given.to(own).equal(own):
        raise UserError(
            f"the clusters in {folder} are not those that the weights were trained with: their centroids differ",
            "say where those are: routing.clusters in a recipe, --clusters to a command",
        )


def row_of(cluster: Tensor, clusters: int) -> Tensor:
    """The row of `seen` for each cluster, the last one for NOWHERE."""
    return torch.where(cluster == NOWHERE, clusters, cluster)
