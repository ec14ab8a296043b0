"""Rendering of campaigns in a process beside: it says what this process would say, and nothing depends on it."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.campaigns.test_occurrences import Office, office  # noqa: F401
from tests.engine.conftest import Outside, eventually
from waypost.clock import now_us
from waypost.domain.campaigns.campaign import Audience, CampaignState, CampaignUtm, Definition
from waypost.domain.messaging.senders import SenderIdentity
from waypost.domain.templates.link_marks import make_marks
from waypost.domain.templates.template import CompiledTemplate, TemplateSource, Variant
from waypost.domain.tracking.mail_tokens import KEY_BYTES
from waypost.domain.values.ids import public
from waypost.engine.audience.recipients import Recipient
from waypost.engine.campaigns import render_process
from waypost.engine.campaigns.occurrences import OpenOccurrence
from waypost.engine.campaigns.render_process import CHUNK, WORTH, RenderProcess, serve
from waypost.engine.campaigns.rendering import RenderedPart, RenderJob
from waypost.engine.tracking.mail import MailTracker
from waypost.engine.tracking.settings import MailTracking, TrackingSettings, UtmParameters

KEY = bytes(range(KEY_BYTES))
NOW = now_us()
MARKS = make_marks("test")
HTML = (
    "<html><body><p>Hello {{ person.first_name|default:'you' }}, {{ offer }}</p>"
    '<p><a href="https://shop.example.com/sale?for={{ person.plan }}">Sale</a></p>'
    '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p></body></html>'
)
MAIL = CompiledTemplate(
    "email",
    [
        Variant(name="a", content=TemplateSource(subject="Hi {{ person.first_name }}", html=HTML)),
        Variant(name="b", content=TemplateSource(subject="{{ organization.name }}", html=HTML)),
    ],
    7,
    3,
    MARKS,
)
TEXT = CompiledTemplate(
    "sms", [Variant(content=TemplateSource(text="{{ person.first_name }}: https://shop.example.com/a"))], 8, 1, MARKS
)


def job(count: int, channel: str = "email", **traits: Any) -> RenderJob:
    """Return a job with this many people; every tenth has no address."""
    people = []
    for n in range(count):
        known = {} if n % 10 == 9 else {"email": f"p{n}@example.net", "phone": f"+1202555{n:04}"}
        person = Recipient(1000 + n, {"first_name": f"Zoë {n} 🚀", "plan": n % 3, **traits}, known)
        people.append((1000 + n, 5000 + n, person))
    definition = Definition(
        template_id=public("tpl", 7),
        audience=Audience(lists=[public("lst", 77)]),
        purpose="promotional",
        variables={"offer": {"price": 9.5, "tags": ["x", None, True]}},
        utm=CampaignUtm(source="news"),
    )
    one = OpenOccurrence(
        id=3,
        workspace_id=1,
        campaign_id=4,
        planned_at=NOW,
        state="sending",
        cursor_id=0,
        audience=count,
        throttle_id=None,
        winner=None,
        campaign_state=CampaignState.LIVE,
        name="News",
        channel=channel,
        definition=definition,
        version=1,
    )
    return RenderJob(
        one=one,
        connection_id=9,
        validity_s=3600,
        organization={"name": "Shop"},
        sender=SenderIdentity(address="shop@example.com", name="Shop", reply_to=""),
        tracking=TrackingSettings(
            base_url="https://go.example.com",
            link_days=400,
            utm=UtmParameters(medium="m"),
            mail=MailTracking(bait=True),
        ),
        now=NOW,
        winner=None,
        people=people,
    )


def tracker() -> MailTracker:
    made = MailTracker(None, MARKS)  # type: ignore[arg-type]
    made.use(KEY)
    return made


@pytest.fixture
async def beside() -> AsyncIterator[RenderProcess]:
    """A renderer with a process beside this one."""
    made = RenderProcess(tracker(), cores=2)
    yield made
    await made.stop()


async def here(one: RenderJob, template: CompiledTemplate) -> RenderedPart:
    """Return what this process says."""
    alone = RenderProcess(tracker(), cores=1)
    found = await alone.render(one, template)
    assert alone.pid is None
    return found


def runs(pid: int) -> bool:
    """Whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_says_what_this_process_would_say(beside: RenderProcess) -> None:
    one = job(2 * CHUNK + 30)
    found = await beside.render(one, MAIL)
    assert beside.pid is not None
    assert beside.pid != os.getpid()
    assert found == await here(one, MAIL)
    assert [handed.profile_id for handed in found.handed] == [profile_id for profile_id, _, _ in one.people]
    assert {handed.reason for handed in found.handed} == {None, "no_address"}
    assert {handed.variant for handed in found.handed} == {"a", "b", None}
    message = found.handed[0].message
    assert message is not None
    content = msgspec.json.decode(message.content)
    assert "Hello Zoë 0 🚀" in content["html"]
    assert "https://go.example.com/c/" in content["html"]
    assert "\ufdd0" not in content["html"]
    assert content["headers"]["List-Unsubscribe"].startswith("<https://go.example.com/u/")
    # One URL for each plan.
    assert len(found.urls) == 3


async def test_links_of_texts_come_with_their_messages(beside: RenderProcess) -> None:
    found = await beside.render(job(WORTH, "sms"), TEXT)
    assert beside.pid is not None
    sent = [handed for handed in found.handed if handed.message is not None]
    assert len({handed.links[0].id for handed in sent}) == len(sent) == WORTH * 9 // 10
    for handed in sent:
        assert handed.message is not None
        assert handed.links[0].short_url("https://go.example.com") in handed.message.content
        assert handed.links[0].target.message_id == handed.message.id


async def test_urls_that_are_stored_are_not_written_again(beside: RenderProcess) -> None:
    first = await beside.render(job(WORTH), MAIL)
    beside._tracker.stored(first.urls)
    assert (await beside.render(job(WORTH), MAIL)).urls == []


async def test_a_new_version_of_a_template_is_another_template(beside: RenderProcess) -> None:
    await beside.render(job(WORTH), MAIL)
    newer = CompiledTemplate("email", [Variant(content=TemplateSource(subject="New", text="New"))], 7, 4, MARKS)
    found = await beside.render(job(WORTH), newer)
    assert found == await here(job(WORTH), newer)


async def test_a_few_people_are_not_worth_a_process(beside: RenderProcess) -> None:
    assert len((await beside.render(job(WORTH - 1), MAIL)).handed) == WORTH - 1
    assert beside.pid is None


async def test_a_process_that_dies_or_hangs_costs_nothing_but_time(
    beside: RenderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await here(job(WORTH), MAIL)
    await beside.render(job(WORTH), MAIL)
    for sign in (signal.SIGKILL, signal.SIGSTOP):
        pid = beside.pid
        assert pid is not None
        os.kill(pid, sign)
        with monkeypatch.context() as patch:
            patch.setattr(render_process, "PATIENCE_S", 0.2)
            assert await beside.render(job(WORTH), MAIL) == expected
        assert not runs(pid)
        # The next part starts another one.
        assert await beside.render(job(WORTH), MAIL) == expected
        assert beside.pid not in (None, pid)


async def test_signals_to_the_group_leave_the_end_to_the_process_that_started_it(beside: RenderProcess) -> None:
    await beside.render(job(WORTH), MAIL)
    pid = beside.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    await beside.render(job(WORTH), MAIL)
    assert beside.pid == pid


async def test_values_that_no_frame_holds_are_rendered_here(beside: RenderProcess) -> None:
    one = job(WORTH, large=1 << 70)
    assert await beside.render(one, MAIL) == await here(one, MAIL)


async def test_where_no_process_can_be_started_it_is_done_here(
    beside: RenderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert await beside.render(job(WORTH), MAIL) == await here(job(WORTH), MAIL)
    assert beside.pid is None


async def test_it_ends_when_it_has_nothing_to_do(beside: RenderProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_process, "IDLE_S", 0.05)
    await beside.render(job(WORTH), MAIL)
    pid = beside.pid
    assert pid is not None
    await eventually(lambda: not runs(pid))
    assert beside.pid is None
    await beside.render(job(WORTH), MAIL)


async def test_a_cancelled_exchange_is_not_read_as_the_answer_to_the_next_one(beside: RenderProcess) -> None:
    await beside.render(job(WORTH), MAIL)
    pid = beside.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await beside.render(job(CHUNK), MAIL)
    assert not runs(pid)
    assert await beside.render(job(WORTH), MAIL) == await here(job(WORTH), MAIL)


def test_the_process_ends_with_its_input() -> None:
    for given in (b"", b"\0\0", len(KEY).to_bytes(4) + KEY, len(KEY).to_bytes(4) + KEY + b"\0"):
        target = io.BytesIO()
        serve(io.BytesIO(given), target)
        assert target.getvalue() == b""


async def test_the_engine_ends_it_when_it_stops(office: Office, outside: Outside) -> None:  # noqa: F811
    engine = office.engine
    engine._handover.renderer._beside = True
    ids = await office.people(WORTH)
    await office.launch()
    await office.advance()
    assert await office.statuses() == {("queued", None): len(ids)}
    pid = engine._handover.renderer.pid
    assert pid is not None
    assert runs(pid)
    await engine.stop()
    assert not runs(pid)
