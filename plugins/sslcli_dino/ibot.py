"""iBOT (arXiv:2111.07832): DINO from masked crops, and the same distillation for every hidden patch.

student   masked large crops, small crops          teacher   whole large crops
cls       H(teacher's CLS, student's CLS), mean over all pairs of crops of different numbers
patch     H(teacher's patch, student's patch) at hidden places of the same crop: mean over them, then over crops
"""

from typing import cast

import torch
from torch import Tensor, nn

from sslcli.api import Context, value_at
from sslcli.errors import UserError
from sslcli.nn import (
    Centre,
    Features,
    Momentum,
    PrototypeHead,
    Step,
    at_least_fp32,
    cross_entropy,
    in_full_precision,
    log_prototypes,
    pair_cross_entropy,
    pair_weights,
)
from sslcli.nn.prototypes import Prototypes
from sslcli_dino.masking import ATTEMPTS, NUMBERS, block_masks, mask_budget
from sslcli_dino.options import IbotOptions


class TokenHead(PrototypeHead):
    """A head for CLS and patches: one projector, and prototypes that both share or that each have of their own."""

    def __init__(self, width: int, options: IbotOptions) -> None:
        count, bottleneck, unit = options.prototypes, options.bottleneck, options.norm_last_layer
        super().__init__(width, count, hidden=options.hidden, bottleneck=bottleneck, layers=options.layers, unit=unit)
        self.patch_last = None if options.shared_head else Prototypes(bottleneck, count, unit=unit)

    def patch_logits(self, vectors: Tensor) -> Tensor:
        """Logits of patches from their unit vectors `[..., bottleneck]`, or of the mean of some from their mean."""
        logits: Tensor = (self.last if self.patch_last is None else self.patch_last)(vectors)
        return logits


class MaskedDistillation(nn.Module):
    """`cls_weight * cls + patch_weight * patch`.

    Logits are made for the hidden patches alone. The centre of the patches is that of all of them: the mean of logits
    is the logits of the mean vector, because the prototypes are linear.
    """

    weights: Tensor

    def __init__(self, options: IbotOptions, context: Context) -> None:
        super().__init__()
        check(options, context)
        self.options = options
        self.patch_size = context.patch_size
        self.mask_token = nn.Parameter(torch.zeros(1, context.width))
        self.head = Momentum(TokenHead(context.width, options))
        self.centre = Centre(options.prototypes, options.centre_momentum)
        self.patch_centre = Centre(options.prototypes, options.centre_momentum)
        large, small = map(context.crops, (options.views, options.local_views))
        self.register_buffer("weights", pair_weights(large, large, small), persistent=False)  # [teacher, student]

    @property
    def online(self) -> TokenHead:
        """The student's head."""
        return cast(TokenHead, self.head.online)

    @property
    def target(self) -> TokenHead:
        """The teacher's head."""
        return cast(TokenHead, self.head.target)

    def forward(self, step: Step) -> Tensor:
        """A scalar; `cls`, `patch` and the share of hidden patches, `masked`, are logged."""
        mask = self.draw_masks(step)
        student = self.encode_masked(step, mask)
        cls = self.cls_loss(step, student)
        patch = self.patch_loss(step, student, mask)
        for name, value in (("cls", cls), ("patch", patch), ("masked", mask.float().mean())):
            step.log(name, value)
        return self.options.cls_weight * cls + self.options.patch_weight * patch

    @torch.no_grad()
    def draw_masks(self, step: Step) -> Tensor:
        """Which patches of the large crops are hidden, bool `[crops * B, N]`."""
        options, images = self.options, step.images(self.options.views)
        grid = (images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size)
        numbers = step.uniform(f"{step.scope}/mask", len(images), 2 + ATTEMPTS * NUMBERS).transpose(0, 1).flatten(0, 1)
        budget = mask_budget(
            numbers[:, :2],
            grid[0] * grid[1],
            probability=options.mask_probability,
            ratio=options.mask_ratio,
            spread=options.mask_spread,
        )
        rectangles = numbers[:, 2:].reshape(-1, ATTEMPTS, NUMBERS)
        return block_masks(rectangles, budget, grid, options.mask_aspect)

    def encode_masked(self, step: Step, mask: Tensor) -> Features:
        """The student's features of the masked large crops, leading axis `[crops * B]`."""
        images = step.images(self.options.views)
        tokens = step.backbone.embed(images.flatten(0, 1), mask=mask, mask_token=self.mask_token[0])
        return step.backbone.encode(tokens, columns=step.facts_of(self.options.views))

    def cls_loss(self, step: Step, student: Features) -> Tensor:
        """DINO's loss, the student's large crops masked."""
        options, (taught, _) = self.options, self.teach(step)
        shares = self.centre(taught, value_at(options.teacher_temperature, step.progress))
        log_prototypes(step, shares)
        features = [student.unflatten(len(taught)).cls]
        if options.local_views:
            features.append(step.student(options.local_views).cls)
        pairs = pair_cross_entropy(self.online(torch.cat(features)), shares, options.student_temperature)
        return (pairs * self.weights).sum()

    def patch_loss(self, step: Step, student: Features, mask: Tensor) -> Tensor:
        """The cross-entropy of the hidden patches with the teacher's at the same places."""
        options, (_, taught) = self.options, self.teach(step)
        hidden = mask.flatten().nonzero()[:, 0]  # the one time that the device is waited for
        with torch.no_grad():
            logits = self.target.patch_logits(taught.flatten(0, 1)[hidden])
            shares = self.patch_centre(logits, value_at(options.patch_temperature, step.progress))
        guessed = self.online.patch_logits(self.online.vectors(student.patches.flatten(0, 1)[hidden]))
        return mean_over_hidden(cross_entropy(guessed, shares, options.student_temperature), mask, hidden)

    @torch.no_grad()
    def teach(self, step: Step) -> tuple[Tensor, Tensor]:
        """The teacher's logits of CLS `[crops, B, prototypes]` and unit vectors of all patches `[crops * B, N, width]`.

        Made once a step.
        """

        def make() -> tuple[Tensor, Tensor]:
            features = step.teacher(self.options.views)
            return self.target(features.cls), self.target.vectors(features.patches.flatten(0, 1))

        return step.once(f"{step.scope}/taught", make)

    def after_step(self, step: Step) -> None:
        """The centres move towards what the teacher said."""
        cls, patches = self.teach(step)
        self.centre.update(cls)
        self.patch_centre.update(self.target.patch_logits(at_least_fp32(patches).mean(dim=(0, 1))[None]))


@in_full_precision
def mean_over_hidden(terms: Tensor, mask: Tensor, hidden: Tensor) -> Tensor:
    """The mean over crops of the mean over the hidden patches of each.

    `terms [n]` are those of the patches that `mask [B, N]` hides, whose places in it, flat, are `hidden [n]`. A crop
    without hidden patches counts as zero.
    """
    weights = mask / (mask.sum(dim=1, keepdim=True).clamp(min=1) * len(mask))
    return (terms * weights.flatten()[hidden]).sum()


def check(options: IbotOptions, context: Context) -> None:
    """Refuse masks that never hide anything."""
    patches = (context.views[options.views].size // context.patch_size) ** 2
    if (options.mask_ratio + options.mask_spread) * patches * options.mask_probability < 1 and options.patch_weight:
        raise UserError(
            f"ibot: the masks hide none of the {patches} patches of views.{options.views}",
            "raise mask_probability and mask_ratio, choose larger crops or smaller patches, or set patch_weight = 0",
        )
