"""Messages out and receipts in: SMS through the Pinpoint connector, mail through SMTP, Firehose batches."""

import asyncio
import base64
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.measurements import MEGABYTE, Plan, Row, Section, Verdict
from bench.process import Program, ask, cpu_seconds, free_port, peak_bytes, start
from bench.targets import Target, ended, folder, ours

BATCH = 1000
RECORDS = 500
PATIENCE = 300.0
TRACKER = "/tracking/amazon-pinpoint-events"


@asynccontextmanager
async def sink(core: int | None) -> AsyncIterator[tuple[Program, int]]:
    """The played providers in a process of their own, and the port of their mail server."""
    port, smtp_port = free_port(), free_port()
    with folder() as data:
        command = str(Path(sys.executable).with_name("waypost"))
        arguments = [command, "sink", "--port", str(port), "--smtp-port", str(smtp_port)]
        program = await asyncio.to_thread(start, arguments, port=port, log=data / "log", core=core, ready="/healthz")
        async with ended(program):
            yield program, smtp_port


def demand(port: int, method: str, path: str, body: object = None, bearer: str | None = None) -> Any:
    """The content of an answer that has to be a success."""
    status, content = ask(port, method, path, body, bearer=bearer)
    if not 200 <= status < 300:
        raise RuntimeError(f"{method} {path} answered {status}: {content!r}")
    return content


def number(n: int) -> str:
    """A phone number of its own; none that the sink has a special fate for."""
    return f"+1{202 + n // 700_000}{2_000_000 + n % 700_000 * 10 + 5}"


def submit(port: int, key: str | None, bodies: list[bytes]) -> list[str]:
    """Post batches on one connection; the ids of the messages that were accepted."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    ids: list[str] = []
    for body in bodies:
        connection.request("POST", "/v1/messages/batch", body, headers)
        response = connection.getresponse()
        content = json.loads(response.read())
        if response.status != 202 or content["rejected"]:
            raise RuntimeError(f"a batch was answered {response.status}: {str(content)[:500]}")
        ids += [line["id"] for line in content["data"]]
    connection.close()
    return ids


def batches(total: int, message: Mapping[str, Any], address: Any) -> list[bytes]:
    """Bodies of batch requests for so many messages."""
    return [
        json.dumps(
            {
                "messages": [
                    {**message, "to": address(n), "metadata": {"n": n}} for n in range(first, min(first + BATCH, total))
                ]
            }
        ).encode()
        for first in range(0, total, BATCH)
    ]


async def reach(target: Target, status: str, total: int) -> float:
    """When so many messages had come to a status."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        counts = await asyncio.to_thread(
            demand, target.program.port, "GET", "/v1/message-counts", bearer=target.api_key
        )
        found = sum(line["count"] for line in counts["data"] if line["status"] == status)
        if found >= total:
            return time.monotonic()
        await asyncio.sleep(0.05)
    raise RuntimeError(f"only {found} of {total} messages were {status} within {PATIENCE:g} s: {counts!r}")


async def sms(plan: Plan) -> Section:
    """SMS through the Pinpoint connector to the sink, receipts back by Firehose."""
    total = plan.messages
    section = Section(title=f"sms: {total} messages through the Pinpoint connector, receipts included")
    async with sink(None) as (provider, _), ours([], core=plan.program_core) as target:
        port, key = target.program.port, target.api_key
        await asyncio.to_thread(connect_pinpoint, target, provider.port)
        memory = peak_bytes(target.pid)
        bodies = batches(total, {"channel": "sms", "text": "Your parcel is on its way. Reply STOP to opt out"}, number)
        before, played = cpu_seconds(target.pid), cpu_seconds(provider.process.pid)
        began = time.monotonic()
        await asyncio.to_thread(submit, port, key, bodies)
        accepted = time.monotonic()
        # A receipt may be recorded before the answer of the call: then its message was never just sent.
        delivered = await reach(target, "delivered", total)
        row: Row = {
            "program": "ours",
            "accepted/s": total / (accepted - began),
            "delivered/s": total / (delivered - began),
            "CPU µs/message": (cpu_seconds(target.pid) - before) / total * 1e6,
            "sink µs/message": (cpu_seconds(provider.process.pid) - played) / total * 1e6,
            "memory MB": peak_bytes(target.pid) / MEGABYTE,
            "memory before MB": memory / MEGABYTE,
        }
        section.rows.append(row)
        taken = await asyncio.to_thread(demand, provider.port, "GET", "/sent/count?provider=pinpoint")
        if (taken["messages"], taken["distinct"]) != (total, total):
            raise RuntimeError(f"the provider took {taken}, not every one of {total} once")
    rate = float(row["delivered/s"])
    section.verdicts = [Verdict(claim="messages/s end to end", value=rate, limit=4000.0, at_least=True)]
    return section


def connect_pinpoint(target: Target, provider: int) -> dict[str, Any]:
    """A Pinpoint connection whose receipts come back by Firehose."""
    port, key = target.program.port, target.api_key
    tracker = f"http://127.0.0.1:{port}{TRACKER}"
    demand(provider, "PUT", "/aws", {"tracker_url": tracker})
    config = {
        "region": "us-east-1",
        "project_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "access_key": "AKIAIOSFODNN7EXAMPLE",
        "secret_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "endpoint_url": f"http://127.0.0.1:{provider}",
    }
    # More than the 4,000 a second that a new account is granted: the machine is to be the limit.
    wish = {"name": "bench", "connector": "aws-pinpoint", "config": config, "per_second": 100_000}
    made: dict[str, Any] = demand(port, "POST", "/v1/connections", wish, key)
    demand(provider, "PUT", "/aws", {"tracker_url": tracker, "access_key": made["access_key_for_receipts"]})
    return made


async def mail(plan: Plan) -> Section:
    """Email over SMTP to the sink."""
    total = plan.messages // 5
    section = Section(title=f"mail: {total} emails over SMTP to a bare local server")
    async with sink(None) as (_, smtp_port), ours([], core=plan.program_core) as target:
        port, key = target.program.port, target.api_key
        config = {"host": "127.0.0.1", "port": smtp_port, "security": "none", "from_email": "shop@example.com"}
        wish = {"name": "bench", "connector": "smtp", "config": config}
        await asyncio.to_thread(demand, port, "POST", "/v1/connections", wish, key)
        content = {"channel": "email", "subject": "Your order", "html": "<p>It is on its way.</p>" * 40}
        bodies = batches(total, content, lambda n: f"person{n}@example.com")
        before = cpu_seconds(target.pid)
        began = time.monotonic()
        await asyncio.to_thread(submit, port, key, bodies)
        sent = await reach(target, "sent", total)
        row: Row = {
            "program": "ours",
            "sent/s": total / (sent - began),
            "CPU µs/message": (cpu_seconds(target.pid) - before) / total * 1e6,
            "memory MB": peak_bytes(target.pid) / MEGABYTE,
        }
        section.rows.append(row)
    section.verdicts = [Verdict(claim="mails/s", value=float(row["sent/s"]), limit=2000.0, at_least=True)]
    return section


async def firehose(plan: Plan) -> Section:
    """Receipts in Firehose batches, applied to the messages that they are about."""
    total = plan.messages
    section = Section(title=f"firehose: {total} receipts in batches of {RECORDS}")
    async with sink(None) as (provider, _), ours([], core=plan.program_core) as target:
        port, key = target.program.port, target.api_key
        made = await asyncio.to_thread(connect_pinpoint, target, provider.port)
        await asyncio.to_thread(demand, provider.port, "PUT", "/fate/pinpoint", {"lost_rate": 1.0})
        ids = await asyncio.to_thread(submit, port, key, batches(total, {"channel": "sms", "text": "Hello"}, number))
        await reach(target, "sent", total)
        requests = [stream(ids[first : first + RECORDS], first) for first in range(0, total, RECORDS)]
        before = cpu_seconds(target.pid)
        began = time.monotonic()
        await asyncio.gather(
            *(asyncio.to_thread(pour, port, made["access_key_for_receipts"], requests[lane::2]) for lane in range(2))
        )
        applied = time.monotonic()
        await reach(target, "delivered", total)
        row: Row = {
            "program": "ours",
            "records/s": total / (applied - began),
            "CPU µs/record": (cpu_seconds(target.pid) - before) / total * 1e6,
            "memory MB": peak_bytes(target.pid) / MEGABYTE,
        }
        section.rows.append(row)
    section.verdicts = [
        Verdict(claim="records/s applied", value=float(row["records/s"]), limit=20_000.0, at_least=True)
    ]
    return section


def stream(ids: list[str], first: int) -> tuple[str, bytes]:
    """A Firehose request with a receipt for each message: its id, and its body, packed."""
    records = []
    for position, id_ in enumerate(ids):
        event = {
            "event_type": "_SMS.SUCCESS",
            "event_timestamp": 1_790_000_000_000 + position,
            "arrival_timestamp": 1_790_000_000_000 + position,
            "event_version": "3.1",
            "application": {"app_id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "sdk": {}},
            "client": {"client_id": f"c-{first + position}"},
            "device": {"platform": {}},
            "session": {},
            "attributes": {
                "sender_request_id": f"r-{first}",
                "destination_phone_number": number(first + position),
                "record_status": "DELIVERED",
                "iso_country_code": "US",
                "mcc_mnc": "310260",
                "number_of_message_parts": "1",
                "message_id": f"b-{first + position}",
                "message_type": "Transactional",
                "customer_context": json.dumps({"mid": id_}),
            },
            "metrics": {"price_in_millicents_usd": 645.0},
            "awsAccountId": "111122223333",
        }
        records.append({"data": base64.b64encode(json.dumps(event).encode()).decode()})
    request_id = f"00000000-0000-4000-8000-{first:012d}"
    body = {"requestId": request_id, "timestamp": 1_790_000_005_000, "records": records}
    return request_id, gzip.compress(json.dumps(body).encode(), 1)


def pour(port: int, key: str, requests: list[tuple[str, bytes]]) -> None:
    """Send Firehose requests on one connection; each has to be taken."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for request_id, body in requests:
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "X-Amz-Firehose-Protocol-Version": "1.0",
            "X-Amz-Firehose-Request-Id": request_id,
            "X-Amz-Firehose-Access-Key": key,
        }
        connection.request("POST", TRACKER, body, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(f"Firehose was answered {response.status}: {content[:500]!r}")
    connection.close()


MESSAGING = {"sms": sms, "mail": mail, "firehose": firehose}
