"""What a comparison found: the table, the sentence, and the figures."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..data import Pictures
    from ..evaluations import Result


def conclude(
    outcomes: "dict[str, list[Result]]", test: "Pictures", plan: dict[str, Any], pretraining: dict[str, float]
) -> "Result":
    """One result out of every contender's results on every draw.

    The intervals are 95 % ones that count the spread over the draws and over the test pictures; contenders are
    compared picture by picture on the same draws.

    Args:
        outcomes: for each contender, one result for each draw.
        test: the pictures that all were measured on.
        plan: what was worked out for this machine, for the record.
        pretraining: for each contender that had one, its seconds.
    """
    from ..evaluations import Result
    from ..evaluations._intervals import interval, verdict

    correct = {
        name: np.array([np.asarray(result.predictions) == test.labels for result in results])
        for name, results in outcomes.items()
    }
    ranked = sorted(correct, key=lambda name: -correct[name].mean())
    rows, figure = [], []
    for name in ranked:
        mean, low, high = interval(correct[name])
        fit, balanced = (np.mean([r.numbers[key] for r in outcomes[name]]) for key in ("seconds", "balanced_accuracy"))
        before = f"{pretraining[name]:.0f}" if name in pretraining else "-"
        rows.append(
            [name, f"{mean:.1%}", f"{low:.1%} to {high:.1%}", f"{balanced:.1%}", before, f"{fit:.1f}"]
        )  # fmt: skip
        figure.append({"name": name, "mean": mean, "low": low, "high": high, "points": correct[name].mean(1).tolist()})

    first = outcomes[ranked[0]][0]
    details = [{**figure, "title": f"{figure['title']}: {ranked[0]}, first draw"} for figure in first.figures]
    draws, alike = len(correct[ranked[0]]), plan["labelled"] == plan["train"]
    varied = "training seeds (the labelled pictures are the same)" if alike else "draws of the labelled pictures"
    return Result(
        "compare",
        "Which road is best for these pictures?",
        text=verdict(correct, varied),
        numbers={name: float(correct[name].mean()) for name in ranked},
        tables=[
            {
                "title": f"Test accuracy over {draws} {varied}" if draws > 1 else "Test accuracy",
                "columns": ["contender", "accuracy", "95 % interval", "balanced", "pre-training s", "fit s"],
                "rows": rows,
                "note": f"{len(test):,} test pictures, the same for all. Balanced: the mean over classes. Pre-training "
                "happens once; fit: seconds for one draw.",
            }
        ],
        figures=[{"kind": "intervals", "title": "Test accuracy", "x": "accuracy", "rows": figure}, *details],
        settings=plan,
    )
