"""The traffic of the demo: events of sample people, and messages to them, some of which fail."""

import asyncio
import itertools
import random

import structlog

from waypost.cli.demo_client import Client
from waypost.cli.demo_scene import PEOPLE, SHIPPED_TEXT, SPRING_MAIL, THANKS, Person, Scene

log = structlog.get_logger()

METRICS = ("Product Viewed", "Product Added", "Order Completed", "Order Shipped", "Coupon Redeemed")
#: Events for each message, and for each person that reaches the webhook block of the Klaviyo flow.
EVENTS_PER_MESSAGE = 3
EVENTS_PER_FLOW = 4
#: The webhook block, as a marketer types it into Klaviyo.
BLOCK = {
    "phone": "{{ person.phone_number }}",
    "text": "Shop: Thank you, {{ person.first_name|default:'' }}! Your order {{ event.OrderId }} is being packed.",
    "clickUrl": "https://example.com/orders?utm_api=thanks",
    "callbackData": (
        f'{{"profileID": "{{{{ person.KlaviyoID }}}}", "metricName": "{THANKS}", '
        f'"flow": "{THANKS}", "order": "{{{{ event.OrderId }}}}"}}'
    ),
    "sendPurpose": THANKS,
}


async def send_traffic(client: Client, scene: Scene, rate: float) -> None:
    """Send events at this rate per second, and messages between them, until cancelled."""
    dice = random.Random(1)  # noqa: S311 real-looking, not secret
    for person in PEOPLE:
        traits = {
            "name": person.name.title(),
            "email": person.email,
            "phone": person.phone,
            "plan": dice.choice(["free", "pro"]),
        }
        await _try(client, "/v1/identify", {"userId": person.name, "traits": traits}, write=True)
    for number in itertools.count(1):
        event = {
            "userId": dice.choice(PEOPLE).name,
            "event": dice.choice(METRICS),
            "properties": {
                "order_id": f"A-{1000 + number}",
                "total": round(dice.uniform(5, 250), 2),
                "currency": "EUR",
            },
        }
        await _try(client, "/v1/track", event, write=True)
        if number % EVENTS_PER_MESSAGE == 0:
            await _write_to(client, scene, dice, number)
        if number % EVENTS_PER_FLOW == 0:
            await _play_flow(client, scene, dice.choice(PEOPLE), f"A-{1000 + number}")
        await asyncio.sleep(1 / rate)


async def _write_to(client: Client, scene: Scene, dice: random.Random, number: int) -> None:
    person = dice.choice(PEOPLE)
    if dice.random() < 0.6:
        message = {
            "to": person.phone,
            "template_id": scene.templates[SHIPPED_TEXT],
            "variables": {"order_id": f"A-{1000 + number}"},
            "campaign": "orders",
        }
    else:
        message = {
            "to": person.email,
            "template_id": scene.templates[SPRING_MAIL],
            "variables": {"code": f"SPRING{number}"},
            "campaign": "spring",
            "purpose": "promotional",
        }
    await _try(client, "/v1/messages", message)


async def _play_flow(client: Client, scene: Scene, person: Person, order: str) -> None:
    """Let the simulated Klaviyo run its flow for a person, which posts a text to the server."""
    template = {
        "url": f"{client.url}/text/message/send",
        "headers": {"X-Client-ID": scene.client_id, "X-Client-Secret": scene.client_secret},
        "body": BLOCK,
    }
    profile = {
        "id": person.klaviyo_id,
        "phone_number": person.phone,
        "first_name": person.name.title(),
        "event": {"OrderId": order},
    }
    await client.require_sink("POST", "/klaviyo-flow/run", {"template": template, "profiles": [profile]})


async def _try(client: Client, path: str, body: object, *, write: bool = False) -> None:
    status, response = await client.request("POST", path, body, write=write)
    if status not in (200, 202):
        log.error(
            "a request of the demo failed", action="demo_refused", path=path, status=status, body=str(response)[:200]
        )
