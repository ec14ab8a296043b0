"""The traffic of the demo: events of sample people, and messages to them, some of which fail."""

import asyncio
import itertools
import random

import msgspec
import structlog

from waypost.cli.demo_client import Client
from waypost.cli.demo_scene import SHIPPED_TEXT, SPRING_MAIL, Scene

log = structlog.get_logger()

METRICS = ("Product Viewed", "Product Added", "Order Completed", "Order Shipped", "Coupon Redeemed")
#: Events for each message.
EVENTS_PER_MESSAGE = 3


class Person(msgspec.Struct, frozen=True):
    """A person of the demo. The sink has fixed results for some of the numbers and mailboxes."""

    name: str
    phone: str
    email: str


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


async def _try(client: Client, path: str, body: object, *, write: bool = False) -> None:
    status, response = await client.request("POST", path, body, write=write)
    if status not in (200, 202):
        log.error(
            "a request of the demo failed", action="demo_refused", path=path, status=status, body=str(response)[:200]
        )
