"""Writes the tables of the documents from the stored results, or with --check says which are out of date.

A table stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean as mean
from typing import Any

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


def methods() -> str:
    """What every method learned at the common budget, one table for each backbone, and with which settings."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "methods").glob("*.json"))]
    if not records:
        return "Not measured yet."
    parts = []
    for backbone, mode in sorted({(record["backbone"], record["mode"]) for record in records}):
        here = [record for record in records if (record["backbone"], record["mode"]) == (backbone, mode)]
        here += [r for r in records if mode == "own" and r["backbone"] == backbone and r["method"] in PLAIN]
        parts += _methods_of(here, mode)
    return "\n".join(parts)


PLAIN = {"pixels": "pixels", "random": "random", "random_patches": "random, read by patches as `cpc`"}


def _methods_of(records: list[dict[str, Any]], mode: str) -> list[str]:
    """The table of one backbone: best linear accuracy first, means over the seeds."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record["settings"]["seed"]):
        runs.setdefault(record["method"], []).append(record)
    of = lambda name, protocol: [r["results"][protocol] for r in runs[name] if protocol in r["results"]]  # noqa: E731
    accuracy = lambda name, protocol: mean(result["numbers"]["accuracy"] for result in of(name, protocol))  # noqa: E731
    trained = next((runs[name][0] for name in runs if name not in PLAIN), None)
    protocols = list(dict.fromkeys(protocol for record in records for protocol in record["results"]))
    judge = "linear" if "linear" in protocols else protocols[-1]
    about = ["", "### Untrained", ""]
    if trained:
        how, optimisation = trained["settings"]["training"], trained["settings"]["training"]["optimisation"]
        rule = f"{optimisation['optimizer']} at {optimisation['lr']:g} (for a batch of 256)"
        about = [
            "", f"### `{trained['settings']['model']}`{' with its own optimisation' * (mode == 'own')}", "",
            f"{trained['settings']['data']['train']:,} training and {trained['settings']['data']['test']:,} test "
            f"pictures, {how['steps']:,} steps of {how['batch']} pictures, "
            f"{'each its own optimiser' if mode == 'own' else rule}, {how['precision']}; "
            f"{trained['machine']['device']}, {trained['machine']['threads']} threads.",
        ]  # fmt: skip
    titles = {"knn": "k-NN", "linear": "linear", "finetune": "fine-tuning"}
    over = [name for name in protocols if name in (judge, "finetune")]
    head = ["method", *(titles.get(name, name) for name in protocols)]
    head += [f"{titles.get(name, name)}: over the random encoder (95 % interval)" for name in over]
    head += ["feature std", "effective rank", "teacher entropy", "core seconds", "seeds"]
    lines = [*about, "", f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name in sorted(runs, key=lambda name: -accuracy(name, judge)):
        mark = " (labels)" if runs[name][0]["settings"]["labels"] else ""
        cells = [f"{PLAIN.get(name, f'`{name}`')}{mark}"]
        cells += [f"{100 * accuracy(name, protocol):.1f}" if of(name, protocol) else "" for protocol in protocols]
        cells += [_gain(runs[name], runs.get("random", []), protocol) for protocol in over]
        cells += [_average(r["features"].get(key) for r in runs[name]) for key in ("feature_std", "effective_rank")]
        last = [r["training"].get("last", {}) for r in runs[name]]
        cells += [_average(x.get("teacher_entropy", x.get("entropy")) for x in last)]
        cells.append(_core_seconds(runs[name]))
        lines.append(f"| {' | '.join(cells)} | {len(runs[name])} |")
    lines += ["", "Settings, the methods' defaults:", ""]
    for name in sorted(set(runs) - set(PLAIN)):
        inside = ", ".join(f"{key}={value}" for key, value in runs[name][0]["settings"]["of method"].items())
        lines.append(f"* `{name}`: {inside or 'none'}")
    return lines


def _core_seconds(records: list[dict[str, Any]]) -> str:
    """The mean of the trainings on the usual machine, or, marked, of those on one without fast bf16."""
    usual = [r for r in records if r["machine"].get("amx", True)]
    mean = _average((r["training"].get("core_seconds") for r in usual or records), 0)
    return f"{mean} †" if mean and not usual else mean


def _gain(records: list[dict[str, Any]], random: list[dict[str, Any]], protocol: str) -> str:
    """By how many points the accuracy exceeds that of the random encoder of the same seed, and the interval."""
    import numpy as np

    from firstlight.evaluations._intervals import difference

    plain = {record["settings"]["seed"]: record for record in random}
    pairs = [(record, plain[seed]) for record in records if (seed := record["settings"]["seed"]) in plain]
    pairs = [pair for pair in pairs if all(protocol in record["results"] for record in pair)]
    if not pairs or records[0]["method"] in ("pixels", "random"):
        return ""

    def right(record: dict[str, Any]) -> Any:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["results"][protocol]["right"]), np.uint8))
        return bits[: record["settings"]["data"]["test"]].astype(bool)

    gain = difference(*(np.array([right(pair[side]) for pair in pairs]) for side in (0, 1)))
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in gain))


def _average(values: Iterable[float | None], digits: int = 2) -> str:
    known = [value for value in values if value is not None]
    return f"{mean(known):,.{digits}f}" if known else ""


def anomaly() -> str:
    """How well every method's encoder tells defects from normal pictures: best area first, means over the seeds."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "anomaly").glob("*.json"))]
    if not records:
        return "Not measured yet."
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for record in sorted(records, key=lambda record: record["settings"]["seed"]):
        runs.setdefault(record["method"], {})[record["settings"]["seed"]] = record
    found = lambda name, key: {seed: record["numbers"][key] for seed, record in runs[name].items()}  # noqa: E731
    average = lambda name, key: mean(found(name, key).values())  # noqa: E731

    parts = []
    trained = next((record for record in records if record["method"] not in PLAIN), None)
    if trained:
        settings, how = trained["settings"], trained["settings"]["training"]
        rate = how["optimisation"]["lr"] * how["batch"] / 256
        parts = [
            f"`{settings['model']}`, {settings['size']} px, {'grey' if settings['channels'] == 1 else 'colour'}; "
            f"{settings['data']['train']:,} normal training pictures and {settings['data']['test']:,} test pictures of "
            f"{settings['data']['name']}; {how['steps']:,} steps of {how['batch']} pictures, "
            f"{how['optimisation']['optimizer']} at {rate:.3g}, {how['precision']}; {trained['machine']['device']}, "
            f"{trained['machine']['threads']} threads, {trained['date']}.",
            "",
        ]
    head = ["method", "AUROC", "seed by seed", "95 % interval", "over the random encoder (least to most)"]
    head += ["core seconds"]
    parts += [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    plain = found("random", "auroc") if "random" in runs else {}
    for name in sorted(runs, key=lambda name: -average(name, "auroc")):
        areas = found(name, "auroc")
        gains = [area - plain[seed] for seed, area in areas.items() if seed in plain and name != "random"]
        cells = [name if name in PLAIN else f"`{name}`", f"{average(name, 'auroc'):.3f}"]
        cells += [", ".join(f"{area:.3f}" for area in areas.values())]
        cells += [f"{average(name, 'auroc_low'):.3f} to {average(name, 'auroc_high'):.3f}"]
        cells += [f"{mean(gains):+.3f} ({min(gains):+.3f} to {max(gains):+.3f})" if gains else ""]
        cells += [_core_seconds(list(runs[name].values()))]
        parts.append(f"| {' | '.join(cells)} |")
    return "\n".join(parts)


def ssl_speed() -> str:
    """Pictures a second of self-supervised training against the peers."""
    path = RESULTS / "ssl_speed.json"
    if not path.exists():
        return "Not measured yet."
    record = json.loads(path.read_text(encoding="utf-8"))
    kinds = list(next(iter(record["rows"].values()), {"pictures/s": {"ours": ()}})["pictures/s"]["ours"])
    ratios = [*(f"{kind}: ratio" for kind in kinds), "each at its best"]
    head = ["", "peer", *(f"{kind}: ours / peer" for kind in kinds), *ratios]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for name, row in record["rows"].items():
        ours = row["pictures/s"]["ours"]
        for peer, ratio in row["ratios"].items():
            theirs = row["pictures/s"][peer]
            cells = [name, peer.replace("_", "-"), *(f"{ours[kind]:,.0f} / {theirs[kind]:,.0f}" for kind in kinds)]
            for kind in (*kinds, "best"):
                low, high = ratio[kind]["range"]
                cells.append(f"{ratio[kind]['median']:.2f} ({low:.2f} to {high:.2f})")
            lines.append(f"| {' | '.join(cells)} |")
    machine, settings, known = record["machine"], record["settings"], record["versions"]
    peers = [f"{peer.replace('_', '-')} {known[peer]}" for peer in ("lightly", "stable_pretraining") if peer in known]
    left_out = [f"{peer.replace('_', '-')}: {why}" for peer, why in record["left out"].items()]
    lines += [
        "", f"Pictures a second; medians of {settings['rounds']} paired runs and the range of their ratios. Batch "
        f"{settings['batch']}, {settings['size']} px, {machine['device']}, {machine['threads']} threads, torch "
        f"{known['torch']}, {', '.join([*peers, record['date'], *left_out])}.",
    ]  # fmt: skip
    if record["profile"]:
        lines += ["", "Where our time goes, in milliseconds a step:", ""]
        parts = list(next(iter(next(iter(record["profile"].values())).values())))
        lines += [f"| | {' | '.join(parts)} |", f"| --- | {' | '.join(['---'] * len(parts))} |"]
        for name, of in record["profile"].items():
            for kind, spent in of.items():
                lines.append(f"| {name} {kind} | {' | '.join(f'{spent[part]:,.0f}' for part in parts)} |")
    return "\n".join(lines)


def masked_speed() -> str:
    """How much faster MAE learns from a picture than SimMIM."""
    path = RESULTS / "masked_speed.json"
    if not path.exists():
        return "Not measured yet."
    record = json.loads(path.read_text(encoding="utf-8"))
    head = ["pictures", "network", "MAE, ms a picture", "SimMIM, ms a picture", "times as fast", "of MAE, the decoder"]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * len(head))} |"]
    for size, row in record["rows"].items():
        low, high = row["range"]
        cells = [f"{size} px, batch {row['batch']}", f"`{record['settings']['networks'][size]}`"]
        cells += [f"{row['milliseconds'][name]:.1f}" for name in ("mae", "simmim")]
        cells += [f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})", f"{100 * row['decoder']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
    machine, known = record["machine"], record["versions"]
    lines += [
        "", f"Median of {record['settings']['rounds']} pairs of neighbouring steps, and quartiles; fp32, "
        f"{machine['device']}, {machine['threads']} threads, torch {known['torch']}, {record['date']}.",
    ]  # fmt: skip
    return "\n".join(lines)


def recipes() -> str:
    """Every published recipe: what is drawn, how much of it, and the training."""
    from firstlight import recipes as published
    from firstlight import spec
    from firstlight.formulas import Formula

    lines = ["| name | what | drawn | classes x pictures | training |", "| --- | --- | --- | --- | --- |"]
    for name in spec.names("recipes"):
        recipe = published.find(name)
        if name.endswith("_imagenet"):
            continue
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


def imagenet() -> str:
    """Every published training on ImageNet: the network, how long, and the method's settings."""
    from firstlight import recipes as published
    from firstlight import spec

    lines = ["| name | network | training | method |", "| --- | --- | --- | --- |"]
    for name in (name for name in spec.names("recipes") if name.endswith("_imagenet")):
        recipe = published.find(name)
        training = f"{recipe.steps:,} steps of {recipe.batch:,}, rate {recipe.lr * recipe.batch / 256:.3g}"
        lines.append(f"| `{name}` | `{recipe.model}` | {training} | `{recipe.method}` |")
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
    "docs/methods.md": {"methods": methods, "ssl_speed": ssl_speed, "masked_speed": masked_speed, "anomaly": anomaly},
    "docs/recipes.md": {"recipes": recipes, "imagenet": imagenet},
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
