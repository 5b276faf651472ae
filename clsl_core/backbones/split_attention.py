"""Self-attention whose four projections are linear layers of their own.

``torch.nn.MultiheadAttention`` keeps query, key and value projections in one parameter and never
calls its output layer, so an adapter cannot sit on them: it has to add itself to the weights
before each pass and subtract itself afterwards, and rounding then changes the frozen weights.
Here each projection is a Linear that an adapter can wrap.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["SplitAttention", "join_attention", "split_attention"]


class SplitAttention(nn.Module):
    """The same function as a self-attention of ``nn.MultiheadAttention`` with batches first.

    Args:
        joined: Its weights are copied. Query, key and value have one width, and no dropout.
    """

    def __init__(self, joined: nn.MultiheadAttention) -> None:
        super().__init__()
        width = joined.embed_dim
        self.heads = joined.num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        with torch.no_grad():
            for index, linear in enumerate((self.query, self.key, self.value)):
                rows = slice(index * width, (index + 1) * width)
                linear.weight.copy_(joined.in_proj_weight[rows])
                linear.bias.copy_(joined.in_proj_bias[rows])
            self.out.weight.copy_(joined.out_proj.weight)
            self.out.bias.copy_(joined.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """(B, L, w) three times -> ((B, L, w), None), as the attention it stands for."""
        B, L, w = query.shape
        q, k, v = (
            layer(x).view(B, L, self.heads, -1).transpose(1, 2)  # (B, heads, L, w / heads)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, L, w))
        return out, None

    def values(self, x: Tensor) -> Tensor:
        """What each token gets that attends to itself only: (B, L, w) -> (B, L, w)."""
        out: Tensor = self.out(self.value(x))
        return out


def split_attention(module: nn.Module) -> None:
    """Put a SplitAttention in the place of every MultiheadAttention below ``module``."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            setattr(module, name, SplitAttention(child).to(child.in_proj_weight.device))
        else:
            split_attention(child)


@torch.no_grad()
def join_attention(module: nn.Module) -> None:
    """Undo ``split_attention``, keeping the weights as they are now; no adapter may be left."""
    for name, child in list(module.named_children()):
        if not isinstance(child, SplitAttention):
            join_attention(child)
            continue
        linears = (child.query, child.key, child.value)
        joined = nn.MultiheadAttention(child.out.in_features, child.heads, batch_first=True)
        joined.in_proj_weight.copy_(torch.cat([linear.weight for linear in linears]))
        joined.in_proj_bias.copy_(torch.cat([linear.bias for linear in linears]))
        joined.out_proj.weight.copy_(child.out.weight)
        joined.out_proj.bias.copy_(child.out.bias)
        setattr(module, name, joined.to(child.out.weight.device))
