"""The formulas of the study in plain NumPy, written from its sections 6.1 to 6.6 token by token."""

import numpy as np


def penalty(name: str, lp: float, lq: float) -> float:
    """Section 6.1, in the forms that the table gives; `jensen_shannon` in its direct form."""
    d = lp - lq
    p, q = np.exp(lp), np.exp(lq)
    m = (p + q) / 2
    match name:
        case "kl":
            return d
        case "clamped_kl":
            return max(d, 0.0)
        case "bregman":
            return np.exp(-d) - 1 + d
        case "bregman_v0":
            return np.exp(d) - 1 - d
        case "squared_error":
            return d * d / 2
        case "jensen_shannon":
            return (max(lp - np.log(m), 0.0) + max(lq - np.log(m), 0.0)) / 2
        case "js_unbiased":
            return (np.log(p / m) + (q / p) * np.log(q / m)) / 2
        case "none":
            return 0.0
    raise AssertionError(name)


def whiten(rows, mask, keep_mean):
    """Section 6.3 over the positions of the mask."""
    inside = [
        value
        for row, real in zip(rows, mask, strict=False)
        for value, true in zip(row, real, strict=False)
        if true
    ]
    mean = sum(inside) / len(inside)
    deviation = np.sqrt(sum((value - mean) ** 2 for value in inside) / len(inside))
    out = [
        [(value - mean) / (deviation + 1e-8) + (mean if keep_mean else 0.0) for value in row] for row in rows
    ]
    return np.where(mask, np.array(out), 0.0)


def gae(rewards, values, mask, gamma, lam):
    """Sections 6.4 and 6.6: the definition as a sum over later steps, up to each row's own end."""
    advantages = np.zeros_like(rewards)
    for row in range(len(rewards)):
        end = int(mask[row].sum())
        for t in range(end):
            for later in range(t, end):
                following = values[row][later + 1] if later + 1 < end else 0.0
                delta = rewards[row][later] + gamma * following - values[row][later]
                advantages[row][t] += (gamma * lam) ** (later - t) * delta
    return advantages, np.where(mask, advantages + values, 0.0)


def shaped(penalties, coefficient, scores, mask):
    """Section 6.2."""
    rewards = np.where(mask, -coefficient * penalties, 0.0)
    for row, real in enumerate(mask):
        rewards[row][int(real.sum()) - 1] += scores[row]
    return rewards


def policy_loss(new, old, advantage, clip):
    """Section 6.5, one token."""
    ratio = np.exp(new - old)
    return max(-advantage * ratio, -advantage * min(max(ratio, 1 - clip), 1 + clip))


def value_loss(new, old, target, clip):
    """Section 6.5, one token."""
    clipped = min(max(new, old - clip), old + clip)
    return 0.5 * max((new - target) ** 2, (clipped - target) ** 2)


def full(name, p, q):
    """Section 6.1, `kl_full` and `js_full`: sums over the vocabulary of two distributions (…, words)."""
    m = (p + q) / 2
    if name == "kl_full":
        return (p * np.log(p / q)).sum(-1)
    return ((p * np.log(p / m)).sum(-1) + (q * np.log(q / m)).sum(-1)) / 2


def estimate(penalties, coefficient, scores, values, mask, counted, gamma, lam):
    """Sections 6.2 to 6.4 (6.6 where `counted` is the mask): whitened advantages, and returns."""
    rewards = whiten(shaped(penalties, coefficient, scores, mask), counted, keep_mean=True)
    advantages, returns = gae(rewards, values, counted, gamma, lam)
    return whiten(advantages, counted, keep_mean=False), returns
