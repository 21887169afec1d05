"""Folders of text by language."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter_stilts.errors import UserError
from adapter_stilts.training.run import read_text


def test_one_language_a_file(tmp_path: Path) -> None:
    (tmp_path / "sw.txt").write_text("\ufeffHabari ya asubuhi.\r\n\n  Mto ni mrefu. \n", "utf-8")
    (tmp_path / "de.txt").write_text("Die Brücke.", "utf-8")
    (tmp_path / "notes.md").write_text("not text", "utf-8")
    german, swahili = read_text(tmp_path)
    assert (german.language, german.lines) == ("de", ("Die Brücke.",))
    assert swahili.lines == ("Habari ya asubuhi.", "Mto ni mrefu.")
    assert german.sha256 != swahili.sha256


def test_what_is_no_folder_of_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text folder '.*' is not there"):
        read_text(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no \.txt file: one a language"):
        read_text(tmp_path)
    file = tmp_path / "de.txt"
    file.write_bytes("Brücke\nGröße\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"is a file, not a folder"):
        read_text(file)
    with pytest.raises(UserError, match=r"de\.txt, line 1: not UTF-8"):
        read_text(tmp_path)
    file.write_bytes("Brücke\n".encode() + b"Gr\xf6\xdfe\n")
    with pytest.raises(UserError, match=r"de\.txt, line 2: not UTF-8"):
        read_text(tmp_path)
    file.write_text(" \n\n")
    with pytest.raises(UserError, match=r"de\.txt: the file has no text"):
        read_text(tmp_path)
