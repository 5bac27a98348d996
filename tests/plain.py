"""Formulas that several methods share, written out in plain Python as the papers print them."""

import math


def softmax(row: list[float], temperature: float = 1.0, center: list[float] | None = None) -> list[float]:
    exps = [math.exp((x - c) / temperature) for x, c in zip(row, center or [0.0] * len(row))]
    return [e / sum(exps) for e in exps]


def distilled(teacher: list[float], student: list[float], center: list[float]) -> float:
    """Cross-entropy of a student at 0.1 with a centred teacher at 0.05."""
    pairs = zip(softmax(teacher, 0.05, center), softmax(student, 0.1))
    return -sum(p * math.log(q) for p, q in pairs)


def contrast(queries: list[list[float]], keys: list[list[float]], temperature: float) -> float:
    """InfoNCE: each query finds its own key among all of them."""
    queries, keys = [_unit(row) for row in queries], [_unit(row) for row in keys]
    total = 0.0
    for own, query in enumerate(queries):
        logits = [sum(x * y for x, y in zip(query, key)) / temperature for key in keys]
        total += math.log(sum(math.exp(logit) for logit in logits)) - logits[own]
    return total / len(queries)


def cross_entropy(rows: list[list[float]], labels: list[int]) -> tuple[float, list[list[float]]]:
    """The mean over rows of logits, and its gradient at each of them."""
    total, gradients = 0.0, []
    for row, label in zip(rows, labels, strict=True):
        shares = softmax(row)
        total -= math.log(shares[label]) / len(rows)
        gradients.append([(share - (place == label)) / len(rows) for place, share in enumerate(shares)])
    return total, gradients


def _unit(row: list[float]) -> list[float]:
    return [x / math.sqrt(sum(y * y for y in row)) for x in row]
