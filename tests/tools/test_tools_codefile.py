"""`codefile build | inspect | verify`, and what is said of a file that is none."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fauxfax.firmware.codefile import UEL
from fauxfax_tools.cli import run
from fauxfax_tools.describe import describe, entropy
from fauxfax_tools.errors import Exit


def s_record(address: int, data: bytes) -> str:
    octets = bytes([len(data) + 3]) + address.to_bytes(2, "big") + data
    return f"S1{octets.hex().upper()}{~sum(octets) & 0xFF:02X}\n"


def hex_record(address: int, data: bytes) -> str:
    octets = bytes([len(data)]) + address.to_bytes(2, "big") + b"\0" + data
    return f":{octets.hex().upper()}{-sum(octets) & 0xFF:02X}\n"


def test_build_makes_the_same_file_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.pfc", "b.pfc"):
        assert run(["codefile", "build", "pnl", "--version", "V10200", "-o", name]) == Exit.DONE
    assert (tmp_path / "a.pfc").read_bytes() == (tmp_path / "b.pfc").read_bytes()
    assert run(["codefile", "verify", "a.pfc", "b.pfc"]) == Exit.DONE


def test_build_of_several_recipes_makes_the_folder_and_takes_no_file_for_one(tmp_path: Path) -> None:
    folder, file = tmp_path / "new" / "folder", tmp_path / "file"
    file.touch()
    several = ["codefile", "build", "pnl", "scn", "--model", "UF-8000", "--version", "V10200", "-o"]
    assert run([*several, str(folder)]) == Exit.DONE
    assert len(list(folder.iterdir())) == 2
    assert run([*several, str(file)]) == Exit.USAGE


def test_build_into_a_folder_makes_every_model_and_version(tmp_path: Path) -> None:
    assert run(["codefile", "build", "scn", "-o", str(tmp_path)]) == Exit.DONE
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{model}_SCN_AA{version}YC.pfc"
        for model in ("UF-7K", "UF-71K", "UF-8K", "UF-81K")
        for version in ("V10100", "V10200")
    }


def test_inspect_prints_a_table_a_person_understands(
    code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["codefile", "inspect", str(code_file())]) == Exit.DONE
    said = capsys.readouterr().out
    for words in ("UF-8000, destination AA", "SC system control", "V10200", "V10000+", "293 KiB"):
        assert words in " ".join(said.split())


def test_inspect_says_what_a_sender_will_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sc.pfc"
    run(["codefile", "build", "sc", "--version", "V10100", "-o", str(path)])
    assert run(["codefile", "inspect", str(path)]) == Exit.DONE
    assert "220 UF-8000" in capsys.readouterr().out


def test_inspect_gives_json(code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["codefile", "inspect", "--json", str(code_file(size=1000))]) == Exit.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["valid"] is True
    assert found["models"] == ["UF-8000"]
    assert found["parts"][0]["payload_size"] == 1000


def test_verify_names_the_first_wrong_octet(code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = code_file()
    data = bytearray(path.read_bytes())
    data[200_000] ^= 0x40
    path.write_bytes(data)
    assert run(["codefile", "verify", str(path)]) == Exit.BAD_FILE
    assert "offset 200000" in capsys.readouterr().out


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
def test_inspect_of_a_damaged_file_says_where_and_exits_5(
    code_file: Callable[..., Path], capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    path = code_file()
    path.write_bytes(path.read_bytes()[:-5000])
    assert run(["codefile", "inspect", *(["--json"] if as_json else []), str(path)]) == Exit.BAD_FILE
    assert "octets early" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("".join(s_record(n * 16, bytes(range(16))) for n in range(9)).encode(), "S-records: 9 of the first 9"),
        ("".join(hex_record(n * 16, bytes(range(16))) for n in range(9)).encode(), "Intel HEX: 9 of the first 9"),
        (hex_record(0, b"ab").encode() + b":0000000099\n", "Intel HEX: 1 of the first 2"),
        (UEL + b"@PJL ENTER LANGUAGE=FIRMWARE\r\nPK\x03\x04rest", "PJL job: @PJL ENTER LANGUAGE=FIRMWARE; then"),
        (UEL + b"@PJL SET X=1\nPK\x03\x04rest", "zip archive"),
        (b"MZ\x90\0", "Windows program"),
    ],
    ids=["s-record", "intel-hex", "wrong checksum", "pjl", "zip in pjl", "exe"],
)
def test_known_containers_are_recognised_by_their_checksums_and_beginnings(data: bytes, words: str) -> None:
    assert words in " ".join(describe(data).containers)


def test_a_zip_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("firmware.bin", b"x")
    assert "zip archive" in describe((tmp_path / "x.zip").read_bytes()).containers


def test_the_entropy_picture_shows_where_a_file_is_packed() -> None:
    noise = random.Random(1).randbytes(64 * 1024)
    found = describe(bytes(64 * 1024) + noise)
    assert found.picture[:30] == " " * 30
    assert found.picture[-30:] == "█" * 30
    assert entropy(noise) > 7.9
    assert found.filler == "00 is 50 % of it"


def test_texts_are_found() -> None:
    assert describe(b"\0\1UF-8000 BOOT V1.02\0\xff\xff" * 2).strings == ("UF-8000 BOOT V1.02",) * 2


@pytest.mark.parametrize("seed", range(20))
def test_nothing_in_a_file_makes_the_description_fail(seed: int) -> None:
    rng = random.Random(seed)
    data = rng.choice([b"", b"S1", b":", UEL, UEL + b"@PJL X\r\n", b"PK\x03\x04"]) + rng.randbytes(rng.randrange(300))
    assert describe(data).size == len(data)
