"""Apply a costly operation only to the samples whose coin says so."""

from collections.abc import Callable

from torch import Tensor


def where_drawn(coin: Tensor, operation: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """`operation(images, *parameters)` for the samples whose coin `[B]` is true; the others stay the same, to the bit.

    On the CPU only those samples are computed. Elsewhere all are, because asking the device how many there are would
    make it wait; an operation must therefore be harmless with the parameters of a sample that it is not meant for.
    """
    if images.device.type != "cpu":
        return operation(images, *parameters).where(coin.view(-1, 1, 1, 1), images)
    chosen = coin.nonzero()[:, 0]
    if not len(chosen):
        return images
    done = operation(images[chosen], *(parameter[chosen] for parameter in parameters))
    return done if len(chosen) == len(images) else images.index_copy(0, chosen, done)
