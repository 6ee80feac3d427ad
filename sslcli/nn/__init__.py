"""What the authors of losses and backbones use. What builds on timm stays in its own file: `decoder`, `batchnorm`."""

from sslcli.nn.backbone import Backbone, Choose
from sslcli.nn.contrast import info_nce, nt_xent, queue_contrast
from sslcli.nn.features import Features
from sslcli.nn.gather import all_mean, gather, gather_with_gradient, rank, sum_with_gradient, world
from sslcli.nn.heads import mlp_head, truncated_normal
from sslcli.nn.importing import Imported
from sslcli.nn.momentum import Momentum, update_all
from sslcli.nn.pairs import pair_weights
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
from sslcli.nn.prototypes import Centre, Distillation, PrototypeHead, cross_entropy, log_prototypes, pair_cross_entropy
from sslcli.nn.queue import Queue, queue_size
from sslcli.nn.random import sample_uniform
from sslcli.nn.step import Limit, Step

__all__ = [
    "Backbone",
    "Centre",
    "Choose",
    "Distillation",
    "Features",
    "Imported",
    "Limit",
    "Masking",
    "Momentum",
    "PrototypeHead",
    "Queue",
    "Step",
    "all_mean",
    "at_least_fp32",
    "cross_entropy",
    "gather",
    "gather_with_gradient",
    "in_full_precision",
    "info_nce",
    "kept_patches",
    "log_prototypes",
    "mlp_head",
    "normalise_patches",
    "nt_xent",
    "pair_cross_entropy",
    "pair_weights",
    "patch_statistics",
    "patchify",
    "queue_contrast",
    "queue_size",
    "random_masking",
    "rank",
    "sample_uniform",
    "sum_with_gradient",
    "truncated_normal",
    "unpatchify",
    "update_all",
    "world",
]
