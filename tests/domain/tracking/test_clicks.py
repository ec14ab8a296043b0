"""Machines are told from people by what they say and when they come; nothing else flags a click."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import SECOND
from waypost.domain.messaging.message import Status
from waypost.domain.messaging.status import HistoryEntry
from waypost.domain.tracking.clicks import SOON, Visit, is_prefetch, judge, read_user_agent
from waypost.domain.tracking.machine_agents import AGENTS

IOS = "(iPhone; CPU iPhone OS 17_5 like Mac OS X)"
SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
IPHONE = f"Mozilla/5.0 {IOS} {SAFARI} Version/17.5 Mobile/15E148 Safari/604.1"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
PEOPLE = [
    (IPHONE, "phone"),
    (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36", "phone"),
    (f"Mozilla/5.0 (Linux; Android 9; CUBOT X19) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36", "phone"),
    (f"Mozilla/5.0 (Linux; Android 13; S901B) {WEBKIT} Chrome/126.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A]", "phone"),
    (f"Mozilla/5.0 {IOS} {SAFARI} Mobile/15E148 Instagram 335.0.0.0", "phone"),
    ("Opera/9.80 (J2ME/MIDP; Opera Mini/9.80; U; en) Presto/2.5.25 Version/10.54", "phone"),
    (f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "tablet"),
    (f"Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) {SAFARI} Version/12.1 Mobile/15E148 Safari/604.1", "tablet"),
    (f"Mozilla/5.0 (Linux; U; Android 4.4.3; KFTHWI) {WEBKIT} Silk/47.1 like Chrome/47.0 Safari/537.36", "tablet"),
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "desktop"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {SAFARI} Version/17.4 Safari/605.1.15", "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "desktop"),
    (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "desktop"),
    (f"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) {WEBKIT} Version/6.0 TV Safari/537.36", "unknown"),
    ("NokiaC3-00/5.0 Profile/MIDP-2.1", "unknown"),
]  # fmt: skip
MACHINES = [
    ("WhatsApp/2.23.20.0 A", "preview"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview"),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11) {SAFARI} facebookexternalhit/1.1 Facebot Twitterbot", "preview"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview"),
    ("Twitterbot/1.0", "preview"),
    ("TelegramBot (like TwitterBot)", "preview"),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "preview"),
    ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", "preview"),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com", "preview"),
    ("Mozilla/4.0 (compatible; ms-office; MSOffice 16)", "scanner"),
    ("Mozilla/5.0 (Windows NT 6.1) Barracuda Sentinel (EE)", "scanner"),
    ("Mimecast-URL-Scanner", "scanner"),
    ("ProofPoint URL Defense", "scanner"),
    ("Google-Safety", "scanner"),
    ("curl/8.5.0", "tool"),
    ("Wget/1.21.4", "tool"),
    ("python-requests/2.32.3", "tool"),
    ("Go-http-client/2.0", "tool"),
    ("okhttp/4.12.0", "tool"),
    ("com.apple.WebKit.Networking/8618 CFNetwork/1494 Darwin/23.4.0", "tool"),
    (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36", "headless"),
    ("Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 PhantomJS/2.1.1 Safari/538.1", "headless"),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler"),
    ("Mozilla/5.0 (Macintosh) AppleWebKit/605 (Applebot/0.1; +http://www.apple.com/go/applebot)", "crawler"),
    ("SomethingNew-bot", "crawler"),
    ("My Web Crawler 1.0", "crawler"),
    ("", "no_user_agent"),
    ("  ", "no_user_agent"),
]  # fmt: skip


@pytest.mark.parametrize(("user_agent", "device"), PEOPLE)
def test_a_person_has_a_device_and_no_reason(user_agent: str, device: str):
    assert read_user_agent(user_agent) == (device, None)


@pytest.mark.parametrize(("user_agent", "reason"), MACHINES)
def test_a_machine_is_a_bot_and_has_its_reason(user_agent: str, reason: str):
    assert read_user_agent(user_agent) == ("bot", reason)
    assert read_user_agent(user_agent.upper()) == ("bot", reason)


def test_the_table_is_in_lower_case_and_every_entry_counts():
    parts = [part for part, _ in AGENTS]
    assert len(set(parts)) == len(parts)
    for position, (part, reason) in enumerate(AGENTS):
        assert part == part.lower()
        # An entry that an earlier one contains would never be reached.
        assert not [earlier for earlier in parts[:position] if earlier in part], part
        assert read_user_agent(f"x {part} y")[1] == reason


def visit(**changes) -> Visit:
    return Visit(**({"method": "GET", "ip": "192.0.2.1", "user_agent": IPHONE} | changes))


def test_a_person_is_not_flagged():
    judged = judge(visit(), 0, [], in_datacenter=False)
    assert (judged.device, judged.machine_reason) == ("phone", None)


@pytest.mark.parametrize(
    ("changes", "in_datacenter", "reason"),
    [
        ({"method": "HEAD"}, False, "head"),
        ({"prefetch": True}, False, "prefetch"),
        ({}, True, "datacenter"),
        ({"user_agent": "curl/8"}, True, "tool"),
        ({"user_agent": "curl/8", "method": "HEAD"}, False, "head"),
    ],
)
def test_a_machine_is_flagged_with_its_reason(changes, in_datacenter: bool, reason: str):
    assert judge(visit(**changes), 0, [], in_datacenter=in_datacenter).machine_reason == reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("prefetch", True),
        ("prefetch;prerender", True),
        ("Preview", True),
        ("instant", True),
        ("", False),
        ("navigate", False),
    ],
)
def test_headers_say_that_nobody_asked_yet(value: str, expected: bool):
    assert is_prefetch(value) is expected


@pytest.mark.parametrize(
    ("status", "after", "reason"),
    [
        (Status.SENT, 0, "too_soon"),
        (Status.SENT, SOON - 1, "too_soon"),
        (Status.SENT, SOON, None),
        # The result of the send is recorded after the click.
        (Status.SENT, -1, None),
        (Status.SENDING, 1, "too_soon"),
        # How long ago it was delivered says nothing: receipts come late.
        (Status.DELIVERED, 1, None),
        (Status.QUEUED, 1, None),
        (None, 1, None),
    ],
)
def test_a_click_right_after_the_send_is_a_machines(status, after: int, reason: str | None):
    sent = HistoryEntry(status=status, at=1000 * SECOND)
    old = HistoryEntry(status=Status.SENT, at=1)
    assert judge(visit(), sent.at + after, [old, sent], in_datacenter=False).machine_reason == reason


@given(st.text(), st.booleans())
def test_any_user_agent_has_a_device(user_agent: str, prefetch: bool):
    judged = judge(visit(user_agent=user_agent, prefetch=prefetch), 0, [], in_datacenter=False)
    assert judged.device in ("phone", "tablet", "desktop", "bot", "unknown")
    assert not prefetch or judged.machine_reason == "prefetch"
