"""Each reader gives the stories of its kind of file, and says in words, with file and line, what it cannot read."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from storyteller.errors import DataInvalid
from storyteller.training import readers
from storyteller.training.readers import BLANK_LINES, WHOLE_FILE, read_file, txt_separator


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(folder: Path, **columns: list[object]) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "tales.parquet")
    return folder / "tales.parquet"


TXT = {
    "end lines": ("One.\n\nStill one.\n<|endoftext|>\nTwo.\n<|endoftext|>\n", None, ["One.\n\nStill one.", "Two."]),
    "end in line": ("One.<|endoftext|>Two. <|endoftext|><|endoftext|>\nThree.", None, ["One.", "Two.", "Three."]),
    "blank lines": ("One.\nStill one.\n\n \n\nTwo.", None, ["One.\nStill one.", "Two."]),
    "asked for blank lines": ("One.\n\nTwo.\n<|endoftext|>\n", BLANK_LINES, ["One.", "Two.\n<|endoftext|>"]),
    "a line of one's own": ("One.\n\n still.\n ***\nTwo *** two.\n***\n", "***", ["One.\n\n still.", "Two *** two."]),
    "the whole file": ("\nOne.\n\nTwo.\n<|endoftext|>\n", WHOLE_FILE, ["One.\n\nTwo.\n<|endoftext|>"]),
    "windows lines and a mark": ("\ufeffOne.\r\nStill.\r\n\r\nTwo.\r\n", None, ["One.\nStill.", "Two."]),
    "nothing": ("\n \n", None, []),
}


@pytest.mark.parametrize("case", TXT)
def test_txt(case: str, tmp_path: Path) -> None:
    content, separator, stories = TXT[case]
    assert list(read_file(write(tmp_path, "tales.txt", content), separator=separator)) == stories


def test_txt_separator(tmp_path: Path) -> None:
    assert txt_separator(write(tmp_path, "a.txt", "One.\n\nTwo.")) == BLANK_LINES
    assert txt_separator(write(tmp_path, "b.txt", "One.\n\nTwo.\n<|endoftext|>\n")) == "<|endoftext|>"


def test_txt_whose_separator_was_not_found_is_not_one_endless_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_STORY_BYTES", 1 << 20)
    path = write(tmp_path, "a.txt", "A line of a long, long book.\n" * 50_000)
    with pytest.raises(DataInvalid, match=r"a\.txt, line \d+: a story of more than 1 MB"):
        list(read_file(path))


def test_csv(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\r\n1,"One, ""two""\nand three."\r\n2,\r\n\r\n3,Four.\r\n')
    assert list(read_file(path)) == ['One, "two"\nand three.', "Four."]


def test_csv_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,tale\nNo.,Yes.\n")
    assert list(read_file(path, text_column="tale")) == ["Yes."]
    assert list(read_file(write(tmp_path, "b.csv", "words\nYes.\n"))) == ["Yes."]


def test_csv_fields_may_be_long(tmp_path: Path) -> None:
    assert list(read_file(write(tmp_path, "a.csv", "text\n" + "long " * 100_000 + "\n"))) == ["long " * 100_000]


def test_jsonl(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": 1, "text": "One\\n\\u00e9."}\n\n{"story": "Two."}\n"Three."\n{"text": null}\n{"text": " "}\n')
    assert list(read_file(path)) == ["One\né.", "Two.", "Three."]


def test_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path, id=[1, 2, 3], story=["One.", None, "Three."])
    assert list(read_file(path)) == ["One.", "Three."]
    large = pyarrow.table({"text": pyarrow.array(["Big."] * 3000, pyarrow.large_string())})
    pyarrow.parquet.write_table(large, tmp_path / "large.parquet")
    assert list(read_file(tmp_path / "large.parquet")) == ["Big."] * 3000


INVALID = {
    "binary": ("a.txt", b"Once.\n\x00\x01", r"a\.txt, line 2: a binary file"),
    "utf-16": ("a.jsonl", '{"text": "Hi."}'.encode("utf-16"), r"a\.jsonl, line 1: a binary file"),
    "latin-1": ("a.txt", "One.\nCaf\xe9.".encode("latin-1"), r"a\.txt, line 2: not UTF-8 text \(byte 0xe9 at position 4\)"),
    "latin-1 csv": ("a.csv", "text\nOne.\nCaf\xe9.\n".encode("latin-1"), r"a\.csv, line 3: not UTF-8"),
    "csv without the column": ("a.csv", "id,tale\n1,Hi.\n", r"a\.csv, line 1: no column 'text' or 'story' \(there: 'id', 'tale'\)"),
    "csv with a short row": ("a.csv", "id,text\n1,Hi.\n2\n", r"a\.csv, line 3: 1 columns, where the header has 2"),
    "csv with an open quote": ("a.csv", 'text\n"Hi.\n', r"a\.csv, line \d: not CSV"),
    "not json": ("a.jsonl", '{"text": "Hi."}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
    "deep json": ("a.jsonl", "[" * 100_000, r"a\.jsonl, line 1: not"),
    "json without the column": ("a.jsonl", '{"text": "Hi."}\n{"a": 1, "b": 2}\n', r"a\.jsonl, line 2: no column"),
    "json number": ("a.jsonl", "7\n", r"a\.jsonl, line 1: a JSON int is neither"),
    "json text is a number": ("a.jsonl", '{"text": 7}\n', r"a\.jsonl, line 1: the column holds a int"),
    "not parquet": ("a.parquet", "Once upon a time.", r"a\.parquet, after row 0: not readable as Parquet"),
    "empty parquet": ("a.parquet", b"", r"a\.parquet, after row 0: not readable as Parquet"),
    "unknown kind": ("a.docx", "Hi.", r"a\.docx: cannot read \.docx \(can: \.txt, \.csv, \.jsonl, \.parquet\)"),
}


@pytest.mark.parametrize("case", INVALID)
def test_what_cannot_be_read_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    name, content, message = INVALID[case]
    path = write(tmp_path, name, content)
    with pytest.raises(DataInvalid, match=message):
        list(read_file(path))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_a_named_column_that_is_not_there(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, "text\nHi.\n" if name.endswith("csv") else '{"text": "Hi."}\n')
    with pytest.raises(DataInvalid, match="line 1: no column 'tale'") as caught:
        list(read_file(path, text_column="tale"))
    assert "--text-column" in caught.value.hint


def test_parquet_errors(tmp_path: Path) -> None:
    path = parquet(tmp_path, id=[1, 2], length=[3, 4])
    with pytest.raises(DataInvalid, match=r"tales\.parquet: no column 'text' or 'story' \(there: 'id', 'length'\)"):
        list(read_file(path))
    with pytest.raises(DataInvalid, match=r"row 1: the column holds a int"):
        list(read_file(path, text_column="id"))


def test_a_truncated_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path, text=["One."] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataInvalid, match="not readable as Parquet"):
        list(read_file(path))


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    path = parquet(tmp_path, text=[f"Story number {number}." for number in range(2000)])
    raw = bytearray(path.read_bytes())
    raw[40:400] = bytes(360)
    path.write_bytes(raw)
    with pytest.raises(DataInvalid, match="not readable as Parquet"):
        list(read_file(path))
