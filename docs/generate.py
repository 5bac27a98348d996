"""Writes the tables of the documents from the stored results, or with --check says which are out of date.

A table stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def quickstart() -> str:
    """The table and the sentence that ``firstlight quickstart`` ended with."""
    record = json.loads((RESULTS / "quickstart.json").read_text(encoding="utf-8"))
    lines = [f"    {line}".rstrip() for line in record["printed"] if line != record["text"]]
    took = f"{record['seconds']:.0f} seconds on {record['machine']['cores']} cores, {record['date']}."
    return "\n".join(["", *lines, "", f"> {record['text']}", "", took, ""])


def render() -> str:
    """The renderer's speed against the plain loops."""
    record = json.loads((RESULTS / "render.json").read_text(encoding="utf-8"))
    ratios, small = record["ratios"], record["32 px"]
    lines = ["| | ns a point | pictures a second | against the walk alone | against the loop that draws |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, row in record["rows"].items():
        against = ratios.get(name), ratios.get(f"{name}, yardstick drawing too")
        shown = [f"{ratio:.1f} x" if ratio else "" for ratio in against]
        lines.append(f"| {name} | {row['ns a point']:.2f} | {row['pictures/s']:,.0f} | {shown[0]} | {shown[1]} |")
    lines += ["", f"Two threads draw {ratios['two threads']:.2f} times as fast as one. 1,000 categories are found in "]
    lines[-1] += (
        f"{ratios['search']:.1f} s of one core. A 32-pixel picture spends {small['python']:.0f} us outside its "
    )
    lines[-1] += f"kernel. {record['machine']['cpu']}, {record['date']}."
    return "\n".join(lines)


def families() -> str:
    """Every family's speed against the public algorithm written plainly."""
    record = json.loads((RESULTS / "render.json").read_text(encoding="utf-8"))
    lines = ["| | pictures a second | the plain way | ratio | single rounds | aim | setting |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for name, row in record["families"].items():
        low, high = row["range"]
        lines.append(
            f"| {name} | {row['pictures/s']:,.0f} | {row['plain pictures/s']:,.1f} | {row['ratio']:.0f} x "
            f"| {low:.0f} to {high:.0f} | {row['goal']:g} | {row['setting']} |"
        )
    found = (
        f"1,000 categories of `fractal3d` at a variance of .05 are found in {record['3D search']:.1f} s of one core."
    )
    return "\n".join([*lines, "", f"{found} {record['machine']['cpu']}, {record['date']}."])


def compare() -> str:
    """What ``firstlight compare`` found on each data set."""
    lines = ["| data | contender | accuracy | 95 % interval | balanced |", "| --- | --- | --- | --- | --- |"]
    said = []
    for path in sorted((RESULTS / "compare").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for name, accuracy, interval, balanced, *_ in record["table"]["rows"]:
            lines.append(f"| {record['data']} | {name} | {accuracy} | {interval} | {balanced} |")
        derived = record["settings"]["derived"]
        said += [
            "",
            f"**{record['data']}**, {derived['size']} px, {derived['pretrain_steps']:,} steps of pre-training and "
            f"{derived['finetune_steps']:,} of fine-tuning, {record['seconds']:.0f} seconds on "
            f"{record['machine']['cores']} cores, {record['date']}: {record['text']}",
        ]
    return "\n".join(lines + said)


def recipes() -> str:
    """Every published recipe: what is drawn, how much of it, and the training."""
    from firstlight import recipes as published
    from firstlight import spec
    from firstlight.formulas import Formula

    lines = ["| name | what | drawn | classes x pictures | training |", "| --- | --- | --- | --- | --- |"]
    for name in spec.names("recipes"):
        recipe = published.find(name)
        drawn = recipe.settings().get("data") or recipe.settings()["formula"]
        side = f", {recipe.settings().get('draw_size') or recipe.settings()['size']} px"
        side *= spec.build("formulas", drawn, Formula).kind != "cloud"
        training = "the set only"
        if recipe.command() == "pretrain":
            training = f"{recipe.model}, {recipe.steps:,} steps of {recipe.batch:,}"
        what = spec.summary("recipes", name).partition(": ")[2] or spec.summary("recipes", name)
        lines.append(
            f"| `{name}` | {what} | `{drawn}`{side} | {recipe.categories:,} x {recipe.instances:,} | {training} |"
        )
    return "\n".join(lines)


def ablations() -> str:
    """Every stored ablation: its table, what it says, and how it was run."""
    said = []
    for path in sorted((RESULTS / "ablate").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        table, derived = record["table"], record["settings"]["derived"]
        said += ["", f"### {record['title']}", "", f"| {' | '.join(table['columns'])} |"]
        said += [f"| {' | '.join(['---'] * len(table['columns']))} |"]
        said += [f"| {' | '.join(row)} |" for row in table["rows"]]
        said += [
            "",
            f"{record['text']} {table['note']}",
            "",
            f"{record['data']}, {derived['labelled']:,} labelled pictures, {derived['size']} px, "
            f"{derived['pretrain_steps']:,} steps of pre-training and {derived['finetune_steps']:,} of fine-tuning, "
            f"{record['seconds']:.0f} seconds on {record['machine']['cores']} shared cores, {record['date']}.",
        ]
    return "\n".join(said[1:])


PAGES = {
    "README.md": {"quickstart": quickstart},
    "docs/speed.md": {"render": render, "families": families},
    "docs/results.md": {"compare": compare},
    "docs/recipes.md": {"recipes": recipes},
    "docs/ablations.md": {"ablations": ablations},
}


def main() -> int:
    """Rewrites every page, or checks them."""
    stale = []
    for name, tables in PAGES.items():
        path = ROOT / name
        text = fresh = path.read_text(encoding="utf-8")
        for mark, table in tables.items():
            before, _, rest = fresh.partition(f"<!-- {mark} -->\n")
            _, end, after = rest.partition(f"<!-- /{mark} -->")
            fresh = f"{before}<!-- {mark} -->\n{table()}\n{end}{after}"
        if fresh != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(fresh, encoding="utf-8")
    print("out of date:" if "--check" in sys.argv else "written:", ", ".join(stale) or "nothing")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
