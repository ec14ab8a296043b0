"""The set-up of the demo: endpoints, connections and templates."""

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


class Scene(msgspec.Struct):
    """The ids that the traffic and the printed commands need."""

    pinpoint: str
    mail: str
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
    return Scene(pinpoint, mail, await _write_templates(client))


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
    await client.configure_sink("/aws", tracker)
    connection = await _connect(client, PINPOINT, "aws-pinpoint", ACCOUNT | {"endpoint_url": client.sink})
    # The sink stores nothing on disk, and the key is shown only once: each start creates a new key.
    made = await client.require("POST", f"/v1/connections/{connection}/rotate-receipts-key", None)
    await client.configure_sink("/aws", tracker | {"access_key": made["access_key_for_receipts"]})
    return connection


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
