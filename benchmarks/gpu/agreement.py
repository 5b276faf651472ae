"""Forward and backward of what learns, on the device, beside float64 on the processor.

An error is the norm of the difference over the norm of the float64 result.

Letters: B images, P patches, d token width, C categories, E vector width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmarks.gpu.section import Row, Setup, measured
from clsl_core.features import FeatureView
from clsl_core.recovery.head.clsl import CLSLHead, ModelConfig
from clsl_core.recovery.head.losses import LossConfig, asymmetric_loss
from clsl_core.recovery.linear import fit_linear
from clsl_core.recovery.patch_linear import PatchConfig, PatchModels, fit_patches, patch_logits
from clsl_core.recovery.text_prior import TextPrior

__all__ = ["agreement", "relative_error"]

_EXACT = {"scores": 1e-4, "gradient": 1e-3}
_NARROW = {"scores": 3e-2, "gradient": 1e-1}  # bfloat16 has 8 bits: 0.4 % at each rounding
_FITTED = {"weights": 1e-2, "scores": 1e-3}


def agreement(setup: Setup) -> Iterator[Row]:
    """The head in float32 and bfloat16, the patch models, the linear models."""
    for name, head in _heads(setup).items():
        for narrow in (False, True):
            kind = "bfloat16" if narrow else "float32"
            yield measured(f"head, {name}, {kind}", partial(_head, setup, head, narrow))
    yield measured("patch models, scores", partial(_patch_scores, setup))
    yield measured("patch models, fitted", partial(_patch_fit, setup))
    yield measured("linear models, fitted", partial(_linear_fit, setup))


def relative_error(found: Any, exact: Any) -> float:
    """‖found - exact‖ / ‖exact‖; not a number stays so."""
    found, exact = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _judged(errors: dict[str, float], tolerances: dict[str, float]) -> dict[str, Any]:
    """The errors, and whether all are within the tolerances."""
    sound = all(error <= tolerances[name] for name, error in errors.items())
    told = {f"error of {name}": error for name, error in errors.items()}
    allowed = " / ".join(f"{tolerances[name]:g}" for name in errors)
    return {**told, "allowed": allowed, "sound": sound}


def _heads(setup: Setup) -> dict[str, CLSLHead]:
    """The head as it is by default, with text, and with the encoder."""
    side, width, count = (setup.choose(*sizes) for sizes in ((7, 3), (512, 512), (80, 5)))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, width)).astype(np.float32)
    parts = {
        "default": (ModelConfig(dropout=0.0), False),
        "with text": (ModelConfig(dropout=0.0), True),
        "with encoder": (ModelConfig(dropout=0.0, encoder=True), False),
    }
    heads = {}
    for name, (config, text) in parts.items():
        torch.manual_seed(0)
        priors = np.full(count, 0.05, np.float32)
        heads[name] = CLSLHead(
            config,
            (side, side),
            width,
            priors,
            vectors=vectors,
            text=TextPrior(vectors) if text else None,
        )
        # It starts at zero, which no gradient would pass.
        nn.init.normal_(heads[name].patch_out.weight, std=0.1)
    return heads


def _head(setup: Setup, head: CLSLHead, narrow: bool) -> dict[str, Any]:
    width, count = head.token_in.in_features, len(head.b)
    B, P = setup.choose(32, 2), setup.choose(49, 9)
    draw = torch.Generator().manual_seed(1)
    tokens = nn.functional.normalize(torch.randn(B, P, width, generator=draw), dim=-1)
    targets = (torch.rand(B, count, generator=draw) < 0.05).float()
    with _Doubles():
        exact = _passed(deepcopy(head).double(), tokens.double(), targets.double(), False)
    there = deepcopy(head).to(setup.device)
    found = _passed(there, tokens.to(setup.device), targets.to(setup.device), narrow)
    errors = {
        "scores": max(relative_error(a, b) for a, b in zip(found[:3], exact[:3], strict=True)),
        "gradient": relative_error(found[3], exact[3]),
    }
    return _judged(errors, _NARROW if narrow else _EXACT)


class _Doubles(TorchFunctionMode):
    """Takes ``x.float()`` for ``x.double()``, so that nothing of a float64 pass is rounded."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """See torch.overrides."""
        if func is torch.Tensor.float:
            return args[0].double()
        return func(*args, **(kwargs or {}))


def _passed(head: CLSLHead, tokens: Tensor, targets: Tensor, narrow: bool) -> list[Any]:
    """z1, z0, R and the gradient of all parameters, as arrays."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=narrow):
        out = head.train()(tokens)
    config = LossConfig()
    losses = [asymmetric_loss(z, targets, config).mean() for z in (out.z1, out.z0)]
    (losses[0] + losses[1]).backward()  # type: ignore[no-untyped-call]
    slopes = [p.grad.flatten() for p in head.parameters() if p.grad is not None]
    return [part.detach().double().cpu().numpy() for part in (*out, torch.cat(slopes))]


def _drawn(setup: Setup) -> tuple[FeatureView, np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Features of N images, few enough for steps of all of them, targets and weights (N, C)."""
    N, P, d, C = (setup.choose(*s) for s in ((200, 24), (49, 9), (256, 16), (80, 5)))
    rng = np.random.default_rng(2)
    tokens = rng.normal(size=(N, P, d)).astype(np.float32)
    targets = (rng.random((N, C)) < 0.2).astype(np.float32)
    tokens[:, 0] += 0.5 * targets @ rng.normal(size=(C, d)).astype(np.float32)
    return FeatureView.from_arrays(tokens), targets, rng.random((N, C)).astype(np.float32)


def _standardised(features: FeatureView) -> tuple[np.ndarray[Any, Any], ...]:
    """All tokens as float64, their mean (d,) and their scale (d,)."""
    tokens = features.tokens(np.arange(len(features))).astype(np.float64)
    return tokens, tokens.mean((0, 1)), tokens.std((0, 1))


def _patch_scores(setup: Setup) -> dict[str, Any]:
    features, targets, _ = _drawn(setup)
    tokens, centre, scale = _standardised(features)
    rng, config = np.random.default_rng(3), PatchConfig()
    w = rng.normal(size=(features.dim, targets.shape[1])) / features.dim**0.5
    bias = rng.normal(size=targets.shape[1])
    x = torch.from_numpy((tokens - centre) / scale)
    exact = _pooled(x, torch.from_numpy(w), torch.from_numpy(bias), config.sharpness)
    models = PatchModels(w[None].astype(np.float32), bias[None].astype(np.float32))
    found = patch_logits(
        models, features, np.arange(len(features)), centre.astype(np.float32),
        scale.astype(np.float32), config, device=str(setup.device),
    )  # fmt: skip
    return _judged({"scores": relative_error(found[0], exact)}, _EXACT)


def _patch_fit(setup: Setup) -> dict[str, Any]:
    features, targets, weights = _drawn(setup)
    tokens, centre, scale = _standardised(features)
    config = PatchConfig(steps=setup.choose(40, 10))
    found = fit_patches(
        features, centre.astype(np.float32), scale.astype(np.float32), targets, weights, config,
        folds=None, seed=0, device=str(setup.device),
    )  # fmt: skip
    x = torch.from_numpy((tokens - centre) / scale)
    w, bias = _descended(x, torch.from_numpy(targets), torch.from_numpy(weights), config)
    exact = _pooled(x, w, bias, config.sharpness)
    own, level = (torch.from_numpy(part[0]).double() for part in (found.weights, found.bias))
    errors = {
        "weights": relative_error(found.weights[0], w),
        "scores": relative_error(_pooled(x, own, level, config.sharpness), exact),
    }
    return _judged(errors, _FITTED)


def _pooled(x: Tensor, w: Tensor, bias: Tensor, sharpness: float) -> Tensor:
    """Standardised tokens (N, P, d) -> logits (N, C): Σ_p softmax_p(R)·R + b."""
    R = x @ w
    return (torch.softmax(sharpness * R, 1) * R).sum(1) + bias


def _descended(
    x: Tensor, targets: Tensor, weights: Tensor, config: PatchConfig
) -> tuple[Tensor, Tensor]:
    """What ``fit_patches`` says it does, in float64 with all images in each step."""
    y, m = targets.double(), weights.double()
    rate = ((m * y).sum(0) + 0.5) / (m.sum(0) + 1.0)
    bias = torch.logit(rate).requires_grad_(True)
    w = torch.zeros(x.shape[2], y.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([w, bias])
    for step in range(config.steps):
        optimiser.param_groups[0]["lr"] = config.learning_rate * (1 - step / config.steps)
        z = _pooled(x, w, bias, config.sharpness)
        losses = nn.functional.binary_cross_entropy_with_logits(z, y, m, reduction="sum")
        optimiser.zero_grad()
        (losses + 0.5 * config.l2 * w.square().sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return w.detach(), bias.detach()


def _linear_fit(setup: Setup) -> dict[str, Any]:
    N, d, C = (setup.choose(*sizes) for sizes in ((2000, 40), (512, 16), (80, 5)))
    draw = torch.Generator().manual_seed(4)
    x = torch.randn(N, d, generator=draw)
    targets = (torch.rand(N, C, generator=draw) < 0.2).float()
    weights, folds = torch.rand(N, C, generator=draw), torch.arange(N) % 3
    exact = fit_linear(x.double(), targets.double(), weights.double(), folds, fold_count=3, l2=1.0)
    there = (part.to(setup.device) for part in (x, targets, weights, folds))
    found = fit_linear(*there, fold_count=3, l2=1.0).cpu()
    return _judged({"weights": relative_error(found, exact)}, _FITTED)
