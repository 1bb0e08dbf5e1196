"""Changing blocks: plan, guard, run, journal, undo, and what a dry run expects."""
