"""People imported from a file, put in a segment and sent a campaign: in the browser, from wizard to overview."""

import re

from playwright.sync_api import Page, expect

from tests.acceptance.programs import Client, eventually
from tests.acceptance.web.browser import facts, field, open_page, signed_in

FILE = """Kontakt;plan;Newsletter;Notiz
ada@example.com;pro;yes;met in May
alan@example.com;pro;no;
grace@example.com;free;yes;
nobody;pro;yes;
"""
HTML = (
    '<style>a { color: #234 }</style><p style="margin: 0">Hello {{ person.plan }} reader</p><p><a href="https://shop.example.com/sale">Sale</a></p>'
    '<p><a href="{{ unsubscribe_url }}">No more mails</a></p>'
)


def import_people(page: Page) -> None:
    """Import the file: its columns have names that mean nothing to Waypost."""
    open_page(page, "People", "Imports")
    page.get_by_role("button", name="Import a file").first.click()
    with page.expect_file_chooser() as chooser:
        field(page, "File").click()
    chooser.value.set_files({"name": "people.csv", "mimeType": "text/csv", "buffer": FILE.encode()})
    field(page, "Source").fill("Sign-up form of the shop")
    page.get_by_role("button", name="Check the file").click()
    # No column is an address by its name, so the person says which one is.
    page.get_by_label("The column Kontakt becomes").select_option("Email")
    page.get_by_label("The column Newsletter becomes").select_option("Subscription to email")
    page.get_by_role("button", name=re.compile("^Check")).click()
    result = page.get_by_role("region", name="Result of the check")
    expect(result).to_contain_text("4 rows: 3 can be imported, 1 is rejected.")
    page.get_by_label("The column Notiz becomes").select_option("Ignore it")
    expect(page.get_by_text("The mapping changed. Check the file again before you import it.")).to_be_visible()
    page.get_by_role("button", name="Check again").click()
    page.get_by_role("button", name="Import 3 rows").click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("100% read")
    found = facts(progress)
    assert (found["Kind"], found["Imported"], found["New people"], found["Rejected"]) == ("import", "3", "3", "1")
    with page.expect_download() as download:
        progress.get_by_role("button", name="Download the rejected rows").click()
    rejected = download.value.path().read_text("utf-8")
    assert "nobody" in rejected
    assert "ada@" not in rejected


def make_segment(page: Page) -> None:
    """Make the segment of those on the plan, and look at who is in it."""
    open_page(page, "Segments")
    page.get_by_role("link", name="New segment").first.click()
    field(page, "Name").fill("On pro")
    first, second = (page.get_by_role("group", name=f"Condition {n}", exact=True) for n in (1, 2))
    first.get_by_label("Name of the trait").fill("plan")
    field(first, "Value").fill("pro")
    expect(page.get_by_text("2 people fit")).to_be_visible()
    page.get_by_role("button", name="Add a condition").click()
    second.get_by_label("What it is about").select_option("Subscription")
    expect(page.get_by_text("1 person fits")).to_be_visible()
    page.get_by_role("button", name="Remove condition 2").click()
    expect(page.get_by_text("2 people fit")).to_be_visible()
    page.get_by_role("button", name="Create the segment").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("On pro")
    page.get_by_role("navigation").get_by_role("link", name="Members").click()
    for name in ("ada@example.com", "alan@example.com"):
        expect(page.get_by_role("row").filter(has_text=name)).to_be_visible()
    expect(page.get_by_text("grace@example.com")).to_have_count(0)


def write_template(page: Page) -> None:
    """Write a mail in the editor, and see it beside it."""
    open_page(page, "Templates")
    page.get_by_role("link", name="New template").first.click()
    field(page, "Name").fill("Spring mail")
    field(page, "Subject").fill("Spring is here")
    page.get_by_role("radiogroup", name="Body as").get_by_text("HTML", exact=True).click()
    page.get_by_role("textbox", name="HTML of the mail").fill(HTML)
    preview = page.frame_locator('iframe[title="Preview of the mail"]')
    expect(preview.get_by_text("Hello ⟦person.plan⟧ reader")).to_be_visible()
    page.get_by_role("button", name="Create the template").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Spring mail")


def send_campaign(page: Page) -> None:
    """Go through the steps of the wizard up to the launch."""
    open_page(page, "Campaigns")
    page.get_by_role("link", name="New campaign").first.click()
    field(page, "Name").fill("Spring")
    page.get_by_role("button", name="Create the draft").click()
    go_on = page.get_by_role("button", name="Save and go on")
    page.get_by_role("region", name="Who gets it").get_by_label("On pro").check()
    go_on.click()
    field(page, "Template").select_option("Spring mail")
    go_on.click()
    expect(page.get_by_label("When it is launched")).to_be_checked()
    go_on.click()
    reach = page.get_by_role("table", name="Who gets it")
    expect(reach.get_by_role("row").filter(has_text="Audience")).to_contain_text("2")
    expect(reach.get_by_role("row").filter(has_text="less: not consented")).to_contain_text("1")
    expect(reach.get_by_role("row").filter(has_text="Will get it")).to_contain_text("1")
    expect(page.get_by_text("Nothing is missing.")).to_be_visible()
    page.get_by_role("button", name="Send to 1 person").click()
    dialog = page.get_by_role("dialog", name="Send Spring to 1 person?")
    dialog.get_by_role("button", name="Send to 1 person").click()


def test_from_a_file_to_the_overview_of_a_campaign(owned, browser, sink):
    config = {"host": "127.0.0.1", "port": sink.smtp_port, "security": "none", "from_email": "shop@example.com"}
    owned.api().post("/v1/connections", {"name": "Mail", "connector": "smtp", "config": config}, status=201)
    with signed_in(browser, owned) as page:
        import_people(page)
        make_segment(page)
        write_template(page)
        send_campaign(page)
        expect(page.get_by_role("heading", level=1)).to_have_text("Spring")
        # The page follows the campaign by itself.
        expect(page.get_by_role("main").get_by_text(re.compile("^finished$", re.IGNORECASE))).to_be_visible()
        expect(page.get_by_role("region", name="Progress")).to_contain_text("2 of 2 done")
        numbers = page.get_by_role("region", name="Numbers")
        eventually(lambda: facts(numbers).get("Sent") == "1", within=20, what="the numbers of the overview")
        found = facts(numbers)
        assert (found["Audience"], found["Skipped"], found["Failed"]) == ("2", "1", "0")
        # Who got nothing, and why.
        page.get_by_role("region", name="Why somebody got nothing").get_by_role("link", name="not consented").click()
        expect(page.get_by_role("row").filter(has_text="not consented")).to_have_count(1)
        mails = Client(sink.port).pages("/sent?provider=smtp")
        assert [mail["address"] for mail in mails] == ["ada@example.com"]
