"""For ONNX runtimes: `model.onnx`, images `[B, 3, S, S]` to pooled features and tokens, for any number of images."""

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from sslcli.errors import RunError
from sslcli.evaluation.exporting.answers import Answer, Asked, agreed, answer, batch
from sslcli.evaluation.exporting.choosing import Chosen
from sslcli.evaluation.exporting.written import Written, named
from sslcli.nn.references import first_line

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
EXTRA = "onnx"
FILE = "model.onnx"
OPSET = 18  # what torch's exporter speaks without translation
LIMIT = 1e-3
LARGEST = 1 << 30  # bytes in one file; protobuf stops at 2 GiB
INPUT, OUTPUTS = "images", ("pooled", "tokens")
LOADING = """import onnxruntime

session = onnxruntime.InferenceSession("FOLDER/model.onnx")
pooled, tokens = session.run(None, {{"images": images}})  # float32 [B, 3, {size}, {size}], normalised"""


def write(chosen: Chosen, folder: Path) -> Written:
    """The file, run again by onnxruntime on another number of images. Raises RunError where torch cannot trace it."""
    trace(chosen, folder / FILE)
    images = batch(chosen.size)
    difference = agreed(answer(chosen.backbone, images), asked(folder / FILE, images), "onnxruntime", LIMIT)
    found, tensors = inside(folder / FILE, chosen)
    width = chosen.backbone.width
    facts: dict[str, Any] = {
        "tensors": "those that are not found were folded into others by the exporter",
        "opset": OPSET,
        "input": f"{INPUT}: float32 [B, 3, {chosen.size}, {chosen.size}], normalised; B is free",
        "outputs": f"pooled [B, {width}], and tokens after the last norm [B, N, {width}]",
    }
    if found == tensors:
        del facts["tensors"]
    return Written(named("onnxruntime"), found, tensors, difference, LOADING.format(size=chosen.size), "onnx", facts)


def trace(chosen: Chosen, path: Path) -> None:
    """Write the graph by torch's exporter."""
    size = sum(tensor.nbytes for tensor in chosen.backbone.exported.state_dict().values())
    try:
        with quiet():
            torch.onnx.export(
                Asked(chosen.backbone).eval(),
                (batch(chosen.size, count=2),),
                path,
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes={INPUT: {0: torch.export.Dim("B")}},
                opset_version=OPSET,
                dynamo=True,
                external_data=size > LARGEST,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as failure:
        raise refused("torch cannot write this network as ONNX", failure) from failure


def refused(what: str, failure: Exception) -> RunError:
    """The error for a network that ONNX cannot hold, with the first line of what its tools say."""
    return RunError(f"{what}: {first_line(failure)}", "nothing was written; use '--to timm'")


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's own talk, which would stand among our data."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield


def asked(path: Path, images: Tensor) -> Answer:
    """What onnxruntime says of images, on the CPU. Raises RunError."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        pooled, tokens = session.run(list(OUTPUTS), {INPUT: images.numpy()})
    except Exception as failure:  # its errors have no class in common
        raise refused("onnxruntime cannot run what torch wrote of this network", failure) from failure
    return Answer(torch.from_numpy(pooled), torch.from_numpy(tokens))


def inside(path: Path, chosen: Chosen) -> tuple[int, int]:
    """How many tensors with parameters or statistics are in the graph, transposed or not, and how many there are."""
    import onnx
    from onnx.numpy_helper import to_array

    graph: Any = onnx.load(str(path)).graph
    base = str(path.parent)
    kept = {digest(to_array(tensor, base_dir=base)) for tensor in graph.initializer}
    own = [tensor.cpu().numpy() for tensor in chosen.backbone.state_dict().values() if tensor.is_floating_point()]
    return sum(digest(array) in kept or digest(array.T) in kept for array in own), len(own)


def digest(array: NDArray[Any]) -> bytes:
    """A short name for a shape and the numbers in it."""
    return hashlib.sha256(f"{array.shape}".encode() + array.tobytes()).digest()
