"""The errors a user meets: what happened, where, and what to do about it."""


class LitemillError(Exception):
    """An error whose message is meant for the user: one line, no traceback needed.

    Args:
        what: What is wrong, as one sentence without a final full stop.
        where: The file, key, line, layer or device it is about.
        fix: What the user can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.fix}" if self.fix else text


class ConfigError(LitemillError):
    """A run config, an option or a command line is wrong."""

    exit_code = 2


class InputError(LitemillError):
    """A model, a data set or another file that came in cannot be used."""

    exit_code = 2


class StepFailed(LitemillError):
    """A recipe cannot work, or did not do what it was asked: it becomes a failed entry with this reason."""


class DeviceError(LitemillError):
    """A target is missing, unreachable or answered wrongly: its measurement fails, the others go on."""
