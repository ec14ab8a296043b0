"""The manual is complete and correct: links work, blocks are current, and every part of the program is described."""

import ast
import functools
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.manual import BLOCK, DOCS, EXAMPLES, ROOT, commands, make, make_metrics, pages, routes
from tests.screenshots import DOCS_PICTURES as PICTURES
from tests.screenshots import SCHEMES, SHOWN
from waypost.api.control.audience.subscriptions import Consent, Subscription, SubscriptionHistoryEntry
from waypost.api.control.audience.suppressions import Suppression
from waypost.api.control.campaigns.campaigns import CreateCampaign
from waypost.api.control.campaigns.reports import CampaignRecipient, CampaignTest
from waypost.api.control.message_view import MessageDetail, MessageHistoryEntry
from waypost.api.control.messages import MessageBatch
from waypost.api.control.webhooks import WebhookCreated
from waypost.api.edge import ingest, stream
from waypost.api.problems import BY_CODE, STATUS
from waypost.domain.campaigns.campaign import LIVE_FIELDS, PAUSED_FIELDS, CampaignState
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.request import MessageRequest
from waypost.domain.tracking.link_verdict import REASONS
from waypost.domain.webhooks import filter
from waypost.domain.webhooks.delivery import State
from waypost.engine.campaigns.overview import Overview
from waypost.engine.net import request
from waypost.engine.webhooks import replays
from waypost.settings import Settings
from waypost.sink.behaviour import MAIL_OPTIONS, Behaviour
from waypost.sink.server import ROUTES as SINK_ROUTES
from waypost.storage.database import load_migrations

SOURCE = ROOT / "src" / "waypost"
REFERENCE = DOCS / "reference"
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
NAMED = re.compile(r"`([^`]+)`")
#: Twenty of them are in every clone.
LARGEST_PICTURE = 80_000
LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}

each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


def read(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the rows of every table whose head starts with this word, cell by cell."""
    found, inside = [], False
    for line in text.splitlines():
        if not line.startswith("|"):
            inside = False
        elif re.match(rf"\|\s*{heading}\s*\|", line):
            inside = True
        elif inside and not re.match(r"\|[\s:-]+\|", line):
            found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def named(text: str, heading: str) -> set[str]:
    """Return the names in the first column of such tables."""
    return {name for row in rows(text, heading) for name in NAMED.findall(row[0])}


def section(text: str, title: str) -> str:
    """Return the text under a heading, up to the next one of its level."""
    marks = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert marks, f"there is no heading {title!r}"
    return re.split(rf"^{marks[1]} ", text[marks.end() :], maxsplit=1, flags=re.MULTILINE)[0]


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    found = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        kept = (letter for letter in words if letter.isalnum() or letter in " -_")
        found.add("".join(kept).replace(" ", "-"))
    return found


@each_page
def test_links_lead_somewhere(page: Path):
    wrong = []
    for target in LINK.findall(CODE.sub("", FENCE.sub("", page.read_text("utf-8")))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.is_file() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    assert not wrong


@each_page
def test_blocks_are_current(page: Path):
    for block in BLOCK.finditer(page.read_text("utf-8")):
        assert block["text"] == make(block["name"]), f"{block['name']}: run `python -m tests.manual`"


def test_the_pictures_are_there_shown_and_small():
    shown: set[Path] = set()
    for page in pages():
        text = FENCE.sub("", page.read_text("utf-8"))
        shown |= {(page.parent / name).resolve() for name in re.findall(r'\b(?:src|srcset)="([^"]+)"', text)}
    made = {PICTURES / f"{name}-{scheme}.webp" for name, *_ in SHOWN for scheme in SCHEMES}
    assert shown == made == set(PICTURES.iterdir()), "run `make screenshots`"
    assert not [f"{file.name}: {file.stat().st_size}" for file in made if file.stat().st_size > LARGEST_PICTURE]


def test_every_page_can_be_reached():
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [target.partition("#")[0] for target in LINK.findall(FENCE.sub("", page.read_text("utf-8")))]
        todo += [
            file for name in targets if (file := (page.parent / name).resolve()).suffix == ".md" and file.is_file()
        ]
    assert not [str(page.relative_to(ROOT)) for page in pages() if page not in reached]


@pytest.mark.parametrize("folder", ["howto", "explanation", "decisions", "reference"])
def test_indexes_are_complete(folder: str):
    listed = set(LINK.findall(read(f"{folder}/README.md")))
    assert {page.name for page in (DOCS / folder).glob("*.md")} - {"README.md"} <= listed


@each_page
def test_files_that_are_named_exist(page: Path):
    text = page.read_text("utf-8")
    told = re.findall(
        r"(?<![\w/.])((?:tests|examples|domain|engine|api|storage|docs)/[\w/.-]+\.(?:py|mjs|md|sql))", text
    )
    homes = [ROOT, SOURCE]
    assert not [name for name in told if not any((home / name).exists() for home in homes)]


@each_page
def test_variables_that_are_named_exist(page: Path):
    known = {f"WAYPOST_{name.upper()}" for name in Settings.__dataclass_fields__} | {"WAYPOST_ROLE"}
    assert set(re.findall(r"\bWAYPOST_[A-Z_]*[A-Z]\b", page.read_text("utf-8"))) <= known


@each_page
def test_routes_that_are_named_exist(page: Path):
    known = [(method, re.sub(r"\{\w+\}", "[^/]+", path)) for method, path, _, _ in routes()]
    known += [("POST", path) for path in ingest._ROUTES] + [("GET", "/openapi.json"), ("GET", stream.PATH)]
    known += [(method, re.sub(r"(?<=.)/$", "/[^/]+", path)) for method, path in SINK_ROUTES]
    text = page.read_text("utf-8")
    told = re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[\w/{}$.-]*)", text)
    told += [("ANY", path) for path in re.findall(r"localhost:80[89]0(/[\w/{}$.-]*)", text)]
    told += [("ANY", path) for path in re.findall(r"`(/v1/[\w/{}$.-]*)`", text)]
    unknown = []
    for method, path in told:
        if not any(method in ("ANY", known_method) and re.fullmatch(pattern, path) for known_method, pattern in known):
            unknown.append(f"{method} {path}")
    assert not [route for route in unknown if not route.startswith("ANY /hook/")]


@each_page
def test_commands_that_are_named_exist(page: Path):
    text = page.read_text("utf-8")
    told = re.findall(
        r"(?:`|^|\$\(|bin/)waypost ((?:[a-z]+(?:-[a-z]+)* ?)*)((?:--[a-z-]+(?: \S+)? ?)*)", text, re.MULTILINE
    )
    known = commands()
    for words, options in told:
        name = " ".join(["waypost", *words.split()])
        while name not in known:
            name = name.rpartition(" ")[0]
            assert name, f"there is no command {words}"
        assert name != "waypost" or not words.strip(), f"there is no command {words!r}"
        flags = {flag for parameter in known[name].params for flag in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= flags | {"--help", "--version"}, words + options


def test_every_route_stands_in_the_reference():
    names = [block["name"] for block in BLOCK.finditer(read("reference/api.md"))]
    assert {f"routes {tag}" for *_, operation in routes() for tag in operation["tags"]} <= set(names)
    for *_, operation in routes():
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        body = schema.get("$ref", "").rpartition("/")[2]
        told = f"fields {body}" in names or body in ("", "SegmentMessage", "SegmentBatch", "UpdateWebhook")
        assert told, f"the fields of {body} are not in the reference"
    for extra in ingest._ROUTES.keys() - {path for _, path, *_ in routes()}:
        assert extra in read("reference/api.md")


@pytest.mark.parametrize(
    ("page", "block"),
    [
        ("settings.md", "settings"),
        ("cli.md", "commands"),
        ("metrics.md", "metrics"),
        ("event-types.md", "event-types"),
        ("webhooks.md", "retries"),
        ("webhooks.md", "reserved-headers"),
    ],
)
def test_what_is_generated_is_there(page: str, block: str):
    assert f"<!-- generated: {block} -->" in (REFERENCE / page).read_text("utf-8")


@functools.cache
def raised() -> dict[str, set[str]]:
    """Return every error code of the program, with the kinds of error that have it."""
    found: dict[str, set[str]] = defaultdict(set)
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        found[str(keyword.value.value)].add(ast.unparse(node.func))
            elif isinstance(node, ast.ClassDef):
                for line in node.body:
                    if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "code":
                        assert isinstance(line.value, ast.Constant)
                        found[str(line.value.value)].add(node.name)
    return found


def test_every_error_code_is_explained():
    told = set().union(*(named(page.read_text("utf-8"), "code") for page in REFERENCE.glob("*.md")))
    assert told == raised().keys()


def test_error_codes_have_the_status_that_is_told():
    kinds = {kind.__name__: status for kind, (status, _) in STATUS.items()} | {"Error": 500}
    for page in ("api.md", "events.md"):
        for names, status, _ in rows((REFERENCE / page).read_text("utf-8"), "code"):
            for code in NAMED.findall(names):
                known = {BY_CODE[code][0]} if code in BY_CODE else {kinds[kind] for kind in raised()[code]}
                assert known == {int(status)}, code


def test_every_metric_that_is_named_exists():
    made = set(re.findall(r"`(waypost_\w+)`", make_metrics()))
    for path in [*DOCS.rglob("*.md"), ROOT / "README.md"]:
        # A provider uses this name for one of our fields.
        named_here = set(re.findall(r"\bwaypost_[a-z_]+", path.read_text("utf-8"))) - {"waypost_id"}
        assert named_here <= made, path


#: What a log line names by its id.
WITH_IDS = {"endpoint", "connection", "workspace", "event", "profile", "notice", "key", "delivery", "webhook"}


def test_logs_name_things_by_their_public_ids():
    for path, tree in trees.items():
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).startswith("log."):
                continue
            for keyword in call.keywords:
                told = ast.unparse(keyword.value)
                inner = keyword.arg in WITH_IDS or re.search(r"\bid_?$|_ids?$", told)
                assert not inner or told.startswith(("public(", "[public(")), f"{path}:{call.lineno}: {told}"


def test_every_log_action_is_explained():
    found: dict[str, set[str]] = defaultdict(set)
    for tree in trees.values():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("log."):
                level = LEVELS[ast.unparse(call.func).removeprefix("log.")]
                for node in ast.walk(call):
                    if isinstance(node, ast.keyword) and node.arg == "action" and isinstance(node.value, ast.Constant):
                        found[str(node.value.value)].add(level)
                    elif isinstance(node, ast.Dict) and [k for k in node.keys if k and ast.unparse(k) == "'action'"]:
                        found[ast.literal_eval(ast.unparse(node))["action"]].add(level)
                assert "action" in ast.unparse(call), "a line of the log without its action"
    table = rows(read("reference/logs.md"), "action")
    told = {row[0].strip("`"): set(row[1].split(", ")) for row in table}
    assert told == found


def test_every_behaviour_of_the_sink_is_explained():
    page = read("reference/sink.md")
    assert named(page, "option") == set(Behaviour.__struct_fields__)
    mails = page[page.index("Mails are kept") : page.index("## Errors")]
    assert set(NAMED.findall(mails)) - {"mail", "from", "to", "subject"} == set(MAIL_OPTIONS)
    both = page + read("reference/sink-providers.md")
    table = {tuple(row[0].strip("`").split()) for row in rows(both, "route")}
    assert table == {(m, f"{p}NAME" if p.endswith("/") and p != "/" else p) for m, p in SINK_ROUTES} | {
        ("ANY", "/hook/NAME")
    }


def test_every_field_of_an_endpoint_is_explained():
    told = named(section(read("reference/webhooks.md"), "Fields of an endpoint"), "field")
    assert told == set(WebhookCreated.__struct_fields__)


def test_every_field_of_a_message_is_explained():
    page = read("reference/messages.md")
    assert named(section(page, "Send one"), "field") == set(MessageRequest.__struct_fields__)
    assert named(section(page, "Send many"), "field") == set(MessageBatch.__struct_fields__)
    assert named(section(page, "A message"), "shown") == set(MessageDetail.__struct_fields__)
    assert named(section(page, "Status"), "status") == {status.value for status in Status}
    assert named(section(page, "History"), "key") == set(MessageHistoryEntry.__struct_fields__)
    assert named(page, "suppression") == set(Suppression.__struct_fields__)


def test_every_field_of_a_campaign_is_explained():
    page = read("reference/campaigns.md")
    assert named(section(page, "Fields"), "field") == set(CreateCampaign.__struct_fields__)
    assert named(page, "field of a test") == set(CampaignTest.__struct_fields__)
    overview = named(section(page, "Overview"), "overview")
    assert overview == set(Overview.__struct_fields__)
    assert named(section(page, "Recipients"), "recipient") == set(CampaignRecipient.__struct_fields__)
    assert named(section(page, "States"), "state") == {state.value for state in CampaignState}


def test_what_may_change_in_a_campaign_is_explained():
    table = {row[0]: row[1] for row in rows(section(read("reference/campaigns.md"), "What may change when"), "state")}
    assert set(NAMED.findall(table["`live`"])) == LIVE_FIELDS | {"name"}
    assert set(NAMED.findall(table["`paused`"])) == PAUSED_FIELDS | {"name"}


def test_what_a_launch_may_lack_is_explained():
    told = named(section(read("reference/campaigns.md"), "Launch"), "what is missing")
    calls = [node for node in ast.walk(trees[SOURCE / "domain/campaigns/launch.py"]) if isinstance(node, ast.Call)]
    found = {
        str(call.args[0].value)
        for call in calls
        if ast.unparse(call.func) == "lacks" and isinstance(call.args[0], ast.Constant)
    }
    assert told == found | {"invalid_schedule", "invalid_time_zone"}


def test_every_field_of_a_subscription_is_explained():
    page = read("reference/subscriptions.md")
    assert named(page, "subscription") == set(Subscription.__struct_fields__)
    assert named(page, "entry of the history") == set(SubscriptionHistoryEntry.__struct_fields__)
    assert named(page, "consent") == set(Consent.__struct_fields__)


def test_every_reason_of_our_own_is_explained():
    table = rows(section(read("reference/messages.md"), "Reasons"), "reason")
    program = "".join(path.read_text("utf-8") for path in trees)
    for reason, status, *_ in table:
        assert f'"{reason.strip("`")}"' in program, reason
        assert status.strip("`") in {status.value for status in Status}
    told = {row[0].strip("`") for row in table}
    for name in ("messaging/queue", "messaging/acceptance", "messaging/sending"):
        for node in ast.walk(trees[SOURCE / "engine" / f"{name}.py"]):
            if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
                assert node.value.value in told


def test_every_reason_of_a_link_is_explained():
    table = rows(read("reference/link-checks.md"), "reason")
    told = {NAMED.findall(reason)[0]: meaning for reason, meaning in table}
    assert told.pop("status_404")
    assert told == REASONS


def test_every_operator_of_a_filter_is_explained():
    text = section(read("reference/webhooks.md"), "Filters")
    assert {*filter.OPERATORS, *filter.JOINERS} <= set(NAMED.findall(FENCE.sub("", text)))
    example = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert example
    assert filter.compile_filter(json.loads(example[1]))(
        {"type": "event.order_shipped", "data": {"properties": {"total": 100}}}
    )
    for condition in re.findall(r'\{"filter": (.*)\}\'', read("howto/filter-events.md")):
        if condition != "null":
            filter.compile_filter(json.loads(condition))


def test_every_error_of_an_attempt_is_explained():
    told = named(section(read("reference/webhooks.md"), "What counts as success"), "error")
    made: set[str] = set()
    for name in ("net/outbound", "net/curl_transfer", "webhooks/dispatcher", "webhooks/attempts", "webhooks/requests"):
        for node in ast.walk(trees[SOURCE / "engine" / f"{name}.py"]):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                node = node.values[0]
            if isinstance(node, ast.Constant):
                start = re.match(r"([a-z_]+): ", str(node.value))
                made |= {start[1]} if start else set()
    assert set(request.ERRORS.values()) | made <= told
    assert told - set(request.ERRORS.values()) - made == {"status_500", "curl_92"}


def checks(table: str) -> list[set[str]]:
    """Return the values that the CHECKs of a table allow."""
    found = []
    for _, text in load_migrations("sqlite"):
        for body in re.findall(rf"CREATE TABLE {table} \((.*?)^\)", text, re.DOTALL | re.MULTILINE):
            found += [set(re.findall(r"'(\w+)'", values)) for values in re.findall(r" IN \(([^)]*)\)", body)]
    return found


@pytest.mark.parametrize(
    ("title", "table"),
    [
        ("Delivery", "deliveries"),
        ("Message", "messages"),
        ("Endpoint", "endpoints"),
        ("Connection", "connections"),
        ("Replay", "replays"),
        ("Notice", "notices"),
        ("Campaign", "campaigns"),
        ("Occurrence", "occurrences"),
        ("Recipient", "recipients"),
        ("Subscription", "subscriptions"),
    ],
)
def test_every_state_is_drawn(title: str, table: str):
    text = section(read("explanation/states.md"), title)
    told = named(text, "state")
    # A later check may concern some of them.
    first, *others = checks(table)
    assert first == told
    assert all(other < told for other in others)
    drawing = FENCE.findall(text)[0]
    assert all(state in drawing for state in told)
    if table == "deliveries":
        assert told == {state.value for state in State}


def test_states_of_a_replay_are_explained():
    told = named(section(read("reference/api.md"), "StartReplay"), "state")
    assert told == {*replays.STATES, "undelivered", "all"}


def test_reasons_of_a_disabled_endpoint_are_explained():
    reasons = {"exhausted", "gone", "by_owner"}
    row = next(row for row in rows(read("reference/webhooks.md"), "field") if "disabled_reason" in row[0])
    assert set(NAMED.findall(row[1])) == reasons
    program = "".join(path.read_text("utf-8") for path in trees)
    assert not [reason for reason in reasons if f'"{reason}"' not in program]


def test_every_example_is_shown_and_listed():
    files = {file.name for file in EXAMPLES.iterdir() if file.is_file()} - {"README.md"}
    assert set(LINK.findall((EXAMPLES / "README.md").read_text("utf-8"))) >= files
    shown = {block["name"] for page in pages() for block in BLOCK.finditer(page.read_text("utf-8"))}
    assert {f"example {name}" for name in files} <= shown


def test_shell_blocks_are_run_or_say_that_they_are_not():
    """`make bench` and similar commands take long; only these may be outside the pages whose commands run."""
    run = {page.name for page in [*(DOCS / "howto").glob("*.md"), *(DOCS / "tutorial").glob("*.md")]}
    outside = [page.name for page in pages() if "```sh\n" in page.read_text("utf-8") and page.name not in run]
    assert set(outside) <= {"README.md", "speed.md"}


def test_anchors_are_made_as_github_makes_them(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("# A `b_c` & [d](e.md): f\n\n```sh\n# no heading\n```\n## Über-all 1\n", "utf-8")
    assert anchors(page) == {"a-b_c--d-f", "über-all-1"}


def test_a_stale_block_is_noticed():
    text = "<!-- generated: reserved-headers -->\nold\n<!-- end -->\n"
    block: Any = BLOCK.search(text)
    assert block["text"] != make(block["name"])
