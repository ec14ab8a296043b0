"""The simulated providers: the class and the routes of each.

The class of a provider is constructed with the `Context` and has `configure(settings)`, which takes JSON. `ROUTES` of
its module has the handlers by method and path with {pieces}: functions or unbound methods that get the provider and the
request.

An `Error` raised by a route becomes a problem document of the sink; the module of the provider builds the errors of the
provider itself.
"""

from collections.abc import Callable
from typing import Protocol

from waypost.sink.aws import firehose, services
from waypost.sink.context import Context, Routes
from waypost.sink.providers import gateway, klaviyo, klaviyo_flow, sendgrid, twilio, wunderkind


class SimulatedProvider(Protocol):
    """A simulated provider."""

    def configure(self, given: object) -> None:
        """Apply settings; raise Invalid if they are not valid."""


#: By provider name, as in the settings.
PROVIDERS: dict[str, tuple[Callable[[Context], SimulatedProvider], Routes]] = {
    "aws": (services.Aws, services.ROUTES),
    "firehose": (firehose.Firehose, firehose.ROUTES),
    "sendgrid": (sendgrid.SendGrid, sendgrid.ROUTES),
    "twilio": (twilio.Twilio, twilio.ROUTES),
    "wunderkind": (wunderkind.Wunderkind, wunderkind.ROUTES),
    "klaviyo": (klaviyo.Klaviyo, klaviyo.ROUTES),
    "klaviyo-flow": (klaviyo_flow.KlaviyoFlow, klaviyo_flow.ROUTES),
    "gateway": (gateway.Gateway, gateway.ROUTES),
}
