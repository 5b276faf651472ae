"""The CLSL head on frozen patch tokens: label vectors look at the image, patches look at labels.

Letters: B batch, C categories, P patches, d token width, D model width, E category-vector width,
A attention width, H hidden width.

    X  (B, P, d)  patch tokens of the frozen backbone
    T  (C, E)     category vectors (text embeddings, other label vectors, or learned ones)

1. Encoder (optional): one post-norm transformer layer with 2-D sine positions on q and k.
2. SRFL, semantic-related features: T passes the label graph once; V = MLP([T ; mean_p X]), so a
   category's vector depends on the image. LayerNorm, as interactive batches are small.
3. SGFE, semantic-guided enhancement: S[b,p,c] = wᵀ tanh(U X_p ⊙ W V_c), a low-rank bilinear
   attention; its softmax runs over *categories* at each position; F_p = Σ_c softmax_c(S)·V_c.
   A further linear map between tanh and w would be folded into w, so there is none.
4. Scores: R = MLP([F_p ; X_p]) on the patch grid, the heat map; z1_c = Σ_p softmax_p(R_c)·R_c.
   Auxiliary head: z0_c = max_p (W0 X_p)_c.
5. Priors: z1 += a_c · z_text + b_c (``text_prior``). The last layer of R starts at zero, so an
   untrained model scores like the text prior and the class priors alone.

Papers: CLSL (arXiv 2510.10055); low-rank bilinear attention (arXiv 1610.04325); learning label
features against the image (SSGRL, arXiv 1908.07325); softmax pooling over patches and the prior
from text (DualCoOp, arXiv 2206.09541).
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from clsl_core.recovery.label_graph import GraphLayer, LabelGraph
from clsl_core.recovery.text_prior import TextPrior

__all__ = ["CLSLHead", "HeadOutput", "ModelConfig", "bilinear_scores"]


@dataclass(frozen=True)
class ModelConfig:
    """Every part is a switch, so that an ablation is a configuration.

    Attributes:
        width: D, the width the head works at.
        attention_width: A, the rank of the bilinear attention.
        hidden: H, hidden width of the patch classifier.
        encoder: Whether the transformer layer is there; it pays off on large collections only.
        encoder_heads: Halved until it divides D.
        srfl: Condition the category vectors on the image; else V = MLP(T).
        sgfe: Attend from patches to categories; else F is left out.
        graph: Pass the category vectors through the label graph.
        text_prior: Add a_c · z_text, where there is text.
        dropout: Inside the patch classifier and the encoder.
        learned_vector: E when no category vectors are given.
        text_temperature: Divides cosines of patches and words; 0 takes how far they spread.
        chunk: Elements of the attention's largest intermediate that may exist at once; 0 suits
            the device.
    """

    width: int = 128
    attention_width: int = 32
    hidden: int = 128
    encoder: bool = False
    encoder_heads: int = 8
    srfl: bool = True
    sgfe: bool = True
    graph: bool = True
    text_prior: bool = True
    dropout: float = 0.2
    learned_vector: int = 64
    text_temperature: float = 0.0
    chunk: int = 0


class HeadOutput(NamedTuple):
    """z1 (B, C) and z0 (B, C) are logits; R (B, P, C) is z1's evidence at each patch."""

    z1: Tensor
    z0: Tensor
    R: Tensor


class CLSLHead(nn.Module):
    """Maps patch tokens to logits for all categories.

    Args:
        config: Which parts, how wide.
        grid: Rows and columns of the patch grid.
        token_width: d.
        priors: (C,) estimated share of positives of each category, in (0, 1).
        vectors: (C, E) category vectors, or None for learned ones.
        graph: The label graph, or None to leave it out.
        text: What names say, where there are text vectors in the tokens' space.
    """

    vectors: Tensor
    given: Tensor
    token_mean: Tensor
    token_scale: Tensor

    def __init__(
        self,
        config: ModelConfig,
        grid: tuple[int, int],
        token_width: int,
        priors: npt.NDArray[np.float32],
        *,
        vectors: npt.NDArray[np.float32] | None = None,
        graph: LabelGraph | None = None,
        text: TextPrior | None = None,
    ) -> None:
        super().__init__()
        C, D = len(priors), config.width
        self.config = config
        self.register_buffer("given", torch.tensor(vectors is not None))
        if vectors is None:
            self.vectors = nn.Parameter(torch.randn(C, config.learned_vector))
        else:
            self.register_buffer("vectors", torch.tensor(np.asarray(vectors, np.float32)))
        E = self.vectors.shape[1]
        self.text = deepcopy(text) if config.text_prior else None
        self.register_buffer("token_mean", torch.zeros(token_width))
        self.register_buffer("token_scale", torch.ones(1))

        self.token_in = nn.Linear(token_width, D)
        self.token_norm = nn.LayerNorm(D)
        self.encoder = _Encoder(config, grid) if config.encoder else None
        self.vector_norm = nn.LayerNorm(E, elementwise_affine=False)
        self.graph = GraphLayer(graph, E) if config.graph and graph is not None else None
        self.label_in = nn.Linear(E, D)
        self.image_in = nn.Linear(D, D, bias=False) if config.srfl else None
        self.label_out = nn.Sequential(nn.LayerNorm(D), nn.GELU(), nn.Linear(D, D))
        self.U = nn.Linear(D, config.attention_width)
        self.W = nn.Linear(D, config.attention_width)
        self.w = nn.Parameter(torch.randn(config.attention_width) / config.attention_width**0.5)
        self.patch_in = nn.Linear(2 * D if config.sgfe else D, config.hidden)
        self.patch_out = nn.Linear(config.hidden, C)
        self.auxiliary = nn.Linear(D, C)
        self.drop = nn.Dropout(config.dropout)
        self.a = nn.Parameter(torch.ones(C))
        prior = torch.from_numpy(np.asarray(priors, np.float32)).clamp(1e-4, 1 - 1e-4)
        self.b = nn.Parameter(torch.logit(prior))
        nn.init.zeros_(self.patch_out.weight)
        nn.init.zeros_(self.patch_out.bias)

    def standardise(self, tokens: Tensor) -> None:
        """Take the mean and the overall scale of the tokens from a sample (n, P, d)."""
        flat = tokens.float().flatten(0, 1)
        self.token_mean.copy_(flat.mean(0))
        self.token_scale.copy_((flat - flat.mean(0)).std().clamp_min(1e-6))

    def forward(self, tokens: Tensor, patches: Tensor | None = None) -> HeadOutput:
        """Tokens (B, P, d) -> logits z1 (B, C), z0 (B, C) and the heat map R (B, P, C).

        ``patches`` (P,) are the places on the grid of the tokens, all of them by default.
        """
        X = self.token_in((tokens.float() - self.token_mean) / self.token_scale)  # (B, P, D)
        X = self.token_norm(X)
        if self.encoder is not None:
            X = self.encoder(X, patches)
        Z = torch.cat([self._enhance(X), X], -1) if self.config.sgfe else X  # (B, P, 2D)
        R = self.patch_out(self.drop(nn.functional.gelu(self.patch_in(Z)))).float()  # (B, P, C)
        z1 = (R.softmax(1) * R).sum(1) + self._prior(tokens)  # (B, P, C) -> (B, C)
        z0 = self.auxiliary(X).float().amax(1) + self.b  # (B, P, C) -> (B, C)
        return HeadOutput(z1, z0, R)

    def evidence(self, tokens: Tensor) -> Tensor:
        """What each patch says for each category: R, and the text prior where there is one.

        (B, P, d) -> (B, P, C).
        """
        out: HeadOutput = self(tokens)
        return out.R if self.text is None else out.R + self.a * self.text.evidence(tokens)

    def _label_features(self, X: Tensor) -> Tensor:
        """SRFL: V (B, C, D), or (1, C, D) where the image is left out."""
        T = self.vector_norm(self.vectors)  # (C, E)
        if self.graph is not None:
            T = self.graph(T)
        # A linear map of a concatenation is the sum of two: C + B rows instead of B·C.
        V = self.label_in(T).unsqueeze(0)  # (1, C, D)
        if self.image_in is not None:
            V = V + self.image_in(X.mean(1)).unsqueeze(1)  # (B, C, D)
        out: Tensor = self.label_out(V)
        return out

    def _enhance(self, X: Tensor) -> Tensor:
        """SGFE: F (B, P, D), for each patch the category vectors it attends to."""
        V = self._label_features(X)  # (B, C, D)
        S = bilinear_scores(self.U(X), self.W(V), self.w, self.config.chunk)  # (B, P, C)
        return S.float().softmax(-1).to(V.dtype) @ V  # (B, P, C) @ (B, C, D) -> (B, P, D)

    def _prior(self, tokens: Tensor) -> Tensor:
        if self.text is None:
            return self.b
        with torch.no_grad():
            z: Tensor = self.text(tokens)
        return self.a * z + self.b


def bilinear_scores(queries: Tensor, keys: Tensor, w: Tensor, chunk: int = 0) -> Tensor:
    """S[b,p,c] = wᵀ tanh(q[b,p] ⊙ k[b,c]) without ever holding (B, P, C, A).

    Works through blocks of at most ``chunk`` elements (one patch and one category at least), and
    through the same blocks again in the backward pass.

    Args:
        queries: (B, P, A).
        keys: (B, C, A), or (1, C, A) for all images.
        w: (A,).
        chunk: Elements of a block; 0 fits a processor's cache or fills a GPU.

    Returns:
        (B, P, C) in the dtype of the queries.
    """
    size = chunk or (1 << 26 if queries.is_cuda else 1 << 19)
    keys = keys.expand(len(queries), -1, -1)
    scores = _BilinearScores.apply(queries, keys.to(queries.dtype), w.to(queries.dtype), size)
    assert isinstance(scores, Tensor)
    return scores


Block = tuple[slice, slice, slice]


def _blocks(S: Tensor, A: int, chunk: int) -> Iterator[Block]:
    """Slices of S (B, P, C) with at most ``chunk`` elements once A is added."""
    B, P, C = S.shape
    categories = max(1, min(C, chunk // A))
    patches = max(1, min(P, chunk // (A * categories)))
    images = max(1, min(B, chunk // (A * categories * patches)))
    for b in range(0, B, images):
        for p in range(0, P, patches):
            for c in range(0, C, categories):
                yield slice(b, b + images), slice(p, p + patches), slice(c, c + categories)


class _BilinearScores(torch.autograd.Function):
    """The sum in blocks; backward computes each block's tanh again instead of keeping it."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, w: Tensor, chunk: int) -> Tensor:
        ctx.save_for_backward(q, k, w)
        ctx.chunk = chunk
        S = q.new_empty(q.shape[0], q.shape[1], k.shape[1])  # (B, P, C)
        for b, p, c in _blocks(S, len(w), chunk):
            t = (q[b, p].unsqueeze(2) * k[b, c].unsqueeze(1)).tanh_()  # (b, p, c, A)
            S[b, p, c] = t @ w
        return S

    @staticmethod
    def backward(ctx: Any, dS: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q, k, w = ctx.saved_tensors
        dq, dk, dw = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(w)
        for b, p, c in _blocks(dS, len(w), ctx.chunk):
            t = (q[b, p].unsqueeze(2) * k[b, c].unsqueeze(1)).tanh_()  # (b, p, c, A)
            part = dS[b, p, c].unsqueeze(-1)  # (b, p, c, 1)
            dw += (part * t).sum((0, 1, 2))
            g = t.square_().neg_().add_(1).mul_(w).mul_(part)  # (b, p, c, A)
            dq[b, p] += (g * k[b, c].unsqueeze(1)).sum(2)
            dk[b, c] += g.mul_(q[b, p].unsqueeze(2)).sum(1)
        return dq, dk, dw, None


class _Encoder(nn.Module):
    """One post-norm transformer layer; positions enter q and k, not v."""

    positions: Tensor

    def __init__(self, config: ModelConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        D, heads = config.width, config.encoder_heads
        while D % heads:
            heads //= 2
        self.heads = heads
        self.drop = nn.Dropout(config.dropout)
        self.qk = nn.Linear(D, 2 * D)
        self.v = nn.Linear(D, D)
        self.out = nn.Linear(D, D)
        self.feed = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))
        self.norm1 = nn.LayerNorm(D)
        self.norm2 = nn.LayerNorm(D)
        self.register_buffer("positions", _sine_positions(grid, D), persistent=False)

    def forward(self, X: Tensor, patches: Tensor | None = None) -> Tensor:
        """(B, P, D) -> (B, P, D)."""
        B, P, D = X.shape
        positions = self.positions if patches is None else self.positions[patches]
        q, k = self.qk(X + positions).chunk(2, -1)  # (B, P, D) each
        parts = (part.view(B, P, self.heads, -1).transpose(1, 2) for part in (q, k, self.v(X)))
        mixed = nn.functional.scaled_dot_product_attention(*parts)  # (B, heads, P, D / heads)
        mixed = mixed.transpose(1, 2).reshape(B, P, D)  # (B, P, D)
        X = self.norm1(X + self.drop(self.out(mixed)))
        out: Tensor = self.norm2(X + self.drop(self.feed(X)))
        return out


def _sine_positions(grid: tuple[int, int], width: int) -> Tensor:
    """2-D sine positions (P, width): one half of the width for the row, the other for the column.

    Source: DETR (arXiv 2005.12872); the last columns stay zero where 4 does not divide ``width``.
    """
    rows, columns = grid
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter) / max(quarter, 1))  # (width / 4,)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.flatten().unsqueeze(1) * frequency for axis in (y, x)]  # (P, width / 4) each
    table = torch.zeros(rows * columns, width)
    waves = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], 1)
    table[:, : waves.shape[1]] = waves
    return table
