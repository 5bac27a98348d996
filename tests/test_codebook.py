"""Codebooks: the public files there and back without losing a bit, and what is refused."""

import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from firstlight import cli, spec
from firstlight.data import codebook
from firstlight.data.formula import FormulaPictures
from firstlight.errors import CorruptError, InputError
from firstlight.events import drain
from firstlight.formulas import Draw, Formula, picture
from firstlight.formulas.contour import Contour
from firstlight.formulas.contour_scene import ContourScene
from firstlight.formulas.fractal import Fractal
from firstlight.formulas.fractal3d import Fractal3d
from firstlight.recipe.pretrain import Pretrain

GOOD = "0.5,0,0,0.5,0,0,0.25\n-0.5,0.1,0,0.5,1e-3,0,0.75\n"
SPATIAL = "0.5,0,0,0,0.5,0,0,0,0.5,0.1,-0.2,0.3,1\n"
CONTOUR = (
    "Vertex,32\r\nPerlin_noise,2.25\r\nline_width,0.0125\r\nCenter_rad,40\r\nLine_num,7\r\n"
    "Oval_rate_x,1.5\r\nOval_rate_y,1.0999999999999999\r\nstart_pos_h,250.5\r\nstart_pos_w,301.0\r\n"
)


def test_public_files_come_back_byte_for_byte(shared_data, tmp_path):
    folder = shared_data / "fractaldb_official" / "fractaldb1k_csv"
    entries = codebook.read_csv(folder)
    assert len(entries) == 1000
    files = codebook.write_csv(tmp_path, entries)
    assert all(file.read_bytes() == (folder / file.name).read_bytes() for file in files)


def test_saved_codebooks_come_back_bit_for_bit(tmp_path):
    entries = [Fractal(min_fill=0.02).category(Draw(4, category)) for category in range(5)]
    entries[2] = {**entries[2], "extra": np.arange(3, dtype=np.int16)}
    path = codebook.save(tmp_path / "deep" / "five.safetensors", entries)
    loaded = codebook.load(path)
    assert [sorted(params) for params in loaded] == [sorted(params) for params in entries]
    for ours, theirs in zip(entries, loaded):
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert np.array_equal(ours[name], theirs[name])
    again = codebook.read_csv(codebook.write_csv(tmp_path / "csv", entries)[0].parent)
    assert all(np.array_equal(a["maps"], b["maps"]) for a, b in zip(entries, again))


@pytest.mark.parametrize(("text", "complaint"), [
    ("", "1 to 8 rows"),
    ("1,2,3\n", "row 1: expected 7 numbers, found 3"),
    (SPATIAL + GOOD, "row 2: expected 13 numbers, found 7"),
    (GOOD + SPATIAL, "row 3: expected 7 numbers, found 13"),
    (SPATIAL.replace(",1\n", ",0.9\n"), "sum to 1"),
    (CONTOUR.replace("Vertex,32\r\n", ""), "Vertex missing"),
    (CONTOUR.replace("Line_num,7", "Line_num,seven"), "row 5: could not convert"),
    (CONTOUR.replace("Line_num,7", "Line_num"), "row 5: expected a number for one of Vertex, .*found 'Line_num'"),
    (CONTOUR.replace("Line_num,7", "Line_no,7"), "row 5: expected a number for one of"),
    (CONTOUR.replace("Line_num,7", "Vertex,7"), "row 5: expected a number for one of .* each once"),
    (CONTOUR.replace("Line_num,7", "Line_num,nan"), "row 5: Line_num must be a whole number"),
    (GOOD + "a,b,c,d,e,f,g\n", "row 3"),
    ("0.5,0,0,0.5,0,nan,1\n", "not finite"),
    ("0.5,0,0,0.5,0,inf,1\n", "not finite"),
    ("0.5,0,0,1e7,0,0,1\n", "beyond a million"),
    ("0.5,0,0,0.5,0,0,0.5\n", "sum to 1"),
    ("0.5,0,0,0.5,0,0,-0.5\n0.5,0,0,0.5,0,0,1.5\n", "must be positive"),
    ("0.5,0,0,0.5,0,0,0.1\n" * 10, "1 to 8 rows"),
])  # fmt: skip
def test_malformed_files_are_named(tmp_path, text, complaint):
    file = tmp_path / "00000.csv"
    file.write_text(text)
    with pytest.raises(CorruptError, match=complaint) as raised:
        codebook.read_csv(file)
    assert "00000.csv" in str(raised.value)


def test_a_byte_order_mark_and_blank_lines_are_read(tmp_path):
    file = tmp_path / "a.CSV"
    file.write_text("\ufeff" + GOOD + "\n\n", encoding="utf-8")
    assert codebook.read_csv(tmp_path)[0]["maps"].shape == (2, 7)


def test_spatial_maps_come_back_byte_for_byte(tmp_path):
    maps = Draw(1, 2).uniform(-1, 1, (4, 13))
    maps[:, 12] = [0.1, 0.2, 0.3, 0.4]
    files = codebook.write_csv(tmp_path / "a", [{"maps": maps}, {"maps": maps[::-1]}])
    assert [file.name for file in files] == ["000000.csv", "000001.csv"]
    again = codebook.read_csv(tmp_path / "a")
    assert np.array_equal(again[0]["maps"], maps)
    copies = codebook.write_csv(tmp_path / "b", again)
    assert [file.read_bytes() for file in copies] == [file.read_bytes() for file in files]


def test_contours_there_and_back(tmp_path):
    (tmp_path / "00000.csv").write_bytes(CONTOUR.encode())
    entry = codebook.read(tmp_path)[0]
    assert {name: value.item() for name, value in entry.items()} == {
        "vertices": 32, "noise": 2.25, "line_width": 0.0125, "radius": 40, "lines": 7, "oval_x": 1.5,
        "oval_y": 1.0999999999999999, "row": 250.5, "column": 301.0,
    }  # fmt: skip
    drawn = [Contour().category(Draw(2, category)) for category in range(4)]
    assert set(entry) == set(drawn[0]), "the public table holds all that makes a class"
    files = codebook.write_csv(tmp_path / "again", [entry, *drawn])
    assert files[0].read_bytes() == CONTOUR.encode()
    for ours, theirs in zip(drawn, codebook.read(tmp_path / "again")[1:], strict=True):
        assert ours.keys() == theirs.keys()
        assert all(ours[name].dtype == theirs[name].dtype and ours[name] == theirs[name] for name in ours)
    pictures = FormulaPictures(Contour(), codebook=[entry], categories=1, instances=2, size=32)
    assert pictures.read(np.arange(2))[0].any()


def test_contours_of_segments_there_and_back(tmp_path):
    """SegRCDB numbers its classes from 1 and has no centres."""
    kept = CONTOUR[: CONTOUR.index("start_pos_h")]
    for number in (1, 2):
        text = f"Category_num,{number}\r\n{kept}Color_Gray,{number}\r\n"
        (tmp_path / f"{number:05d}.csv").write_bytes(text.encode())
    entries = codebook.read(tmp_path)
    files = codebook.write_csv(tmp_path / "again", entries)
    assert [file.name for file in files] == ["00001.csv", "00002.csv"]
    assert all(file.read_bytes() == (tmp_path / file.name).read_bytes() for file in files)
    for formula in (Contour(), ContourScene(classes=2)):
        pictures = FormulaPictures(formula, codebook=entries, categories=2, instances=1, size=32)
        assert all(picture.any() for picture in pictures.read(np.arange(2)))
    with pytest.raises(InputError, match=r"is not for 'fractal': its category 0 holds vertices"):
        FormulaPictures(Fractal(), codebook=entries, categories=2, instances=1, size=32)


def test_spatial_classes_of_a_formula(tmp_path):
    entries = [Fractal3d().category(Draw(0, category)) for category in range(2)]
    folder = codebook.write(tmp_path / "spatial", entries)
    assert all(np.array_equal(a["maps"], b["maps"]) for a, b in zip(entries, codebook.read(folder), strict=True))
    drawn = FormulaPictures(Fractal3d(), codebook=folder, categories=2, instances=2, size=32).read(np.array([3]))[0]
    assert np.array_equal(drawn, picture(Fractal3d(), 1, 1, size=32))


@pytest.mark.parametrize("name", spec.names("formulas"))
def test_every_family_can_be_kept(name, tmp_path):
    formula = spec.find("formulas", name, Formula)()
    entries = [formula.category(Draw(1, category)) for category in range(3)]
    path = codebook.save(tmp_path / "set.safetensors", entries)
    pictures = FormulaPictures(formula, codebook=path, categories=3, instances=2, size=32, seed=1)
    for number in (1, 4):
        category, instance = divmod(number, 2)
        drawn = pictures.read(np.array([number]))[0]
        assert np.array_equal(drawn, picture(formula, category, instance, size=32, seed=1))


def test_atoms_have_no_public_table(tmp_path):
    """They are contours and more, which a contour's table would lose."""
    atom = spec.find("formulas", "atom", Formula)()
    with pytest.raises(InputError, match="category 0 is neither"):
        codebook.write(tmp_path / "atoms", [atom.category(Draw(0, 0))])
    assert not (tmp_path / "atoms").exists()


def test_a_folder_is_of_one_kind(tmp_path):
    (tmp_path / "0.csv").write_text(GOOD)
    (tmp_path / "1.csv").write_text(SPATIAL)
    with pytest.raises(CorruptError, match=r"1\.csv.* spatial maps, and 0\.csv planar maps"):
        codebook.read(tmp_path)


def test_systems_as_arrays_there_and_back(tmp_path):
    """Anderson & Farrell's convention, applied to a point by hand: rows ((a, b, e), (c, d, f))."""
    systems = [Draw(3, number).uniform(-1, 1, (2 + number % 6, 2, 3)) for number in range(12)]
    entries = codebook.from_systems(systems)
    x, y = 0.3, -0.7
    for system, params in zip(systems, entries):
        moved = system @ [x, y, 1.0]
        a, b, c, d, e, f, _ = params["maps"].T
        assert np.allclose(np.stack([a * x + b * y + e, c * x + d * y + f], 1), moved, atol=1e-15)
        area = np.abs(np.linalg.det(system[:, :, :2]))
        assert np.allclose(params["maps"][:, 6], area / area.sum(), rtol=1e-12)
    assert all(np.array_equal(a, b) for a, b in zip(codebook.to_systems(entries), systems))

    from safetensors.numpy import save_file

    save_file({f"system{number}": system for number, system in enumerate(systems)}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "named.npz", **{f"s{number}": system for number, system in enumerate(systems)})
    np.savez(tmp_path / "stacked.npz", np.stack([system[:2] for system in systems]))
    for path in (tmp_path / "a.safetensors", tmp_path / "named.npz", codebook.write(tmp_path / "b.npz", entries)):
        assert all(np.array_equal(a["maps"], b["maps"]) for a, b in zip(codebook.read(path), entries, strict=True))
    assert [len(params["maps"]) for params in codebook.read(tmp_path / "stacked.npz")] == [2] * 12


def test_what_is_no_list_of_systems(tmp_path):
    with pytest.raises(InputError, match=r"system 1: expected numbers \[N, 2, 3\]"):
        codebook.from_systems([np.eye(2, 3)[None], np.eye(2, 3)])
    with pytest.raises(InputError, match="found none"):
        codebook.from_systems([])
    with pytest.raises(InputError, match="category 0 is no planar system"):
        codebook.to_systems([{"maps": np.ones((2, 13))}])
    skewed = Fractal(min_fill=0.02).category(Draw(0, 0))["maps"].copy()
    skewed[:, 6] = 1 / len(skewed)
    with pytest.raises(InputError, match="probabilities do not follow"):
        codebook.write(tmp_path / "skewed.npz", [{"maps": skewed}])
    objects = np.array([{"evil": 1}], dtype=object)
    np.savez(tmp_path / "objects.npz", objects)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "objects.npz").read_bytes()[:-30])
    for name in ("objects.npz", "cut.npz"):
        with pytest.raises(CorruptError, match=name):
            codebook.read(tmp_path / name)
    (tmp_path / "params.pkl").write_bytes(pickle.dumps({"params": [{"system": np.ones((2, 2, 3))}]}))
    with pytest.raises(InputError, match="is a pickle"):
        codebook.read(tmp_path / "params.pkl")


def test_a_header_of_640_bytes_is_no_pickle(tmp_path):
    """Its length begins with the two bytes of a pickle."""
    for padding in range(600):
        path = codebook.save(tmp_path / "set.safetensors", [{"maps": np.ones((1, 7))}], note="x" * padding)
        if path.read_bytes()[:2] == b"\x80\x02":
            break
    else:
        pytest.fail("no header of 640 bytes was found")
    path.rename(tmp_path / "set")
    assert len(codebook.read(tmp_path / "set")) == 1


def test_the_layout_is_told_from_the_content(tmp_path):
    entries = [Fractal(min_fill=0.02).category(Draw(4, category)) for category in range(2)]
    ours = codebook.save(tmp_path / "set.safetensors", entries)
    ours.rename(tmp_path / "set")
    table = codebook.write(tmp_path / "folder", entries)
    (table / "00000.csv").rename(tmp_path / "first.txt")
    assert [len(codebook.read(tmp_path / name)) for name in ("set", "first.txt", "folder")] == [2, 1, 1]
    with pytest.raises(InputError, match=r"no codebook .*absent"):
        codebook.read(tmp_path / "absent")


def test_a_codebook_is_small_and_always_the_same_bytes(tmp_path):
    entries = [
        {
            "maps": np.asfortranarray(Draw(0, number).uniform(-1, 1, (2 + number % 3, 7))),
            "scalar": np.array(number),
            "pair": np.array([number, 2.5]),
        }
        for number in range(500)
    ]
    for params in entries:
        params["maps"][:, 6] = 1 / len(params["maps"])
    entries[3]["only here"] = np.zeros((1, 2), np.uint8)
    entries[4]["empty"] = np.zeros((0, 2), np.float32)
    path = codebook.save(tmp_path / "a.safetensors", entries, formula="some", seed="3")
    for ours, theirs in zip(entries, codebook.load(path), strict=True):
        assert set(ours) == set(theirs)
        for name in ours:
            assert (ours[name].dtype, ours[name].shape) == (theirs[name].dtype, theirs[name].shape), name
            assert np.array_equal(ours[name], theirs[name])
    assert path.stat().st_size < 1.1 * sum(array.nbytes for params in entries for array in params.values()) + 8 * 500
    code = f"from firstlight.data import codebook; codebook.save({str(tmp_path / 'b.safetensors')!r}, "
    code += f"codebook.load({str(path)!r}), formula='some', seed='3')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


def test_codebooks_of_the_first_format_are_read(tmp_path):
    from safetensors.numpy import save_file

    maps = Fractal(min_fill=0.02).category(Draw(0, 0))["maps"]
    note = {"format": "firstlight-codebook-1", "categories": "2"}
    save_file({"000000.maps": maps, "000001.maps": maps[::-1].copy()}, tmp_path / "old.safetensors", note)
    assert np.array_equal(codebook.load(tmp_path / "old.safetensors")[1]["maps"], maps[::-1])


def test_another_familys_codebook_is_refused(tmp_path):
    maps = np.array([[float(value) for value in SPATIAL.split(",")]] * 2)
    maps[:, 12] = 0.5
    path = codebook.save(tmp_path / "spatial.safetensors", [{"maps": maps}])
    with pytest.raises(
        InputError, match=r"spatial\.safetensors' is not for 'fractal': its category 0 holds maps \(2, 13"
    ):
        FormulaPictures(Fractal(), codebook=path, categories=1, instances=1, size=16)


def test_what_is_not_there_or_not_a_codebook(tmp_path):
    for read in (codebook.load, codebook.read_csv):
        with pytest.raises(InputError, match="missing"):
            read(tmp_path / "missing")
    with pytest.raises(InputError, match=r"no \.csv files"):
        codebook.read_csv(tmp_path)
    with pytest.raises(InputError, match="at least one"):
        codebook.save(tmp_path / "none.safetensors", [])
    with pytest.raises(InputError, match="neither a system of maps nor a contour"):
        codebook.write_csv(tmp_path, [{"frequency": np.ones(2)}])
    with pytest.raises(InputError, match="category 0"):
        codebook.write_csv(tmp_path, [{"maps": np.full((2, 7), np.nan)}])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(CorruptError, match="cannot be read"):
        codebook.read_csv(tmp_path / "binary.csv")


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "foreign", "lost", "poisoned"])
def test_damaged_codebooks_are_refused(tmp_path, damage):
    from safetensors.numpy import save_file

    path = tmp_path / "book.safetensors"
    system = Fractal(min_fill=0.02).category(Draw(0, 0))
    codebook.save(path, [system, system])
    whole = path.read_bytes()
    note = {"format": "firstlight-codebook-1", "categories": "2"}
    if damage == "foreign":
        save_file({"weight": np.ones(3)}, path)
    elif damage == "lost":
        save_file({"000000.maps": system["maps"]}, path, note)
    elif damage == "poisoned":
        save_file({"000000.maps": system["maps"], "000001.maps": system["maps"] * np.nan}, path, note)
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-8], "noise": bytes(range(256)) * 4}[damage])
    with pytest.raises(CorruptError, match=r"book\.safetensors"):
        codebook.load(path)


def test_pictures_of_a_codebook(tmp_path):
    entries = [Fractal(min_fill=0.02).category(Draw(9, category)) for category in range(3)]
    settings = {"categories": 3, "instances": 5, "size": 16}
    sets = [
        FormulaPictures(Fractal(), codebook=given, **settings)
        for given in (
            entries,
            codebook.save(tmp_path / "book.safetensors", entries),
            str(codebook.write_csv(tmp_path / "csv", entries)[0].parent),
        )
    ]
    expected = picture(Fractal(), 1, 2, size=16, params=entries[1])
    for pictures in sets:
        assert np.array_equal(pictures.read(np.array([7]))[0], expected)
        assert list(pictures.prepare()) == []
        assert pictures.fingerprint() == sets[0].fingerprint()
    assert sets[0].fingerprint() != FormulaPictures(Fractal(), **settings).fingerprint()
    fewer = FormulaPictures(Fractal(), codebook=entries, **{**settings, "categories": 2})
    assert len(fewer) == 10
    with pytest.raises(InputError, match="holds 3"):
        FormulaPictures(Fractal(), codebook=entries, **{**settings, "categories": 4})


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_searches_converts_and_never_overwrites(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = "fractal(min_fill=0.02, sampler='svd', maps=(2, 3))"
    assert cli.run(["codebook", text, "--categories", "3", "--seed", "5", "--out", "set.safetensors"]) == 0
    formula = spec.build("formulas", text, Formula)
    expected = [formula.category(Draw(5, category))["maps"] for category in range(3)]
    for out in ("public", "list.npz", "again.safetensors"):
        source = {"public": "set.safetensors", "list.npz": "public", "again.safetensors": "list.npz"}[out]
        assert cli.run(["codebook", "--convert", source, "--out", out]) == 0
        assert all(np.array_equal(a["maps"], b) for a, b in zip(codebook.read(out), expected, strict=True))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for out in ("public", "list.npz", "again.safetensors"):
        capsys.readouterr()
        assert cli.run(["codebook", text, "--categories", "1", "--out", out]) == 2
        assert f"{out!r} exists already" in capsys.readouterr().err
    assert cli.run(["codebook", "--convert", "absent", "--out", "new"]) == 2
    assert cli.run(["codebook", "--categories", "0", "--out", "new"]) == 2
    assert cli.run(["codebook", "--convert", "set.safetensors", "--out", "set.safetensors/x"]) == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_training_takes_a_codebook(tmp_path):
    entries = [Fractal(min_fill=0.02).category(Draw(9, category)) for category in range(3)]
    path = codebook.save(tmp_path / "book.safetensors", entries)
    recipe = Pretrain(
        data="fractal(points=500)", codebook=path, instances=4, draw_size=24, size=16, model="resnet10t", steps=1,
        batch=4, device="cpu", precision="fp32", out=tmp_path / "run",
    )  # fmt: skip
    drain(recipe.run())
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["derived"]["pictures"] == 12
    with pytest.raises(InputError, match="for formulas, and 'digits' is none"):
        drain(dataclasses.replace(recipe, data="digits", method="simclr", out=tmp_path / "other").run())


def test_one_flipped_bit_is_noticed(tmp_path):
    path = codebook.save(tmp_path / "set.safetensors", [Fractal(min_fill=0.02).category(Draw(4, 0))])
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptError, match="not those that were written"):
        codebook.load(path)


@pytest.mark.parametrize("name", ["set.csv", "set.pkl", "set.json"])
def test_a_file_of_another_kind_is_not_made_into_a_folder(tmp_path, name):
    with pytest.raises(InputError, match="safetensors"):
        codebook.write(tmp_path / name, [Fractal(min_fill=0.02).category(Draw(4, 0))])
    assert not (tmp_path / name).exists()
