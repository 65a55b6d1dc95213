"""One request and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from rehearsal.load.mix import Request

NO_VERSION = "none"


@dataclass(eq=False)
class Session:
    """One user: keeps cookies, and remembers which version answered last."""

    cookies: dict[str, str] = field(default_factory=dict)
    version: str = ""

    @property
    def cookie_header(self) -> bytes:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()

    def keep(self, set_cookie: str) -> None:
        """Store what a Set-Cookie header says, without its attributes."""
        name, _, value = set_cookie.partition(";")[0].strip().partition("=")
        self.cookies[name] = value


@dataclass(eq=False, slots=True)
class Exchange:
    """A request on its way. Times: ``sent`` in unix seconds, ``began`` on the monotonic clock.

    ``error`` is empty for an answer that came whole; ``status`` is 0 while there is none.
    """

    request: Request
    wire: bytes
    sent: float
    began: float
    session: Session | None = None
    status: int = 0
    version: str = NO_VERSION
    set_cookies: list[str] = field(default_factory=list)
    error: str = ""
    reconnected: bool = False
    done: bool = False
