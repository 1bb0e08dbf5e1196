"""The document of a dry run beside that of the run."""

from typing import Any


def as_if_done(promised: dict[str, Any]) -> dict[str, Any]:
    """The document that a dry run has PROMISED, as that of a run in which every write succeeds that
    it expects to: nothing has happened in it, and what it forecasts is not in that of a run."""
    assert promised["request"]["dry_run"] is True
    promised["request"]["dry_run"] = False
    promised["forecast"] = []
    for block in (*promised["blocks"], *promised["restored"]):
        for step in block["steps"]:
            assert step["happened"] is False
            step["happened"] = step["errno"] is None
    for setting in promised["settings"]:
        assert setting["changed"] is False
        setting["changed"] = setting["errno"] is None
    for file in promised["files"]:
        assert file["happened"] is False
        file["happened"] = True
    return promised
