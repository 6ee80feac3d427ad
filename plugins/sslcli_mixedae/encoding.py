"""Mixed images through the backbone, each patch with the segment that it belongs to; the losses share this forward.

    tokens = embed(mixed) + segments[M]            the same vector for all patches of one source
    tokens = encode(tokens)                        with homologous attention in every block

Segments and attention are of pre-training alone. They live here, so the backbone stays an ordinary one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Features, Step
from sslcli_mixedae.attention import HomologousAttention
from sslcli_mixedae.options import MixedLossOptions


@dataclass(frozen=True)
class MixedEncoding:
    """Features of R mixed images, and of what they were mixed."""

    features: Features  # leading axis [R]
    labels: Tensor  # [R, N]
    originals: Tensor  # [R * n, 3, H, W]: image r * n + i is the one that label i of mixed image r names


class MixedEncoder(nn.Module):
    """The encoding of one mixed group, made once a step; `sampling_accuracy` is logged by who asks first."""

    def __init__(self, options: MixedLossOptions, context: Context) -> None:
        super().__init__()
        self.views = options.views
        self.settings = settings_of(options)
        self.images = context.views[options.views].joined
        self.segments = nn.Parameter(torch.empty(self.images, context.width)) if options.segments else None
        if self.segments is not None:
            nn.init.normal_(self.segments, std=0.02)

    def forward(self, step: Step) -> MixedEncoding:
        """The encoding of all crops of the group together."""
        return step.once(f"mixedae/{self.views}", lambda: self.encode(step))

    def encode(self, step: Step) -> MixedEncoding:
        """A forward of its own."""
        labels, originals = read_plan(step, self.views)
        tokens = step.backbone.embed(step.images(self.views).flatten(0, 1))  # [R, N, D]
        if self.segments is not None:
            tokens = tokens + functional.embedding(labels, self.segments)
        if self.settings["attention"] == "plain":
            return MixedEncoding(step.backbone.encode(tokens), labels, originals)
        attention = HomologousAttention(labels, labels.shape[1] // self.images, step.backbone.prefix_tokens)
        features = step.backbone.encode(tokens, attend=attention)
        step.log("sampling_accuracy", attention.accuracy)
        return MixedEncoding(features, labels, originals)


def shared_encoder(options: MixedLossOptions, context: Context) -> MixedEncoder:
    """The encoder of a mixed group: the one that an earlier loss of the model has, or a new one."""
    encoder = context.once(f"mixedae/{options.views}", lambda: MixedEncoder(options, context))
    for name, value in settings_of(options).items():
        if encoder.settings[name] != value:
            raise UserError(
                f"mixedae: of the losses on views.{options.views} one has {name} = {encoder.settings[name]!r} and "
                f"another {value!r}, and they share a forward",
                f"let {name} be the same in both",
            )
    return encoder


def settings_of(options: MixedLossOptions) -> dict[str, object]:
    """What losses must agree on to share an encoder."""
    return {"attention": options.attention, "segments": options.segments}


def read_plan(step: Step, views: str) -> tuple[Tensor, Tensor]:
    """Labels `[R, N]` and originals `[R * n, 3, H, W]` of a mixed group, all crops together."""
    plan = step.plan(views)
    if "labels" not in plan or "originals" not in plan:
        raise UserError(
            f"views.{views} was not mixed by mixedae.mix: its plan has no labels and originals",
            f'set views.{views}.augmentation = "mixedae.mix", or name another group in loss.views',
        )
    return plan["labels"].flatten(0, 1), plan["originals"].flatten(0, 1)
