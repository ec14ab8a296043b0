"""Requests generated from the OpenAPI document never get a 5xx, and every response is one that the document has."""

import asyncio
import itertools
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from schemathesis.checks import load_all_checks
from schemathesis.config import (
    ChecksConfig,
    CoveragePhaseConfig,
    GenerationConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.config._checks import NegativeDataRejectionConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation import GenerationMode
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi.checks import ignored_auth, negative_data_rejection, positive_data_acceptance

from tests.api.calling import add_user, bearer, session_of
from waypost.api.app import build_app, describe_api
from waypost.clock import now_us
from waypost.domain.accounts.permissions import Role
from waypost.engine.accounts import workspaces
from waypost.engine.process import Engine
from waypost.settings import load_settings
from waypost.storage.sqlite import SQLite

#: Codes of errors that a schema cannot express: the request has the right shape, and is refused for its meaning.
MEANING = frozenset(
    {
        "conflicting_fields",
        "idempotency_key_reused",
        "invalid_address",
        "invalid_state",
        "invalid_event_type",
        "unknown_data_center",
        "invalid_secret",
        "invalid_owner_email",
        "invalid_expiry",
        "invalid_password",
        "invalid_role",
        "wrong_password",
        "code_missing",
        "code_wrong",
        "invalid_scopes",
        "invalid_connector",
        "invalid_callback_data",
        "invalid_campaign",
        "invalid_condition",
        "invalid_config",
        "invalid_format",
        "invalid_sending_rules",
        "unknown_format",
        "unknown_variant",
        "invalid_cursor",
        "invalid_duration",
        "invalid_event",
        "invalid_event_name",
        "invalid_event_types",
        "invalid_events",
        "invalid_headers",
        "invalid_identifier",
        "invalid_email",
        "invalid_field",
        "invalid_identity",
        "invalid_message",
        "invalid_metric",
        "invalid_messages",
        "invalid_name",
        "invalid_number",
        "invalid_period",
        "invalid_phone",
        "invalid_proof",
        "invalid_schedule",
        "invalid_sender",
        "invalid_subscriptions",
        "invalid_template",
        "invalid_text",
        "invalid_time",
        "invalid_time_zone",
        "invalid_timezone",
        "invalid_type",
        "invalid_url",
        "invalid_utm",
        "link_not_working",
        "campaign_incomplete",
        "missing_credentials",
        "missing_event",
        "missing_field",
        "missing_group_id",
        "missing_identity",
        "missing_previous_id",
        "missing_since",
        "no_recipient",
        "no_template",
        "no_testers",
        "passkey_missing",
        "passkey_wrong",
        "retention_too_long",
        "several_credentials",
        "several_identifiers",
        "url_scheme",
        "wrong_channel",
        "wrong_connector",
        "ambiguous_columns",
        "empty_file",
        "invalid_column",
        "invalid_content_type",
        "invalid_file",
        "invalid_header",
        "invalid_mapping",
        "invalid_parameter",
        "invalid_person",
        "invalid_tag",
        "no_columns",
        "no_identifier_column",
        "too_many_columns",
        "unknown_column",
    }
)

#: One of this many cases is run.
SHARE = 3

load_all_checks()
SCHEMA = schemathesis.openapi.from_dict(
    describe_api(),
    config=SchemathesisConfig(
        projects=ProjectsConfig(
            default=ProjectConfig(
                generation=GenerationConfig(deterministic=True, with_security_parameters=False),
                # For unsupported methods of a path, two stand for all.
                phases=PhasesConfig(coverage=CoveragePhaseConfig(unexpected_methods={"OPTIONS", "TRACE"})),
                checks=ChecksConfig(
                    negative_data_rejection=NegativeDataRejectionConfig(
                        expected_statuses=["400", "401", "403", "404", "409", "412", "413", "422"]
                    )
                ),
            )
        )
    ),
)


class Served(msgspec.Struct):
    """A server with a workspace."""

    url: str
    key: str
    #: The headers of a session of an owner.
    session: dict[str, str]
    numbers: Any = msgspec.field(default_factory=itertools.count)
    #: The resources created for an operation.
    ids: dict[str, str] = {}

    def make(self, path: str, body: dict[str, Any]) -> str:
        answer = httpx.post(self.url + path, json=body, headers=bearer(self.key))
        assert answer.status_code in (201, 202), answer.text
        found: str = answer.json().get("id") or answer.json()["name"]
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a server on a free port, on its own thread."""
    folder = tmp_path_factory.mktemp("fuzz")
    ready, stop, found = threading.Event(), asyncio.Event(), list[Any]()

    async def serve() -> None:
        database = SQLite(folder / "waypost.db")
        await database.migrate()
        engine = Engine(database, load_settings({}, data=str(folder), allow_private="127.0.0.0/8"))
        await engine.start()
        made = await database.transact(workspaces.create_workspace, engine.ids, "fuzz", now_us())
        session = await session_of(engine, await add_user(engine, 1, Role.OWNER))
        server = uvicorn.Server(
            uvicorn.Config(build_app(engine), port=0, log_config=None, lifespan="off", loop="none", http="httptools")
        )
        listening = asyncio.create_task(server._serve())
        async with asyncio.timeout(30):
            while not server.started:  # noqa: ASYNC110 the server says it no other way
                await asyncio.sleep(0)
        port = server.servers[0].sockets[0].getsockname()[1]
        found.extend((asyncio.get_running_loop(), Served(f"http://127.0.0.1:{port}", made["api_key"], session)))
        ready.set()
        await stop.wait()
        server.should_exit = True
        await listening
        await engine.stop()
        await database.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    yield found[1]
    found[0].call_soon_threadsafe(stop.set)
    thread.join()


#: The resources that paths name, created for each operation.
MAKERS: dict[str, tuple[str, dict[str, Any]]] = {
    "webhooks": ("/v1/webhooks", {"url": "http://127.0.0.1:9/", "event_types": ["*"], "headers": {"X-Own": "value"}}),
    "campaigns": ("/v1/campaigns", {"name": "Spring", "channel": "sms"}),
    "lists": ("/v1/lists", {"name": "News"}),
    "segments": ("/v1/segments", {"name": "Pro", "condition": {"tag": "vip"}}),
    "webhook-formats": ("/v1/webhook-formats", {"name": "Own", "body": {"kind": "{{ event.type }}"}}),
    "templates": ("/v1/templates", {"name": "Hi", "channel": "sms", "text": "Hi"}),
    "connections": (
        "/v1/connections",
        {
            "name": "text",
            "connector": "http",
            "config": {"url": "http://127.0.0.1:9/", "auth": "bearer", "token": "made-up"},
            "skip_check": True,
        },
    ),
}


@schemathesis.check
def valid_is_accepted(ctx: Any, response: Any, case: Any) -> bool | None:
    """Requests that the document calls valid are accepted, or refused for their meaning."""
    if response.status_code == 400 and response.json()["code"] in MEANING:
        return None
    # A schema without a type takes any number; what is stored goes to receivers that read 64 bits.
    if response.status_code == 400 and "does not fit in 64 bits" in response.json()["detail"]:
        return None
    return bool(positive_data_acceptance(ctx, response, case))


@schemathesis.check
def invalid_is_rejected(ctx: Any, response: Any, case: Any) -> bool | None:
    """What the document calls invalid is rejected; of a batch, each invalid item by itself."""
    if case.path.endswith("/batch") and response.status_code in (200, 202) and response.json().get("rejected"):
        return None
    return bool(negative_data_rejection(ctx, response, case))


#: Routes of a user's own account: a key is refused.
OF_USERS = {
    f"{method.upper()} {path}"
    for path, item in describe_api()["paths"].items()
    for method, operation in item.items()
    if operation.get("security") == [{"session": []}]
}


def left_out(case: Any) -> bool:
    """Return whether to skip one of the many cases per rule of a schema; always the same ones."""
    said = (case.operation.label, case.path_parameters, case.query, case.headers, case.body)
    return case.meta.phase.name == TestPhase.COVERAGE and bool(zlib.crc32(repr(said).encode()) % SHARE)


def fill(case: Any, served: Served) -> None:
    """Put the id of an existing resource into the path, use a new Idempotency-Key, and name any version."""
    modes = {place: part.mode for place, part in case.meta.components.items()}
    kind = (case.path + "//").split("/")[2]
    if kind in MAKERS and modes.get(ParameterLocation.PATH) == GenerationMode.POSITIVE:
        operation = f"{case.method} {case.path}"
        if operation not in served.ids:
            path, body = MAKERS[kind]
            name = {"name": str(next(served.numbers))} if "name" in body else {}
            served.ids[operation] = served.make(path, body | name)
        case.path_parameters["id"] = served.ids[operation]
    if modes.get(ParameterLocation.HEADER) == GenerationMode.POSITIVE and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}-{next(served.numbers)}"
    if modes.get(ParameterLocation.HEADER) == GenerationMode.POSITIVE and "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"


# The server runs on a thread of this process and uses `random` while Hypothesis makes the next request.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
# Imports take NDJSON as well as CSV; the tool writes only the latter.
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload media types")
@SCHEMA.parametrize()
@settings(max_examples=3, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case: Any, served: Served) -> None:
    if left_out(case):
        return
    fill(case, served)
    case.call_and_validate(
        base_url=served.url,
        headers=served.session if case.operation.label in OF_USERS else bearer(served.key),
        timeout=20,
        additional_checks=[valid_is_accepted, invalid_is_rejected],
        # With two kinds of authentication, it leaves one out and sends the other; test_access.py tries none.
        excluded_checks=[positive_data_acceptance, negative_data_rejection, ignored_auth],
    )
