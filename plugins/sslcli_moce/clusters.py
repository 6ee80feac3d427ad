"""Clusters of a set of pictures on disk, with the encoder that they were found by.

    CLUSTERS/clusters.json          what made them, of which data, and how large they are
    CLUSTERS/clusters.safetensors   centroids [m, D] of unit length, and the cluster of every picture [n]
    CLUSTERS/encoder/               the dense backbone: pictures that have no number yet are placed by its features

The folder is complete: neither the run nor the pictures are needed again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sslcli.disk import expand, write_whole
from sslcli.errors import RunError, UserError

MANIFEST, TENSORS, ENCODER, SHEET = "clusters.json", "clusters.safetensors", "encoder", "sheet.png"
NOWHERE = -1  # the cluster of a picture that could not be read
MAKE = "make them: sslcli moce cluster RUN --data SPEC -o CLUSTERS"


@dataclass(frozen=True)
class Clusters:
    """Centroids `[m, D]`, float32 of unit length; the cluster of every picture `[n]`, int64; and what is noted of them.

    The manifest holds `data` (a SPEC) and its `fingerprint`, `pictures`, `run`, `features` (the identity of encoder and
    preparation), `pool`, `seed`, `sizes`, and how well the assignment was balanced.
    """

    centroids: Tensor
    ids: Tensor
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.centroids)

    @cached_property
    def sizes(self) -> Tensor:
        """How many pictures each cluster has, int64 `[m]`."""
        return self.ids[self.ids != NOWHERE].bincount(minlength=len(self))


def nearest(features: Tensor, centroids: Tensor) -> Tensor:
    """The cluster of each of some features `[B, D]`: that of the centroid with the greatest cosine, int64 `[B]`.

    No balance is asked for: pictures of one kind may all be of one cluster.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    return (unit @ centroids.to(unit).T).argmax(dim=-1)


def write_clusters(folder: Path, clusters: Clusters) -> None:
    """Write tensors, then manifest, each whole or not at all. Raises RunError when the disk takes no more."""
    tensors = {"centroids": clusters.centroids.float().contiguous(), "ids": clusters.ids.to(torch.int32).contiguous()}
    text = json.dumps(dict(clusters.manifest), indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / TENSORS, lambda path: save_file(tensors, path))
        write_whole(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as failure:
        raise RunError(f"cannot write the clusters to {folder}: {failure}", "make room, or name another folder") from (
            failure
        )


def read_clusters(folder: Path | str) -> Clusters:
    """The clusters of a folder. Raises UserError when it holds none, or damaged ones."""
    path = expand(folder)
    if not (path / MANIFEST).is_file():
        said = "is there, but was never finished" if (path / TENSORS).is_file() else "holds no clusters"
        raise UserError(f"{folder} {said if path.is_dir() else 'is no folder of clusters'}", MAKE)
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        tensors = load_file(path / TENSORS)
        clusters = Clusters(tensors["centroids"], tensors["ids"].long(), manifest)
        whole = clusters.centroids.ndim == 2 and len(clusters.ids) == manifest["pictures"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as failure:
        raise UserError(f"the clusters in {folder} are damaged: {failure}", MAKE) from None
    if not whole:
        raise UserError(f"the clusters in {folder} are damaged: they do not belong together", MAKE)
    return clusters
