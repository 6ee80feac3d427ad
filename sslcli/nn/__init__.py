"""What the authors of losses and backbones use. What builds on timm stays in its own file: `decoder`, `batchnorm`."""

from sslcli.nn.backbone import Backbone
from sslcli.nn.contrast import info_nce, nt_xent
from sslcli.nn.features import Features
from sslcli.nn.gather import all_mean, gather, gather_with_gradient, rank, sum_with_gradient, world
from sslcli.nn.heads import mlp_head
from sslcli.nn.momentum import Momentum, update_all
from sslcli.nn.patches import (
    Masking,
    kept_patches,
    normalise_patches,
    patch_statistics,
    patchify,
    random_masking,
    unpatchify,
)
from sslcli.nn.precision import at_least_fp32, in_full_precision
from sslcli.nn.random import sample_uniform
from sslcli.nn.step import Step

__all__ = [
    "Backbone",
    "Features",
    "Masking",
    "Momentum",
    "Step",
    "all_mean",
    "at_least_fp32",
    "gather",
    "gather_with_gradient",
    "in_full_precision",
    "info_nce",
    "kept_patches",
    "mlp_head",
    "normalise_patches",
    "nt_xent",
    "patch_statistics",
    "patchify",
    "random_masking",
    "rank",
    "sample_uniform",
    "sum_with_gradient",
    "unpatchify",
    "update_all",
    "world",
]
