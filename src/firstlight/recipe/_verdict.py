"""What a comparison found: the table, the sentence, and the figures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..runs import read_json

if TYPE_CHECKING:
    from ..data import Pictures
    from ..evaluations import Result


def conclude(outcomes: "dict[str, list[Result]]", test: "Pictures", plan: dict[str, Any], draws: int) -> "Result":
    """One result out of every contender's results on every draw.

    The intervals are 95 % ones that count the spread over the draws and over the test pictures; contenders are
    compared picture by picture on the same draws.
    """
    from ..evaluations import Result
    from ..evaluations._intervals import interval, verdict

    correct = {
        name: np.array([np.asarray(r.predictions) == test.labels for r in results]) for name, results in outcomes.items()
    }
    ranked = sorted(correct, key=lambda name: -correct[name].mean())
    rows, figure = [], []
    for name in ranked:
        mean, low, high = interval(correct[name])
        seconds = np.mean([r.numbers["seconds"] for r in outcomes[name]])
        balanced = np.mean([r.numbers["balanced_accuracy"] for r in outcomes[name]])
        rows.append([name, f"{mean:.3f}", f"{low:.3f} to {high:.3f}", f"{balanced:.3f}",
                     f"{plan.get('seconds', {}).get(name, 0):.0f}", f"{seconds:.1f}"])  # fmt: skip
        figure.append(
            {"name": name, "mean": mean, "low": low, "high": high, "points": correct[name].mean(1).tolist()}
        )
    best = max(outcomes[ranked[0]], key=lambda r: 0)  # the first draw's, whichever it is
    return Result(
        "compare",
        "Which road is best for these pictures?",
        text=verdict(correct),
        numbers={name: float(correct[name].mean()) for name in ranked},
        tables=[
            {
                "title": f"Test accuracy over {draws} draws",
                "columns": ["contender", "accuracy", "95 % interval", "balanced", "pre-training s", "fit s"],
                "rows": rows,
                "note": f"{len(test):,} test pictures, the same for all; seconds are a mean for one draw",
            }
        ],
        figures=[{"kind": "intervals", "title": "Test accuracy", "x": "accuracy", "rows": figure}, *best.figures],
        settings=plan,
    )
