"""Credits and dollars, as they are said."""

import pytest

from wan_mcp.evolink.prices import cost_text, dollars


@pytest.mark.parametrize(
    ("credits", "said"),
    [
        (0, "0 credits ($0.00)"),
        (0.3, "0.3 credits (less than $0.01)"),
        (12.75, "12.75 credits ($0.19)"),
        (25.5, "25.5 credits ($0.38)"),
        (42.59, "42.59 credits ($0.63)"),
        (51, "51 credits ($0.75)"),
        (68, "68 credits ($1.00)"),
        (100, "100 credits ($1.47)"),
        (1_234_567.891, "1234567.89 credits ($18,155.41)"),
        (-3, "-3 credits (-$0.04)"),
    ],
)
def test_credits_are_said_with_what_they_cost(credits: float, said: str) -> None:
    """To the cent, at 68 credits a dollar; a balance may be negative."""
    assert cost_text(credits) == said
    assert dollars(credits) in said
