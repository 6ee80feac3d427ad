"""Token routing (V-MoE, arXiv:2106.05974): the gate sees the token at its block.

p     = softmax(W x)                          W [E, D] of each block, x a token after the block's second norm
gates = top k of softmax(W x + noise)         not normalised again; no token is dropped, whatever the load
loss  = importance * CV^2(sum of p) + load * CV^2(sum of chances of being among the k)
"""

import torch
from torch import Tensor, nn

from sslcli.api import Context
from sslcli.errors import UserError
from sslcli.nn.experts import Columns, Route
from sslcli.nn.gates import entropies, importance, load, sample_noise, squared_variation, top_gates
from sslcli_vmoe.options import TokenRoutingOptions


class TokenRouting(nn.Module):
    """Gates `[B, N, E]` of tokens `[B, N, D]`."""

    def __init__(self, options: TokenRoutingOptions, context: Context) -> None:
        super().__init__()
        check(options)
        self.options = options
        self.noise = 1.0 / options.experts if options.noise is None else options.noise
        self.key, self.seed = f"token/{context.block}", context.seed
        self.gate = nn.Linear(context.width, options.experts, bias=False)
        nn.init.normal_(self.gate.weight, std=options.gate_deviation)

    def forward(self, tokens: Tensor, columns: Columns | None) -> Route:
        """Where every token goes."""
        with torch.autocast(tokens.device.type, enabled=False):
            logits = self.gate(tokens.float())
            noise = self.drawn(logits, columns)
            gates = top_gates((logits + noise).softmax(dim=-1), self.options.top_k)
            clear = logits.softmax(dim=-1)
            losses = self.losses(logits, noise, clear) if self.training else {}
            return Route(gates, losses, {"entropy": entropies(clear).mean(), "certainty": clear.amax(dim=-1).mean()})

    def drawn(self, logits: Tensor, columns: Columns | None) -> Tensor:
        """Noise on the logits in training; nothing when judged."""
        if not (self.training and self.noise):
            return torch.zeros_like(logits)
        return self.noise * sample_noise(columns, self.seed, self.key, logits.detach())

    def losses(self, logits: Tensor, noise: Tensor, clear: Tensor) -> dict[str, Tensor]:
        """Equal use of the experts, weighted, over the tokens of all processes."""
        options = self.options
        found = {"importance": options.importance * squared_variation(importance(clear))}
        if options.load:
            chances = load(logits.flatten(0, 1), noise.flatten(0, 1), self.noise, options.top_k)
            found["load"] = options.load * squared_variation(chances)
        return found


def check(options: TokenRoutingOptions) -> None:
    """Refuse what cannot be routed."""
    if options.top_k > options.experts:
        raise UserError(f"routing.top_k is {options.top_k}, of {options.experts} experts", "choose at most as many")
    if options.load and options.noise == 0:
        raise UserError("routing.load counts chances under noise, and routing.noise is 0", "set routing.load to 0 too")
