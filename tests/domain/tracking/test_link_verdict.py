"""Redirect targets, and which responses are those of a page or an image."""

import pytest

from waypost.domain.tracking.link_verdict import IMAGE_TYPES, fault_of_image, fault_of_page, redirect_target

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF"


def headers(**given: str) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), value) for name, value in given.items()]


@pytest.mark.parametrize(
    ("status", "location", "target"),
    [
        (301, "https://other.example/x", "https://other.example/x"),
        (302, "/y?z=1", "https://a.example/y?z=1"),
        (303, "z", "https://a.example/p/z"),
        (307, "?q", "https://a.example/p/q?q"),
        (308, "//b.example", "https://b.example"),
        (302, "../a b", "https://a.example/a%20b"),
        (302, "/caf\u00c3\u00a9", "https://a.example/caf\u00e9"),
        (302, "http://[broken", "http://[broken"),
        (302, "", None),
        (302, None, None),
        (300, "/y", None),
        (304, "/y", None),
        (200, "/y", None),
        (None, "/y", None),
    ],
)
def test_where_a_response_redirects_to(status, location, target):
    told = [] if location is None else headers(location=location)
    assert redirect_target("https://a.example/p/q", status, told) == target


@pytest.mark.parametrize(
    ("status", "reason"), [(200, None), (204, None), (299, None), (199, "status_199"), (404, "status_404")]
)
def test_a_page_responds_with_2xx(status, reason):
    fault = fault_of_page(status)
    assert (fault and fault[0]) == reason


@pytest.mark.parametrize(
    ("status", "told", "start", "reason"),
    [
        (200, headers(content_type="image/png"), PNG, None),
        (206, headers(content_type="IMAGE/JPEG; charset=binary"), JPEG, None),
        (200, headers(content_type="image/jpg"), JPEG, None),
        (200, headers(content_type="image/gif", content_length="900"), b"GIF89a", None),
        (200, headers(content_type="image/tiff"), b"II*\x00", None),
        (404, headers(content_type="image/png"), PNG, "status_404"),
        (200, headers(content_type="text/html"), PNG, "not_an_image"),
        (200, [], PNG, "not_an_image"),
        (200, headers(content_type="image/png"), b"<html>", "not_an_image"),
        (200, headers(content_type="image/png"), b"", "not_an_image"),
        (200, headers(content_type="image/png"), JPEG, "not_an_image"),
        (200, headers(content_type="image/svg+xml"), b"<svg", "image_unsupported"),
        (200, headers(content_type="image/webp"), b"RIFF", "image_unsupported"),
        (200, headers(content_type="image/png", content_length="1000"), PNG, None),
        (200, headers(content_type="image/png", content_length="1001"), PNG, "image_too_large"),
        (
            206,
            headers(content_type="image/png", content_range="bytes 0-99/1001", content_length="100"),
            PNG,
            "image_too_large",
        ),
        (206, headers(content_type="image/png", content_range="bytes 0-99/*", content_length="100"), PNG, None),
        (200, headers(content_type="image/png", content_length="many"), PNG, None),
        (200, headers(content_type="image/png", content_length="9" * 30), PNG, None),
    ],
)
def test_what_an_image_is(status, told, start, reason):
    fault = fault_of_image(status, told, start, 1000)
    assert (fault and fault[0]) == reason
    assert fault is None or fault[1].endswith(".")


def test_each_type_is_recognised_by_its_own_start_only():
    for image in IMAGE_TYPES:
        for other in IMAGE_TYPES:
            for start in other.starts:
                fault = fault_of_image(200, headers(content_type=image.content_types[0]), start, 1000)
                assert (fault is None) == (image is other)
