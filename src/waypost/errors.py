"""Every error that Waypost raises on purpose, by what the caller can do about it.

Error
├── Invalid        change the request and send it again
├── Unauthorized   say who you are
├── Forbidden      ask for a key that may do this
├── NotFound       look for another thing
├── Conflict       look at the present state first
├── TooLarge       send less
└── Unavailable    send it again later; nothing was kept
"""

from typing import Any


class Error(Exception):
    """Something went wrong."""

    code = "error"

    def __init__(self, detail: str | None = None, *, code: str | None = None, **extra: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "")
        if code is not None:
            self.code = code
        self.extra = extra
        super().__init__(self.detail)


class Invalid(Error):
    """The request is not valid; change it and send it again."""

    code = "invalid"


class Unauthorized(Error):
    """No valid API key was given. Send `Authorization: Bearer <api key>`."""

    code = "unauthorized"


class Forbidden(Error):
    """The API key may not do this."""

    code = "forbidden"


class NotFound(Error):
    """There is no such thing in this workspace."""

    code = "not_found"


class Conflict(Error):
    """The present state does not allow this."""

    code = "conflict"


class TooLarge(Error):
    """The request is too large."""

    code = "too_large"


class Unavailable(Error):
    """The store cannot take this now. Nothing was kept; send it again later."""

    code = "unavailable"
