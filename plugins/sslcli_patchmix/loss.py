"""The three losses of PatchMix (arXiv:2306.12243): contrast whose targets say how much of two images is the same."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn import Step, in_full_precision, world
from sslcli_patchmix.heads import shared_heads
from sslcli_patchmix.options import Pairs, SimilarityOptions, SmallCropOptions
from sslcli_patchmix.targets import Parts, entropy, overlap, smooth, whole


class SimilarityContrast(nn.Module):
    """The mean over pairs of large crops, plus a weight times the sum over the large crops that small ones ask for.

    The options say which views meet, and which of them are mixed; heads, queries and keys are shared with the other
    losses of PatchMix.
    """

    def __init__(self, options: SimilarityOptions, context: Context) -> None:
        super().__init__()
        check_crops(options, context)
        self.options = options
        self.heads = shared_heads(options, context)

    def forward(self, step: Step) -> Tensor:
        """A scalar; `above_floor` is what of it could still be learned, `large` and `small` are its terms."""
        options = self.options
        large, floor = self.terms(step, options.large_pairs()).mean(dim=0).unbind()
        step.log("above_floor", large - floor)
        if not isinstance(options, SmallCropOptions) or not options.local_views:
            return large
        small = self.terms(step, options.small_pairs())[:, 0].sum()
        step.log("large", large)
        step.log("small", small)
        return large + options.local_weight * small

    def terms(self, step: Step, pairs: Pairs) -> Tensor:
        """Cross-entropy and the least that it can be, for every pair of views, `[pairs, 2]`."""
        return torch.stack([self.term(step, query, key) for query, key in pairs])

    def term(self, step: Step, query: str, key: str) -> Tensor:
        """Both numbers of one pair, `[2]`."""
        queries, keys = self.heads.queries(step, query), self.heads.keys(step, key)
        targets = smooth(self.targets(step, query, key), self.options.smoothing)
        return torch.stack([soft_contrast(queries, keys, targets, self.options.temperature), entropy(targets)])

    def targets(self, step: Step, query: str, key: str) -> Tensor:
        """How alike each query is to be to each key, `[..., B, W * B]`."""
        asking = self.parts(step, query) or whole(len(step.column("index")), step.column("index").device)
        asked = self.parts(step, key)
        return overlap(asking, asked and asked.of_all(), len(step.column("index")) * world())

    def parts(self, step: Step, view: str) -> Parts | None:
        """What the images of a view are made of; None where they are whole."""
        group, _, crop = view.partition(":")
        if group not in self.options.mixed_groups():
            return None
        rows, shares = (step.plan(group)[name] for name in ("rows", "shares"))
        return Parts(rows[int(crop)], shares[int(crop)]) if crop else Parts(rows, shares)


@in_full_precision
def soft_contrast(queries: Tensor, keys: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """`mean_i - sum_c T[i, c] log softmax_c(q_i k_c / tau)`, a scalar, of unit queries `[..., B, D]` and keys `[C, D]`.

    Targets `[..., B, C]` may lack the leading axes of the queries.
    """
    logits = queries @ keys.detach().T / temperature
    return F.cross_entropy(logits.flatten(0, -2), targets.expand_as(logits).flatten(0, -2))


def check_crops(options: SimilarityOptions, context: Context) -> None:
    """Refuse a group that lacks a crop that meets another."""
    for view in (view for pair in options.large_pairs() + options.small_pairs() for view in pair):
        group, _, crop = view.partition(":")
        if crop and group in context.views and context.crops(group) <= int(crop):
            raise UserError(
                f"patchmix: the view group {group!r} has one crop, and there is nothing to compare it with",
                "let it, or the group that it is mixed of, have crops = 2",
            )
