"""What programs of the tests keep and write in documents."""

from pathlib import Path

import pytest

import bare_results
from document_table import END, put

SAID = """\
SKIPPED [2] tests/lsmem/test_x.py: needs fuse3
===== 7 passed, 1 warning in 0.10s =====
================= 8012 passed, 14 skipped, 310 deselected in 512.10s (0:08:32) =================
"""


def test_a_run_in_a_fresh_debian_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_results, "CACHE", tmp_path)
    assert bare_results.kept("sid") is None
    bare_results.keep("sid", "abc", "$ python3 --version\nPython 3.14.2\n", SAID)
    assert bare_results.kept("sid") == {
        "commit": "abc",
        "python": "3.14.2",
        "passed": 8012,
        "skipped": 14,
    }


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n<!-- p writes this -->\nold\n{END}after\n")
    for _ in range(2):
        put(document, "p", ["one", "two"])
        text = f"before\n<!-- p writes this -->\n\none\ntwo\n\n{END}after\n"
        assert document.read_text() == text


@pytest.mark.parametrize("text", ["no place\n", "<!-- p writes this -->\nno end\n", END])
def test_a_document_without_a_place_for_a_table_stays_as_it_is(tmp_path: Path, text: str) -> None:
    document = tmp_path / "page.md"
    document.write_text(text)
    with pytest.raises(ValueError, match="no <!-- p writes this -->"):
        put(document, "p", ["one"])
    assert document.read_text() == text
