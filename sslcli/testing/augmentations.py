"""What is asked of an augmentation: chance only where it is drawn, right shapes, and nothing changed in place."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sslcli.api import Augmentation, Offer, ViewShape
from sslcli.data.augmentation import Draw, MaskedViewAugmentation, MixAugmentation, ViewAugmentation
from sslcli.data.draws import view_generator
from sslcli.nn import sample_uniform
from sslcli.plugins import resolve
from sslcli.testing.examples import example_options
from sslcli.testing.pictures import draw_picture
from sslcli.testing.results import expect
from sslcli.testing.steps import make_backbone, make_context
from sslcli.training.building import with_backbone

SIZES = ((40, 30), (16, 90), (5, 5), (1, 1))  # width, height: also thinner and smaller than a view
SIZE = 16
REPEATS = 8  # a coin of another source, thrown once a picture, goes unseen once in 2 ** 32 checks


def prepare(offer: Offer) -> Any:
    """The augmentation, built as the host builds it."""
    context = make_context({"global": ViewShape(2, SIZE), "mixed": ViewShape(2, SIZE)})
    return resolve(offer.code)(example_options(offer), with_backbone(context, make_backbone(context)))


def checks_of(offer: Offer) -> tuple[Callable[[Any], None], ...]:
    """The checks of its sort, in order."""
    return MIXING if isinstance(offer, Augmentation) and offer.mixes else CUTTING


def is_a_view_augmentation(case: Any) -> None:
    """It derives from the contract."""
    expect(isinstance(case, ViewAugmentation), f"{type(case).__name__} is no sslcli.data.ViewAugmentation")


def is_a_mix_augmentation(case: Any) -> None:
    """It derives from the contract."""
    expect(isinstance(case, MixAugmentation), f"{type(case).__name__} is no sslcli.data.MixAugmentation")


def can_be_sent_to_loader_workers(case: ViewAugmentation) -> None:
    """It can be pickled."""
    pickle.loads(pickle.dumps(case))


def draws_the_same_for_the_same_key(case: ViewAugmentation) -> None:
    """All chance comes from the generator that it is given."""
    for first, second in zip(drawn(case) * REPEATS, (draw for _ in range(REPEATS) for draw in drawn(case))):
        expect(same_draws(first, second), "two draws from generators of one seed differ: use no other source of chance")


def draws_the_same_keys_and_shapes_for_every_picture(case: ViewAugmentation) -> None:
    """Draws are put together into tensors `[crops, B, ...]`."""
    forms = {
        tuple((name, np.shape(value), np.asarray(value).dtype.kind) for name, value in d.items()) for d in drawn(case)
    }
    expect(len(forms) == 1, f"draws differ in keys, types or shapes: {sorted(map(str, forms))[:2]}")


def cuts_square_uint8_crops(case: ViewAugmentation) -> None:
    """`[S, S, 3]`, from pictures of any size."""
    for (width, height), crop in zip(SIZES, crops_of(case)):
        expect(crop.dtype == np.uint8, f"a crop is {crop.dtype}, not uint8")
        expect(
            crop.shape == (SIZE, SIZE, 3),
            f"a crop of a {width}x{height} picture is {crop.shape}, not {(SIZE, SIZE, 3)}",
        )


def cuts_bit_equal_crops_for_the_same_draw(case: ViewAugmentation) -> None:
    """`cut` has no chance of its own."""
    expect(all(map(np.array_equal, crops_of(case), crops_of(case))), "`cut` gives two crops for one draw")


def leaves_the_picture_as_it_was(case: ViewAugmentation) -> None:
    """One decoded picture serves all crops."""
    for picture, draw in zip(pictures(), drawn(case)):
        before = picture.tobytes()
        case.cut(picture, draw)
        expect(picture.tobytes() == before, "`cut` changes the picture, which the next crop is cut from")


def cuts_by_a_mask_as_it_cuts_without(case: ViewAugmentation) -> None:
    """An augmentation that looks at masks gives crops of the same form, twice the same, and leaves the picture be."""
    if not isinstance(case, MaskedViewAugmentation):
        return
    for picture, draw in zip(pictures(), drawn(case)):
        before, mask = picture.tobytes(), np.indices((picture.height, picture.width)).sum(0) % 2 == 0
        first, second = (case.cut_with_mask(picture, mask, draw) for _ in range(2))
        expect(first.shape == (SIZE, SIZE, 3), f"`cut_with_mask` gives {first.shape}, not {(SIZE, SIZE, 3)}")
        expect(np.array_equal(first, second), "`cut_with_mask` gives two crops for one draw")
        expect(picture.tobytes() == before, "`cut_with_mask` changes the picture, which the next crop is cut from")


def finishes_to_normalised_images(case: ViewAugmentation) -> None:
    """`[B, 3, S, S]`, floats, finite."""
    images = case.finish(*batch_of(case))
    expected = (len(SIZES), 3, SIZE, SIZE)
    expect(tuple(images.shape) == expected, f"`finish` gives {tuple(images.shape)}, not {expected}")
    expect(images.is_floating_point(), f"`finish` gives {images.dtype}, not floats")
    expect(images.isfinite().all(), "`finish` gives a number that is not finite")


def finishes_each_image_apart_from_its_batch(case: ViewAugmentation) -> None:
    """A sample gives the same view whatever it is batched with, twice the same."""
    crops, draws = batch_of(case)
    together = case.finish(crops, draws)
    alone = [
        case.finish(crops[i : i + 1], {name: d[i : i + 1] for name, d in draws.items()}) for i in range(len(crops))
    ]
    expect(
        torch.allclose(together, torch.cat(alone), atol=1e-4), "an image depends on its batch, or on chance not drawn"
    )


def leaves_crops_and_draws_as_they_were(case: ViewAugmentation) -> None:
    """`finish` is a pure function."""
    crops, draws = batch_of(case)
    before = [crops.clone(), *(draw.clone() for draw in draws.values())]
    case.finish(crops, draws)
    expect(all(map(torch.equal, before, (crops, *draws.values()))), "`finish` changes its crops or draws in place")


def mixes_to_images_of_the_same_size(case: MixAugmentation) -> None:
    """`[crops, B, 3, H, W]`, or fewer than B where samples are joined; finite, and a plan of tensors."""
    images = group_of_images()
    mixed, plan = case.mix(images, uniform)
    (crops, samples), size = images.shape[:2], images.shape[2:]
    fits = mixed.shape[0] == crops and mixed.shape[2:] == size and samples % mixed.shape[1] == 0
    expect(fits, f"mixed images are {tuple(mixed.shape)}, of {tuple(images.shape)}")
    expect(mixed.isfinite().all(), "a mixed image is not finite")
    wrong = [name for name, value in plan.items() if not isinstance(value, Tensor)]
    expect(not wrong, f"the plan has what is no tensor: {', '.join(wrong)}")


def mixes_the_same_for_the_same_samples(case: MixAugmentation) -> None:
    """All chance comes from `uniform`."""
    (first, first_plan), (second, second_plan) = (case.mix(group_of_images(), uniform) for _ in range(2))
    same = torch.equal(first, second) and all(torch.equal(first_plan[name], second_plan[name]) for name in first_plan)
    expect(same, "two mixes of the same samples differ: draw all chance from `uniform`")


def leaves_its_source_as_it_was(case: MixAugmentation) -> None:
    """Other losses read the source group."""
    images = group_of_images()
    case.mix(images, uniform)
    expect(torch.equal(images, group_of_images()), "`mix` changes the images that it mixes")


CUTTING: tuple[Callable[[Any], None], ...] = (
    is_a_view_augmentation,
    can_be_sent_to_loader_workers,
    draws_the_same_for_the_same_key,
    draws_the_same_keys_and_shapes_for_every_picture,
    cuts_square_uint8_crops,
    cuts_bit_equal_crops_for_the_same_draw,
    leaves_the_picture_as_it_was,
    cuts_by_a_mask_as_it_cuts_without,
    finishes_to_normalised_images,
    finishes_each_image_apart_from_its_batch,
    leaves_crops_and_draws_as_they_were,
)
MIXING: tuple[Callable[[Any], None], ...] = (
    is_a_mix_augmentation,
    mixes_to_images_of_the_same_size,
    mixes_the_same_for_the_same_samples,
    leaves_its_source_as_it_was,
)


def pictures() -> list[Image.Image]:
    """A picture of every size."""
    return [draw_picture(number, "ellipse").resize(size) for number, size in enumerate(SIZES)]


def drawn(case: ViewAugmentation) -> list[Draw]:
    """One draw a picture, from a generator of the picture's number, for crops 0, 1, 0, 1."""
    return [
        case.draw(view_generator(0, 0, number, "global", number % 2), height=height, width=width, crop=number % 2)
        for number, (width, height) in enumerate(SIZES)
    ]


def crops_of(case: ViewAugmentation) -> list[NDArray[np.uint8]]:
    """One crop a picture."""
    return [case.cut(picture, draw) for picture, draw in zip(pictures(), drawn(case))]


def same_draws(first: Draw, second: Draw) -> bool:
    """Whether two draws are equal in every number."""
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def batch_of(case: ViewAugmentation) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops `[B, S, S, 3]` and draws `[B, ...]` as the loader puts them together."""
    draws = drawn(case)
    crops = torch.from_numpy(np.stack(crops_of(case)))
    return crops, {name: as_column([draw[name] for draw in draws]) for name in draws[0]}


def as_column(values: list[Any]) -> Tensor:
    """Numbers of several draws as one tensor; floats in 32 bits."""
    column = torch.from_numpy(np.stack([np.asarray(value) for value in values]))
    return column.float() if column.is_floating_point() else column


def group_of_images() -> Tensor:
    """Images `[2, 4, 3, S, S]`, the same every time."""
    return torch.randn(2, 4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def uniform(key: str, *shape: int) -> Tensor:
    """What the host gives to `mix`, for four samples."""
    return sample_uniform(0, torch.zeros(4, dtype=torch.int64), torch.arange(4), key, shape)
