"""The messages of all commands: about the command line, the tree and the output."""

from hotplug_cli.message import Message

# The command line, in the C library's words (getopt_long)

UNRECOGNIZED_OPTION = Message("unrecognized option '{option}'", reference=True)
INVALID_OPTION = Message("invalid option -- '{letter}'", reference=True)
SHORT_WITH_EQUALS = Message("", "no = follows a short option: {words}", INVALID_OPTION.entry)
DASH_BEFORE = Message(
    "", "what begins with a dash is an option; for an argument give {word}", INVALID_OPTION.entry
)
DID_YOU_MEAN = Message("", "did you mean {options}?", UNRECOGNIZED_OPTION.entry)
ARGUMENT_REQUIRED = Message("option '{option}' requires an argument", reference=True)
ARGUMENT_OF_LETTER_REQUIRED = Message("option requires an argument -- '{letter}'", reference=True)
NO_ARGUMENT_ALLOWED = Message("option '{option}' doesn't allow an argument", reference=True)
WHAT_FOR = Message("", "{usage}: {help}", ARGUMENT_REQUIRED.entry)
ALONE = Message("", "{option} alone is enough", NO_ARGUMENT_ALLOWED.entry)
WORD_OF_ITS_OWN = Message(
    "", "the argument is a word of its own: {option} {value}", NO_ARGUMENT_ALLOWED.entry
)
AMBIGUOUS_OPTION = Message(
    "option '{option}' is ambiguous; possibilities: {options}", reference=True
)

# The command line, in util-linux's words

CANNOT_COMBINE = Message("options {option} and {other} cannot be combined", reference=True)

USAGE = Message("", "usage: {usage}", "bad usage")

# The command line, in our own words

MEANS_NOTHING = Message("{option} means nothing to {other}")

# Output

WRITE_ERROR = Message("write error: {reason}", reference=True)
FILE_ERROR = Message("{file}: {reason}")
