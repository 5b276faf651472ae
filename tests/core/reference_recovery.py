"""The ensemble once more, as plainly as it can be said: numpy, scipy's minimiser and scikit-learn.

Fits are exact, and all images are learned from. What the multiple-instance models say is given:
they are a fixed number of stochastic steps. N images, C categories, K folds, V base models.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logsumexp
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from clsl_core.recovery.config import TrainConfig

Array = Any
EXACT = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-14, "gtol": 1e-8}


class Given(NamedTuple):
    pooled: Array  # (N, d)
    labels: Array  # (N, C) in {-1, 0, +1}
    numbers: Array  # (N,) an image's number; modulo K it is its fold
    entry_folds: Array  # (N, C)
    vectors: Array  # (C, E), C at most 9: every other category is among the most similar
    text: Array | None  # (N, C) text score
    patches: Array  # (K', N, C) logits of the multiple-instance models by fold
    taught_patches: Array  # (N, C) of the self-trained one
    unknown: float  # weight of unknown entries as negatives


def logit(p: Array) -> Array:
    return np.log(np.clip(p, 1e-6, 1 - 1e-6)) - np.log1p(-np.clip(p, 1e-6, 1 - 1e-6))


def text_score(tokens: Array, vectors: Array) -> Array:
    """(N, C): evidence of the best tenth of the patches, standardised (MaskCLIP, TagCLIP)."""
    words = np.vstack([normalize(vectors), normalize([normalize(vectors).mean(0)])])
    cosines = (normalize(np.vstack(tokens)) @ words.T).reshape(*tokens.shape[:2], -1)
    scaled = cosines / cosines.std(-1).mean()
    evidence = scaled[..., :-1] - 0.5 * logsumexp(scaled, axis=-1, keepdims=True)
    best = np.sort(evidence, 1)[:, -max(1, round(tokens.shape[1] / 10)) :].mean(1)
    return (best - best.mean()) / best.std()


def logistic(x: Array, y: Array, w: Array, pull: Array, centre: Array, offset: Array) -> Array:
    """Weights (d, C): least weighted log loss + half of pull · (weights - centre)²."""

    def loss(flat: Array) -> tuple[float, Array]:
        b = flat.reshape(x.shape[1], -1)
        z, away = offset + x @ b, b - centre[:, None]
        value = (w * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * (pull[:, None] * away**2).sum()
        return value, (x.T @ (w * (expit(z) - y)) + pull[:, None] * away).ravel()

    start = np.repeat(centre[:, None], y.shape[1], 1).ravel()
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=EXACT)
    return found.x.reshape(len(pull), -1)


def partly_pooled(x: Array, y: Array, w: Array, group: Array, pulls: Any, start: Array) -> Array:
    """(groups, V + 1): pooled weights, pulled to ``start``, and each group's deviation."""
    scale = np.append(np.maximum(x.std(0), 1e-3), 1.0)
    x, y, w, ones = np.c_[x, np.ones(len(x))] / scale, y[:, None], w[:, None], np.ones(len(scale))
    pooled = logistic(x, y, w, pulls[0] * ones, start * scale, 0.0)
    own = [(x[group == g], y[group == g], w[group == g]) for g in range(group.max() + 1)]
    apart = [logistic(*part, pulls[1] * ones, 0 * ones, part[0] @ pooled) for part in own]
    return (pooled + np.array(apart))[:, :, 0] / scale


def linear_models(x: Array, y: Array, w: Array, left: Array, l2: float, offset: Array) -> Array:
    """(K, d + 1, C), each without the images that ``left`` (K, N) leaves out."""
    pull = np.append(np.full(x.shape[1] - 1, l2), 1e-2)
    parts = [(w * ~out[:, None], away) for out, away in zip(left, offset, strict=True)]
    return np.stack([logistic(x, y, v, pull, 0 * pull, away) for v, away in parts])


def text_slopes(text: Array, labels: Array, unknown: float, left: Array) -> Array:
    """(K,) logits for a spread of the text score, without the images of each fold."""
    w, out, start = np.where(labels != 0, 1.0, unknown), [], np.array([2.0, 1.0, 0.0])
    for kept in ~left:
        often = logit(((labels[kept] > 0).sum(0) + 0.5) / (w[kept].sum(0) + 1))
        at = np.nonzero(w * kept[:, None])
        x, one = np.stack([text[at], often[at[1]]], 1), np.zeros(len(at[0]), int)
        out.append(max(partly_pooled(x, labels[at] > 0, w[at], one, (10.0, 1e9), start)[0, 0], 0.0))
    return np.array(out)


def neighbour_weights(x: Array, among: Array, count: int, temperature: float) -> Array:
    """(N, N) exp((cosine - best) / temperature) of the nearest images, 0 for the image itself."""
    unit, out = normalize(x), np.zeros((len(x), len(x)))
    index = NearestNeighbors(n_neighbors=min(count + 1, len(among))).fit(unit[among])
    for row, found in enumerate(among[index.kneighbors(unit, return_distance=False)]):
        others = found[found != row]
        cosines = unit[others] @ unit[row]
        out[row, others] = np.exp((cosines - cosines.max()) / temperature)
    return out


def recover(given: Given, config: TrainConfig) -> tuple[Array, float, Array, Array]:
    """Logits (V, N, C) of base models, label frequency, logits (N, C) stacked and of it all."""
    labels, unknown, text, base = given.labels, given.unknown, given.text, config.base_models
    known, positive, C = labels != 0, (labels > 0).astype(float), labels.shape[1]
    weight, said = np.where(known, 1.0, unknown), 0 * positive if text is None else text
    deviation = given.pooled.std(0)
    scale = np.maximum(deviation, 1e-3 * deviation.max()) ** base.evenness
    x = (given.pooled - given.pooled.mean(0)) / scale
    x /= np.sqrt((x**2).sum(1).mean())
    inputs = np.c_[x, np.ones(len(x))]

    def own_fold(by_fold: Array, out: Array, there: Array) -> Array:
        """(K, N, C) to (N, C): known entries by the model that has not seen them, others by all."""
        return np.where(there, by_fold[out.argmax(0), np.arange(len(x))], by_fold.mean(0))

    # Linear models and the multiple-instance ones stand on the text score; the penalty is chosen.
    counts, tried = (base.folds, base.patches.folds), []
    left, patch_left = (given.numbers % count == np.arange(count)[:, None] for count in counts)
    fit_weight = np.where(known, 1.0, unknown or base.linear_unknown)
    slopes = text_slopes(said, labels, unknown, left)
    offset = slopes[:, None, None] * said
    for l2 in sorted({*base.linear_l2, *(base.text_l2 if text is not None else ())}, reverse=True):
        z = inputs @ linear_models(inputs, positive, fit_weight, left, l2, offset) + offset
        out = own_fold(z, left, np.ones_like(known))
        tried.append(((fit_weight * (np.logaddexp(0, out) - positive * out)).sum(), z))
    linear = own_fold(min(tried, key=lambda one: one[0])[1], left, known)
    on_text = text_slopes(said, labels, unknown, patch_left)[:, None, None] * said
    patches = own_fold(given.patches + on_text, patch_left, known)
    few = 1.0 if unknown else np.clip((0.5 / known[known.any(1)].mean()) ** 0.5, 1, 2.5)
    voters, temperature = round(base.neighbours * few), base.vote_temperature
    near = neighbour_weights(x, np.flatnonzero(known.any(1)), voters, temperature)

    def base_models(seen: Array) -> tuple[Array, Array]:
        """Logits (V, N, C) where these labels are known, and the log lift between categories."""
        yes, told = (seen > 0).astype(float), np.where(seen != 0, 1.0, unknown)
        mean, s = (yes.sum() + 0.5) / (told.sum() + 1), base.co_occurrence
        prior = (yes.sum(0) + base.prior_strength * mean) / (told.sum(0) + base.prior_strength)
        vote = (near @ yes + base.vote_prior * prior) / (near @ told + base.vote_prior)
        plain = (yes.sum(0) + 0.5) / (told.sum(0) + 1)
        lift = np.log((yes.T @ yes + s * plain) / (yes.T @ told + s) / plain)
        lift *= (1 - np.eye(C)) * (yes.sum(1).max() > 1)
        parts = [np.tile(logit(prior), (len(x), 1)), logit(vote), linear, patches, yes @ lift]
        return np.stack(parts + ([] if text is None else [text])), lift

    values, known_lift = base_models(labels)
    honest = np.zeros_like(values)
    for fold in np.unique(given.entry_folds):
        here = given.entry_folds == fold
        honest[:, here] = base_models(np.where(here, 0, labels))[0][:, here]
    # Stacking on entries whose own label was hidden, then the label frequency (Elkan, Noto 2008).
    at, pulls = np.nonzero(weight), (config.recovery.ridge, config.recovery.shrinkage)
    start = np.array([0, 1 / 3, 1 / 3, 1 / 3, 0.1, *([] if text is None else [2.0]), 0])
    b = partly_pooled(honest[:, *at].T, positive[at], weight[at], at[1], pulls, start)
    mixed, stacked = (np.einsum("cv,vnc->nc", b[:, :-1], v) + b[:, -1] for v in (honest, values))
    sure = np.sort(expit(mixed)[labels > 0])
    frequency = np.clip(sure[-max(1, len(sure) // 10) :].mean(), 0.2, 1) if unknown else 1.0
    if frequency < 1:
        stacked = logit(np.clip(expit(stacked) / frequency, 1e-9, 0.999))

    def correlate(z: Array) -> Array:
        """What similar categories lend and companions vouch for."""
        own, others = config.label_correlation, 1 - np.eye(C)
        unit = normalize(given.vectors - given.vectors.mean(0))
        alike = np.exp((unit @ unit.T - 1) / own.temperature) * others
        similar = alike / alike.sum(1, keepdims=True) * np.clip(unit @ unit.T / own.alike, 0, 1)
        lent = own.borrowed * own.positives / (own.positives + positive.sum(0))
        z = z + (z - z.mean(0)) @ (similar * lent[:, None]).T
        guess = np.where(known, positive, expit(z))
        mean, s = guess.mean(0), own.shrinkage
        lift = np.log((guess.T @ guess + s * mean) / (guess.sum(0)[:, None] + s) / mean) * others
        lift = own.together * lift + own.known_together * known_lift
        return z + np.where(known, 1.0, own.guess) * (guess - mean) @ lift

    # Self-training on what is believed so far: two models fitted, two looked up.
    own, believed, slope = config.self_training, expit(correlate(stacked)), slopes.mean()
    soft, half = np.where(known, positive, believed), np.where(known, 1.0, own.believed)
    nobody, away = np.zeros((1, len(x)), bool), (slope * said)[None]
    taught = inputs @ linear_models(inputs, soft, half, nobody, own.l2, away)[0]
    taught = (taught + given.taught_patches) / 2 + slope * said
    soft = np.where(known, positive, expit(correlate((stacked + taught) / 2)))
    near = neighbour_weights(x, np.arange(len(x)), own.voters, temperature)
    total = near.sum(1, keepdims=True) + own.vote_prior
    vote = logit((near @ soft + own.vote_prior * soft.mean(0)) / total)
    near = neighbour_weights(x, np.arange(len(x)), own.steps_to, temperature)
    degree, trust = (near + near.T).sum(1), np.where(known, 1.0, own.believed_sent)
    runs = np.eye(len(x)) - own.reach * (near + near.T) / np.sqrt(np.outer(degree, degree))
    runs = np.linalg.inv(runs) - np.eye(len(x))  # label spreading (Zhou 2004), less what one sent
    strength, mean = own.spread_prior * (runs @ trust).mean(0), (soft * trust).sum(0) / trust.sum(0)
    arrived = logit((runs @ (soft * trust) + strength * mean) / (runs @ trust + strength))
    taught = (2 * taught + vote + arrived) / 4

    # The self-trained order the images of a category; its level and spread are those of a mix.
    order = own.share - unknown * max(own.share - own.share_unsure, 0)
    joined = np.empty_like(stacked)
    for c, open_ in enumerate(~known.T):
        z, wanted = taught[:, c], believed[open_, c].mean()
        z = z + brentq(lambda s, z=z[open_], p=wanted: expit(z + s).mean() - p, -50, 50)
        mixed, level = ((1 - share) * stacked[:, c] + share * z for share in (order, own.level))
        scale = np.clip(level[open_].std() / mixed[open_].std(), 0.5, 2)
        joined[:, c] = scale * (mixed - mixed[open_].mean()) + level[open_].mean()
    return values, float(frequency), stacked, correlate(joined)
