"""A real udev and random files of rules: what is said of them is never wrong.

`tests/udev/judge.py` has as many files as one wants.
"""

from vm.udev_trial import judge


def test_udev_does_what_was_said_of_its_rules() -> None:
    figures, wrong = judge(40, 7)
    assert [(verdict.wrong, verdict.case.text) for verdict in wrong] == []
    # All answers were given.
    assert min(figures["certain, online"], figures["no, offline"]) > 5
    assert figures["perhaps, online"] + figures["perhaps, offline"] > 5
