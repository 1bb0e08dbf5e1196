"""How every command ends, whatever it does."""

import pytest

from commands import run_program


@pytest.mark.parametrize("command", ["lsmem", "chmem", "memsim profiles"])
def test_an_error_ends_in_a_sentence_and_for_a_developer_in_a_traceback(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for debug, seen in (("0", False), ("1", True)):
        monkeypatch.setenv("MEMORY_HOTPLUG_DEBUG", debug)
        done = run_program(*command.split(), "--no-such-option")
        assert done.returncode == 1
        assert ("Traceback" in done.stderr) is seen
        assert "unrecognized option '--no-such-option'" in done.stderr
