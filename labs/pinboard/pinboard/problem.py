"""The errors that a person can put right: each says what is wrong, why, and what to do next."""


class Problem(Exception):  # noqa: N818 - its children say Error where that helps
    """The one root of the service's own errors; `status` is the HTTP status with which the API answers it."""

    status = 500

    def __init__(self, what: str, why: str, next_step: str) -> None:
        super().__init__(what, why, next_step)
        self.what = what
        self.why = why
        self.next_step = next_step

    def __str__(self) -> str:
        """The whole problem in one line, also when a library's message has several."""
        return " ".join(f"{self.what}: {self.why}. Next: {self.next_step}.".split())

    def as_json(self) -> dict[str, dict[str, str]]:
        """The body with which the API answers."""
        return {"error": {"what": self.what, "why": self.why, "next": self.next_step}}


class SettingError(Problem):
    """An environment variable has a value with which the service cannot start."""


class BadRequest(Problem):
    """The request is not the JSON that the API reads."""

    status = 400


class TooLarge(Problem):
    """The request's body is larger than any pin can be."""

    status = 413


class InvalidPin(Problem):
    """The JSON is well formed, but it is no pin."""

    status = 422


class NoSuchPin(Problem):
    """The pin is not on the board (any more)."""

    status = 404


class StoreUnavailable(Problem):
    """The database did not do its work. The process is fine and tries again with the next request."""

    status = 503
