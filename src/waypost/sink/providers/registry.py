"""Who is played here: each provider as what makes it, and its routes.

A provider is a class that is made with the `World`. Its module has

- `ROUTES`, by method and path with {pieces}: functions or unbound methods that are given the player and the request;
- `configure(settings)` on the class, which takes a run's settings for it, as JSON gives them.

An `Error` that a route raises is answered as a problem of the sink itself; what the provider would say is made by the
provider's own module.
"""

from collections.abc import Callable
from typing import Protocol

from waypost.sink.aws import firehose, services
from waypost.sink.context import Context, Routes
from waypost.sink.providers import gateway, klaviyo, sendgrid, twilio, wunderkind


class Player(Protocol):
    """A provider at play."""

    def configure(self, given: object) -> None:
        """Take settings for this run; Invalid when they make no sense."""


#: By the name under which a run's settings are given.
PLAYED: dict[str, tuple[Callable[[Context], Player], Routes]] = {
    "aws": (services.Aws, services.ROUTES),
    "firehose": (firehose.Firehose, firehose.ROUTES),
    "sendgrid": (sendgrid.SendGrid, sendgrid.ROUTES),
    "twilio": (twilio.Twilio, twilio.ROUTES),
    "wunderkind": (wunderkind.Wunderkind, wunderkind.ROUTES),
    "klaviyo": (klaviyo.Klaviyo, klaviyo.ROUTES),
    "gateway": (gateway.Gateway, gateway.ROUTES),
}
