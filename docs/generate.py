"""Writes the tables of the documents from the stored results, or with --check says which are out of date.

A table stands between ``<!-- name -->`` and ``<!-- /name -->``.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def quickstart() -> str:
    """The table and the sentence that ``firstlight quickstart`` ended with."""
    record = json.loads((RESULTS / "quickstart.json").read_text(encoding="utf-8"))
    lines = [f"    {line}".rstrip() for line in record["printed"]]
    machine = f"On {record['machine']['cores']} cores, in {record['seconds']:.0f} seconds, {record['date']}."
    return "\n".join([*lines, "", machine])


def render() -> str:
    """The renderer's speed against the plain loop."""
    record = json.loads((RESULTS / "render.json").read_text(encoding="utf-8"))
    rows = ["| what | ns a point | pictures a second | against the plain loop |", "| --- | --- | --- | --- |"]
    rows += [f"| {r['what']} | {r['ns_per_point']:.2f} | {r['per_second']:,.0f} | {r['ratio']:.1f} x |" for r in record["rows"]]
    return "\n".join(rows)


PAGES = {"README.md": {"quickstart": quickstart}, "docs/speed.md": {"render": render}}


def main() -> int:
    """Rewrites every page, or checks them."""
    stale = []
    for name, tables in PAGES.items():
        path = ROOT / name
        text = fresh = path.read_text(encoding="utf-8")
        for mark, table in tables.items():
            between = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
            fresh = between.sub(lambda found, made=table(): f"{found[1]}{made}\n{found[2]}", fresh)
        if fresh != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(fresh, encoding="utf-8")
    print("out of date:" if "--check" in sys.argv else "written:", ", ".join(stale) or "nothing")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
