"""What every command can say: of its command line, of the tree, of its output."""

from hotplug_cli.messages import Message

# The command line, in the C library's words (getopt_long)

UNRECOGNIZED_OPTION = Message("unrecognized option '{option}'")
INVALID_OPTION = Message("invalid option -- '{letter}'")
ARGUMENT_REQUIRED = Message("option '{option}' requires an argument")
ARGUMENT_OF_LETTER_REQUIRED = Message("option requires an argument -- '{letter}'")
NO_ARGUMENT_ALLOWED = Message("option '{option}' doesn't allow an argument")
AMBIGUOUS_OPTION = Message("option '{option}' is ambiguous; possibilities: {options}")

# The command line, in util-linux's words and ours

BAD_USAGE = Message("bad usage")
CANNOT_COMBINE = Message("options {option} and {other} cannot be combined")

# Output

WRITE_ERROR = Message("write error: {reason}")
FILE_ERROR = Message("{file}: {reason}")
