"""What a format has written: how much of the backbone is in it, how near it comes, and how it is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from sslcli.errors import RunError, UserError
from sslcli.nn.stored import owned


@dataclass(frozen=True)
class Written:
    """A backbone in the hands of another tool, which was asked and gave the same features."""

    tool: str  # with its version
    found: int  # tensors of the backbone that the tool has, number by number
    tensors: int  # of the backbone
    difference: float  # the largest, on the batch
    loading: str  # Python that loads it; FOLDER stands for where it lies
    library: str = ""  # as the Hub calls it
    facts: Mapping[str, Any] = field(default_factory=dict)  # more that a reader must know


def require(packages: Sequence[str], extra: str) -> None:
    """Refuse a format whose tool is not installed. Raises UserError with the line that mends it."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{', '.join(missing)} {are} not installed, which this format needs", f"pip install 'sslcli[{extra}]'"
        )


def named(package: str) -> str:
    """A package with its version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def save(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Weights as a safetensors file. Raises RunError when the disk takes no more."""
    own = {name: owned(tensor) for name, tensor in tensors.items()}
    try:
        save_file(own, path, metadata={"format": "pt", **(metadata or {})})
    except (OSError, SafetensorError) as failure:
        raise RunError(f"cannot write {path.name}: {failure}", "make room, or name another folder") from failure


def count_equal(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> int:
    """How many tensors are there under the same name with the same numbers."""
    return sum(
        name in theirs and tensor.shape == theirs[name].shape and bool((tensor.cpu() == theirs[name].cpu()).all())
        for name, tensor in own.items()
    )
