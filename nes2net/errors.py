"""The one exception that a person can mend: what was expected, what came, what to do."""


class InputError(ValueError):
    """Something given to nes2net is missing or wrong. The message is one line and names the file or value and the way out.

    The command line prints it without a traceback and exits with status 2.
    """
