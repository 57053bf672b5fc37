"""What a caller may still spend where the operator pays."""

from dataclasses import dataclass

from wan_mcp.evolink.prices import cost_text


@dataclass(frozen=True)
class Allowance:
    """A caller's spending and caps, in credits. The account's balance is the operator's, and not told."""

    spent: float
    """In the last 24 hours."""
    daily_credits: float | None
    """The cap over 24 hours; None for none."""
    request_credits: float | None
    """The cap of one request; None for none."""

    @property
    def left(self) -> float | None:
        """What the daily cap leaves now; None where there is none."""
        return None if self.daily_credits is None else max(self.daily_credits - self.spent, 0.0)

    def __str__(self) -> str:
        said = [f"You spent {cost_text(self.spent)} in the last 24 hours."]
        if self.daily_credits is None or self.left is None:
            said.append("You have no daily cap of your own.")
        else:
            said.append(
                f"Your daily cap is {cost_text(self.daily_credits)}; {cost_text(self.left)} are left."
            )
        if self.request_credits is not None:
            said.append(f"One request may cost {cost_text(self.request_credits)} at most.")
        said.append("The server may also have a daily cap for all callers together.")
        return " ".join(said)
