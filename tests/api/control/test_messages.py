"""Messages over HTTP: accepted or refused with a reason, listed, resent and cancelled."""

import asyncio
import functools
import itertools
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.api.calling import Keys, bearer, eventually, ok, refused, track
from waypost.clock import DAY, iso, now_us
from waypost.domain.values.ids import internal, public
from waypost.engine.process import Engine
from waypost.sink.thread_runner import Running

Api = httpx.AsyncClient

PROBE = "+12025550101"
LATER = iso(now_us() + 30 * DAY)


def number(n: int) -> str:
    """Return a phone number without a fixed scenario."""
    return f"+1202{2_000_000 + n * 10 + 5}"


@pytest.fixture
async def gateway(client: Api, sink: Running) -> dict[str, Any]:
    """Create an SMS connection to the simulated gateway."""
    config = {"url": f"{sink.url}/gateway/send", "auth": "bearer", "token": "made-up"}
    made: dict[str, Any] = await ok(
        client.post("/v1/connections", json={"name": "gateway", "connector": "http", "config": config}), 201
    )
    return made


@pytest.fixture
async def marketing(client: Api, sink: Running) -> dict[str, Any]:
    """Create a connection for events."""
    config = {"host": f"{sink.url}/klaviyo", "api_key": "pk_made_up"}
    made: dict[str, Any] = await ok(
        client.post("/v1/connections", json={"name": "klaviyo", "connector": "klaviyo", "config": config}), 201
    )
    return made


async def send(client: Api, to: str | None = None, **fields: Any) -> dict[str, Any]:
    """Request one message that must be accepted; by default an SMS."""
    body = {"channel": "sms", "text": "Hi"} | ({"to": to} if to else {}) | fields
    made: dict[str, Any] = await ok(client.post("/v1/messages", json=body), 202)
    return made


async def get(client: Api, id_: str) -> dict[str, Any]:
    found: dict[str, Any] = await ok(client.get(f"/v1/messages/{id_}"))
    return found


async def came_to(client: Api, id_: str, status: str) -> dict[str, Any]:
    """Return the message once it has this status."""

    async def look() -> dict[str, Any] | None:
        found = await get(client, id_)
        return found if found["status"] == status else None

    found: dict[str, Any] = await eventually(look)
    return found


async def profile(client: Api, user: str, **traits: Any) -> dict[str, Any]:
    """Record a person with this user id."""
    await ok(client.post("/v1/identify", json={"userId": user, "traits": traits}))
    found: dict[str, Any] = (await ok(client.get(f"/v1/profiles?user_id={user}")))["data"][0]
    return found


async def test_a_message_is_accepted_sent_and_shown_with_its_history(client: Api, gateway: dict[str, Any]):
    answer = await client.post(
        "/v1/messages",
        json={
            "channel": "sms",
            "to": "+1 (202) 200-0015",
            "text": "Hi there",
            "metadata": {"order": 7, "tags": ["a"]},
            "campaign": "spring",
        },
    )
    assert answer.status_code == 202
    made = answer.json()
    assert made == {"id": made["id"], "status": "queued"}
    assert internal("msg", made["id"])
    shown = await came_to(client, made["id"], "sent")
    assert [line["status"] for line in shown["history"]] == ["queued", "sending", "sent"]
    moments = [datetime.fromisoformat(line["at"]) for line in shown["history"]]
    assert all(line["at"].endswith("Z") for line in shown["history"])
    assert moments == sorted(moments)
    assert shown["history"][1]["connection_id"] == shown["connection_id"] == gateway["id"]
    assert shown["provider_message_id"].startswith("gw-")
    history, content = shown.pop("history"), shown.pop("content")
    assert len(history) == 3
    assert content == {"text": "Hi there", "recipient": {"phone": "+12022000015"}}
    times = {name: shown.pop(name) for name in ("created_at", "updated_at", "expires_at")}
    assert times["created_at"] <= times["updated_at"] < times["expires_at"]
    assert shown == {
        "id": made["id"],
        "channel": "sms",
        "to": "+12022000015",
        "status": "sent",
        "text_status": None,
        "code": None,
        "failure": None,
        "reason": None,
        "provider_code": None,
        "provider_message_id": shown["provider_message_id"],
        "connection_id": gateway["id"],
        "profile_id": None,
        "template_id": None,
        "template_version": None,
        "campaign": "spring",
        "purpose": "transactional",
        "metadata": {"order": 7, "tags": ["a"]},
        "test": False,
        "tries": 1,
        "parts": shown["parts"],
        "price": None,
        "currency": None,
        "carrier": None,
        "due_at": None,
        "campaign_id": None,
        "clicks": 0,
        "machine_clicks": 0,
        "opens": 0,
        "machine_opens": 0,
    }


REFUSED: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"channel": "sms", "to": "12", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": "2025550101", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": "+1202555010\0", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": "", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "text": "Hi"}, 400, "invalid_message", "to"),
    ({"to": PROBE, "text": "Hi"}, 400, "invalid_message", "channel"),
    ({"channel": "sms", "to": PROBE}, 400, "invalid_message", "text"),
    ({"channel": "sms", "to": PROBE, "text": " \n"}, 400, "invalid_message", "text"),
    ({"channel": "sms", "to": PROBE, "text": "x" * 1601}, 400, "text_too_long", "text"),
    ({"channel": "fax", "to": PROBE, "text": "Hi"}, 400, "invalid_body", "channel"),
    ({"channel": "sms", "to": PROBE, "txt": "Hi"}, 400, "invalid_body", "txt"),
    ({"channel": "sms", "to": 5, "text": "Hi"}, 400, "invalid_body", "to"),
    ({"channel": "sms", "to": "x" * 321, "text": "Hi"}, 400, "invalid_body", "to"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "purpose": "spam"}, 400, "invalid_body", "purpose"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "validity": 4}, 400, "invalid_body", "validity"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "send_at": "tomorrow"}, 400, "invalid_message", "send_at"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "send_at": "2999-01-01"}, 400, "invalid_message", "send_at"),
    (
        {"channel": "sms", "to": PROBE, "text": "Hi", "send_at": "2026-12-24T18:00:00"},
        400,
        "invalid_message",
        "send_at",
    ),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "send_at": "1790000000"}, 400, "invalid_message", "send_at"),
    ({"channel": "sms", "to": PROBE, "text": "Hi\0"}, 400, "invalid_text", "text"),
    ({"channel": "sms", "to": PROBE, "media_urls": ["http://a/\0"]}, 400, "invalid_text", "media_urls"),
    ({"channel": "event", "to": "ada", "metric": "Or\0dered"}, 400, "invalid_text", "metric"),
    ({"channel": "sms", "to": "+1202555CALL", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": "+12025550101 ext. 5", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": "tel:+12025550101", "text": "Hi"}, 400, "invalid_number", "to"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "metadata": {"a": "x" * 5000}}, 400, "invalid_message", "metadata"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "campaign": "a\0b"}, 400, "invalid_message", "campaign"),
    ({"channel": "sms", "to": PROBE, "text": "Hi", "campaign": "x" * 101}, 400, "invalid_body", "campaign"),
    ({"channel": "sms", "to": PROBE, "text": "{{ unclosed", "variables": {}}, 400, "invalid_template", None),
    ({"channel": "email", "to": "a@example.com", "text": "Hi", "subject": "S"}, 409, "no_connection", None),
    ({"channel": "sms", "profile_id": "pro_0000000000000001", "text": "Hi"}, 404, "unknown_profile", None),
    ({"channel": "sms", "profile_id": "nonsense", "text": "Hi"}, 404, "unknown_profile", None),
    ({"channel": "sms", "to": PROBE, "template_id": "tpl_0000000000000001"}, 404, "unknown_template", None),
    ({"to": PROBE, "text": "Hi", "connection_id": "con_0000000000000001"}, 404, "unknown_connection", None),
    ({"channel": "event", "to": "ada\0", "metric": "Ordered"}, 400, "invalid_address", "to"),
    ({"channel": "event", "to": "ada"}, 400, "invalid_message", "metric"),
]


async def test_what_is_wrong_with_a_message_is_said(client: Api, gateway: dict[str, Any], marketing: dict[str, Any]):
    for body, status, code, field in REFUSED:
        problem = await refused(client.post("/v1/messages", json=body), status, code)
        assert field is None or problem["field"] == field, body
    assert (await ok(client.get("/v1/messages")))["data"] == []


MAIL = {"channel": "email", "to": "ada@example.com", "subject": "Hi", "text": "Hi"}
REFUSED_MAILS: list[tuple[dict[str, Any], str, str]] = [
    ({"to": "ada@-example.com"}, "invalid_address", "to"),
    ({"to": "a..b@example.com"}, "invalid_address", "to"),
    ({"to": "ada@10.1"}, "invalid_address", "to"),
    ({"sender": "Shop <shop>"}, "invalid_header", "sender"),
    ({"sender": "Shop\nBcc: all@example.com <shop@example.com>"}, "invalid_header", "sender"),
    ({"reply_to": "nobody"}, "invalid_header", "reply_to"),
    ({"headers": {"X-Order": "7\nBcc: all@example.com"}}, "invalid_header", "headers"),
    ({"headers": {"Bcc": "all@example.com"}}, "invalid_header", "headers"),
    ({"headers": {"X Y": "1"}}, "invalid_header", "headers"),
    ({"subject": "Hi\nthere"}, "invalid_header", "subject"),
    ({"html": "<p>\0</p>"}, "invalid_text", "html"),
]


async def test_what_no_mail_can_carry_is_refused_at_once(client: Api):
    config = {"host": "127.0.0.1", "port": 9, "security": "none", "from_email": "shop@example.com"}
    connection = {"name": "Mail", "connector": "smtp", "config": config, "skip_check": True}
    await ok(client.post("/v1/connections", json=connection), 201)
    for fields, code, field in REFUSED_MAILS:
        problem = await refused(client.post("/v1/messages", json=MAIL | fields), 400, code)
        assert problem["field"] == field, fields
    # The same applies to rendered content.
    fields = {"sender": "Shop <{{ name }}>", "variables": {"name": "shop"}}
    problem = await refused(client.post("/v1/messages", json=MAIL | fields), 400, "invalid_header")
    assert problem["field"] == "sender"
    await ok(client.post("/v1/messages", json=MAIL | {"send_at": LATER, "sender": "Shop <shop@example.com>"}), 202)


async def test_channel_template_and_connection_have_to_go_together(client: Api, gateway: dict[str, Any]):
    problem = await refused(
        client.post(
            "/v1/messages",
            json={"channel": "email", "to": "a@example.com", "text": "Hi", "connection_id": gateway["id"]},
        ),
        400,
        "invalid_message",
    )
    assert "email, sms" in problem["detail"]
    template = await ok(
        client.post("/v1/templates", json={"name": "t", "channel": "sms", "text": "Hi {{ name }}"}), 201
    )
    await refused(
        client.post("/v1/messages", json={"to": PROBE, "template_id": template["id"], "text": "Hi"}),
        400,
        "invalid_message",
    )
    made = await ok(
        client.post(
            "/v1/messages",
            json={"to": number(1), "template_id": template["id"], "variables": {"name": "Ada \"'\n"}},
        ),
        202,
    )
    shown = await came_to(client, made["id"], "sent")
    assert shown["content"]["text"] == "Hi Ada \"'\n"
    assert (shown["template_id"], shown["template_version"], shown["channel"]) == (template["id"], 1, "sms")
    # Own content is Liquid if there are variables, and is sent verbatim otherwise.
    made = await send(client, number(2), text="Hi {{ name }}", variables={"name": "Bob"})
    assert (await get(client, made["id"]))["content"]["text"] == "Hi Bob"
    made = await send(client, number(3), text="Hi {{ name }} {% now %}")
    assert (await get(client, made["id"]))["content"]["text"] == "Hi {{ name }} {% now %}"


async def test_a_disabled_connection_takes_nothing_and_a_paused_one_keeps_it(
    client: Api, engine: Engine, keys: Keys, gateway: dict[str, Any]
):
    await ok(client.post(f"/v1/connections/{gateway['id']}/disable"))
    body = {"channel": "sms", "to": number(1), "text": "Hi"}
    await refused(client.post("/v1/messages", json=body), 409, "no_connection")
    pinned = body | {"connection_id": gateway["id"]}
    await refused(client.post("/v1/messages", json=pinned), 409, "connection_disabled")
    await ok(client.post(f"/v1/connections/{gateway['id']}/enable"))

    async def pause(tx: Any) -> None:
        await tx.run(
            "connections.move",
            workspace_id=keys.workspace_id,
            id=internal("con", gateway["id"]),
            status="paused",
            reason="configuration",
            error="no",
            version=None,
            sources=["enabled"],
            now=now_us(),
        )
        await tx.run("configurations.touch", area="providers", workspace_id=keys.workspace_id)

    await engine.database.transact(pause)
    await engine.connections.refresh()
    made = [await send(client, number(2)), await send(client, number(3), connection_id=gateway["id"])]
    assert [one["status"] for one in made] == ["queued", "queued"]
    await ok(client.post(f"/v1/connections/{gateway['id']}/enable"))
    for one in made:
        await came_to(client, one["id"], "sent")


async def test_a_key_makes_a_request_safe_to_repeat(client: Api, gateway: dict[str, Any]):
    body = {"channel": "sms", "to": number(1), "text": "Hi"}
    key = {"idempotency-key": "order-7"}
    first = await ok(client.post("/v1/messages", json=body, headers=key), 202)
    assert await ok(client.post("/v1/messages", json=body, headers=key), 202) == first
    await refused(client.post("/v1/messages", json=body | {"text": "Ho"}, headers=key), 422, "idempotency_key_reused")
    await refused(
        client.post("/v1/messages", json=body, headers={"idempotency-key": "x" * 256}), 400, "invalid_idempotency_key"
    )
    # Many at once, as from a client that ran out of patience.
    key = {"idempotency-key": "order-8"}
    answers = await asyncio.gather(*(client.post("/v1/messages", json=body, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len((await ok(client.get("/v1/messages")))["data"]) == 2
    # And a batch.
    batch = {"messages": [body, body | {"to": number(2)}]}
    key = {"idempotency-key": "batch"}
    first = await ok(client.post("/v1/messages/batch", json=batch, headers=key), 202)
    assert await ok(client.post("/v1/messages/batch", json=batch, headers=key), 202) == first
    assert len((await ok(client.get("/v1/messages")))["data"]) == 4


async def test_a_repeat_is_answered_as_before_even_if_it_would_be_refused_by_now(client: Api, gateway: dict[str, Any]):
    body = {"channel": "sms", "to": number(1), "text": "Hi"}
    key = {"idempotency-key": "lost answer"}
    first = await ok(client.post("/v1/messages", json=body, headers=key), 202)
    batch = {"messages": [body]}
    many = await ok(client.post("/v1/messages/batch", json=batch, headers={"idempotency-key": "many"}), 202)
    response = await client.delete(f"/v1/connections/{gateway['id']}")
    assert response.status_code == 204
    await refused(client.post("/v1/messages", json=body), 409, "no_connection")
    assert await ok(client.post("/v1/messages", json=body, headers=key), 202) == first
    assert await ok(client.post("/v1/messages/batch", json=batch, headers={"idempotency-key": "many"}), 202) == many
    await refused(client.post("/v1/messages", json=body | {"text": "Ho"}, headers=key), 422, "idempotency_key_reused")


async def test_each_message_of_a_batch_is_accepted_or_refused_for_itself(client: Api, gateway: dict[str, Any]):
    batch = {
        "defaults": {"channel": "sms", "text": "Hi {{ name }}", "campaign": "fall", "variables": {"name": "you"}},
        "messages": [
            {"to": number(1)},
            {"to": "12"},
            {"to": number(1)},
            {"to": number(2), "variables": {"name": "Ada"}, "campaign": "own"},
            {"to": number(3), "text": ""},
            {"profile_id": "nonsense"},
            {"profile_id": "pro_0000000000000001"},
            {"to": number(4), "connection_id": "con_0000000000000001"},
            {"to": "a@example.com", "channel": "email"},
        ],
    }
    answer = await ok(client.post("/v1/messages/batch", json=batch), 202)
    assert (answer["accepted"], answer["rejected"]) == (3, 6)
    found = [line.get("status") or line["error"]["code"] for line in answer["data"]]
    assert found == [
        "queued",
        "invalid_number",
        "skipped",
        "queued",
        "invalid_message",
        "unknown_profile",
        "unknown_profile",
        "unknown_connection",
        "no_connection",
    ]
    assert all(line["error"]["detail"] for line in answer["data"] if "error" in line)
    assert (answer["data"][2]["reason"], answer["data"][2]["code"]) == ("duplicate", 2021)
    first = await came_to(client, answer["data"][0]["id"], "sent")
    assert (first["content"]["text"], first["campaign"]) == ("Hi you", "fall")
    other = await get(client, answer["data"][3]["id"])
    assert (other["content"]["text"], other["campaign"]) == ("Hi Ada", "own")
    skipped = await get(client, answer["data"][2]["id"])
    assert (skipped["status"], skipped["reason"], skipped["failure"] is not None) == ("skipped", "duplicate", True)
    # Duplicates are requested.
    wish = {"messages": [{"channel": "sms", "to": number(9), "text": "Hi"}] * 3, "skip_duplicates": False}
    answer = await ok(client.post("/v1/messages/batch", json=wish), 202)
    assert [line["status"] for line in answer["data"]] == ["queued"] * 3


async def test_a_malformed_message_of_a_batch_leaves_the_others(client: Api, gateway: dict[str, Any]):
    batch = {
        "defaults": {"channel": "sms", "text": "Hi"},
        "messages": [
            {"to": number(1)},
            {"to": 5},
            {"to": number(2), "txt": "Hi"},
            "text",
            {"to": number(3), "validity": 60.0},
            None,
            {"to": number(4), "validity": 1},
        ],
    }
    answer = await ok(client.post("/v1/messages/batch", json=batch), 202)
    assert (answer["accepted"], answer["rejected"]) == (2, 5)
    found = [line.get("status") or line["error"]["code"] for line in answer["data"]]
    assert found == ["queued", *["invalid_body"] * 3, "queued", *["invalid_body"] * 2]
    assert "txt" in answer["data"][2]["error"]["detail"]
    problem = await refused(client.post("/v1/messages/batch", json={"messages": [5]}), 400, "invalid_messages")
    assert problem["rejected"][0]["error"]["code"] == "invalid_body"
    await refused(client.post("/v1/messages/batch", json={"messages": [{}], "x": 1}), 400, "invalid_body")
    await refused(client.post("/v1/messages/batch", json={"messages": []}), 400, "invalid_body")


async def test_a_number_that_is_too_large_refuses_its_message_only(client: Api, gateway: dict[str, Any]):
    large = {"n": 10**30}
    one = {"channel": "sms", "text": "Hi", "metadata": {"n": 1}}
    batch = {"messages": [one | {"to": number(1)}, one | {"to": number(2), "metadata": large}, one | {"to": number(3)}]}
    answer = await ok(client.post("/v1/messages/batch", json=batch), 202)
    assert answer["accepted"] == 2
    assert [line.get("status") for line in answer["data"]] == ["queued", None, "queued"]
    assert answer["data"][1]["error"]["code"] == "invalid_body"
    assert "does not fit in 64 bits" in answer["data"][1]["error"]["detail"]
    # In the defaults, it refuses all messages.
    common = {"messages": [one | {"to": number(4)}], "defaults": {"metadata": large}}
    await refused(client.post("/v1/messages/batch", json=common), 400, "invalid_body")


async def test_a_batch_in_which_nothing_is_right_is_refused_with_all_reasons(client: Api, gateway: dict[str, Any]):
    batch = {"messages": [{"channel": "sms", "to": "12", "text": "Hi"}, {"channel": "sms", "to": number(1)}]}
    problem = await refused(client.post("/v1/messages/batch", json=batch), 400, "invalid_messages")
    assert [line["error"]["code"] for line in problem["rejected"]] == ["invalid_number", "invalid_message"]
    assert (await ok(client.get("/v1/messages")))["data"] == []


async def test_a_batch_has_limits(client: Api, gateway: dict[str, Any]):
    one = {"channel": "sms", "to": number(1), "text": "Hi"}
    await refused(client.post("/v1/messages/batch", json={"messages": []}), 400, "invalid_body")
    await refused(client.post("/v1/messages/batch", json={"messages": [one] * 1001}), 400, "invalid_body")
    await refused(client.post("/v1/messages/batch", json={"messages": [one], "throttle": 0}), 400, "invalid_body")
    large = json.dumps({"messages": [one | {"text": "x" * 8_000_000}]}).encode()
    await refused(client.post("/v1/messages/batch", content=large), 413, "too_large")
    # One message is not a batch.
    await refused(client.post("/v1/messages", content=json.dumps(one | {"text": "x" * 1_000_000})), 413, "too_large")
    # The largest number of messages, with a body of nearly the largest size.
    most = [one | {"to": number(n), "metadata": {"note": "y" * 3900}} for n in range(1000)]
    answer = await ok(client.post("/v1/messages/batch", json={"messages": most}), 202)
    assert (answer["accepted"], answer["rejected"]) == (1000, 0)


async def test_a_throttled_batch_is_paced(client: Api, gateway: dict[str, Any]):
    batch = {"messages": [{"channel": "sms", "to": number(n), "text": "Hi"} for n in range(5)], "throttle": 0.1}
    answer = await ok(client.post("/v1/messages/batch", json=batch), 202)
    assert answer["throttle_id"].startswith("thr_")
    await came_to(client, answer["data"][0]["id"], "sent")
    shown = [await get(client, line["id"]) for line in answer["data"][1:]]
    assert {message["status"] for message in shown} == {"queued"}
    due = [datetime.fromisoformat(message["due_at"]).timestamp() for message in shown]
    assert all(9.5 < later - earlier < 10.5 for earlier, later in itertools.pairwise(due))


async def test_lists_are_paged_and_filtered(client: Api, gateway: dict[str, Any], marketing: dict[str, Any]):
    ada = await profile(client, "ada", phone=number(50))
    waiting = [(await send(client, number(n), send_at=LATER))["id"] for n in range(7)]
    hers = (await send(client, profile_id=ada["id"], send_at=LATER))["id"]
    event = await ok(
        client.post("/v1/messages", json={"channel": "event", "to": "bob", "metric": "Met", "send_at": LATER}), 202
    )
    cancelled = waiting.pop(3)
    await ok(client.post(f"/v1/messages/{cancelled}/cancel"))
    everything = [event["id"], hers, *reversed([*waiting[:3], cancelled, *waiting[3:]])]

    async def listed(query: str, limit: int = 2) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            page = await ok(client.get(f"/v1/messages?limit={limit}&{query}{after}"))
            assert len(page["data"]) <= limit
            found += [message["id"] for message in page["data"]]
            if page["next"] is None:
                return found
            after = f"&after={page['next']}"

    assert await listed("") == everything
    assert await listed("", 9) == everything
    assert await listed("status=queued") == [id_ for id_ in everything if id_ != cancelled]
    assert await listed("status=skipped") == [cancelled]
    assert await listed("status=unknown") == []
    assert await listed(f"connection_id={marketing['id']}") == [event["id"]]
    assert await listed(f"connection_id={gateway['id']}&status=skipped") == [cancelled]
    assert await listed("channel=event") == [event["id"]]
    assert await listed("channel=sms") == everything[1:]
    assert await listed("channel=sms&status=skipped") == [cancelled]
    assert await listed("channel=email") == []
    assert await listed(f"profile_id={ada['id']}") == [hers]
    assert await listed(f"to=%2B{number(2)[1:]}") == [waiting[2]]
    assert await listed("connection_id=con_0000000000000001") == []
    # Accepted in this order: a time parts them.
    middle = (await ok(client.get(f"/v1/messages/{waiting[2]}")))["created_at"]
    assert await listed(f"since={middle}") == everything[: everything.index(waiting[2]) + 1]
    assert await listed(f"until={middle}") == everything[everything.index(waiting[2]) + 1 :]
    assert await listed(f"since={middle}&status=skipped") == [cancelled]
    page = await ok(client.get("/v1/messages?limit=1"))
    assert "content" not in page["data"][0]
    for query, status, code in (
        ("status=gone", 400, "invalid_parameter"),
        ("channel=fax", 400, "invalid_parameter"),
        ("limit=0", 400, "invalid_parameter"),
        ("limit=1001", 400, "invalid_parameter"),
        ("after=nonsense", 400, "invalid_cursor"),
        ("to=a%00b", 400, "invalid_parameter"),
        ("campaign=a%00b", 400, "invalid_parameter"),
        ("provider_message_id=a%00b", 400, "invalid_parameter"),
        ("code=x", 400, "invalid_parameter"),
        ("since=yesterday", 400, "invalid_time"),
        ("connection_id=nonsense", 404, "not_found"),
    ):
        await refused(client.get(f"/v1/messages?{query}"), status, code)


async def test_messages_are_found_by_campaign_code_and_the_id_of_the_provider(client: Api, gateway: dict[str, Any]):
    spring = (await send(client, number(1), campaign="Spring"))["id"]
    other = (await send(client, number(2), campaign="Autumn"))["id"]
    lost = (await send(client, number(3), send_at=LATER, campaign="Spring"))["id"]
    twice = [{"channel": "sms", "to": number(4), "text": "Hi", "send_at": LATER}] * 2
    batch = await ok(client.post("/v1/messages/batch", json={"messages": twice, "skip_duplicates": True}), 202)
    repeated = batch["data"][1]["id"]
    sent = await came_to(client, spring, "sent")
    await came_to(client, other, "sent")

    async def listed(**query: Any) -> list[str]:
        return [one["id"] for one in (await ok(client.get("/v1/messages", params=query)))["data"]]

    assert await listed(campaign="Spring") == [lost, spring]
    assert await listed(campaign="Spring", status="sent") == [spring]
    assert await listed(campaign="Nothing") == []
    known = sent["provider_message_id"]
    assert known
    assert await listed(provider_message_id=known) == [spring]
    assert await listed(provider_message_id=known, campaign="Autumn") == []
    assert await listed(provider_message_id=known, since=LATER) == []
    assert await listed(provider_message_id=known + "x") == []
    assert await listed(code=2021) == [repeated]
    assert await listed(code=9988) == []
    # A name alone is no campaign of this server.
    assert sent["campaign_id"] is None


@pytest.mark.parametrize(("stretches", "expected"), [(100, 1), (2, 3)])
async def test_a_filter_reads_on_behind_long_stretches(
    stretches: int, expected: int, client: Api, gateway: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("waypost.api.paging.SCAN", 5)
    monkeypatch.setattr("waypost.api.paging.STRETCHES", stretches)
    first = (await send(client, number(0), send_at=LATER))["id"]
    batch = {"messages": [{"channel": "sms", "to": number(n), "text": "Hi", "send_at": LATER} for n in range(1, 23)]}
    await ok(client.post("/v1/messages/batch", json=batch), 202)
    found, after, pages = [], "", 0
    while True:
        page = await ok(client.get(f"/v1/messages?to=%2B{number(0)[1:]}&limit=3{after}"))
        pages += 1
        found += [message["id"] for message in page["data"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert (found, pages) == ([first], expected)


async def test_who_a_profile_is_reached_at(client: Api, gateway: dict[str, Any], marketing: dict[str, Any]):
    ada = await profile(client, "ada", phone=number(50), email="ada@example.com", plan="pro")
    made = await send(client, profile_id=ada["id"], text="{{ person.plan }}")
    shown = await came_to(client, made["id"], "sent")
    assert (shown["to"], shown["profile_id"], shown["content"]["text"]) == (number(50), ada["id"], "pro")
    assert shown["content"]["recipient"]["user_id"] == "ada"
    # Also by the address of the person.
    made = await send(client, number(50))
    assert (await get(client, made["id"]))["profile_id"] == ada["id"]
    # The statuses of a message are in the history of the person.
    await came_to(client, made["id"], "sent")
    events = await ok(client.get(f"/v1/profiles/{ada['id']}/events"))
    assert [event["type"] for event in events["data"]][:3] == ["message.sent", "message.sending", "message.queued"]
    # No connection for it.
    nobody = await profile(client, "nobody")
    made = await send(client, profile_id=nobody["id"])
    assert (made["status"], made["reason"]) == ("skipped", "no_address")
    bad = await profile(client, "bad", phone="call me")
    made = await send(client, profile_id=bad["id"])
    assert made == {"id": made["id"], "status": "skipped", "reason": "invalid_number", "code": 2003}
    assert (await get(client, made["id"]))["to"] == "call me"


async def test_an_event_reaches_whom_it_names(client: Api, marketing: dict[str, Any], sink: Running):
    wanted = {"Eve@Example.com": "email", "+12022000995": "phone", "user-7": "user_id", "2022000995": "user_id"}
    for to, kind in wanted.items():
        made = await ok(client.post("/v1/messages", json={"channel": "event", "to": to, "metric": "Met"}), 202)
        shown = await came_to(client, made["id"], "sent")
        assert shown["content"]["recipient"] == {kind: shown["to"]}
    mallory = await profile(client, "mallory", email="mallory@example.com")
    made = await ok(
        client.post("/v1/messages", json={"channel": "event", "to": "MALLORY@example.com", "metric": "Met"}), 202
    )
    assert (await get(client, made["id"]))["profile_id"] == mallory["id"]


async def test_a_merged_profile_is_reached_as_the_one_that_is_left(client: Api, gateway: dict[str, Any]):
    await track(client, userId=None, anonymousId="device-1")
    await profile(client, "ada", phone=number(60))
    await ok(client.post("/v1/alias", json={"userId": "ada", "previousId": "device-1"}))
    winner = (await ok(client.get("/v1/profiles?user_id=ada")))["data"][0]
    made = await send(client, profile_id=winner["merged_ids"][0])
    shown = await get(client, made["id"])
    assert (shown["to"], shown["profile_id"]) == (number(60), winner["id"])


async def test_by_hand_a_message_is_repeated_or_cancelled_only_where_that_makes_sense(
    client: Api, gateway: dict[str, Any]
):
    waits = await send(client, number(1), send_at=LATER)
    await refused(client.post(f"/v1/messages/{waits['id']}/resend"), 409, "message_not_repeatable")
    key = {"idempotency-key": "cancel"}
    stopped = await ok(client.post(f"/v1/messages/{waits['id']}/cancel", headers=key))
    assert stopped == {"id": waits["id"], "status": "skipped", "reason": "cancelled"}
    assert await ok(client.post(f"/v1/messages/{waits['id']}/cancel", headers=key)) == stopped
    await refused(client.post(f"/v1/messages/{waits['id']}/cancel"), 409, "message_not_cancellable")
    await refused(client.post(f"/v1/messages/{waits['id']}/resend"), 409, "message_not_repeatable")
    # Rejected by the provider as malformed.
    failed = await send(client, "+12025550010")
    shown = await came_to(client, failed["id"], "failed")
    assert (shown["code"], shown["failure"] is not None, shown["provider_code"]) == (9988, True, "invalid_number")
    key = {"idempotency-key": "resend"}
    again = await ok(client.post(f"/v1/messages/{failed['id']}/resend", headers=key), 202)
    assert again == {"id": failed["id"], "status": "queued"}
    assert await ok(client.post(f"/v1/messages/{failed['id']}/resend", headers=key), 202) == again
    shown = await came_to(client, failed["id"], "failed")
    assert [line["status"] for line in shown["history"]] == [
        "queued",
        "sending",
        "failed",
        "queued",
        "sending",
        "failed",
    ]
    assert (shown["tries"], shown["history"][3]["reason"]) == (2, "by_hand")
    for action in ("resend", "cancel"):
        await refused(client.post(f"/v1/messages/msg_0000000000000001/{action}"), 404, "not_found")
        await refused(client.post(f"/v1/messages/nonsense/{action}"), 404, "not_found")


async def test_by_hand_at_once_under_one_key_takes_effect_once(client: Api, gateway: dict[str, Any]):
    waits = await send(client, number(1), send_at=LATER)
    key = {"idempotency-key": "cancel"}
    answers = await asyncio.gather(*(client.post(f"/v1/messages/{waits['id']}/cancel", headers=key) for _ in range(5)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, answers[0].text)}
    failed = await send(client, "+12025550010")
    await came_to(client, failed["id"], "failed")
    key = {"idempotency-key": "resend"}
    answers = await asyncio.gather(*(client.post(f"/v1/messages/{failed['id']}/resend", headers=key) for _ in range(5)))
    assert {(answer.status_code, answer.text) for answer in answers} == {(202, answers[0].text)}


async def test_another_workspace_sees_and_does_nothing(client: Api, keys: Keys, gateway: dict[str, Any]):
    ada = await profile(client, "ada", phone=number(50))
    template = await ok(client.post("/v1/templates", json={"name": "t", "channel": "sms", "text": "Hi"}), 201)
    made = await send(client, number(1), send_at=LATER)
    stranger = bearer(keys.stranger)
    ask: Callable[..., Awaitable[httpx.Response]] = functools.partial(client.post, headers=stranger)
    assert (await ok(client.get("/v1/messages", headers=stranger)))["data"] == []
    for query in (f"connection_id={gateway['id']}", f"profile_id={ada['id']}", f"to=%2B{number(1)[1:]}"):
        assert (await ok(client.get(f"/v1/messages?{query}", headers=stranger)))["data"] == []
    await refused(client.get(f"/v1/messages/{made['id']}", headers=stranger), 404, "not_found")
    for action in ("cancel", "resend"):
        await refused(ask(f"/v1/messages/{made['id']}/{action}"), 404, "not_found")
    for body, code in (
        ({"to": number(2), "text": "Hi", "connection_id": gateway["id"]}, "unknown_connection"),
        ({"channel": "sms", "to": number(2), "template_id": template["id"]}, "unknown_template"),
    ):
        await refused(ask("/v1/messages", json=body), 404, code)
    await refused(ask("/v1/messages", json={"channel": "sms", "to": number(2), "text": "Hi"}), 409, "no_connection")
    # A connection of one workspace cannot reach the people of another.
    config = {"url": gateway["config"]["url"]}
    await ok(ask("/v1/connections", json={"name": "own", "connector": "http", "config": config}), 201)
    body = {"channel": "sms", "profile_id": ada["id"], "text": "Hi"}
    await refused(ask("/v1/messages", json=body), 404, "unknown_profile")
    theirs = await ok(ask("/v1/messages", json={"channel": "sms", "to": number(50), "text": "Hi"}), 202)
    shown = await ok(client.get(f"/v1/messages/{theirs['id']}", headers=stranger))
    assert shown["profile_id"] is None
    await refused(client.get(f"/v1/messages/{theirs['id']}"), 404, "not_found")
    assert (await get(client, made["id"]))["status"] == "queued"


async def test_who_may_only_read_sends_nothing(client: Api, keys: Keys, gateway: dict[str, Any]):
    made = await send(client, number(1), send_at=LATER)
    reader, writer = bearer(keys.read), bearer(keys.ingest)
    assert (await ok(client.get(f"/v1/messages/{made['id']}", headers=reader)))["id"] == made["id"]
    body = {"channel": "sms", "to": number(1), "text": "Hi"}
    for path, content in (
        ("", body),
        ("/batch", {"messages": [body]}),
        (f"/{made['id']}/cancel", {}),
        (f"/{made['id']}/resend", {}),
    ):
        for who in (reader, writer):
            await refused(client.post(f"/v1/messages{path}", json=content, headers=who), 403, "forbidden")
    await refused(client.get("/v1/messages", headers=writer), 403, "forbidden")
    await refused(client.post("/v1/messages", json=body, headers={"authorization": "Bearer no"}), 401, "unauthorized")
    assert (await get(client, made["id"]))["status"] == "queued"


async def test_a_trial_is_sent_and_shown_but_not_counted(client: Api, gateway: dict[str, Any]):
    made = await send(client, number(1), test=True)
    assert (await came_to(client, made["id"], "sent"))["test"] is True
    assert (await ok(client.get("/v1/message-counts")))["data"] == []


async def test_public_ids_are_those_of_the_rows(client: Api, gateway: dict[str, Any]):
    made = await send(client, number(1), send_at=LATER)
    assert public("msg", internal("msg", made["id"])) == made["id"]
    await refused(client.get(f"/v1/messages/{made['id'].upper()}"), 404, "not_found")
