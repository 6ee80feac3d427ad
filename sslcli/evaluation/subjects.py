"""What is judged: an encoder, how pictures are shown to it, and what its features depend on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from sslcli import __version__
from sslcli.evaluation.card import Card


@dataclass(frozen=True)
class Subject:
    """An encoder to judge, from normalised images `[B, 3, S, S]` to `[B, D]`."""

    run: str  # as the person wrote it
    said: str  # what it turned out to be
    encoder: nn.Module
    card: Card
    made_by: Mapping[str, Any]  # what makes the features besides weights and card: architecture, pooling
    recipe: Mapping[str, Any] = field(default_factory=dict)  # the document of its recipe, where it has one
    centred: bool = False  # the mean of the training features is subtracted

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights and of all else that makes the features."""
        facts = [__version__, self.card.document(), dict(self.made_by)]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
        for name, tensor in sorted(self.encoder.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(content(tensor))
        return digest.hexdigest()


def content(tensor: Tensor) -> memoryview:
    """The bytes of a tensor."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data
