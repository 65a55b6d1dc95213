"""HTTP/1.1 over connections that are kept: as much of a client as the load needs, with every ending told apart.

A general client sends a request again by itself when a kept connection turns out to be closed, and says nothing
of it; a count that is to prove the absence of failures can't stand on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from rehearsal.load.exchange import Exchange

_VERSION_HEADER = b"x-claude-version"


class Connection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._heard = False
        self._ends_with_connection = False
        self.reused = False

    @property
    def closing(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def send(self, exchange: Exchange) -> None:
        assert self._transport is not None
        self._exchange = exchange
        self._heard = False
        self._transport.write(exchange.wire)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.close()
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"malformed answer: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        self._pool.forget(self)
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.status and self._ends_with_connection and error is None:
            self._finish()
        elif self.reused and not self._heard and exchange.request.idempotent and not exchange.reconnected:
            self._exchange = None
            self._pool.again(exchange)
        else:
            self._fail(f"connection lost: {error}" if error else "connection closed before the answer was whole")

    def on_message_begin(self) -> None:
        self._ends_with_connection = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._ends_with_connection = False
        elif self._exchange is None:
            return
        elif name == _VERSION_HEADER:
            self._exchange.version = value.decode("latin-1")
        elif name == b"set-cookie":
            self._exchange.set_cookies.append(value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._exchange is not None:
            self._exchange.status = self._parser.get_status_code()

    def on_message_complete(self) -> None:
        """An interim answer (1xx) is not yet the answer."""
        if self._exchange is not None and self._exchange.status >= 200:
            self._finish()

    def _finish(self) -> None:
        exchange, self._exchange = self._exchange, None
        keep = self._parser.should_keep_alive() and not self.closing
        self.reused = True
        if keep:
            self._pool.release(self)
        else:
            self.close()
        if exchange is not None:
            self._pool.ended(exchange)

    def _fail(self, why: str) -> None:
        exchange, self._exchange = self._exchange, None
        self.close()
        if exchange is not None:
            exchange.error = why
            self._pool.ended(exchange)

    def give_up(self) -> None:
        """Drop the exchange and the connection, whose answer may still come."""
        self._exchange = None
        self.close()


class Pool:
    """Connections to one address. ``on_end`` gets every exchange exactly once, answered or with ``error`` set."""

    def __init__(self, host: str, port: int, on_end: Callable[[Exchange], None]) -> None:
        self._address = host, port
        self._on_end = on_end
        self._idle: list[Connection] = []
        self._busy: dict[Exchange, Connection | None] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self.reconnected = 0

    @property
    def in_flight(self) -> int:
        return len(self._busy)

    def submit(self, exchange: Exchange) -> None:
        """Send on a kept connection if there is one, else on a new one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:
                self._busy[exchange] = connection
                connection.send(exchange)
                return
        self._send_on_new(exchange)

    def again(self, exchange: Exchange) -> None:
        """Send once more, on a new connection, what a kept one swallowed without a word."""
        exchange.reconnected = True
        self.reconnected += 1
        self._send_on_new(exchange)

    def expire(self, began_before: float) -> None:
        """Fail every exchange that began before this moment of the monotonic clock."""
        for exchange in [exchange for exchange in self._busy if exchange.began < began_before]:
            connection = self._busy[exchange]
            exchange.error = "timeout"
            self.ended(exchange)
            if connection is not None:
                connection.give_up()

    def release(self, connection: Connection) -> None:
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def ended(self, exchange: Exchange) -> None:
        if self._busy.pop(exchange, self) is not self:
            exchange.done = True
            self._on_end(exchange)

    def close(self) -> None:
        for task in self._connecting:
            task.cancel()
        for connection in self._idle:
            connection.close()

    def _send_on_new(self, exchange: Exchange) -> None:
        self._busy[exchange] = None
        task = asyncio.get_running_loop().create_task(self._connect_and_send(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_send(self, exchange: Exchange) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(self), *self._address)
        except OSError as error:
            exchange.error = f"no connection: {error}"
            self.ended(exchange)
            return
        if exchange.done:
            self.release(connection)
            return
        if connection.closing:
            exchange.error = "no connection: closed before the request was sent"
            self.ended(exchange)
            return
        self._busy[exchange] = connection
        connection.send(exchange)
