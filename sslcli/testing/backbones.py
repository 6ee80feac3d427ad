"""What is asked of a backbone: features of the shapes it promises, finite gradients, and its abilities kept."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sslcli.api import Backbone as BackboneOffer
from sslcli.api import Offer, ViewShape
from sslcli.nn import Backbone, Features
from sslcli.plugins import resolve
from sslcli.testing.examples import example_options
from sslcli.testing.results import expect
from sslcli.testing.steps import make_context

SIZE = 32
BATCH = 2


class BackboneCase:
    """A backbone in evaluation mode, and what its offer says that it can do."""

    def __init__(self, offer: Offer) -> None:
        torch.manual_seed(0)
        self.backbone: Backbone = resolve(offer.code)(
            example_options(offer), make_context({"global": ViewShape(2, SIZE)})
        )
        self.promised = set(offer.abilities) if isinstance(offer, BackboneOffer) else set()
        self.images = torch.randn(BATCH, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
        self.backbone.eval()

    @torch.no_grad()
    def features(self) -> Features:
        """Features of the images."""
        return self.backbone.features(self.images)

    @torch.no_grad()
    def encode(self, **how: Any) -> Features:
        """Features in two stages."""
        return self.backbone.encode(self.backbone.embed(self.images), **how)


def prepare(offer: Offer) -> BackboneCase:
    """The backbone for images of 32 pixels."""
    return BackboneCase(offer)


def checks_of(offer: Offer) -> tuple[Callable[[BackboneCase], None], ...]:
    """The checks of every backbone, then those of the abilities that this one offers."""
    abilities = offer.abilities if isinstance(offer, BackboneOffer) else ()
    return (*ALL, *(check for ability in abilities for check in ABILITY_CHECKS[ability]))


def is_a_backbone(case: BackboneCase) -> None:
    """It derives from the contract."""
    expect(isinstance(case.backbone, Backbone), f"{type(case.backbone).__name__} is no sslcli.nn.Backbone")


def has_the_abilities_it_offers(case: BackboneCase) -> None:
    """The record and the class say the same."""
    own = set(case.backbone.abilities)
    expect(own == case.promised, f"the record offers {sorted(case.promised)}, the backbone has {sorted(own)}")


def gives_features_of_the_shape_it_promises(case: BackboneCase) -> None:
    """`[B, prefix_tokens + rows * columns, width]`, and a vector of `width` an image."""
    backbone, features = case.backbone, case.features()
    tokens = (BATCH, backbone.prefix_tokens + backbone.grid[0] * backbone.grid[1], backbone.width)
    for name, tensor in (("tokens", features.tokens), ("normed", features.normed)):
        expect(tuple(tensor.shape) == tokens, f"features.{name} is {tuple(tensor.shape)}, not {tokens}")
    pooled = (BATCH, backbone.width)
    expect(tuple(features.pooled.shape) == pooled, f"features.pooled is {tuple(features.pooled.shape)}, not {pooled}")
    expect(features.prefix == backbone.prefix_tokens, "features.prefix is not the backbone's prefix_tokens")


def tells_its_depth_and_patch_size(case: BackboneCase) -> None:
    """Losses and optimizers ask for them."""
    for name in ("depth", "patch_size"):
        value = getattr(case.backbone, name, None)
        expect(isinstance(value, int) and value > 0, f"{name} is {value!r}, not a positive whole number")


def gives_finite_features_and_gradients(case: BackboneCase) -> None:
    """In training mode, to every parameter that the features depend on."""
    case.backbone.train()
    features = case.backbone.features(case.images)
    total: Tensor = sum(
        (part.square().sum() for part in (features.pooled, features.normed, features.tokens)), torch.zeros(())
    )
    torch.autograd.backward(total)
    case.backbone.eval()
    expect(features.tokens.isfinite().all() and features.pooled.isfinite().all(), "a feature is not finite")
    gradients = [parameter.grad for parameter in case.backbone.parameters() if parameter.grad is not None]
    expect(any(gradient.any() for gradient in gradients), "no parameter gets a gradient")
    expect(all(gradient.isfinite().all() for gradient in gradients), "a gradient is not finite")


def gives_the_same_features_twice(case: BackboneCase) -> None:
    """In evaluation mode there is no chance."""
    expect(same(case.features(), case.features()), "two forwards in evaluation mode differ")


def mixes_images_of_a_batch_only_where_it_says_so(case: BackboneCase) -> None:
    """In training mode, without chance of its own, an image's features depend on the others only with `mixes_batch`."""
    if case.backbone.mixes_batch or has_chance(case):
        return
    case.backbone.train()
    with torch.no_grad():
        together, alone = case.backbone.features(case.images), case.backbone.features(case.images[:1])
    case.backbone.eval()
    expect(close(together.pooled[:1], alone.pooled), "images see each other while it trains: set mixes_batch = True")


def has_chance(case: BackboneCase) -> bool:
    """Whether two forwards in training mode differ, as with dropout."""
    case.backbone.train()
    with torch.no_grad():
        first, second = case.backbone.features(case.images), case.backbone.features(case.images)
    case.backbone.eval()
    return not close(first.pooled, second.pooled)


def encodes_tokens_as_it_encodes_images(case: BackboneCase) -> None:
    """`encode(embed(images))` is `features(images)`."""
    expect(same(case.encode(), case.features()), "encode(embed(images)) differs from features(images)")


def norms_tokens_as_its_last_norm_does(case: BackboneCase) -> None:
    """`last_norm(features.tokens)` is `features.normed`."""
    features = case.features()
    with torch.no_grad():
        normed = case.backbone.last_norm(features.tokens)
    expect(close(normed, features.normed), "last_norm(features.tokens) differs from features.normed")


def puts_a_token_in_the_place_of_masked_patches(case: BackboneCase) -> None:
    """`mask` of nothing changes nothing; with all masked, images can no longer be told apart."""
    count, backbone, token = (
        case.backbone.grid[0] * case.backbone.grid[1],
        case.backbone,
        torch.ones(case.backbone.width),
    )
    nothing = torch.zeros(BATCH, count, dtype=torch.bool)
    with torch.no_grad():
        plain = backbone.embed(case.images)
        unmasked, masked = (backbone.embed(case.images, mask=mask, mask_token=token) for mask in (nothing, ~nothing))
    expect(close(unmasked, plain), "embed with a mask of nothing differs from embed")
    expect(close(masked[0], masked[1]), "patches can be told apart under a mask of all of them")


def leaves_out_masked_tokens(case: BackboneCase) -> None:
    """`keep` of all tokens changes nothing; of half, gives half."""
    count = case.backbone.grid[0] * case.backbone.grid[1]
    everything = torch.arange(count).expand(BATCH, -1)
    expect(same(case.encode(keep=everything), case.encode()), "keep = all tokens differs from no keep")
    half = case.encode(keep=everything[:, : (count + 1) // 2])
    expect(
        half.patches.shape[1] == (count + 1) // 2, f"{half.patches.shape[1]} patch tokens for {(count + 1) // 2} kept"
    )


def attends_where_it_may(case: BackboneCase) -> None:
    """`attend` all true changes nothing."""
    count = case.backbone.prefix_tokens + case.backbone.grid[0] * case.backbone.grid[1]
    free = torch.ones(BATCH, 1, count, count, dtype=torch.bool)
    expect(same(case.encode(attend=free), case.encode()), "attend = all true differs from no attend")


def asks_a_function_where_it_may_look(case: BackboneCase) -> None:
    """Every block asks it once, with its logits; all true changes nothing, one key changes something."""
    count = case.backbone.prefix_tokens + case.backbone.grid[0] * case.backbone.grid[1]
    asked: list[tuple[int, tuple[int, ...]]] = []

    def everything(block: int, logits: Tensor) -> Tensor:
        asked.append((block, tuple(logits.shape)))
        return torch.ones_like(logits, dtype=torch.bool)

    free = case.encode(attend=everything)
    shape = (BATCH, case.backbone.heads, count, count)
    expected = [(block, shape) for block in range(case.backbone.depth)]
    expect(asked == expected, f"blocks ask with {asked}, not {expected}")
    expect(same(free, case.encode()), "a function that is all true differs from no attend")
    itself = case.encode(attend=lambda _, logits: torch.eye(count, dtype=torch.bool).expand_as(logits))
    expect(not same(itself, free), "what the function hides is still looked at")


def takes_experts(case: BackboneCase) -> None:
    """The MLP of the last block can be replaced; by itself, nothing changes."""
    before = case.features()
    seen: list[Any] = []
    case.backbone.replace_mlp(case.backbone.depth - 1, lambda mlp: seen.append(mlp) or mlp)  # type: ignore[func-returns-value]
    expect(len(seen) == 1, "replace_mlp does not call make(mlp) once")
    expect(same(case.features(), before), "replacing an MLP by itself changes the features")


ALL: tuple[Callable[[BackboneCase], None], ...] = (
    is_a_backbone,
    has_the_abilities_it_offers,
    tells_its_depth_and_patch_size,
    gives_features_of_the_shape_it_promises,
    gives_finite_features_and_gradients,
    gives_the_same_features_twice,
    mixes_images_of_a_batch_only_where_it_says_so,
)
ABILITY_CHECKS: dict[str, tuple[Callable[[BackboneCase], None], ...]] = {
    "tokens": (encodes_tokens_as_it_encodes_images, norms_tokens_as_its_last_norm_does),
    "masking": (leaves_out_masked_tokens, puts_a_token_in_the_place_of_masked_patches),
    "attention_mask": (attends_where_it_may,),
    "attention_choice": (asks_a_function_where_it_may_look,),
    "experts": (takes_experts,),
}


def same(first: Features, second: Features) -> bool:
    """Whether features are equal up to rounding."""
    return close(first.tokens, second.tokens) and close(first.pooled, second.pooled)


def close(first: Tensor, second: Tensor) -> bool:
    """Whether tensors are equal up to rounding."""
    return first.shape == second.shape and torch.allclose(first, second, atol=1e-4, rtol=1e-4)
