"""Clusters to try the plugin with, of whatever pictures: random centroids, and a small encoder at its random start."""

from pathlib import Path
from typing import Any

import torch

from sslcli.data.sources import open_source
from sslcli.nn.encoders import TimmNetwork
from sslcli.nn.stored import save_backbone
from sslcli_moce.clusters import ENCODER, Clusters, write_clusters

CLUSTERS, WIDTH, SIZE = 6, 8, 16
ARGUMENTS: dict[str, Any] = {
    "img_size": SIZE,
    "patch_size": 8,
    "embed_dim": WIDTH,
    "depth": 1,
    "num_heads": 2,
    "num_classes": 0,
}


def write_example(folder: Path, data: str, *, clusters: int = CLUSTERS, seed: int = 0) -> Path:
    """The folder, with every picture of the SPEC in a cluster, one after the other."""
    source = open_source(data)
    generator = torch.Generator().manual_seed(seed)
    centroids = torch.nn.functional.normalize(torch.randn(clusters, WIDTH, generator=generator), dim=1)
    facts = {"data": data, "fingerprint": source.fingerprint, "pictures": len(source), "run": "a random start"}
    write_clusters(folder, Clusters(centroids, torch.arange(len(source)) % clusters, facts))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = TimmNetwork.create("vit_tiny_patch16_224", **ARGUMENTS)
    save_backbone(folder / ENCODER, network, {"image_size": SIZE, "pool": "mean"})
    return folder
