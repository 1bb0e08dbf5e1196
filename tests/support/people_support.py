"""The former name of terminal."""

from terminal import *  # noqa: F403  # for work under way
