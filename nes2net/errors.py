"""What a person can mend — what was expected, what came, what to do — and what was ended from outside."""


class InputError(ValueError):
    """Something given to nes2net is missing or wrong. The message is one line and names the file or value and the way out.

    The command line prints it without a traceback and exits with status 2.
    """


class Unfinished(Exception):
    """Work ended before its end for a reason outside of it (a signal, a full disk); what is done is kept, and the same command goes on."""
