"""The names of timm's weights as transformers' ViTModel and ResNetModel have them on the Hub, and their configurations.

transformers 5 calls the layers of a ViT otherwise inside, and reads these names as before.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Rule = tuple[str, str]
LAYER = r"encoder.layer.\1."
VIT: tuple[Rule, ...] = (
    (r"cls_token", "embeddings.cls_token"),
    (r"pos_embed", "embeddings.position_embeddings"),
    (r"patch_embed\.proj\.(.*)", r"embeddings.patch_embeddings.projection.\1"),
    (r"blocks\.(\d+)\.norm1\.(.*)", LAYER + r"layernorm_before.\2"),
    (r"blocks\.(\d+)\.attn\.(query|key|value)\.(.*)", LAYER + r"attention.attention.\2.\3"),
    (r"blocks\.(\d+)\.attn\.proj\.(.*)", LAYER + r"attention.output.dense.\2"),
    (r"blocks\.(\d+)\.norm2\.(.*)", LAYER + r"layernorm_after.\2"),
    (r"blocks\.(\d+)\.mlp\.fc1\.(.*)", LAYER + r"intermediate.dense.\2"),
    (r"blocks\.(\d+)\.mlp\.fc2\.(.*)", LAYER + r"output.dense.\2"),
    (r"norm\.(.*)", r"layernorm.\1"),
)
RESNET: tuple[Rule, ...] = (
    (r"conv1\.(.*)", r"embedder.embedder.convolution.\1"),
    (r"bn1\.(.*)", r"embedder.embedder.normalization.\1"),
    (r"layer(\d)\.(\d+)\.conv(\d)\.(.*)", r"encoder.stages.<\1>.layers.\2.layer.<\3>.convolution.\4"),
    (r"layer(\d)\.(\d+)\.bn(\d)\.(.*)", r"encoder.stages.<\1>.layers.\2.layer.<\3>.normalization.\4"),
    (r"layer(\d)\.(\d+)\.downsample\.0\.(.*)", r"encoder.stages.<\1>.layers.\2.shortcut.convolution.\3"),
    (r"layer(\d)\.(\d+)\.downsample\.1\.(.*)", r"encoder.stages.<\1>.layers.\2.shortcut.normalization.\3"),
)  # <n> counts from 1 in timm, from 0 in transformers


@dataclass(frozen=True)
class Translated:
    """Weights and configuration for transformers, and what stands in the way."""

    weights: Mapping[str, Tensor]
    config: Mapping[str, Any]
    obstacles: Sequence[str]
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of from_pretrained
    image_size: int = 0  # the only one that it takes; 0 for any


def translate(model: nn.Module) -> Translated:
    """A network of timm for transformers."""
    if type(model) is VisionTransformer:
        weights, left = renamed(split_attention(model.state_dict()), VIT)
        obstacles = [*of_vit(model), *left]
        config = {} if obstacles else vit_config(model)
        return Translated(weights, config, obstacles, {"add_pooling_layer": False}, config.get("image_size", 0))
    if type(model) is ResNet:
        weights, left = renamed(model.state_dict(), RESNET)
        obstacles = [*of_resnet(model), *left]
        return Translated(weights, {} if obstacles else resnet_config(model), obstacles)
    return Translated({}, {}, [f"a {type(model).__name__} is neither a plain ViT nor a plain ResNet"])


def split_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each `attn.qkv`, `[3 D, ...]`, as the three `attn.query`, `attn.key` and `attn.value`, `[D, ...]`."""
    result: dict[str, Tensor] = {}
    for name, tensor in state.items():
        before, joined, after = name.partition(".attn.qkv.")
        if joined:
            parts = zip(("query", "key", "value"), tensor.chunk(3))
            result |= {f"{before}.attn.{part}.{after}": third for part, third in parts}
        else:
            result[name] = tensor
    return result


def renamed(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights under their new names, and a line for those that no rule knows."""
    found: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in state.items():
        rule = next((rule for rule in rules if re.fullmatch(rule[0], name)), None)
        if rule is None:
            unknown.append(name)
        else:
            found[from_zero(re.sub(rule[0], rule[1], name))] = tensor
    more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
    return found, [f"there is no place for {unknown[0]}{more}"] if unknown else []


def from_zero(name: str) -> str:
    """A name whose numbers in angle brackets count from 0."""
    return re.sub(r"<(\d+)>", lambda found: str(int(found[1]) - 1), name)


def of_vit(model: Any) -> list[str]:
    """What in a ViT of timm the one of transformers does not have."""
    block = model.blocks[0]
    wanted = {
        "it has no class token": model.cls_token is not None,
        "it has no table of positions": model.pos_embed is not None,
        "its class token has no row in the table of positions": not model.no_embed_class,
        "its patches are not square": len(set(model.patch_embed.patch_size)) == 1,
        "its MLP is no plain one with GELU": plain_gelu(getattr(block, "mlp", None)),
        "its norms are no plain LayerNorm": isinstance(model.norm, nn.LayerNorm),
        "it pools by attention": getattr(model, "attn_pool", None) is None,
    }
    return [said for said, holds in wanted.items() if not holds]


def plain_gelu(mlp: Any) -> bool:
    """Whether an MLP has the exact GELU between its layers."""
    act = getattr(mlp, "act", None)
    return isinstance(act, nn.GELU) and act.approximate == "none"


def vit_config(model: Any) -> dict[str, Any]:
    """`config.json` of a ViTModel."""
    block = model.blocks[0]
    return {
        "architectures": ["ViTModel"],
        "model_type": "vit",
        "hidden_size": model.embed_dim,
        "num_hidden_layers": len(model.blocks),
        "num_attention_heads": block.attn.num_heads,
        "intermediate_size": block.mlp.fc1.out_features,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": model.norm.eps,
        "image_size": model.patch_embed.img_size[0],
        "patch_size": model.patch_embed.patch_size[0],
        "num_channels": 3,
        "qkv_bias": block.attn.qkv.bias is not None,
    }


def of_resnet(model: Any) -> list[str]:
    """What in a ResNet of timm the one of transformers does not have."""
    stem, pool = model.conv1, model.maxpool
    wanted = {
        "its stem is no 7x7 convolution at stride 2": type(stem) is nn.Conv2d
        and (stem.kernel_size, stem.stride, stem.padding) == ((7, 7), (2, 2), (3, 3)),
        "its stem has no max-pooling of 3x3 at stride 2": type(pool) is nn.MaxPool2d and pool.stride == 2,
        "its blocks are no plain ones": {type(block) for block in blocks(model)} in ({BasicBlock}, {Bottleneck}),
        "its convolutions are grouped or padded in another way": all(
            type(layer) is nn.Conv2d and layer.groups == 1 for layer in model.modules() if isinstance(layer, nn.Conv2d)
        ),
    }
    return [said for said, holds in wanted.items() if not holds]


def blocks(model: Any) -> list[nn.Module]:
    """All residual blocks."""
    return [block for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]


def resnet_config(model: Any) -> dict[str, Any]:
    """`config.json` of a ResNetModel; its stride sits on the 3x3 convolution, as timm's does (v1.5)."""
    stages = [model.layer1, model.layer2, model.layer3, model.layer4]
    bottleneck = isinstance(model.layer1[0], Bottleneck)
    last = "bn3" if bottleneck else "bn2"
    return {
        "architectures": ["ResNetModel"],
        "model_type": "resnet",
        "embedding_size": model.conv1.out_channels,
        "hidden_sizes": [getattr(stage[-1], last).num_features for stage in stages],
        "depths": [len(stage) for stage in stages],
        "layer_type": "bottleneck" if bottleneck else "basic",
        "hidden_act": "relu",
        "downsample_in_first_stage": False,
        "downsample_in_bottleneck": False,
        "num_channels": 3,
    }
