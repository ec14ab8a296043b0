"""The set-up of the demo: people, endpoints, connections, templates and a client of the text-message API."""

from typing import Any

import msgspec

from waypost.cli.demo_client import Client

RECEIVERS: tuple[tuple[str, list[str], dict[str, Any]], ...] = (
    ("orders?body=thanks", ["event.order_*"], {"description": "A healthy receiver of orders"}),
    ("analytics?fail_rate=0.3&seed=7", ["*"], {"description": "Fails three times in ten, and is retried"}),
    ("coupons?delay=0.3", ["event.coupon_redeemed"], {"description": "A slow receiver", "concurrency": 2}),
    ("broken?status=500", ["event.product_viewed"], {"description": "Always fails, until it is disabled"}),
)
PINPOINT = "Pinpoint Promo"
MAIL = "Shop mail"
#: The sink accepts any account; these values are the examples in the AWS documentation.
ACCOUNT = {
    "region": "us-east-1",
    "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "access_key": "AKIAIOSFODNN7EXAMPLE",
    "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
KLAVIYO = "Klaviyo"
#: The webhook block of the Klaviyo flow: its send purpose, and the metric of its statuses.
THANKS = "Thank you"
SHIPPED_TEXT = "Order shipped"
SPRING_MAIL = "Spring offer"
TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "name": SHIPPED_TEXT,
        "channel": "sms",
        "text": "Hi {{ person.name | default: 'there' }}, order {{ order_id }} is on its way. Reply STOP to end.",
    },
    {
        "name": SPRING_MAIL,
        "channel": "email",
        "subject": "{{ person.name | default: 'Hello' }}, spring is here",
        "preheader": "Ten percent off until Sunday",
        "html": "<h1>Spring</h1><p>Dear {{ person.name | default: 'reader' }}, your code is <b>{{ code }}</b>.</p>",
    },
)


class Person(msgspec.Struct, frozen=True):
    """A person of the demo. The sink has fixed results for some of the numbers and mailboxes."""

    name: str
    phone: str
    email: str

    @property
    def klaviyo_id(self) -> str:
        """The id of the profile in Klaviyo."""
        return f"01K{self.name.upper()}"


PEOPLE = (
    Person("ada", "+12025550101", "ada@example.com"),
    Person("grace", "+12025550102", "grace@example.com"),
    Person("alan", "+12025550103", "alan@example.com"),
    Person("edsger", "+12025550104", "edsger@example.com"),
    Person("barbara", "+12025550105", "barbara@example.com"),
    # The phone is off: 2009.
    Person("ken", "+12025550002", "ken@example.com"),
    # The carrier blocks it as spam: 2015. The mailbox does not exist: suppressed after the first mail.
    Person("margaret", "+12025550008", "bounce+margaret@example.com"),
    # Replies STOP to the first SMS, and is opted out from then on.
    Person("dennis", "+12025550029", "dennis@example.com"),
)
#: Has never opted in, so that texts of the flow to her are answered with NOT_FOUND.
NOT_SUBSCRIBED = "barbara"


class Scene(msgspec.Struct):
    """The ids that the traffic and the printed commands need."""

    pinpoint: str
    mail: str
    #: The client of the text-message API.
    client_id: str
    client_secret: str
    #: Ids by name.
    templates: dict[str, str]


async def set_scene(client: Client, mail_port: int) -> Scene:
    """Create what is missing, and update the rest to the present ports of the sink. Can be repeated."""
    await _subscribe(client)
    pinpoint = await _connect_pinpoint(client)
    mail = await _connect(
        client,
        MAIL,
        "smtp",
        {
            "host": "127.0.0.1",
            "port": mail_port,
            "security": "none",
            "from_email": "shop@example.com",
            "from_name": "Shop",
        },
    )
    config = {"api_key": "pk_made_up", "host": f"{client.sink}/klaviyo"}
    client_id, client_secret = await _make_text_client(client, await _connect(client, KLAVIYO, "klaviyo", config))
    return Scene(pinpoint, mail, client_id, client_secret, await _write_templates(client))


async def _subscribe(client: Client) -> None:
    listed = await client.get("/v1/webhooks?limit=100")
    known = {endpoint["description"]: endpoint["id"] for endpoint in listed["data"]}
    for name, types, parameters in RECEIVERS:
        url = f"{client.sink}/hook/{name}"
        if parameters["description"] in known:
            await client.require("PATCH", f"/v1/webhooks/{known[parameters['description']]}", {"url": url})
        else:
            parameters = {"url": url, "event_types": types, "owner_email": "owner@example.com", **parameters}
            await client.require("POST", "/v1/webhooks", parameters)


async def _connect_pinpoint(client: Client) -> str:
    """Return the id of the Pinpoint connection, whose receipts the sink sends back."""
    tracker = {"tracker_url": f"{client.url}/tracking/amazon-pinpoint-events"}
    # Before the set-up check of the connection, which verifies the destination of the stream.
    await client.require_sink("PUT", "/aws", tracker)
    connection = await _connect(client, PINPOINT, "aws-pinpoint", ACCOUNT | {"endpoint_url": client.sink})
    # The sink stores nothing on disk, and the key is shown only once: each start creates a new key.
    made = await client.require("POST", f"/v1/connections/{connection}/rotate-receipts-key", None)
    await client.require_sink("PUT", "/aws", tracker | {"access_key": made["access_key_for_receipts"]})
    return connection


async def _make_text_client(client: Client, klaviyo: str) -> tuple[str, str]:
    """Return the id and the secret of the text client whose statuses go to Klaviyo."""
    listed = await client.get("/v1/text-clients?limit=200")
    known = [found["id"] for found in listed["data"] if found["name"] == KLAVIYO]
    if known:
        # The secret is shown only once: each start creates a new one.
        made = await client.require("POST", f"/v1/text-clients/{known[0]}/rotate", {"overlap_s": 0})
    else:
        opted_in = [person for person in PEOPLE if person.name != NOT_SUBSCRIBED]
        statements = [
            {"channel": "sms", "address": person.phone, "state": "subscribed", "source": "demo"} for person in opted_in
        ]
        await client.require("POST", "/v1/subscriptions/batch", {"subscriptions": statements})
        # The links of the demo lead to pages that do not exist.
        callback = {"kind": "klaviyo", "connection_id": klaviyo}
        parameters = {"name": KLAVIYO, "callback": callback, "check_links": "never"}
        made = await client.require("POST", "/v1/text-clients", parameters)
    return made["client_id"], made["client_secret"]


async def _connect(client: Client, name: str, connector: str, config: dict[str, Any]) -> str:
    """Create or update the connection of this name, and return its id."""
    listed = await client.get("/v1/connections?limit=200")
    known = {connection["name"]: connection["id"] for connection in listed["data"]}
    if name in known:
        await client.require("PATCH", f"/v1/connections/{known[name]}", {"config": config})
        return str(known[name])
    made = await client.require("POST", "/v1/connections", {"name": name, "connector": connector, "config": config})
    return str(made["id"])


async def _write_templates(client: Client) -> dict[str, str]:
    listed = await client.get("/v1/templates?limit=100")
    known = {template["name"]: template["id"] for template in listed["data"]}
    for parameters in TEMPLATES:
        if parameters["name"] not in known:
            known[parameters["name"]] = (await client.require("POST", "/v1/templates", parameters))["id"]
    return known
