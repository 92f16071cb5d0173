"""What answers carry beside their bodies."""

from __future__ import annotations

from api.answers import truncation_headers


def test_no_header_grows_with_the_number_of_inputs_that_were_cut() -> None:
    assert truncation_headers([]) == {}
    headers = truncation_headers(range(10_000))
    assert headers["X-Truncated-Count"] == "10000"
    named = headers["X-Truncated-Inputs"].split(",")
    assert (named[0], named[-1], len(named)) == ("0", "99", 100)
