"""The errors that Waypost raises, by what the caller can do.

Error
├── Invalid        correct the request and send it again
├── Unauthorized   send a valid API key
├── Forbidden      use an API key with the required scope
├── NotFound       check the id
├── Conflict       check the current state first
├── TooLarge       send less data
└── Unavailable    retry later; nothing was stored
"""

from typing import Any, Self


class Error(Exception):
    """The request failed."""

    code = "error"

    def __init__(self, detail: str | None = None, *, code: str | None = None, **extra: Any) -> None:
        self.detail = detail or (type(self).__doc__ or "")
        if code is not None:
            self.code = code
        self.extra = extra
        super().__init__(self.detail)

    def copy(self, **more: Any) -> Self:
        """Return the same error, with more fields: callers that share one raise copies with tracebacks of their own."""
        return type(self)(self.detail, code=self.code, **self.extra, **more)


class Invalid(Error):
    """The request is not valid. Correct it and send it again."""

    code = "invalid"


class Unauthorized(Error):
    """The API key is missing or not valid. Send `Authorization: Bearer <api key>`."""

    code = "unauthorized"


class Forbidden(Error):
    """The API key does not have the scope for this request. Use another key."""

    code = "forbidden"


class NotFound(Error):
    """The resource does not exist in this workspace. Check the id."""

    code = "not_found"


class Conflict(Error):
    """The current state does not allow this request."""

    code = "conflict"


class TooLarge(Error):
    """The request is too large. Send less data."""

    code = "too_large"


class Unavailable(Error):
    """The server cannot process the request now. Nothing was stored; retry later."""

    code = "unavailable"
