"""A real Ray cluster of two nodes, one of which is killed while it draws: the set is whole, and the same."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from firstlight import cli
from firstlight.events import Progress, drain
from firstlight.recipe.render import Render
from once import once

SLOW = "fractal(points=20_000_000)"  # a picture takes some hundredths of a second
SETTINGS = {"formula": SLOW, "categories": 4, "instances": 30, "size": 64, "shard_size": 6, "format": "tar"}


@once
def drawn(folder: Path) -> tuple[dict, dict, dict]:
    """What the cluster's program says, and the files of the set drawn here and there."""
    drain(Render(**SETTINGS, out=folder / "here").run())
    told = subprocess.run(
        [sys.executable, __file__, str(folder / "there")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(told.stdout.splitlines()[-1]), _tree(folder / "here"), _tree(folder / "there")


def test_a_set_drawn_by_a_cluster_that_loses_a_node():
    pytest.importorskip("ray")
    record, here, there = drawn()
    assert record["killed at work"], "the node was not drawing when it was killed: the test shows nothing"
    assert 0 < record["shards when killed"] < 17
    assert record["progress"] == sorted(record["progress"])
    assert record["progress"][-1] == 120
    assert there == here


def test_a_cluster_that_is_not_there(tmp_path, capsys):
    pytest.importorskip("ray")
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "127.0.0.1:70000"):
        arguments = ["--size", "32", "--categories", "1", "--engine", "ray", "--ray-address", address]
        assert cli.run(["render", "fractal", *arguments, "--out", str(tmp_path / "set")]) == 2
        assert f"no Ray cluster at '{address}'" in capsys.readouterr().err


def test_without_ray_the_error_names_the_extra(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    out = ["--out", str(tmp_path / "set")]
    assert cli.run(["render", "fractal", "--size", "32", "--categories", "1", "--engine", "ray", *out]) == 2
    assert "pip install 'firstlight[ray]'" in capsys.readouterr().err


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _lose_a_node(out: Path) -> dict:
    """Renders on two nodes of one core each and kills the second while it draws."""
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    second = cluster.add_node(**small)
    raylet = second.all_processes["raylet"][0].process.pid
    told = {"progress": [], "killed at work": []}
    with contextlib.closing(Render(**SETTINGS, engine="ray", ray_address=cluster.address, out=out).run()) as events:
        for event in events:
            if not isinstance(event, Progress) or event.task != "rendering":
                continue
            told["progress"].append(event.done)
            if event.done >= 24 and not told["killed at work"] and (at_work := _at_work(raylet)):
                told |= {"killed at work": at_work, "shards when killed": event.done // 6}
                cluster.remove_node(second, allow_graceful=False)
    cluster.shutdown()
    return told


def _at_work(raylet: int) -> list[str]:
    """The processes of a node that are drawing a shard."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            title = (process / "cmdline").read_bytes().decode()
            found += [title.strip("\0 ")] if parent == raylet and title.startswith("ray::_draw") else []
    return found


if __name__ == "__main__":
    print(json.dumps(_lose_a_node(Path(sys.argv[1]))))
