"""The frame of a mail in the browser: the mail is there before its pictures are asked for, and after."""

from playwright.sync_api import Page, expect

from tests.acceptance.web.browser import signed_in

MAIL = {"subject": "Spring", "html": "<p>Hello reader</p><p><a href='https://shop.example.com/sale'>Sale</a></p>"}


def load_pictures(page: Page, title: str, label: str) -> None:
    """Tick the box of the pictures, and take the tick away: the mail is in the frame each time."""
    mail = page.frame_locator(f'iframe[title="{title}"]').get_by_text("Hello reader")
    frame = page.get_by_title(title)
    expect(mail).to_be_visible()
    page.get_by_label(label).check()
    expect(frame).to_have_attribute("src", "/mail-frame-images.html")
    expect(mail).to_be_visible()
    page.get_by_label(label).uncheck()
    expect(frame).to_have_attribute("src", "/mail-frame.html")
    expect(mail).to_be_visible()


def test_a_mail_is_shown_with_its_pictures_and_without(owned, browser, sink):
    api = owned.api()
    config = {"host": "127.0.0.1", "port": sink.smtp_port, "security": "none", "from_email": "shop@example.com"}
    api.post("/v1/connections", {"name": "Mail", "connector": "smtp", "config": config}, status=201)
    template = api.post("/v1/templates", {"name": "News", "channel": "email", **MAIL}, status=201)
    message = api.post("/v1/messages", {"channel": "email", "to": "ada@example.com", **MAIL}, status=202)
    with signed_in(browser, owned) as page:
        page.goto(f"/messages/{message['id']}")
        load_pictures(page, "The email to ada@example.com", "Load pictures")
        page.goto(f"/templates/{template['id']}")
        load_pictures(page, "Preview of the mail", "Pictures of other hosts")
