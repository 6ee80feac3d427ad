"""Batches on the device: on a GPU, the next one is copied on a side stream while this one is worked on."""

from collections.abc import Iterator

import torch

from sslcli.data.batch import Batch


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches, moved."""
    if device.type == "cuda":
        yield from copied_ahead(batches, device)
    else:
        for batch in batches:
            yield batch.to(device)


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """One batch ahead, on a stream of its own."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    following = fetch(batches, device, stream)
    while following is not None:
        torch.cuda.current_stream(device).wait_stream(stream)
        current = following
        hold(current, torch.cuda.current_stream(device))
        following = fetch(batches, device, stream)
        yield current


def fetch(batches: Iterator[Batch], device: torch.device, stream: torch.cuda.Stream) -> Batch | None:
    """Start the copy of the next batch."""
    batch = next(batches, None)
    if batch is None:
        return None
    with torch.cuda.stream(stream):
        return batch.to(device)


def hold(batch: Batch, stream: torch.cuda.Stream) -> None:
    """Keep the side stream from reusing this memory while the main stream reads it."""
    tensors = [*batch.crops.values(), *batch.columns.values()]
    tensors += [draw for draws in batch.draws.values() for draw in draws.values()]
    for tensor in tensors:
        tensor.record_stream(stream)
