"""Codebooks: the public files there and back without losing a bit, and what is refused."""

import numpy as np
import pytest

from firstlight.data import codebook
from firstlight.data.formula import FormulaPictures
from firstlight.errors import CorruptError, InputError
from firstlight.formulas import Draw, picture
from firstlight.formulas.fractal import Fractal

GOOD = "0.5,0,0,0.5,0,0,0.25\n-0.5,0.1,0,0.5,1e-3,0,0.75\n"


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


def test_what_is_not_there_or_not_a_codebook(tmp_path):
    for read in (codebook.load, codebook.read_csv):
        with pytest.raises(InputError, match="missing"):
            read(tmp_path / "missing")
    with pytest.raises(InputError, match=r"no \.csv files"):
        codebook.read_csv(tmp_path)
    with pytest.raises(InputError, match="at least one"):
        codebook.save(tmp_path / "none.safetensors", [])
    with pytest.raises(InputError, match="only fractals"):
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
